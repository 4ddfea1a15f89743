"""Published figures of graphics cards in, what a line of CodeGen-6B would take on them out. Computed, nothing is run.

`python -m benchmarks.bandwidth` prints the table of docs/sharding.md. A token reads all weights and all keys and
values once, so it takes their bytes by the memory's bandwidth, of which a kernel reaches a part; a prompt takes its
operations by the peak of the tensor cores, likewise; to both come the sums over the ranks and the way to each stage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from model_runtime.graph import graph
from model_runtime.manifest import Shape
from model_runtime.sharding.partition import partitions

PROMPT, LINE = 1536, 16  # tokens that are read, and written
FAUXPILOT = "FauxPilot measured ~350 ms a line on 4 × A10 in fp16"  # github.com/fauxpilot/fauxpilot/issues/144

# Salesforce/codegen-6B-mono's config.json.
CODEGEN_6B = Shape(
    vocab_size=51_200,
    hidden_size=4096,
    layers=33,
    heads=16,
    kv_heads=16,
    head_size=256,
    ffn_size=16_384,
    context_length=2048,
    rotary_size=64,
    norm="layer",
    gated=False,
    parallel=True,
    tied=False,
)

# How much of the published bandwidth is reached in decode: gpt-fast's README, Llama-2-7B on an A100 of 2,039 GB/s,
# which read 1,397, 1,069 and 863 GB/s. Our graphs reached .86 in fp32 and .60 in int4 on a processor, see
# docs/log/runtime.md.
REACHED = {"fp16": 1397 / 2039, "int8": 1069 / 2039, "int4": 863 / 2039}
BYTES = {"fp16": 2.0, "int8": 1 + 2 / 128, "int4": 0.5 + 2 / 128}  # a weight, with a scale of two bytes for 128
COMPUTED = 0.5  # of the tensor cores' peak, for prompts: assumed
WIRED = 0.7  # of the bus's peak, for sums over prompts: assumed
STRETCH = 16e-6  # seconds to start one: Python and ONNX Runtime, measured on a processor (docs/log/runtime.md)
LAYER = 50e-6  # seconds to start its dozen kernels: assumed, and as if none was started while another runs


@dataclass(frozen=True)
class Cards:
    """Some cards of a kind. bandwidth, bus: bytes a second of a card's memory and of its way to the others;
    peak: operations a second in half precision, dense; memory: bytes of a card."""

    name: str
    count: int
    bandwidth: float
    peak: float
    memory: float
    bus: float

    @property
    def latency(self) -> float:
        """Seconds of a small sum. NCCL's grows with the cards beyond the first; 54 µs over eight on PCIe
        (github.com/NVIDIA/nccl/issues/1439)."""
        return 54e-6 * (self.count - 1) / 7


# NVIDIA's data sheets; the bus is PCIe 3.0 and 4.0 with 16 lanes, one way.
CARDS = (
    Cards("4 × T4", 4, 320e9, 65e12, 16e9, 15.75e9),
    Cards("4 × A10", 4, 600e9, 125e12, 24e9, 31.5e9),
    Cards("1 × H200", 1, 4800e9, 989e12, 141e9, math.inf),
)


@dataclass(frozen=True)
class Estimate:
    """What a form takes on some cards: bytes a card holds; seconds a token, a prompt, and a line of LINE tokens with
    its prompt read before (warm) or not (cold)."""

    cards: str
    form: str
    held: float
    fits: bool
    token: float
    prompt: float

    @property
    def warm(self) -> float:
        """A line whose prompt has been read but for what was just typed."""
        return LINE * self.token

    @property
    def cold(self) -> float:
        """A line and all of its prompt."""
        return self.prompt + self.warm


def weights(shape: Shape) -> int:
    """Numbers that a token reads of the weights: all but the embedding, of which it is a row."""
    return sum(rows * width for name, (rows, width) in graph.matrix_names(shape).items() if name != "embed.weight")


def row(cards: Cards, form: str, shape: Shape = CODEGEN_6B) -> Estimate:
    """A form on some cards."""
    partition = partitions(shape, cards.count)[0]
    sums = len(graph.stages(shape)) - 1 if cards.count > 1 else 0
    started = (sums + 1) * STRETCH + shape.layers * LAYER
    read = weights(shape) * BYTES[form] / cards.count
    caches = 2 * shape.layers * len(partition.kv_heads) * shape.head_size * PROMPT * 2
    token = (read + caches) / (cards.bandwidth * REACHED[form]) + sums * cards.latency + started
    operations = 2 * weights(shape) * PROMPT + 2 * shape.layers * shape.heads * shape.head_size * PROMPT**2
    sent = shape.hidden_size * PROMPT * 2 * 2 * (cards.count - 1) / cards.count  # in a ring
    prompt = operations / (cards.count * cards.peak * COMPUTED)
    prompt += sums * (cards.latency + sent / (cards.bus * WIRED)) + started
    held = read + caches + shape.vocab_size * shape.hidden_size * 2
    return Estimate(cards.name, form, held, held < 0.9 * cards.memory, token, prompt)


def rows() -> list[Estimate]:
    """Each form on each of the cards."""
    return [row(cards, form) for cards in CARDS for form in BYTES]


def table() -> str:
    """All of it, in Markdown."""
    lines = ["| computed | a card holds | a token | 1,536 tokens read | a line, warm | a line, cold |"]
    lines.append("|---|---|---|---|---|---|")
    for one in rows():
        held = f"{one.held / 1e9:.1f} GB" + ("" if one.fits else ", too much")
        times = " | ".join(_told(seconds) for seconds in (one.token, one.prompt, one.warm, one.cold))
        lines.append(f"| {one.cards}, {one.form} | {held} | {times} |")
    return "\n".join(lines)


def _told(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 0.05 else f"{seconds * 1e3:.0f} ms"


if __name__ == "__main__":
    print(f"{table()}\n\nComputed, not measured. {FAUXPILOT}.")

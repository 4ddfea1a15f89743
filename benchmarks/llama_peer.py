"""Jobs as JSON lines in, milliseconds as JSON lines out: llama.cpp, in a Python that has it.

Run by path with an interpreter of its own, where `llama-cpp-python` and `gguf` are installed; it imports nothing of
ours. See `opponent`, which is the other end of its pipes. Driven with the plain C interface, as a server drives it.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import llama_cpp as llama
import numpy as np

BLOCK = 32
ROUNDS, CIRCLE = 4, 16  # times that the same tokens come again, and tokens in all, which make a circle
REUSE = 256  # tokens of a cached stretch that are moved rather than computed again: the editor plug-in's --cache-reuse


def write_model(
    path: Path, shape: dict[str, Any], tokenizer: dict[str, Any] | None = None, weights: str | None = None
) -> None:
    """A GGUF file of a llama-like network in Q4_0, the embedding too.

    tokenizer: a byte-level tokenizer.json's content, for a server that is asked with text; None for no vocabulary.
    weights: a folder with a NumPy file for each, under our names; None for random ones. With norms of queries and keys
    it is llama.cpp's Qwen3, which besides them is the same network.
    """
    writer = gguf.GGUFWriter(path, "qwen3" if shape["qk_norm"] else "llama")
    writer.add_vocab_size(shape["vocab_size"])
    writer.add_context_length(shape["context_length"])
    writer.add_embedding_length(shape["hidden_size"])
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(shape["ffn_size"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv_heads"])
    writer.add_layer_norm_rms_eps(shape["norm_epsilon"])
    writer.add_key_length(shape["head_size"])
    writer.add_value_length(shape["head_size"])
    writer.add_rope_dimension_count(shape["head_size"])
    writer.add_rope_freq_base(shape["rope_theta"])
    if tokenizer is None:
        writer.add_tokenizer_model("no_vocab")
    else:
        _add_vocabulary(writer, tokenizer)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    for name, (own, size) in _tensors(shape).items():
        weight = None if weights is None else np.load(Path(weights) / f"{own}.weight.npy", mmap_mode="r")
        if len(size) == 1:
            writer.add_tensor(name, np.ones(size, np.float32) if weight is None else np.array(weight))
        else:
            blocks = _q4_0(*size) if weight is None else gguf.quants.quantize(weight, gguf.GGMLQuantizationType.Q4_0)
            writer.add_tensor(name, blocks, raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, tokenizer: dict[str, Any]) -> None:
    vocabulary = tokenizer["model"]["vocab"]
    marked = {one["id"] for one in tokenizer["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(sorted(vocabulary, key=vocabulary.__getitem__))
    writer.add_token_types(
        [gguf.TokenType.CONTROL if at in marked else gguf.TokenType.NORMAL for at in range(len(vocabulary))]
    )
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)


def _tensors(shape: dict[str, Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Of each tensor of the file our own name and the size."""
    hidden, ffn, head = shape["hidden_size"], shape["ffn_size"], shape["head_size"]
    queries, keys = shape["heads"] * head, shape["kv_heads"] * head
    found: dict[str, tuple[str, tuple[int, ...]]] = {"token_embd.weight": ("embed", (shape["vocab_size"], hidden))}
    sizes: dict[str, tuple[str, tuple[int, ...]]] = {
        "attn_norm": ("attention_norm", (hidden,)),
        "attn_q": ("q", (queries, hidden)),
        "attn_k": ("k", (keys, hidden)),
        "attn_v": ("v", (keys, hidden)),
        "attn_output": ("o", (hidden, queries)),
        "ffn_norm": ("ffn_norm", (hidden,)),
        "ffn_gate": ("gate", (ffn, hidden)),
        "ffn_up": ("up", (ffn, hidden)),
        "ffn_down": ("down", (hidden, ffn)),
    }
    if shape["qk_norm"]:
        sizes |= {"attn_q_norm": ("q_norm", (head,)), "attn_k_norm": ("k_norm", (head,))}
    for layer in range(shape["layers"]):
        for name, (own, size) in sizes.items():
            found[f"blk.{layer}.{name}.weight"] = (f"layers.{layer}.{own}", size)
    return {**found, "output_norm.weight": ("norm", (hidden,))}


def _q4_0(rows: int, width: int) -> np.ndarray[Any, Any]:
    """Blocks of a float16 scale and 32 random halves of a byte, of about unit gain."""
    random = np.random.default_rng(0)
    blocks = np.empty((rows, width // BLOCK, 2 + BLOCK // 2), np.uint8)
    scale = np.array([1 / (4.6 * np.sqrt(width))], np.float16)  # 4.6: the spread of 16 codes alike
    blocks[..., :2] = scale.view(np.uint8)
    blocks[..., 2:] = random.integers(0, 256, blocks[..., 2:].shape, np.uint8)
    return blocks.reshape(rows, -1)


class Context:
    """A loaded model and its keys and values; `held` are the tokens of sequence 0."""

    def __init__(self, path: str, threads: int, length: int, sequences: int) -> None:
        llama.llama_backend_init()
        llama.llama_log_set(_QUIET, ctypes.c_void_p(0))
        self.model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
        assert self.model, f"llama.cpp cannot load {path}"
        asked = llama.llama_context_default_params()
        asked.n_ctx, asked.n_seq_max = length * sequences, sequences
        asked.n_batch, asked.n_ubatch = 2048, 512
        asked.n_threads = asked.n_threads_batch = threads
        asked.kv_unified = False
        asked.flash_attn_type = 0  # off: on a CPU it reads prompts quicker and writes at a fifth of the speed
        asked.no_perf = True
        self.context = llama.llama_init_from_model(self.model, asked)
        assert self.context, "llama.cpp gives no context"
        self.memory = llama.llama_get_memory(self.context)
        self.batch = llama.llama_batch_init(2048, 0, 1)
        self.vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))
        self.held: list[int] = []

    def run(self, rows: list[tuple[int, int, int]], wanted: int) -> float:
        """Milliseconds of one pass over (token, position, sequence); logits of the last `wanted` rows."""
        began = time.perf_counter()
        batch = self.batch
        batch.n_tokens = len(rows)
        for at, (token, position, sequence) in enumerate(rows):
            batch.token[at], batch.pos[at] = token, position
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence
            batch.logits[at] = at >= len(rows) - wanted
        code = llama.llama_decode(self.context, batch)
        assert code == 0, f"llama_decode gives {code}"
        llama.llama_get_logits(self.context)  # waits for the last of them
        return (time.perf_counter() - began) * 1e3

    def extend(self, tokens: list[int], wanted: int = 1) -> float:
        """Sequence 0 goes on; milliseconds."""
        start = len(self.held)
        spent = self.run([(token, start + at, 0) for at, token in enumerate(tokens)], wanted)
        self.held += tokens
        return spent

    def rewind(self, length: int) -> None:
        """Sequence 0 as it was with so many tokens."""
        llama.llama_memory_seq_rm(self.memory, 0, length, -1)
        del self.held[length:]

    def hold(self, length: int) -> None:
        """Sequence 0 with exactly so many tokens, whatever they are."""
        self.rewind(min(length, len(self.held)))
        if missing := length - len(self.held):
            self.extend([5] * missing)

    def best(self) -> int:
        """The likeliest token after the last pass."""
        logits = llama.llama_get_logits_ith(self.context, -1)
        return int(np.ctypeslib.as_array(logits, (self.vocab,)).argmax())


def prefill(context: Context, n: int) -> float:
    """Milliseconds for a prompt of n tokens."""
    context.rewind(0)
    return context.extend([5] * n)


def step(context: Context, held: int, n: int, repeats: int) -> float:
    """Milliseconds for n tokens after `held`, with the logits of each; the mean of some runs after a first."""
    spent = 0.0
    for number in range(repeats + 1):
        context.hold(held)
        taken = context.extend([5] * n, wanted=n)
        spent += taken if number else 0.0
    return spent / repeats


def batched(context: Context, held: int, rows: int, repeats: int) -> float:
    """Milliseconds for one token each of so many sequences that hold `held` each; the mean of some runs."""
    context.hold(held)
    for other in range(1, rows):
        llama.llama_memory_seq_rm(context.memory, other, 0, -1)
        llama.llama_memory_seq_cp(context.memory, 0, other, -1, -1)
    spent = 0.0
    for number in range(repeats + 1):
        taken = context.run([(5, held, row) for row in range(rows)], rows)
        for row in range(rows):
            llama.llama_memory_seq_rm(context.memory, row, held, -1)
        spent += taken if number else 0.0  # the copies happen with the first pass
    return spent / repeats


def request(context: Context, tokens: list[int], most: int, ends: list[int]) -> dict[str, float]:
    """One completion with the prompt cache on: milliseconds to the first token and to the last, tokens computed.

    It is written up to an end, until it goes round in circles, or for so many tokens.
    """
    began = time.perf_counter()
    kept = _common(context.held, tokens)
    kept = min(_moved(context, tokens, kept), len(tokens) - 1)
    context.rewind(kept)
    context.extend(tokens[kept:])
    said = [context.best()]
    first = time.perf_counter() - began
    while len(said) < most and said[-1] not in ends and not _circles(said):
        context.extend(said[-1:])
        said.append(context.best())
    spent = time.perf_counter() - began
    return {"first": first * 1e3, "whole": spent * 1e3, "computed": len(tokens) - kept, "written": len(said)}


def _circles(said: list[int]) -> bool:
    """Whether the text has said the same a few times in a row: the rule of our own runtime, for the same texts."""
    size = next((size for size in range(1, len(said)) if said[-1 - size] == said[-1]), 0)
    length = size * max(ROUNDS, -(-CIRCLE // size)) if size else len(said) + 1
    return len(said) >= length and said[-length:-size] == said[size - length :]


def _common(left: list[int], right: list[int]) -> int:
    same = (at for at, (one, other) in enumerate(zip(left, right, strict=False)) if one != other)
    return next(same, min(len(left), len(right)))


def _moved(context: Context, tokens: list[int], kept: int) -> int:
    """The server's cache reuse: cached stretches of at least REUSE tokens move to where the prompt has them now.

    Returns how many tokens of the prompt are then there. Their keys are turned to their new positions.
    """
    at, memory, held = kept, context.memory, context.held
    while kept < len(tokens) and at < len(held):
        same = _common(held[at:], tokens[kept:])
        if same < REUSE:
            at += 1
            continue
        llama.llama_memory_seq_rm(memory, 0, kept, at)
        llama.llama_memory_seq_add(memory, 0, at, at + same, kept - at)
        held[kept : kept + same] = held[at : at + same]
        at, kept = at + same, kept + same
    context.held = held[:kept]
    return kept


_QUIET = llama.llama_log_callback(lambda level, text, data: None)  # kept alive here: the library holds no reference
JOBS: dict[str, Callable[..., object]] = {"prefill": prefill, "step": step, "batch": batched, "request": request}


def main() -> None:
    """Answers until its input ends. The first line says what to load; the answer to it is the load's milliseconds."""
    asked = json.loads(sys.stdin.readline())
    path = Path(asked["path"])
    if not path.exists():
        write_model(path, asked["shape"], asked.get("tokenizer"), asked.get("weights"))
    began = time.perf_counter()
    context = Context(str(path), asked["threads"], asked["length"], asked["sequences"])
    prefill(context, 1)
    print(json.dumps((time.perf_counter() - began) * 1e3), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(JOBS[job.pop("job")](context, **job)), flush=True)


if __name__ == "__main__":
    main()

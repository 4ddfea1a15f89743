"""A checkpoint of a given size, with random weights in shards, in; how long its import takes and what memory, out.

`python -m benchmarks.importing --size codegen-6b`. The import is the command itself, in a process of its own, whose
peak memory is the kernel's count and holds whatever it maps, too. Afterwards the model answers once.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from benchmarks import footprint
from lacuna import isolation
from model_runtime.engine.sequence import Cancel, Finish, Generation
from model_runtime.opening import open_engine
from model_runtime.prompt import Infill, lay_out

SHARD = 2_000_000_000  # bytes
VOCAB = 51_200

# hidden size, layers, heads, rotary size: CodeGen's own
SIZES = {
    "tiny": (256, 4, 4, 32),
    "codegen-350m": (1024, 20, 16, 32),
    "codegen-2b": (2560, 32, 32, 64),
    "codegen-6b": (4096, 33, 16, 64),
}


def write_checkpoint(directory: Path, size: str) -> int:
    """A CodeGen checkpoint in float16 shards; its weights, in number."""
    hidden, layers, heads, rotary = SIZES[size]
    config = {
        "model_type": "codegen",
        "vocab_size": VOCAB,
        "n_embd": hidden,
        "n_layer": layers,
        "n_head": heads,
        "n_positions": 2048,
        "rotary_dim": rotary,
        "tie_word_embeddings": False,
        "eos_token_id": 256,
    }
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config))
    _tokenizer().save(str(directory / "tokenizer.json"))
    block = (np.random.default_rng(0).standard_normal(1 << 20) / math.sqrt(hidden)).astype(np.float16)
    table: dict[str, str] = {}
    held: dict[str, Any] = {}
    sizes = list(_tensors(hidden, layers))
    for number, (name, shape) in enumerate(sizes):
        held[name] = np.ones(shape, np.float16) if "ln_" in name and "weight" in name else np.resize(block, shape)
        if sum(one.nbytes for one in held.values()) >= SHARD or number == len(sizes) - 1:
            shard = f"model-{len(set(table.values())) + 1:05d}.safetensors"
            save_file(held, directory / shard)
            table |= dict.fromkeys(held, shard)
            held = {}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    return sum(math.prod(shape) for _, shape in sizes)


def _tensors(hidden: int, layers: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "transformer.wte.weight", (VOCAB, hidden)
    for layer in range(layers):
        at = f"transformer.h.{layer}."
        yield from ((f"{at}ln_1.{kind}", (hidden,)) for kind in ("weight", "bias"))
        yield f"{at}attn.qkv_proj.weight", (3 * hidden, hidden)
        yield f"{at}attn.out_proj.weight", (hidden, hidden)
        yield f"{at}mlp.fc_in.weight", (4 * hidden, hidden)
        yield f"{at}mlp.fc_in.bias", (4 * hidden,)
        yield f"{at}mlp.fc_out.weight", (hidden, 4 * hidden)
        yield f"{at}mlp.fc_out.bias", (hidden,)
    yield from ((f"transformer.ln_f.{kind}", (hidden,)) for kind in ("weight", "bias"))
    yield "lm_head.weight", (VOCAB, hidden)
    yield "lm_head.bias", (VOCAB,)


def _tokenizer() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, "<|endoftext|>", *(f"word{number}" for number in range(VOCAB - 300))]
    inner = Tokenizer(models.BPE({text: at for at, text in enumerate(words)}, []))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    inner.add_special_tokens([AddedToken("<|endoftext|>", normalized=False)])
    return inner


def run_import(source: Path, target: Path, quant: str) -> dict[str, float]:
    """Seconds and gigabytes of the command."""
    command = isolation.command("model", "import", str(source), "--out", str(target), "--quant", quant)
    began, peak = time.perf_counter(), 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        while running.poll() is None:
            peak = max(peak, footprint.peak_mb(running.pid))
            time.sleep(0.05)
    spent = time.perf_counter() - began
    if running.returncode:
        raise SystemExit(running.returncode)
    size = sum(path.stat().st_size for path in target.iterdir())
    return {"seconds": spent, "peak_gb": peak / 1e3, "model_gb": size / 1e9}


def answer(directory: Path, cache: Path) -> dict[str, float]:
    """Seconds to load, and to read and write some tokens."""
    began = time.perf_counter()
    engine = open_engine(directory, cache=cache)
    loaded = time.perf_counter() - began
    infill = Infill("area.py", "def area(width, height):\n    return width", "\n\nprint(area(2, 3))\n")
    prompt = lay_out(infill, engine.tokenizer, engine.manifest.fim, 512).tokens
    *_, finish = engine.generate(Generation(prompt, max_tokens=16), Cancel())
    engine.close()
    assert isinstance(finish, Finish)
    usage = finish.usage
    return {
        "load_seconds": loaded,
        "prompt_tokens": len(prompt),
        "prefill_seconds": usage.prefill_ms / 1e3,
        "generated": usage.generated,
        "decode_ms_per_token": usage.decode_ms / max(1, usage.generated),
        "peak_gb": footprint.peak_mb(os.getpid()) / 1e3,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny", help="dimensions (default: tiny)")
    parser.add_argument("--quant", default="int4", help="as of lacuna model import (default: int4)")
    parser.add_argument("--folder", type=Path, help="where the gigabytes go meanwhile (default: the temporary folder)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        folder = Path(place)
        weights = write_checkpoint(folder / "source", asked.size)
        found = run_import(folder / "source", folder / "model", asked.quant)
        # A process of its own, so that what the checkpoint took to write is not counted.
        code = f"import json, pathlib, benchmarks.importing as one; f = pathlib.Path({place!r}); "
        code += "print(json.dumps(one.answer(f / 'model', f / 'cache')))"
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    json.dump({"size": asked.size, "weights": weights, "import": found, "answer": json.loads(done.stdout)}, sys.stdout)
    print()


if __name__ == "__main__":
    main()

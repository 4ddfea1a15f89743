"""A model directory in, the time to load it and the memory that this takes out, each time in a fresh process.

`python -m benchmarks.loading MODEL CACHE THREADS` is that process. Ignores how fast the model then is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import footprint
from model_runtime import manifest
from model_runtime.backends.onnx_backend import OnnxBackend
from model_runtime.engine.sequence import Cancel


def fresh(directory: Path, cache: Path, threads: int) -> dict[str, float]:
    """load_ms, resident_mb (mapped files included) and anonymous_mb (without) of a process with the model loaded."""
    command = [sys.executable, "-m", "benchmarks.loading", str(directory), str(cache), str(threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Loads, runs each session once, and says what it took."""
    directory, cache, threads = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    began = time.perf_counter()
    backend = OnnxBackend.open(directory, manifest.read(directory), cache=cache, threads=threads)
    (store,) = backend.new_slots(1)
    backend.prefill(store, [5] * 16, 0, Cancel())
    backend.decode(store, [5], 16, Cancel())
    spent = (time.perf_counter() - began) * 1e3
    own = os.getpid()
    memory = {"resident_mb": footprint.resident_mb(own), "anonymous_mb": footprint.anonymous_mb(own)}
    print(json.dumps({"load_ms": spent, **memory}))
    backend.close()


if __name__ == "__main__":
    main()

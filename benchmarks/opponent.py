"""Jobs in, milliseconds out: llama.cpp in a process of its own, with weights of the same shape and bits.

`llama_peer` is the other end of the pipes and says what the jobs are. Ignores what is measured.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from benchmarks import footprint
from model_runtime.manifest import Shape

PEER = Path(__file__).parent / "llama_peer.py"


class Opponent:
    """llama.cpp with one model loaded. load_ms: how long that took. Raises RuntimeError when it ends too early.

    python: an interpreter with llama-cpp-python and gguf. model: the GGUF file, written first where there is none.
    length: tokens that each of its sequences may hold. weights: a folder that `grown.hand` filled; None for random
    ones.
    """

    def __init__(
        self,
        python: Path,
        model: Path,
        shape: Shape,
        threads: int,
        *,
        length: int = 2112,
        sequences: int = 1,
        weights: Path | None = None,
    ) -> None:
        command = [str(python), "-I", str(PEER)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        plan: dict[str, Any] = {"path": str(model), "threads": threads, "length": length, "sequences": sequences}
        plan["weights"] = None if weights is None else str(weights)
        self.load_ms: float = self._say({**plan, "shape": msgspec.to_builtins(shape)})

    def run(self, job: str, **asked: Any) -> Any:
        """What the job gives, milliseconds mostly."""
        return self._say({"job": job, **asked})

    @property
    def memory_mb(self) -> dict[str, float]:
        """The process's memory, with mapped files (resident_mb) and without (anonymous_mb)."""
        own = self._process.pid
        return {"resident_mb": footprint.resident_mb(own), "anonymous_mb": footprint.anonymous_mb(own)}

    def __enter__(self) -> Opponent:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _say(self, line: dict[str, Any]) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("llama.cpp's process ended; its own words stand above")
        return json.loads(answer)

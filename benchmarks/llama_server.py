"""llama-cpp-python's own server, with the shipped model: its weights in about as many bits, its words and its markers.

`llama_peer` writes the model, in the Python that has llama.cpp. Ignores who asks.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import msgspec

from benchmarks import grown
from benchmarks.crowd import Asker
from benchmarks.opponent import PEER
from model_runtime import manifest
from model_runtime.errors import Overloaded, Unreachable
from model_runtime.graph import graph
from model_runtime.manifest import Fim, Shape
from model_runtime.protocol import InfillRequest

PATIENCE = 60.0  # seconds for it to come up, and for a byte of an answer

# What serves several people best: requests queue instead of ending each other, and prompts that were read are kept. It
# counts a tenth of what it keeps of them, so that with this it takes about as much memory as ours is given.
SETTINGS = {"n_ctx": "2048", "interrupt_requests": "false", "cache": "true", "cache_size": str(128 << 20)}


class Theirs:
    """One typist's way to it: a raw prompt whose beginning keeps still from key to key, and a stream."""

    def __init__(self, url: str, fim: Fim) -> None:
        self._fim = fim
        self._http = httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False)

    async def ask(self, request: InfillRequest) -> AsyncIterator[str]:
        """As `crowd.Asker` has it."""
        body = {
            "prompt": laid_out(request, self._fim),
            "max_tokens": request.max_tokens,
            "temperature": 0,
            "stop": ["\n"] if request.max_lines == 1 else ["\n\n\n"],
            "stream": True,
        }
        try:
            async with self._http.stream("POST", "/v1/completions", json=body) as response:
                if response.status_code in (429, 503):
                    raise Overloaded("refused")
                if response.status_code != 200:
                    raise Unreachable(f"answered {response.status_code}")
                async for line in response.aiter_lines():
                    if line.startswith("data: {") and (choices := json.loads(line[6:]).get("choices")):
                        yield choices[0]["text"]
        except httpx.HTTPError as error:
            raise Unreachable(type(error).__name__) from error

    async def close(self) -> None:
        """As `crowd.Asker` has it."""
        await self._http.aclose()


def laid_out(request: InfillRequest, fim: Fim) -> str:
    """What `model_runtime.prompt` makes of a request without snippets, in words: its server knows no tokens."""
    assert fim.layout == "spm" and fim.file is not None, "the shipped model's layout"
    return f"{fim.file}{request.path}\n{fim.suffix}{request.suffix}{fim.prefix}{request.prefix}{request.typed}"


@contextlib.contextmanager
def serving(python: Path, folder: Path, threads: int) -> Iterator[tuple[int, Callable[[int], Asker]]]:
    """The server: its process id, and the way to it. Raises RuntimeError when it does not come up."""
    described = manifest.read(manifest.embedded())
    model = folder / "model.gguf"
    _write(python, model, threads, described.shape)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = {"model": str(model), "port": str(port), "n_threads": str(threads), **SETTINGS}
    options = [word for name, value in arguments.items() for word in (f"--{name}", value)]
    process = subprocess.Popen(
        [str(python), "-m", "llama_cpp.server", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process)
        yield process.pid, lambda _: Theirs(url, described.fim)
    finally:
        process.kill()
        process.wait()


def _write(python: Path, model: Path, threads: int, shape: Shape) -> None:
    directory = manifest.embedded()
    weights = model.parent / "weights"
    grown.hand(graph.read_weights(directory, shape), weights)
    asked = {
        "path": str(model),
        "shape": msgspec.to_builtins(shape),
        "tokenizer": json.loads((directory / "tokenizer.json").read_text("utf-8")),
        "weights": str(weights),
        "threads": threads,
        "length": 512,
        "sequences": 1,
    }
    subprocess.run(
        [str(python), "-I", str(PEER)],
        input=json.dumps(asked) + "\n",
        text=True,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=PATIENCE,
    )


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/v1/models", trust_env=False).status_code == 200:
                return
        time.sleep(0.2)
    raise RuntimeError("llama-cpp-python's server does not come up; run it by hand to see why")

"""llama.cpp's infills: a body in, an infill out; tokens in, its JSON out, errors included.

Samplers that this runtime has not are ignored, as that server's own clients send them all. Ignores who asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from model_runtime.gateway.compat import MOST_TOKENS, SECONDS, Choice, CompatRequest, Unfit, checked, decoded, event
from model_runtime.gateway.openai import MOST_STOPS
from model_runtime.manifest import Manifest
from model_runtime.protocol import Chunk, Done

_UNTIL_THE_END = 128  # tokens, for a request that sets no limit


class _Extra(msgspec.Struct, frozen=True):
    text: str
    filename: str = ""


class _Infill(msgspec.Struct, frozen=True):
    """The body. prompt: the beginning of the middle, already written. t_max_predict_ms counts from the first token."""

    input_prefix: str
    input_suffix: str
    input_extra: list[_Extra] = []
    prompt: str = ""
    path: str = ""
    n_predict: Annotated[int, msgspec.Meta(ge=-1)] = -1
    temperature: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    top_p: float = 1.0
    seed: int = -1
    stop: list[str] = []
    stream: bool = False


def read(body: bytes, manifest: Manifest) -> CompatRequest:
    """What a body asks of this model. Raises Unfit."""
    asked: _Infill = decoded(body, _Infill)
    if len(asked.stop) > MOST_STOPS:
        raise Unfit(f"there are {len(asked.stop)} stops; send at most {MOST_STOPS}")
    infill = checked(
        {
            "client": "",
            "path": asked.path,
            "prefix": asked.input_prefix,
            "suffix": asked.input_suffix,
            "typed": asked.prompt,
            "context": [{"path": extra.filename, "text": extra.text} for extra in asked.input_extra],
            "max_tokens": _UNTIL_THE_END if asked.n_predict < 0 else min(asked.n_predict, MOST_TOKENS),
            "temperature": min(asked.temperature, 2.0),
            "top_p": asked.top_p,
            "seed": None if asked.seed < 0 else asked.seed,
            "stop": asked.stop,
            "deadline_ms": SECONDS * 1000,
        }
    )
    return CompatRequest((infill,), asked.stream, _Reply(manifest.name))


def error(status: int, message: str) -> bytes:
    """An answer that is a no, in llama.cpp's shape."""
    return msgspec.json.encode({"error": {"code": status, "message": message, "type": _ERRORS[status]}})


_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    429: "unavailable_error",
    431: "invalid_request_error",
    500: "server_error",
    503: "unavailable_error",
}
_STOPS = {"end": "eos", "stop": "word", "length": "limit", "deadline": "limit", "cancelled": "none"}


@dataclass(frozen=True)
class _Reply:
    model: str

    def whole(self, choices: Sequence[Choice]) -> bytes:
        """The content and what it cost."""
        ((chunks, done),) = choices
        return msgspec.json.encode({**self._about(0, "".join(chunk.text for chunk in chunks), True), **_cost(done)})

    def part(self, index: int, chunks: Sequence[Chunk]) -> bytes:
        """One event for all of them."""
        return event(self._about(index, "".join(chunk.text for chunk in chunks), False))

    def end(self, index: int, done: Done) -> bytes:
        """The last event, with what it cost."""
        return event({**self._about(index, "", True), **_cost(done)})

    def close(self, choices: Sequence[Choice]) -> bytes:
        """Nothing: the last event was the end."""
        return b""

    def _about(self, index: int, content: str, stop: bool) -> dict[str, Any]:
        return {"index": index, "content": content, "tokens": [], "stop": stop, "model": self.model, "id_slot": 0}


def _cost(done: Done) -> dict[str, Any]:
    usage = done.usage
    return {
        "stop_type": _STOPS[done.finish],
        "stopping_word": "",
        "truncated": False,
        "tokens_predicted": usage.generated,
        "tokens_evaluated": usage.prompt_tokens,
        "timings": {
            "prompt_n": usage.prompt_tokens,
            "prompt_ms": usage.prefill_ms,
            "predicted_n": usage.generated,
            "predicted_ms": usage.decode_ms,
        },
    }

"""OpenAI's completions: a body in, infills out; tokens in, its JSON out, errors included.

Fields that mean nothing here are ignored, as clients send many; one that would change the answer and cannot be
honoured is an error that names it. Ignores who asks.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec

from model_runtime.gateway.compat import (
    CANDIDATES,
    MOST_TOKENS,
    SECONDS,
    Choice,
    CompatRequest,
    Unfit,
    checked,
    decoded,
    event,
)
from model_runtime.gateway.raw_prompt import raw_infill
from model_runtime.manifest import Manifest
from model_runtime.protocol import Chunk, Done

MOST_STOPS = 32  # OpenAI takes four; editors send every marker they know


class _Stream(msgspec.Struct, frozen=True):
    include_usage: bool = False


class _Completion(msgspec.Struct, frozen=True):
    """The body. path is ours: where the file is, which models of this project are told."""

    prompt: str | list[Any] | None = None
    model: str | None = None
    suffix: str | None = None
    path: str = ""
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=CANDIDATES)] | None = None
    best_of: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: _Stream | None = None
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None
    echo: bool | None = None
    seed: Annotated[int, msgspec.Meta(ge=0)] | None = None


def read(body: bytes, manifest: Manifest) -> CompatRequest:
    """What a body asks of this model. Raises Unfit."""
    asked: _Completion = decoded(body, _Completion)
    require_model(asked.model, manifest)
    count = asked.n or 1
    if asked.best_of not in (None, count):
        raise Unfit("best_of must equal n: every candidate that is made is returned", param="best_of")
    if asked.echo:
        raise Unfit("echo is not done here; leave it out", param="echo")
    found = raw_infill(_prompt(asked.prompt), manifest.fim)
    given: dict[str, object] = {
        "client": "",
        "path": asked.path,
        "prefix": found.prefix,
        "suffix": found.suffix if asked.suffix is None else asked.suffix,
        "max_tokens": min(16 if asked.max_tokens is None else asked.max_tokens, MOST_TOKENS),
        "temperature": asked.temperature or 0.0,
        "top_p": 1.0 if asked.top_p is None else asked.top_p,
        "stop": _stops(asked.stop),
        "deadline_ms": SECONDS * 1000,
    }
    seeds = [None if asked.seed is None else asked.seed + at for at in range(count)]
    usage = asked.stream_options is not None and asked.stream_options.include_usage
    reply = _Reply(manifest.name, asked.logprobs is not None, usage)
    return CompatRequest(tuple(checked({**given, "seed": seed}) for seed in seeds), bool(asked.stream), reply)


def models(manifest: Manifest) -> dict[str, Any]:
    """The answer of /v1/models."""
    return {"object": "list", "data": [model(manifest)]}


def model(manifest: Manifest) -> dict[str, Any]:
    """One model, as /v1/models lists it."""
    return {"id": manifest.name, "object": "model", "created": 0, "owned_by": "lacuna"}


def require_model(name: str | None, manifest: Manifest) -> None:
    """Raises Unfit when a request names another model. A name is compared and nothing else: it leads to no file."""
    if name and name != manifest.name:
        raise Unfit(f"there is no such model here; there is {manifest.name}", param="model", missing=True)


def error(status: int, message: str, *, param: str | None = None) -> bytes:
    """An answer that is a no, in OpenAI's shape."""
    kind, code = _ERRORS.get(status, ("invalid_request_error" if status < 500 else "server_error", None))
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


_ERRORS = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "insufficient_permissions"),
    404: ("invalid_request_error", "not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
_FINISH: dict[str, Literal["stop", "length"]] = {"length": "length", "deadline": "length"}


def _prompt(prompt: str | list[Any] | None) -> str:
    one = prompt[0] if isinstance(prompt, list) and len(prompt) == 1 else prompt
    if not isinstance(one, str):
        raise Unfit("prompt must be one text; lists of texts and of token ids are not taken here", param="prompt")
    return one


def _stops(stop: str | list[str] | None) -> list[str]:
    stops = [stop] if isinstance(stop, str) else stop or []
    if len(stops) > MOST_STOPS:
        raise Unfit(f"there are {len(stops)} stops; send at most {MOST_STOPS}", param="stop")
    return stops


@dataclass(frozen=True)
class _Reply:
    model: str
    logprobs: bool
    usage: bool
    id: str = field(default_factory=lambda: f"cmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, choices: Sequence[Choice]) -> bytes:
        """A text_completion."""
        shown = [self._choice(index, chunks, done) for index, (chunks, done) in enumerate(choices)]
        return msgspec.json.encode({**self._about(), "choices": shown, "usage": _usage(choices)})

    def part(self, index: int, chunks: Sequence[Chunk]) -> bytes:
        """One event for all of them."""
        return event({**self._about(), "choices": [self._choice(index, chunks, None)]})

    def end(self, index: int, done: Done) -> bytes:
        """An event with the reason."""
        return event({**self._about(), "choices": [self._choice(index, (), done)]})

    def close(self, choices: Sequence[Choice]) -> bytes:
        """The usage, if it was asked for, and OpenAI's own last word."""
        last = event({**self._about(), "choices": [], "usage": _usage(choices)}) if self.usage else b""
        return last + b"data: [DONE]\n\n"

    def _about(self) -> dict[str, Any]:
        return {"id": self.id, "object": "text_completion", "created": self.created, "model": self.model}

    def _choice(self, index: int, chunks: Sequence[Chunk], done: Done | None) -> dict[str, Any]:
        return {
            "index": index,
            "text": "".join(chunk.text for chunk in chunks),
            "logprobs": _logprobs(chunks) if self.logprobs else None,
            "finish_reason": None if done is None else _FINISH.get(done.finish, "stop"),
        }


def _logprobs(chunks: Sequence[Chunk]) -> dict[str, Any]:
    """Only the chosen token's: the others' are not kept."""
    offsets = [0]
    for chunk in chunks:
        offsets.append(offsets[-1] + len(chunk.text))
    return {
        "tokens": [chunk.text for chunk in chunks],
        "token_logprobs": [chunk.logprob for chunk in chunks],
        "top_logprobs": [{chunk.text: chunk.logprob} for chunk in chunks],
        "text_offset": offsets[:-1],
    }


def _usage(choices: Sequence[Choice]) -> dict[str, int]:
    prompt = max((done.usage.prompt_tokens for _, done in choices), default=0)
    written = sum(done.usage.generated for _, done in choices)
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}

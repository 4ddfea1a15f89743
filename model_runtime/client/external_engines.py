"""Somebody else's engine as a service of ours: OpenAI's completions or llama.cpp's infills behind the same client.

Infills in, Chunks and one Done out. What such an engine cannot do itself is done here: lines are counted, deadlines
kept, context put before the prefix. What needs this project's own service (workspace memories, several texts, warm
starts by OpenAI's protocol) is left out. Ignores which model answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

import msgspec

from model_runtime.client.client import CONNECT_SECONDS, Client, patience
from model_runtime.client.endpoint import Endpoint
from model_runtime.client.http_errors import check_language, problem
from model_runtime.errors import ProtocolMismatch, Unreachable
from model_runtime.protocol import (
    PROTOCOL,
    Chunk,
    Done,
    Health,
    InfillRequest,
    Learnt,
    Lesson,
    Reason,
    Usage,
    leaves_open,
)

Engine = Literal["openai", "llama.cpp"]


class Manner(msgspec.Struct, frozen=True):
    """How the engine is asked. model: named in requests; None names none.

    fim: a raw prompt with {prefix} and {suffix} in it, for an engine that does not know `suffix`; OpenAI's only.
    """

    engine: Engine
    model: str | None = None
    fim: str | None = None


class _Logprobs(msgspec.Struct, frozen=True):
    token_logprobs: list[float | None] = []


class _Choice(msgspec.Struct, frozen=True):
    text: str = ""
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Event(msgspec.Struct, frozen=True):
    """An event of either protocol."""

    choices: list[_Choice] = []
    content: str = ""
    stop: bool = False
    stop_type: str = ""
    error: msgspec.Raw = msgspec.Raw()


class _Model(msgspec.Struct, frozen=True):
    id: str


class _Models(msgspec.Struct, frozen=True):
    data: list[_Model]


_decode = msgspec.json.Decoder(_Event).decode


class ExternalEngine(Client):
    """As `Client`, for an engine of another project."""

    base = ""

    def __init__(self, endpoint: Endpoint, manner: Manner) -> None:
        super().__init__(endpoint)
        self._manner = manner

    async def health(self, seconds: float = CONNECT_SECONDS) -> Health:
        """Who answers, as far as its list of models tells. Raises what `Client.health` raises."""
        response = await self._call("GET", "/v1/models", seconds)
        if response.status_code != 200:
            raise problem(response, self.endpoint)
        check_language(response, self.endpoint)
        try:
            names = [one.id for one in msgspec.json.decode(response.content, type=_Models).data]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolMismatch(f"{self.endpoint} lists no models as OpenAI does; mend the address") from error
        if self._manner.model is not None and self._manner.model not in names:
            raise ProtocolMismatch(
                f"{self.endpoint} has no model {self._manner.model}; there is {', '.join(names)[:200]}"
            )
        return Health(PROTOCOL, "", self._manner.model or next(iter(names), ""), 0, "ready", 0)

    async def learn(self, lesson: Lesson) -> Learnt:
        """Nothing: such an engine has no memory of a workspace, and is told nothing of it."""
        return Learnt(0)

    async def infill(self, request: InfillRequest) -> AsyncGenerator[Chunk | Done, None]:
        """As `Client.infill`; one text."""
        if request.max_tokens == 0 and self._manner.engine == "openai":
            yield Done("length")
            return
        path, body = _asked(request, self._manner)
        until = None if request.deadline_ms is None else asyncio.get_running_loop().time() + request.deadline_ms / 1000
        written = _Written(request)
        response = None
        try:
            async with asyncio.timeout_at(until):
                response = await self._send(self._post(path, msgspec.json.encode(body), patience(request)), stream=True)
            if response.status_code != 200:
                await response.aread()
                raise problem(response, self.endpoint)
            check_language(response, self.endpoint)
            async with aclosing(self._lines(response)) as lines:
                while written.reason is None:
                    async with asyncio.timeout_at(until):
                        line = await anext(lines, None)
                    if line is None:
                        raise Unreachable(f"the engine at {self.endpoint} broke off in mid-answer; try again")
                    for chunk in written.take(self._event(line)):
                        yield chunk
        except TimeoutError:
            written.reason = "deadline"
        finally:
            if response is not None:
                await response.aclose()
        yield Done(written.reason or "end", Usage(generated=written.tokens))

    def _event(self, line: bytes) -> _Event | None:
        """The event in a line of a stream; None in one that holds none. An end without a reason has one of ours."""
        if not line.startswith(b"data:"):
            return None
        data = line[5:].strip()
        if data == b"[DONE]":
            return _Event(stop=True)
        try:
            found = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolMismatch(f"the engine at {self.endpoint} answers in another language") from error
        if bytes(found.error):
            raise Unreachable(f"the engine at {self.endpoint} failed in mid-answer; see its log")
        return found


class _Written:
    """A text as it grows, no longer than the request allows. reason: why it ended, None while it has not."""

    def __init__(self, request: InfillRequest) -> None:
        self._most, self._more = request.max_lines, request.open_lines
        self._text = ""
        self.reason: Reason | None = None
        self.tokens = 0

    def take(self, event: _Event | None) -> list[Chunk]:
        """What an event adds."""
        if event is None or self.reason is not None:
            return []
        choice = event.choices[0] if event.choices else _Choice(event.content)
        if choice.finish_reason is not None:
            self.reason = "length" if choice.finish_reason == "length" else "stop"
        elif event.stop:
            self.reason = "length" if event.stop_type == "limit" else "stop"
        text = self._shortened(choice.text)
        if not text:
            return []
        self.tokens += 1
        known = choice.logprobs.token_logprobs if choice.logprobs is not None else []
        return [Chunk(text, next((one for one in known if one is not None), 0.0))]

    def _shortened(self, text: str) -> str:
        """As much of it as the lines allow that are left."""
        before, self._text = self._text, self._text + text
        pieces = self._text.split("\n")
        if self._most is not None and len(pieces) > self._most:
            line = "\n".join(pieces[: self._most])
            if self._more is None or self._more <= self._most or not leaves_open(line):
                self.reason = "stop"
                return line[len(before) :]
            self._most = self._more
            self._text = before
            return self._shortened(text)
        return text


def _asked(request: InfillRequest, manner: Manner) -> tuple[str, dict[str, object]]:
    """Path and body of a request."""
    body: dict[str, object] = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stream": True,
        **({"stop": list(request.stop)} if request.stop else {}),
        **({"seed": request.seed} if request.seed is not None else {}),
        **({"model": manner.model} if manner.model is not None else {}),
    }
    if manner.engine == "llama.cpp":
        extra = [{"filename": one.path, "text": one.text} for one in request.context]
        return "/infill", body | {
            "input_prefix": request.prefix,
            "prompt": request.typed,
            "input_suffix": request.suffix,
            "input_extra": extra,
            "n_predict": request.max_tokens,
            "cache_prompt": True,
        }
    snippets = "".join(one.text if one.text.endswith("\n") else one.text + "\n" for one in request.context)
    before = snippets + request.prefix + request.typed
    body |= {"max_tokens": request.max_tokens, "logprobs": 1}
    if manner.fim is None:
        return "/v1/completions", body | {"prompt": before, "suffix": request.suffix}
    head, _, tail = manner.fim.partition("{prefix}")
    return "/v1/completions", body | {
        "prompt": head.replace("{suffix}", request.suffix) + before + tail.replace("{suffix}", request.suffix)
    }

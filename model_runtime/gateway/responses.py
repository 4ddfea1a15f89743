"""Tickets in, an answer out over HTTP: whole or as a stream of events, and every no as its path's protocol words it.

Ignores who asks and what was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from model_runtime.gateway import compat, llama_cpp, openai
from model_runtime.gateway.compat import Choice, Reply
from model_runtime.protocol import Answer, Chunk, Done, Fault, Problem
from model_runtime.service.request_handle import RequestHandle
from model_runtime.service.service import RETRY_AFTER, STATUS

_FAULTS: dict[int, Fault] = {code: fault for fault, code in STATUS.items()} | {403: "denied"}


def refusal(path: str, status: int, message: str, *, param: str | None = None, after: int | None = None) -> Response:
    """A no, in the shape of the protocol that the path belongs to. The connection ends with it."""
    if path.startswith("/lacuna/"):
        body = msgspec.json.encode(Answer(Problem(_FAULTS.get(status, "bad_request"), message)))
    elif path == "/infill":
        body = llama_cpp.error(status, message)
    else:
        body = openai.error(status, message, param=param)
    headers = {"connection": "close"} if status in (400, 401, 408, 413, 431) else {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if after is not None:
        headers["retry-after"] = str(after)
    return Response(body, status, headers, "application/json")


def problem(path: str, found: Problem) -> Response:
    """The no that a service's problem comes to."""
    status = STATUS[found.type]
    return refusal(path, status, found.message, after=RETRY_AFTER if status in (429, 503) else None)


async def whole(
    handles: Sequence[RequestHandle], reply: Reply, scope: Scope, receive: Receive, send: Send
) -> list[Choice]:
    """One answer once all is written; what it held."""
    choices: list[Choice] = []
    for handle in handles:
        chunks: list[Chunk] = []
        async for batch in handle.batches():
            chunks += [event for event in batch if isinstance(event, Chunk)]
            last = batch[-1]
        if isinstance(last, Problem):
            await problem(scope["path"], last)(scope, receive, send)
            return choices
        assert isinstance(last, Done)
        choices.append((chunks, last))
    await Response(reply.whole(choices), media_type="application/json")(scope, receive, send)
    return choices


async def streamed(
    handles: Sequence[RequestHandle], reply: Reply, scope: Scope, receive: Receive, send: Send
) -> list[Choice]:
    """Events as they come, those of several candidates as each comes. A fault after the first is an event as well."""
    choices: list[Choice] = []
    started = False
    async for index, batch in _merged(handles):
        chunks = [event for event in batch if isinstance(event, Chunk)]
        last = batch[-1]
        if not started and isinstance(last, Problem):
            await problem(scope["path"], last)(scope, receive, send)
            return choices
        if not started:
            headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            started = True
        body = reply.part(index, chunks) if chunks else b""
        if isinstance(last, Problem):
            body += compat.event(msgspec.Raw(problem(scope["path"], last).body))
        elif isinstance(last, Done):
            body += reply.end(index, last)
            choices.append(((), last))
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": reply.close(choices), "more_body": False})
    return choices


async def _merged(handles: Sequence[RequestHandle]) -> AsyncIterator[tuple[int, list[Chunk | Done | Problem]]]:
    """The batches of several handles as they come, each with the number of its handle."""
    batches = [handle.batches() for handle in handles]
    coming = {asyncio.ensure_future(anext(one)): at for at, one in enumerate(batches)}
    try:
        while coming:
            done, _ = await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                at = coming.pop(task)
                with contextlib.suppress(StopAsyncIteration):
                    yield at, task.result()
                    coming[asyncio.ensure_future(anext(batches[at]))] = at
    finally:
        for task in coming:
            task.cancel()

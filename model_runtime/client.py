"""The other end of the service: requests in, streams of tokens out. The only user of httpx.

Keeps a connection alive between requests and opens another when it has gone stale; closing a stream
cancels the work at the service. Ignores how a service is found or started.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import httpx
import msgspec

from model_runtime.errors import Overloaded, ProtocolMismatch, Refused, ServiceError, Unreachable
from model_runtime.protocol import (
    PROTOCOL,
    Answer,
    Chunk,
    Done,
    Health,
    InfillRequest,
    Learnt,
    Lesson,
    Problem,
    Reason,
    Usage,
)

CONNECT_SECONDS = 2.0
SILENCE_SECONDS = 120.0  # a request without a deadline may wait this long for its next byte
LESSON_SECONDS = 60.0  # a lesson is learnt beside the requests, which go first
GRACE_SECONDS = 5.0  # and one with a deadline this long after it

_encode = msgspec.json.Encoder().encode


class Endpoint(msgspec.Struct, frozen=True):
    """Where a service is: the path of a Unix socket, or a URL with the token it asks for."""

    socket: str | None = None
    url: str | None = None
    token: str | None = None

    def __str__(self) -> str:
        return self.socket or self.url or "nowhere"


class _Line(msgspec.Struct, frozen=True):
    """Any line of a stream."""

    text: str = ""
    logprob: float = 0.0
    index: int = 0
    finish: Reason | None = None
    usage: Usage = Usage()
    others: tuple[Reason, ...] = ()
    error: Problem | None = None


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_answer = msgspec.json.Decoder(Answer).decode


class Client:
    """One service, as seen from a process that has work for it. Use it on one event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._http = _http(endpoint)

    async def health(self, seconds: float = CONNECT_SECONDS) -> Health:
        """Who answers. Raises Unreachable, and ProtocolMismatch when it is not a service of this protocol."""
        response = await self._call("GET", "/health", seconds)
        return _health(response, self.endpoint)

    async def drain(self) -> Health:
        """Ask the service to finish what runs and end. Raises Unreachable."""
        return _health(await self._call("POST", "/drain", CONNECT_SECONDS), self.endpoint)

    async def learn(self, lesson: Lesson) -> Learnt:
        """Have the service remember texts of a workspace. Raises Unreachable, Refused."""
        message = self._http.build_request(
            "POST",
            "/memory",
            content=_encode(lesson),
            headers={"content-type": "application/json"},
            timeout=httpx.Timeout(LESSON_SECONDS, connect=CONNECT_SECONDS),
        )
        response = await self._send(message, stream=False)
        if response.status_code != 200:
            raise _problem(response, self.endpoint)
        try:
            return msgspec.json.decode(response.content, type=Learnt)
        except msgspec.DecodeError as error:
            raise ProtocolMismatch(f"the service at {self.endpoint} answers a lesson with something else") from error

    async def infill(self, request: InfillRequest) -> AsyncGenerator[Chunk | Done, None]:
        """Tokens as they come, then one Done. Closing the iterator cancels the work.

        Raises Overloaded, Refused (the request or the model is at fault), and Unreachable (the service
        is gone or about to go: find or start another).
        """
        response = await self._open(request)
        try:
            if response.status_code != 200:
                await response.aread()
                raise _problem(response, self.endpoint)
            async with aclosing(self._lines(response)) as lines:
                async for line in lines:
                    event = _event(line, self.endpoint)
                    yield event
                    if isinstance(event, Done):
                        return
            raise Unreachable(f"the service at {self.endpoint} broke off in mid-answer; try again")
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def _open(self, request: InfillRequest) -> httpx.Response:
        """The head of the response; its body is still to come."""
        seconds = SILENCE_SECONDS if request.deadline_ms is None else request.deadline_ms / 1000 + GRACE_SECONDS
        message = self._http.build_request(
            "POST",
            "/infill",
            content=_encode(request),
            headers={"content-type": "application/json"},
            timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS),
        )
        return await self._send(message, stream=True)

    async def _call(self, method: str, path: str, seconds: float) -> httpx.Response:
        return await self._send(self._http.build_request(method, path, timeout=seconds), stream=False)

    async def _send(self, message: httpx.Request, *, stream: bool) -> httpx.Response:
        """A connection kept alive may have gone stale unseen, so a broken one is tried once more."""
        try:
            return await self._http.send(message, stream=stream)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            pass
        except httpx.HTTPError as error:
            raise _unreachable(self.endpoint, error) from error
        try:
            return await self._http.send(message, stream=stream)
        except httpx.HTTPError as error:
            raise _unreachable(self.endpoint, error) from error

    async def _lines(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        rest = b""
        try:
            async for part in response.aiter_raw():
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    yield line
        except httpx.HTTPError as error:
            raise _unreachable(self.endpoint, error) from error


def _http(endpoint: Endpoint) -> httpx.AsyncClient:
    limits = httpx.Limits(keepalive_expiry=None)
    if endpoint.socket is not None:
        transport = httpx.AsyncHTTPTransport(uds=endpoint.socket, verify=False, trust_env=False, limits=limits)
        return httpx.AsyncClient(transport=transport, base_url="http://lacuna", trust_env=False)
    if endpoint.url is None:
        raise Unreachable("an endpoint needs a socket or a URL")
    headers = {"authorization": f"Bearer {endpoint.token}"} if endpoint.token else {}
    return httpx.AsyncClient(base_url=f"{endpoint.url.rstrip('/')}/lacuna", headers=headers, limits=limits)


def _health(response: httpx.Response, endpoint: Endpoint) -> Health:
    try:
        health = msgspec.json.decode(response.content, type=Health)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolMismatch(f"what answers at {endpoint} is no Lacuna service; stop it or move it away") from error
    if health.protocol != PROTOCOL:
        raise ProtocolMismatch(
            f"the service at {endpoint} speaks protocol {health.protocol}, this Lacuna {PROTOCOL}; upgrade one"
        )
    return health


def _event(line: bytes, endpoint: Endpoint) -> Chunk | Done:
    try:
        one = _decode_line(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolMismatch(f"the service at {endpoint} answers in another language; upgrade it") from error
    if one.error is not None:
        raise _of_problem(one.error)
    if one.finish is None:
        return Chunk(one.text, one.logprob, one.index)
    return Done(one.finish, one.usage, one.others)


def _problem(response: httpx.Response, endpoint: Endpoint) -> ServiceError | Overloaded:
    try:
        return _of_problem(_decode_answer(response.content).error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Refused(f"the service at {endpoint} answered {response.status_code}; run `lacuna doctor`")


def _of_problem(problem: Problem) -> ServiceError | Overloaded:
    if problem.type == "overloaded":
        return Overloaded(problem.message)
    if problem.type == "draining":
        return Unreachable(problem.message)
    return Refused(problem.message)


def _unreachable(endpoint: Endpoint, error: httpx.HTTPError) -> Unreachable:
    if isinstance(error, httpx.TimeoutException):
        return Unreachable(f"the service at {endpoint} does not answer; try `lacuna stop`, then again")
    return Unreachable(f"nobody answers at {endpoint} ({type(error).__name__}); run `lacuna doctor`")

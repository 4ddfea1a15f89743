"""The other end of the service: requests in, streams of tokens out.

Keeps a connection alive between requests and opens another when it has gone stale; closing a stream
cancels the work at the service. To a URL it goes through the proxy that the environment names, trusts the system's
authorities and one of the user's own. Ignores how a service is found or started.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import TypeVar

import httpx
import msgspec

from model_runtime.client import http_errors, proxies
from model_runtime.client.endpoint import Endpoint
from model_runtime.errors import ProtocolMismatch, Unreachable, Untrusted
from model_runtime.protocol import (
    PROTOCOL,
    Chunk,
    Counts,
    Done,
    Health,
    InfillRequest,
    Learnt,
    Lesson,
    Problem,
    Reason,
    Texts,
    Usage,
)

CONNECT_SECONDS = 2.0
SILENCE_SECONDS = 120.0  # a request without a deadline may wait this long for its next byte
LESSON_SECONDS = 60.0  # a lesson is learnt beside the requests, which go first
GRACE_SECONDS = 5.0  # and one with a deadline this long after it
END_SECONDS = 0.05  # for the end of a stream after its last line; mostly both come at once

_encode = msgspec.json.Encoder().encode
_T = TypeVar("_T")


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


class Client:
    """One service, as seen from a process that has work for it. Use it on one event loop."""

    base = "/lacuna"  # before every path, at a URL

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises Untrusted when a file of the endpoint's cannot be used."""
        self.endpoint = endpoint
        self._http = _http(endpoint, self.base)
        self._urls: dict[str, httpx.URL] = {}

    async def health(self, seconds: float = CONNECT_SECONDS) -> Health:
        """Who answers. Raises Unreachable, and ProtocolMismatch when it is not a service of this protocol."""
        response = await self._call("GET", "/health", seconds)
        return _health(response, self.endpoint)

    async def drain(self) -> Health:
        """Ask the service to finish what runs and end. Raises Unreachable."""
        return _health(await self._call("POST", "/drain", CONNECT_SECONDS), self.endpoint)

    async def learn(self, lesson: Lesson) -> Learnt:
        """Have the service remember texts of a workspace. Raises Unreachable, Refused."""
        return await self._told("/memory", lesson, LESSON_SECONDS, Learnt)

    async def count(self, texts: Sequence[str]) -> tuple[int, ...] | None:
        """How many of the model's tokens each text has. Raises Unreachable, Refused.

        None of a server elsewhere: it is shown no more of the user's code than goes into a prompt.
        """
        if self.endpoint.socket is None:
            return None
        return (await self._told("/count", Texts(tuple(texts)), CONNECT_SECONDS, Counts)).tokens

    async def infill(self, request: InfillRequest) -> AsyncGenerator[Chunk | Done, None]:
        """Tokens as they come, then one Done. Closing the iterator cancels the work.

        Raises Overloaded, Refused (the request or the model is at fault), and Unreachable (the service
        is gone or about to go: find or start another).
        """
        response = await self._open(request)
        try:
            if response.status_code != 200:
                await response.aread()
                raise http_errors.problem(response, self.endpoint)
            http_errors.check_language(response, self.endpoint)
            async with aclosing(self._lines(response)) as lines:
                async for line in lines:
                    event = _event(line, self.endpoint)
                    if isinstance(event, Done):
                        await _ended(lines)
                        yield event
                        return
                    yield event
            raise Unreachable(f"the service at {self.endpoint} broke off in mid-answer; try again")
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def _told(self, path: str, value: object, seconds: float, kind: type[_T]) -> _T:
        """The answer to a value that is sent. Raises Unreachable, Refused, ProtocolMismatch."""
        response = await self._send(self._post(path, _encode(value), seconds), stream=False)
        if response.status_code != 200:
            raise http_errors.problem(response, self.endpoint)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.DecodeError as error:
            raise ProtocolMismatch(f"the service at {self.endpoint} answers {path} with something else") from error

    async def _open(self, request: InfillRequest) -> httpx.Response:
        """The head of the response; its body is still to come."""
        return await self._send(self._post("/infill", _encode(request), patience(request)), stream=True)

    def _post(self, path: str, body: bytes, seconds: float) -> httpx.Request:
        """As the client builds requests, but for what it would find out about the address each time anew."""
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = self._http.build_request("POST", path).url
        headers = {**self._http.headers, "content-type": "application/json"}
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS).as_dict()
        return httpx.Request("POST", url, content=body, headers=headers, extensions={"timeout": timeout})

    async def _call(self, method: str, path: str, seconds: float) -> httpx.Response:
        return await self._send(self._http.build_request(method, path, timeout=seconds), stream=False)

    async def _send(self, message: httpx.Request, *, stream: bool) -> httpx.Response:
        """A connection kept alive may have gone stale unseen, so a broken one is tried once more."""
        try:
            return await self._http.send(message, stream=stream)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            if self._http.is_closed:  # by somebody else who uses this client
                raise http_errors.unreachable(self.endpoint, error) from error
        except httpx.HTTPError as error:
            raise http_errors.unreachable(self.endpoint, error) from error
        try:
            return await self._http.send(message, stream=stream)
        except httpx.HTTPError as error:
            raise http_errors.unreachable(self.endpoint, error) from error

    async def _lines(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        rest = b""
        try:
            async for part in response.aiter_raw():
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    yield line
        except httpx.HTTPError as error:
            raise http_errors.unreachable(self.endpoint, error) from error


async def _ended(lines: AsyncGenerator[bytes, None]) -> None:
    """Reads a stream to its end, of which all that counts has come: only then its connection serves the next one."""
    with suppress(TimeoutError, Unreachable):
        async with asyncio.timeout(END_SECONDS):
            await anext(lines, None)


def patience(request: InfillRequest) -> float:
    """Seconds to wait for the next byte of an answer."""
    return SILENCE_SECONDS if request.deadline_ms is None else request.deadline_ms / 1000 + GRACE_SECONDS


def _http(endpoint: Endpoint, base: str) -> httpx.AsyncClient:
    limits = httpx.Limits(keepalive_expiry=None)
    if endpoint.socket is not None:
        transport = httpx.AsyncHTTPTransport(uds=endpoint.socket, verify=False, trust_env=False, limits=limits)
        return httpx.AsyncClient(transport=transport, base_url="http://lacuna", trust_env=False)
    if endpoint.url is None:
        raise Unreachable("an endpoint needs a socket or a URL")
    headers = {"authorization": f"Bearer {endpoint.token}"} if endpoint.token else {}
    url = f"{endpoint.url.rstrip('/')}{base}"
    verify = _trust(endpoint) if url.startswith("https:") else True
    try:
        if (httpx.URL(url).port or 0) > 65535:
            raise httpx.InvalidURL("a port is at most 65535")
        proxy = proxies.proxy_of(url)
        return httpx.AsyncClient(
            base_url=url, headers=headers, limits=limits, verify=verify, proxy=proxy, trust_env=False
        )
    except (httpx.InvalidURL, ValueError) as error:  # of the address, or of a proxy's in the environment
        raise Unreachable(f"{endpoint} or a proxy of the environment is no address: {error}; mend it") from error
    except ImportError as error:
        raise Unreachable(
            f"the environment names a SOCKS proxy, which is not spoken here: set HTTPS_PROXY to an http:// one, "
            f"or NO_PROXY={httpx.URL(url).host} to go without it"
        ) from error


def _trust(endpoint: Endpoint) -> ssl.SSLContext:
    """Whom to believe: httpx's authorities or those of SSL_CERT_FILE, the system's, and the user's own."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    try:
        if endpoint.ca is not None:
            context.load_verify_locations(endpoint.ca)
        if endpoint.certificate is not None:
            context.load_cert_chain(endpoint.certificate, endpoint.key, password="")
    except (OSError, ssl.SSLError) as error:
        names = " and ".join(one for one in (endpoint.ca, endpoint.certificate, endpoint.key) if one)
        raise Untrusted(
            f"{names} cannot be used as certificates ({error.strerror or error}); give PEM files"
        ) from error
    return context


def _health(response: httpx.Response, endpoint: Endpoint) -> Health:
    if response.status_code in (401, 403, 407, 511) or http_errors.is_page(response):
        raise http_errors.problem(response, endpoint)
    try:
        health = msgspec.json.decode(response.content, type=Health)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolMismatch(
            f"what answers at {endpoint} is no Lacuna service; "
            + ("mend the address, or say which engine it is" if endpoint.url else "stop it or move it away")
        ) from error
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
        raise http_errors.of_problem(one.error)
    if one.finish is None:
        return Chunk(one.text, one.logprob, one.index)
    return Done(one.finish, one.usage, one.others)

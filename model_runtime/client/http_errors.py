"""What came in place of an answer in, one sentence on what is in the way out, as an error to raise.

A proxy, a portal's web page, a certificate that is not to be trusted, nobody: each is told apart, for each wants
another remedy. Ignores what was asked for.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import msgspec

from model_runtime.client.endpoint import Endpoint
from model_runtime.errors import Denied, Overloaded, ProtocolMismatch, Refused, ServiceError, Unreachable, Untrusted
from model_runtime.protocol import Answer, Problem

_decode_answer = msgspec.json.Decoder(Answer).decode


def problem(response: httpx.Response, endpoint: Endpoint) -> ServiceError | Overloaded:
    """What an answer that is not the one we want means."""
    status = response.status_code
    if status == 407:
        return _proxy_asks(endpoint)
    if status == 511 or is_page(response):
        return _portal(endpoint)
    message = _message(response)
    if status in (401, 403):
        return Denied(f"{endpoint} says: {message}" if message else f"{endpoint} asks for another token ({status})")
    try:
        return of_problem(_decode_answer(response.content).error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    if status in (429, 503):
        return Overloaded(message or f"the service at {endpoint} has too much to do; try again in a second")
    said = f"says: {message}" if message else f"answered {status}; run `lacuna doctor`"
    return Refused(f"the service at {endpoint} {said}")


def check_language(response: httpx.Response, endpoint: Endpoint) -> None:
    """Raises ProtocolMismatch when a web page came in place of an answer."""
    if is_page(response):
        raise _portal(endpoint)


def is_page(response: httpx.Response) -> bool:
    """Whether somebody in between answers: a page, or the way to one. No service of ours does either."""
    return response.is_redirect or "text/html" in response.headers.get("content-type", "")


def _portal(endpoint: Endpoint) -> ProtocolMismatch:
    return ProtocolMismatch(
        f"a web page answers in place of {endpoint}: log in to this network in a browser, or mend the address"
    )


def _proxy_asks(endpoint: Endpoint) -> Unreachable:
    host = urlsplit(endpoint.url or "").hostname
    return Unreachable(
        f"the proxy before {endpoint} asks for a name and a password (407): "
        f"set HTTPS_PROXY=http://NAME:PASSWORD@PROXY:PORT, or NO_PROXY={host} to go without it"
    )


def _message(response: httpx.Response) -> str:
    """What a no says in anybody's JSON; empty when it says nothing that can be read."""
    try:
        return msgspec.json.decode(response.content, type=_Words).error.message[:300]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


class _Word(msgspec.Struct, frozen=True):
    message: str


class _Words(msgspec.Struct, frozen=True):
    error: _Word


def of_problem(problem: Problem) -> ServiceError | Overloaded:
    """The error of a service that says itself what it is."""
    if problem.type == "overloaded":
        return Overloaded(problem.message)
    if problem.type == "draining":
        return Unreachable(problem.message)
    return Refused(problem.message)


def unreachable(endpoint: Endpoint, error: httpx.HTTPError) -> ServiceError:
    """What it means that no answer came, or not all of it."""
    if isinstance(error, httpx.ProxyError) and "407" in str(error):
        return _proxy_asks(endpoint)
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Untrusted(
                f"the certificate of {endpoint} is not to be trusted: {cause.verify_message}; if it is your "
                "organisation's, name the authority's PEM file in the setting `ca` (LACUNA_CA)"
            )
        if isinstance(cause, ssl.SSLError) and "CERTIFICATE_REQUIRED" in str(cause):
            return _hung_up(endpoint)
        if isinstance(cause, ssl.SSLError):
            return Untrusted(f"no secure connection to {endpoint} ({cause.reason or cause}); mend the address")
    if isinstance(error, httpx.TimeoutException):
        cure = "look whether it runs, or mend the address" if endpoint.url else "try `lacuna stop`, then again"
        return Unreachable(f"the service at {endpoint} does not answer; {cure}")
    if endpoint.certificate is None and (endpoint.url or "").startswith("https:") and not _is_nobody(error):
        return _hung_up(endpoint)
    return Unreachable(f"nobody answers at {endpoint} ({type(error).__name__}); run `lacuna doctor`")


def _is_nobody(error: httpx.HTTPError) -> bool:
    return isinstance(error, httpx.ConnectError | httpx.ProxyError)


def _hung_up(endpoint: Endpoint) -> Unreachable:
    """Of a server that wants a certificate often nothing but this is to be seen: its reason may come too late."""
    return Unreachable(
        f"{endpoint} ends each connection at once; if it asks for a certificate of yours, name it in the settings "
        "`client_cert` and `client_key`"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__

"""The team server: the model behind a port, on terms that are checked before anybody can connect. Unix only.

`daemon_server` is the daemon of one user; both serve with `model_runtime.service.server`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lacuna import audit, build, log, tokens
from lacuna.daemon_server import runner
from lacuna.errors import ServeError
from lacuna.fresh import Fresh
from lacuna.settings import Settings
from model_runtime import manifest
from model_runtime.engine import cache
from model_runtime.gateway import gateway
from model_runtime.gateway.auth import Access, Grant
from model_runtime.gateway.gateway import Terms
from model_runtime.manifest import Manifest
from model_runtime.service import ngram_store
from model_runtime.service.engine_worker import Writer
from model_runtime.service.server import Server, serve
from model_runtime.service.service import Identity, Service

_BACKLOG = 1024
_PROGRAM_MB = 200  # Python, its libraries and ONNX Runtime, with fifty at work and one memory being sorted
_RANK_MB = 300  # the same of each rank of a sharded model, with torch
_WEIGHTS = 4  # times the files of a model are held at most: for a few tokens, for many, and while they are loaded
_SHARE = 4  # part of the machine's memory that a server takes unless told
_GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_WORKSPACE_MB = 7  # that a workspace's memory takes at most
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Port:
    """Where to listen and on which terms. without_tls, without_tokens: said in so many words by whoever serves.

    memory: megabytes that all of it may use.
    """

    host: str
    port: int
    certificate: Path | None
    key: Path | None
    client_ca: Path | None
    tokens: Path
    audit: Path
    without_tls: bool
    without_tokens: bool
    memory: int | None


def run(settings: Settings, port: Port, ready: Callable[[str], None]) -> None:
    """Serve until signalled. ready: called with the URL once requests are answered.

    Raises ServeError when the terms are not safe or cannot be kept, TokenError, and ModelError.
    """
    _check(port)
    directory = settings.model_directory
    described = manifest.read(directory)
    terms = Terms(Access(_grants(port)), _context(port), audit.opened(port.audit))
    kv_cache = _for_keys_and_values(settings, port.memory, described)
    listener = _listen(port)
    log.to_stream(sys.stderr)
    _allow_many_files()
    url = f"{'https' if port.certificate else 'http'}://{_bracketed(port.host)}:{listener.getsockname()[1]}"

    def opener() -> Writer:
        from model_runtime.opening import open_engine  # slow to import, so on the engine's thread

        return open_engine(
            directory,
            cache=settings.cache,
            threads=settings.threads,
            kv_cache=kv_cache,
            provider=settings.provider,
        )

    def server_of(service: Service) -> Server:
        return gateway.server(service, described, terms)

    identity = Identity(build.identify(directory), described.name)
    _log.info("build %s serves %s on %s", identity.build, identity.model, url)
    serving = serve(opener, listener, identity, ready=lambda: ready(url), server_of=server_of)
    with contextlib.closing(listener), _hanging_up_ignored(), runner() as loop:
        loop.run(serving)


def _for_keys_and_values(settings: Settings, memory: int | None, described: Manifest) -> int | None:
    """Megabytes for the model's memory of what it has read; None for no more than a laptop's.

    What the program and the model leave of `memory` (measured, and rounded up in our favour), else what the settings
    say, else a share of the machine's. Raises ServeError when `memory` is too little.
    """
    if memory is None and settings.kv_cache is not None:
        return settings.kv_cache
    weights = sum(file.bytes for file in described.files.values()) >> 20
    ranks = described.sharding.ranks if described.sharding else 0
    rest = _PROGRAM_MB + ranks * _RANK_MB + _WEIGHTS * weights + ngram_store.ALL * _WORKSPACE_MB
    if memory is None:
        left = _machine_mb() // _SHARE - rest
        return left if left > cache.MEGABYTES else None
    if memory <= rest:
        raise ServeError(f"--memory is {memory} MB, the program and the model take {rest}; give at least {rest + 100}")
    return memory - rest


def _machine_mb() -> int:
    """Memory of this machine, or what its control group may use of that."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # no such group, or "max"
        found = min(found, int(_GROUP_LIMIT.read_text("ascii")))
    return found >> 20


def _check(port: Port) -> None:
    if (port.certificate is None) != (port.key is None):
        raise ServeError("--tls-cert and --tls-key belong together; give both")
    if port.client_ca is not None and port.certificate is None:
        raise ServeError("--tls-client-ca needs --tls-cert and --tls-key")
    if _is_loopback(port.host):
        return
    if port.certificate is None and not port.without_tls:
        raise ServeError(
            f"{port.host} can be reached from other machines, and code would travel to it in the clear; "
            "give --tls-cert and --tls-key, or say --insecure-without-tls"
        )
    if not port.without_tokens and not tokens.read(port.tokens):
        raise ServeError(
            f"{port.host} can be reached from other machines, and there is no token in {port.tokens}; "
            "make one with `lacuna token create NAME`, or say --insecure-without-tokens"
        )


def _grants(port: Port) -> Fresh[dict[str, Grant]] | None:
    """None where nobody is asked for a token: told so, or on loopback as long as no token was ever made."""
    if port.without_tokens or (_is_loopback(port.host) and not port.tokens.exists()):
        return None
    return Fresh((port.tokens,), lambda: tokens.read(port.tokens))


def _context(port: Port) -> Callable[[], ssl.SSLContext | None]:
    certificate, key, client_ca = port.certificate, port.key, port.client_ca
    if certificate is None or key is None:
        return lambda: None
    paths = [certificate, key, *([client_ca] if client_ca else [])]
    return Fresh(paths, lambda: _read_context(certificate, key, client_ca))


def _read_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password="")  # one with a passphrase is an error, not a question
    except FileNotFoundError as error:
        missing = next(path for path in (certificate, key) if not path.exists())
        raise ServeError(f"there is no {missing}; --tls-cert and --tls-key name PEM files") from error
    except (ssl.SSLError, OSError) as error:
        raise ServeError(
            f"{certificate} and {key} are no certificate with its key ({error}); give PEM files that belong together, "
            "the key without a passphrase"
        ) from error
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(client_ca)
        except (ssl.SSLError, OSError) as error:
            raise ServeError(f"{client_ca} holds no certificates ({error}); give a PEM file") from error
    return context


def _listen(port: Port) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in port.host else socket.AF_INET
        return socket.create_server((port.host, port.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ServeError(
            f"cannot listen on {port.host} port {port.port}: {error.strerror or error}; choose another with --port"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _allow_many_files() -> None:
    """A connection is a file to the system, and its usual limit is low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        _log.info("%d files may be open, %d before", hard, soft)


@contextlib.contextmanager
def _hanging_up_ignored() -> Iterator[None]:
    """SIGHUP asks a server to read its files again; this one does that by itself, and must not end of it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)

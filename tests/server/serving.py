"""A gateway on a real port of loopback with a scripted engine behind it, and what is asked of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from model_runtime.gateway import auth, gateway
from model_runtime.gateway.auth import Access, Grant
from model_runtime.gateway.gateway import Record, Terms
from model_runtime.service.engine_worker import Writer
from model_runtime.service.server import serve
from model_runtime.service.service import Identity, Service
from tests.scripted import ScriptedEngine, description

PATIENCE = 10.0  # seconds that a wait in these tests may take at most
SECRET_CODE = "zebra_quagga_okapi"  # stands in every prompt: it may be in an answer's place and nowhere else


def granted(**more: Any) -> tuple[str, Grant]:
    """A token, and the grant that is kept of it."""
    token, identifier, digest = auth.issue()
    return token, Grant(**{"id": identifier, "name": f"name-{identifier}", "digest": digest, **more})


def grants(*found: Grant) -> Callable[[], Mapping[str, Grant]]:
    return lambda: {one.id: one for one in found}


def talkative(**more: Any) -> ScriptedEngine:
    engine = ScriptedEngine(**more)
    engine.gate.set()
    return engine


@dataclass
class Served:
    """url: where; service: what is behind; records: its audit so far."""

    url: str
    service: Service
    records: list[Record] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        url = httpx.URL(self.url)
        assert url.port is not None
        return url.host, url.port

    def http(self, token: str | None = None, **more: Any) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=PATIENCE, trust_env=False, **more)


@asynccontextmanager
async def served(
    engine: Writer | None = None,
    allowed: Callable[[], Mapping[str, Grant]] | None = None,
    *,
    context: ssl.SSLContext | None = None,
    clock: Callable[[], float] | None = None,
    port: int = 0,
) -> AsyncIterator[Served]:
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    records: list[Record] = []
    terms = Terms(Access(allowed, **({"clock": clock} if clock else {})), lambda: context, records.append)
    made: list[Service] = []
    is_ready = asyncio.Event()

    def server_of(service: Service) -> Any:
        made.append(service)
        return gateway.server(service, description(), terms)

    chosen = engine or talkative()
    serving = asyncio.create_task(
        serve(lambda: chosen, listener, Identity("build", "scripted"), ready=is_ready.set, server_of=server_of)
    )
    async with asyncio.timeout(PATIENCE):
        await is_ready.wait()
    scheme = "http" if context is None else "https"
    try:
        yield Served(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", made[0], records)
    finally:
        made[0].end()
        async with asyncio.timeout(PATIENCE):
            await serving


def completion(**more: Any) -> dict[str, Any]:
    return {"prompt": f"def {SECRET_CODE}(a):\n    ", "suffix": "\n", **more}

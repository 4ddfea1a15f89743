"""The members of uvicorn that we override or call though they are private, in the one version that we looked at."""

from __future__ import annotations

import importlib.metadata
import inspect
import tomllib
from pathlib import Path

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

VERSION = "0.54.0"
CURE = f"uvicorn is not {VERSION}: read how `Server` and `HttpToolsProtocol` changed, then change pin and test"

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

# What `service/server.py` and `gateway/` replace, with its parameters; each is called by uvicorn itself.
REPLACED = [
    (uvicorn.Server, "main_loop", ["self"]),
    (uvicorn.Server, "capture_signals", ["self"]),
    (uvicorn.Server, "startup", ["self", "sockets"]),
    (HttpToolsProtocol, "__init__", ["self", "config", "server_state", "app_state", "_loop"]),
    (HttpToolsProtocol, "connection_made", ["self", "transport"]),
    (HttpToolsProtocol, "connection_lost", ["self", "exc"]),
    (HttpToolsProtocol, "data_received", ["self", "data"]),
    (HttpToolsProtocol, "on_message_begin", ["self"]),
    (HttpToolsProtocol, "on_headers_complete", ["self"]),
]

# What `gateway/connection_limits.py` calls.
CALLED = [
    (HttpToolsProtocol, "_unset_keepalive_if_required", ["self"]),
    (HttpToolsProtocol, "send_400_response", ["self", "msg"]),
]


def test_the_version_is_the_pinned_one() -> None:
    assert importlib.metadata.version("uvicorn") == VERSION, CURE
    dependencies = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["dependencies"]
    assert f"uvicorn=={VERSION}" in dependencies


@pytest.mark.parametrize(("owner", "name", "parameters"), [*REPLACED, *CALLED])
def test_a_member_that_we_lean_on_is_as_we_know_it(owner: type, name: str, parameters: list[str]) -> None:
    member = inspect.unwrap(getattr(owner, name))
    assert list(inspect.signature(member).parameters) == parameters, CURE


@pytest.mark.parametrize("name", ["main_loop", "startup", "capture_signals", "shutdown"])
def test_the_server_itself_calls_what_we_replace(name: str) -> None:
    served = inspect.getsource(uvicorn.Server.serve) + inspect.getsource(uvicorn.Server._serve)
    assert f"self.{name}(" in served, CURE


def test_the_servers_that_we_put_in_place_are_closed_as_sockets_are() -> None:
    shutdown = inspect.getsource(uvicorn.Server.shutdown)
    assert "for server in self.servers:" in shutdown and "server.close()" in shutdown, CURE
    assert "await server.wait_closed()" in inspect.getsource(uvicorn.Server._wait_tasks_to_complete), CURE

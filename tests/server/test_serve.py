"""`lacuna serve --port` and `lacuna token` as processes: terms, certificates, tokens that change, the audit."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
import trustme

from lacuna import commands, isolation, server
from lacuna.settings import Settings
from model_runtime import manifest
from tests import daemons, tiny
from tests.server.serving import PATIENCE, SECRET_CODE, completion

COMMAND_PATIENCE = 30.0


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("serve")
    with daemons.settings(tiny.write(folder / "model"), folder / "cache") as found:
        yield found


@dataclass
class Keeper:
    """The command line of whoever runs a server; its files are in `folder`."""

    folder: Path
    settings: Settings

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens.json"

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """A command's exit code and what it said, on this Python."""
        said, complained = io.StringIO(), io.StringIO()
        with redirect_stdout(said), redirect_stderr(complained):
            code = commands.run([*arguments, "--tokens", str(self.tokens)])
        return code, said.getvalue(), complained.getvalue()

    def create(self, name: str, *more: str) -> str:
        code, said, complained = self.run("token", "create", name, *more)
        assert code == 0, complained
        return said.strip()

    @contextmanager
    def serving(self, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
        """The URL of a server, and its process, which has ended well afterwards."""
        process = subprocess.Popen(
            isolation.command("serve", "--port", "0", "--tokens", str(self.tokens), *arguments),
            env=daemons.environment(self.settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            assert line.startswith("ready at "), process.stderr.read()
            yield line.removeprefix("ready at ").strip(), process
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=COMMAND_PATIENCE)
            assert process.returncode == 0, errors
            assert "Traceback" not in errors and SECRET_CODE not in errors
        finally:
            process.kill()
            process.communicate()


@pytest.fixture
def keeper(tmp_path: Path, settings: Settings) -> Keeper:
    return Keeper(tmp_path, settings)


def certified(folder: Path, *names: str) -> tuple[trustme.CA, tuple[str, ...]]:
    """An authority, and the options that serve with a certificate of it."""
    authority = trustme.CA()
    issue(authority, folder, *names)
    return authority, ("--tls-cert", str(folder / "chain.pem"), "--tls-key", str(folder / "key.pem"))


def issue(authority: trustme.CA, folder: Path, *names: str) -> None:
    made = authority.issue_cert(*names)
    (folder / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    made.private_key_pem.write_to_path(str(folder / "key.pem"))


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def ask(url: str, token: str | None, verify: ssl.SSLContext | bool = False) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(verify=verify, trust_env=False, timeout=PATIENCE) as http:
        return http.post(f"{url}/v1/completions", json=completion(max_tokens=4), headers=headers)


def test_a_laptop_is_served_in_the_clear_on_loopback(keeper: Keeper) -> None:
    with keeper.serving() as (url, _):
        assert url.startswith("http://127.0.0.1:")
        assert ask(url, None).status_code == 200
    (line,) = (keeper.folder / "audit.log").read_text().splitlines()
    record = json.loads(line)
    assert record["path"] == "/v1/completions" and record["status"] == 200 and record["prompt"] > 0


def test_a_team_is_served_with_a_certificate_and_tokens_that_change_meanwhile(keeper: Keeper) -> None:
    authority, tls = certified(keeper.folder, "127.0.0.1")
    anna = keeper.create("anna")
    with keeper.serving("--host", "0.0.0.0", *tls) as (url, process):
        url = url.replace("0.0.0.0", "127.0.0.1")
        verify = trusting(authority)
        assert ask(url, anna, verify).status_code == 200
        assert ask(url, None, verify).status_code == 401
        bert = keeper.create("bert")
        assert ask(url, bert, verify).status_code == 200
        identifier = anna.split("_")[1]
        assert keeper.run("token", "revoke", identifier)[0] == 0
        assert ask(url, anna, verify).status_code == 401
        other = trustme.CA()
        issue(other, keeper.folder, "127.0.0.1")
        process.send_signal(signal.SIGHUP)
        assert ask(url, bert, trusting(other)).status_code == 200
        with pytest.raises(httpx.ConnectError):
            ask(url, bert, verify)
        (keeper.folder / "chain.pem").write_text("no certificate")
        keeper.tokens.write_text("no tokens")
        assert ask(url, bert, trusting(other)).status_code == 200
    written = (keeper.folder / "audit.log").read_text() + keeper.tokens.read_text()
    assert SECRET_CODE not in written and anna not in written and bert not in written
    named = [json.loads(line).get("name") for line in (keeper.folder / "audit.log").read_text().splitlines()]
    assert named.count("anna") == 1 and named.count("bert") == 3


def test_a_client_without_a_certificate_is_not_let_in_where_one_is_asked_for(keeper: Keeper) -> None:
    authority, tls = certified(keeper.folder, "127.0.0.1")
    ca = keeper.folder / "clients.pem"
    authority.cert_pem.write_to_path(str(ca))
    with keeper.serving(*tls, "--tls-client-ca", str(ca)) as (url, _):
        with pytest.raises(httpx.HTTPError):
            ask(url, None, trusting(authority))
        verify = trusting(authority)
        authority.issue_cert("anna").configure_cert(verify)
        assert ask(url, None, verify).status_code == 200


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--host", "0.0.0.0"), "--insecure-without-tls"),
        (("--host", "0.0.0.0", "--insecure-without-tls"), "--insecure-without-tokens"),
        (("--host", "::", "--insecure-without-tokens"), "--insecure-without-tls"),
        (("--host", "example.invalid"), "--insecure-without-tls"),
        (("--tls-cert", "chain.pem"), "--tls-key"),
        (("--memory", "64"), "give at least"),
        (("--tls-client-ca", "ca.pem"), "--tls-cert"),
        (("--tls-cert", "/nowhere/c.pem", "--tls-key", "/nowhere/k.pem"), "/nowhere/c.pem"),
        (("--tls-cert", sys.executable, "--tls-key", sys.executable), "PEM"),
    ],
)
def test_terms_that_are_not_safe_are_refused_before_anybody_can_connect(
    keeper: Keeper, options: tuple[str, ...], said: str
) -> None:
    code, _, complained = keeper.run("serve", "--port", "0", *options)
    assert code == 1 and said in complained and len(complained.splitlines()) == 1


@pytest.mark.parametrize(
    "options", [("--host", "127.0.0.1"), ("--tls-cert", "chain.pem"), ("--insecure-without-tls",), ("--memory", "900")]
)
def test_what_is_said_of_a_port_needs_one(keeper: Keeper, options: tuple[str, ...]) -> None:
    done = subprocess.run(
        isolation.command("serve", *options),
        env=daemons.environment(keeper.settings),
        capture_output=True,
        encoding="utf-8",
        timeout=daemons.PATIENCE,
    )
    assert done.returncode == 1 and "--port" in done.stderr and len(done.stderr.splitlines()) == 1


def test_said_in_so_many_words_it_listens_in_the_clear(keeper: Keeper) -> None:
    with keeper.serving("--host", "0.0.0.0", "--insecure-without-tls", "--insecure-without-tokens") as (url, _):
        assert ask(url.replace("0.0.0.0", "127.0.0.1"), None).status_code == 200


def test_a_server_takes_a_share_of_the_machine_unless_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    described = manifest.read(settings.model_directory)
    taken = partial(server._for_keys_and_values, settings)
    monkeypatch.setattr(server, "_machine_mb", lambda: 8000)
    assert taken(None, described) == taken(2000, described)
    monkeypatch.setattr(server, "_machine_mb", lambda: 1000)
    assert taken(None, described) is None
    told = msgspec.structs.replace(settings, kv_cache=50)
    assert server._for_keys_and_values(told, None, described) == 50


def test_a_port_that_is_taken_is_told(keeper: Keeper) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, complained = keeper.run("serve", "--port", str(taken.getsockname()[1]))
    assert code == 1 and "choose another with --port" in complained


def test_a_token_is_shown_once_and_kept_as_a_digest(keeper: Keeper) -> None:
    token = keeper.create("anna", "--days", "0", "--rate", "0", "--scope", "metrics")
    kept = keeper.tokens.read_text()
    assert token.count("_") >= 2 and token.split("_", 2)[2] not in kept
    assert keeper.tokens.stat().st_mode & 0o077 == 0
    (shown,) = json.loads(keeper.run("token", "list", "--json")[1])
    assert shown["name"] == "anna" and shown["scopes"] == ["metrics"] and "digest" not in shown
    assert shown["expires"] is None and shown["rate"] is None
    assert "anna" in keeper.run("token", "list")[1]


def test_a_command_on_tokens_that_makes_no_sense_is_told(keeper: Keeper) -> None:
    for arguments in (("revoke", "nobody"), ("create", "anna", "--scope", "all"), ("create", "a\nb")):
        code, _, complained = keeper.run("token", *arguments)
        assert code == 1 and len(complained.splitlines()) == 1, complained
    assert keeper.run("token", "create", "anna", "--days", "99999999")[0] == 2
    keeper.tokens.write_text("{")
    assert "restore it" in keeper.run("token", "list")[2]


def test_tokens_made_at_once_are_all_kept(keeper: Keeper) -> None:
    command = isolation.command("token", "create", "one", "--tokens", str(keeper.tokens))
    many = [
        subprocess.Popen(
            command, env=daemons.environment(keeper.settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    for one in many:
        one.communicate(timeout=COMMAND_PATIENCE)
        assert one.returncode == 0
    assert len(json.loads(keeper.tokens.read_text())["tokens"]) == 3
    assert not [name for name in os.listdir(keeper.folder) if name not in ("tokens.json", "tokens.lock")]

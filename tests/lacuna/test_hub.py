"""Models from a hub: one of our own, on loopback, that breaks off, lies, asks for a token, and sends elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from lacuna import hub
from lacuna.errors import HubError
from model_runtime import manifest
from tests import checkpoints, ggufs

COMMIT = "c" * 40
LARGE = 20_000  # bytes: what is larger has a SHA-256 of its own


@dataclass
class Hub:
    """What it holds, and how it behaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    token: str | None = None
    lies: bool = False
    breaks: int = 0  # how often it closes the connection in the middle of a file
    elsewhere: bool = False
    asked: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    endpoint: str = ""

    def info(self) -> dict[str, Any]:
        siblings = []
        for name, raw in self.files.items():
            blob = hashlib.sha1(f"blob {len(raw)}\0".encode() + raw).hexdigest()
            one: dict[str, Any] = {"rfilename": name, "size": len(raw), "blobId": blob}
            if len(raw) > LARGE:
                one["lfs"] = {"sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw), "pointerSize": 130}
            siblings.append(one)
        data = {"license": "apache-2.0"}
        return {"id": "me/coder", "modelId": "me/coder", "sha": COMMIT, "siblings": siblings, "cardData": data}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return self.server.hub  # type: ignore[attr-defined, no-any-return]

    def log_message(self, *_: Any) -> None:
        """Nothing: the tests look at what was asked."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._send(401, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"}, with_body)
        elif re.fullmatch(r"/api/models/me/coder(/revision/(main|v1))?", path):
            self._send(200, json.dumps(self.hub.info()).encode(), {"Content-Type": "application/json"}, with_body)
        elif path.startswith("/api/models/me/coder/revision/"):
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, with_body)
        elif (name := path.removeprefix(f"/me/coder/resolve/{COMMIT}/")) in self.hub.files:
            self._file(name, with_body, redirected=False)
        elif (name := path.removeprefix("/elsewhere/")) in self.hub.files:
            self._file(name, with_body, redirected=True)
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)

    def _file(self, name: str, with_body: bool, redirected: bool) -> None:
        raw = self.hub.files[name]
        digest = hashlib.sha256(raw).hexdigest() if len(raw) > LARGE else hashlib.sha1(raw).hexdigest()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
        if self.hub.elsewhere and not redirected:
            headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(raw))}
            self._send(302, b"", headers | {"Location": f"{self.hub.endpoint}/elsewhere/{name}"}, with_body)
            return
        if self.hub.lies and len(raw) > LARGE:
            raw = raw[:-1] + bytes([raw[-1] ^ 1])
        status, start = 200, 0
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            self.hub.ranges.append(asked[1])
            status, start = 206, int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(raw) - 1}/{len(raw)}"
        body = raw[start:]
        if with_body and len(raw) > LARGE and self.hub.breaks > 0:
            self.hub.breaks -= 1
            self._send(status, body, headers, with_body, kept=len(body) // 2)
            return
        self._send(status, body, headers, with_body)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], with_body: bool, kept: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body[:kept])
        if kept is not None:
            self.close_connection = True


@pytest.fixture
def own_hub() -> Iterator[Hub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    found = Hub(endpoint=f"http://127.0.0.1:{server.server_address[1]}")
    server.hub = found  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join(10)


def folder(path: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in sorted(path.iterdir())}


@pytest.fixture
def checkpoint_files(tmp_path: Path) -> dict[str, bytes]:
    made = folder(checkpoints.starcoder2().write(tmp_path / "made"))
    return made | {"README.md": b"---\nlicense: apache-2.0\n---\n", "picture.png": b"x" * 100, "other.bin": b"y"}


def got(own: Hub, home: Path, *arguments: str, answer: str = "y\n", **more: str) -> subprocess.CompletedProcess[str]:
    """`lacuna model get`, in a process of its own: the library reads its settings when it is loaded."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "LACUNA_", "XDG_"))}
    places = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "DATA", "CACHE")}
    environment = kept | places | {"HF_ENDPOINT": own.endpoint, "HF_HOME": str(home / "hub"), "HOME": str(home)} | more
    command = [sys.executable, "-m", "lacuna", "model", "get", *arguments, "--quant", "int8"]
    return subprocess.run(
        command, env=environment, input=answer, capture_output=True, text=True, timeout=50, check=False
    )


def models_of(home: Path) -> list[str]:
    models = home / "data" / "lacuna" / "models"
    return sorted(one.name for one in models.iterdir()) if models.exists() else []


def test_a_checkpoint_is_asked_about_fetched_checked_and_imported(
    own_hub: Hub, checkpoint_files: dict[str, bytes], tmp_path: Path
) -> None:
    own_hub.files, own_hub.elsewhere = checkpoint_files, True
    done = got(own_hub, tmp_path, "me/coder")
    assert (done.returncode, done.stderr) == (0, "")
    assert "fetch me/coder, 0.00 GB in 4 files, licence apache-2.0? [y/N]" in done.stdout
    assert models_of(tmp_path) == ["coder"]
    assert manifest.read(tmp_path / "data" / "lacuna" / "models" / "coder").licence == "apache-2.0"
    fetched = {one.rpartition("/")[2] for one in own_hub.asked if one.startswith("GET /elsewhere")}
    assert fetched == {"README.md", "config.json", "model.safetensors", "tokenizer.json"}
    assert not [one for one in own_hub.asked if "telemetry" in one]


def test_nothing_is_fetched_without_a_yes(own_hub: Hub, checkpoint_files: dict[str, bytes], tmp_path: Path) -> None:
    own_hub.files = checkpoint_files
    done = got(own_hub, tmp_path, "me/coder", answer="n\n")
    assert done.returncode == 1
    assert [one for one in own_hub.asked if "/resolve/" in one] == []


def test_one_gguf_of_several_is_named(own_hub: Hub, tmp_path: Path) -> None:
    marked = checkpoints.llama()
    raw = ggufs.write(tmp_path / "a", marked, ggufs.Kind.Q8_0).read_bytes()
    own_hub.files = {"coder-Q8_0.gguf": raw, "coder-F16.gguf": raw, "README.md": b"hi"}
    done = got(own_hub, tmp_path, "me/coder")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "me/coder holds 2 GGUF files; name one: coder-Q8_0.gguf, coder-F16.gguf" in done.stderr
    done = got(own_hub, tmp_path, "me/coder/coder-Q8_0.gguf@v1", "--yes", answer="")
    assert (done.returncode, done.stderr) == (0, "")
    assert models_of(tmp_path) == ["coder-Q8_0"]


def test_a_hub_that_breaks_off_is_asked_for_the_rest(
    own_hub: Hub, checkpoint_files: dict[str, bytes], tmp_path: Path
) -> None:
    """The library writes in pieces of 10 MB, and goes on behind the last of them."""
    own_hub.files, own_hub.breaks = checkpoint_files | {"NOTICE": b"notice\n" * 3_500_000}, 1
    done = got(own_hub, tmp_path, "me/coder", "--yes")
    assert done.returncode == 0 and models_of(tmp_path) == ["coder"]
    assert len(own_hub.ranges) == 1 and int(own_hub.ranges[0]) > 0


def test_a_hub_that_sends_other_bytes_is_not_believed(
    own_hub: Hub, checkpoint_files: dict[str, bytes], tmp_path: Path
) -> None:
    own_hub.files, own_hub.lies = checkpoint_files, True
    done = got(own_hub, tmp_path, "me/coder", "--yes")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "model.safetensors came with another checksum than the hub gave for it and was deleted" in done.stderr
    assert models_of(tmp_path) == [] and not list((tmp_path / "hub").rglob("*.safetensors"))
    own_hub.lies = False
    assert got(own_hub, tmp_path, "me/coder", "--yes").returncode == 0


def test_a_hub_that_asks_for_a_token_gets_it(own_hub: Hub, checkpoint_files: dict[str, bytes], tmp_path: Path) -> None:
    own_hub.files, own_hub.token = checkpoint_files, "hf_secret"
    done = got(own_hub, tmp_path, "me/coder", "--yes")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "accept them on its page and set HF_TOKEN" in done.stderr
    done = got(own_hub, tmp_path, "me/coder", "--yes", HF_TOKEN="hf_secret")
    assert done.returncode == 0 and "hf_secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("me/nothing", "the hub has no me/nothing, or not for you"),
        ("me/coder@v9", "me/coder has no such revision"),
        ("me/coder/none.gguf", "me/coder holds no none.gguf"),
        ("me", "'me' is no model's name; give OWNER/REPOSITORY"),
        ("me/coder/../x.gguf", "holds no ../x.gguf"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    name: str, message: str, own_hub: Hub, checkpoint_files: dict[str, bytes], tmp_path: Path
) -> None:
    own_hub.files = checkpoint_files
    done = got(own_hub, tmp_path, name, "--yes")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert message in done.stderr


def test_a_hub_that_nobody_answers_for_is_said_in_one_line(own_hub: Hub, tmp_path: Path) -> None:
    own_hub.endpoint = "http://127.0.0.1:9"
    done = got(own_hub, tmp_path, "me/coder", "--yes")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "me/coder could not be fetched" in done.stderr


def test_a_disk_without_room_is_named_before_anything_is_fetched(tmp_path: Path) -> None:
    model = hub.RemoteModel("me/coder", COMMIT, "mit", "", (hub.RemoteFile("config.json", 1 << 60, None, None),))
    with pytest.raises(HubError, match=r"me/coder takes 1152921504\.6 GB and .* has .* GB left; make room"):
        hub.fetch(model)

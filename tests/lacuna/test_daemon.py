"""Finding, starting, sharing, replacing and losing the daemon: real processes, real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from lacuna import build, daemon, isolation, lock, place
from lacuna.errors import DaemonError
from lacuna.settings import Settings
from model_runtime.client.client import Client
from model_runtime.errors import ManifestError, Refused, Unreachable
from model_runtime.protocol import Done, InfillRequest
from tests import daemons, tiny

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = daemons.PATIENCE


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def user(model: Path, cache: Path) -> Iterator[Settings]:
    with daemons.settings(model, cache) as settings:
        yield settings


async def complete(client: Client, prefix: str = "def f(a):\n    ") -> Done:
    request = InfillRequest(client="test", path="a.py", prefix=prefix, suffix="\n", max_tokens=4)
    async with asyncio.timeout(PATIENCE), aclosing(client.infill(request)) as events:
        async for event in events:
            if isinstance(event, Done):
                return event
    raise AssertionError("a stream ended without Done")


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.01)


def is_free(settings: Settings) -> bool:
    held = lock.take(place.find(settings).lock)
    if held is not None:
        os.close(held)
    return held is not None


async def test_the_first_connection_starts_a_daemon_and_the_second_finds_it(user: Settings) -> None:
    told: list[str] = []
    first = await daemon.connect(user, tell=told.append)
    assert told
    told.clear()
    second = await daemon.connect(user, tell=told.append)
    assert not told
    assert (await first.health()).pid == (await second.health()).pid != os.getpid()
    assert (await complete(first)).usage.generated > 0
    await first.close()
    await second.close()


async def test_a_daemon_is_private_and_belongs_to_no_terminal(user: Settings) -> None:
    where = place.find(user)
    client = await daemon.connect(user)
    pid = (await client.health()).pid
    await client.close()
    assert stat.S_IMODE(where.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(where.folder.stat().st_mode) == 0o700
    assert len(os.fsencode(where.socket)) <= place.PATH_LIMIT
    assert os.getsid(pid) == pid
    assert lock.holder(where.lock) == pid


async def test_ten_processes_at_once_get_one_daemon(user: Settings) -> None:
    script = (
        "import asyncio, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from lacuna import daemon, settings\n"
        "async def pid():\n"
        "    client = await daemon.connect(settings.read_settings())\n"
        "    return (await client.health()).pid\n"
        "print(asyncio.run(pid()))\n"
    )
    ten = [
        subprocess.Popen(
            [sys.executable, "-I", "-c", script],
            env=daemons.environment(user),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(10)
    ]
    said = [await asyncio.to_thread(one.communicate, timeout=PATIENCE) for one in ten]
    assert [error for _, error in said] == [""] * 10
    assert len({out for out, _ in said}) == 1
    assert place.find(user).log.read_text().count(" serves ") == 1


async def test_after_kill_9_the_next_request_is_answered(user: Settings) -> None:
    client = await daemon.connect(user)
    await complete(client)
    pid = (await client.health()).pid
    os.kill(pid, signal.SIGKILL)
    await until(lambda: is_free(user))
    with pytest.raises(Unreachable):
        await complete(client)
    again = await daemon.connect(user)
    await complete(again)
    await complete(client)  # the old client finds the new daemon at the old socket
    assert (await again.health()).pid != pid
    await client.close()
    await again.close()


async def test_kill_9_in_mid_request_is_told_at_once(user: Settings) -> None:
    client = await daemon.connect(user)
    pid = (await client.health()).pid
    os.kill(pid, signal.SIGSTOP)
    waiting = asyncio.create_task(complete(client))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Unreachable):
        await waiting
    await client.close()


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """Another installation, with older and different sources."""
    root = tmp_path / "older"
    for package in ("lacuna", "lsp_server", "model_runtime", "retrieval"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__", "embedded"))
    (root / "model_runtime" / "errors.py").open("a").write("# of another day\n")
    for path in root.rglob("*.py"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return root


def old_model(model: Path, tmp_path: Path) -> Path:
    copied = shutil.copytree(model, tmp_path / "model")
    os.utime(copied / "manifest.json", (1_000_000_000, 1_000_000_000))
    return copied


async def test_a_newer_build_replaces_an_older_one(user: Settings, model: Path, older: Path, tmp_path: Path) -> None:
    user = msgspec.structs.replace(user, model=old_model(model, tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-I", str(older / "lacuna" / "__main__.py"), "serve"],
        env=daemons.environment(user),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert "ready" in await asyncio.to_thread(process.stderr.readline)
        told: list[str] = []
        client = await daemon.connect(user, tell=told.append)
        health = await client.health()
        assert health.build == build.identify(user.model_directory)
        assert await asyncio.to_thread(process.wait, PATIENCE) == 0
        assert any("older" in words for words in told)
        await complete(client)
        await client.close()
    finally:
        process.kill()
        process.communicate()


async def test_an_older_build_uses_a_newer_ones_daemon(
    user: Settings, model: Path, older: Path, tmp_path: Path
) -> None:
    user = msgspec.structs.replace(user, model=old_model(model, tmp_path))
    client = await daemon.connect(user)
    pid = (await client.health()).pid
    script = (
        "import asyncio, sys\n"
        f"sys.path.insert(0, {str(older)!r})\n"
        "from lacuna import build, daemon, settings\n"
        "read = settings.read_settings()\n"
        "async def health():\n"
        "    return await (await daemon.connect(read)).health()\n"
        "found = asyncio.run(health())\n"
        "print(found.pid, found.build != build.identify(read.model_directory))\n"
    )
    said = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-I", "-c", script],
        env=daemons.environment(user),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert said.stdout == f"{pid} True\n", said.stderr
    await client.close()


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ("0.2.0+5.aa", "0.1.9+9.bb"),
        ("0.10.0+5.aa", "0.9.0+9.bb"),
        ("0.1.0+6.aa", "0.1.0+5.bb"),
        ("0.1.0+5.bb", "0.1.0+5.aa"),
        ("0.1.0+5.aa", "nonsense"),
    ],
)
def test_of_two_builds_exactly_one_is_newer(mine: str, theirs: str) -> None:
    assert build.is_newer(mine, theirs)
    assert not build.is_newer(theirs, mine)
    assert not build.is_newer(mine, mine)


def test_a_changed_manifest_is_another_build(model: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(model, tmp_path / "model")
    before = build.identify(copied)
    (copied / "manifest.json").open("a").write("\n")
    assert build.is_newer(build.identify(copied), before) or build.is_newer(before, build.identify(copied))


def test_another_protocol_has_a_socket_of_its_own(user: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = place.find(user).socket
    monkeypatch.setattr(place, "PROTOCOL", 99)
    assert place.find(user).socket != ours


def test_another_model_has_a_socket_of_its_own(user: Settings) -> None:
    assert place.find(user).socket != place.find(msgspec.structs.replace(user, model=None)).socket


async def test_a_corrupted_model_is_one_clear_message(user: Settings, model: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(model, tmp_path / "model")
    user = msgspec.structs.replace(user, model=copied)
    data = next(path for path in copied.iterdir() if path.suffix == ".data")
    whole = data.read_bytes()
    data.write_bytes(whole[:-100])
    with pytest.raises(DaemonError, match=r"model.onnx.data has \d+ bytes, .* restore the model directory"):
        await daemon.connect(user)
    assert is_free(user)
    data.write_bytes(whole)
    client = await daemon.connect(user)
    await complete(client)
    await client.close()


async def test_a_missing_model_is_told_without_starting_anything(user: Settings, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"manifest\.json"):
        await daemon.connect(msgspec.structs.replace(user, model=tmp_path))
    assert not list(place.find(user).folder.glob("*.lock"))


async def test_a_full_disk_under_the_log_stops_nothing(user: Settings) -> None:
    client = await daemon.connect(msgspec.structs.replace(user, log=Path("/dev/full")))
    for _ in range(3):
        await complete(client)
    await client.close()
    assert await daemon.stop(user)


async def test_a_log_that_cannot_be_opened_stops_nothing(user: Settings, tmp_path: Path) -> None:
    client = await daemon.connect(msgspec.structs.replace(user, log=tmp_path / "no" / "such" / "folder"))
    await complete(client)
    await client.close()


async def test_the_log_holds_no_user_code(user: Settings) -> None:
    client = await daemon.connect(user)
    await complete(client, prefix="xyzzy_secret = ")
    with pytest.raises(Refused):
        async for _ in client.infill(
            InfillRequest(client="c", path="xyzzy_path", prefix="xyzzy_secret", suffix="", max_tokens=5000)
        ):
            pass
    await client.close()
    assert await daemon.stop(user)
    log = place.find(user).log.read_text()
    assert " serves " in log
    assert "xyzzy" not in log


async def test_stop_ends_the_daemon_and_leaves_no_socket(user: Settings) -> None:
    client = await daemon.connect(user)
    await client.close()
    assert await daemon.stop(user)
    assert not place.find(user).socket.exists()
    assert not await daemon.stop(user)
    assert await daemon.find(user) is None


async def test_an_idle_daemon_ends_by_itself(user: Settings) -> None:
    user = msgspec.structs.replace(user, idle_exit=2.0)
    client = await daemon.connect(user)
    await until(lambda: is_free(user))
    assert "idle" in place.find(user).log.read_text()
    await client.close()


async def test_a_daemon_whose_folder_was_cleaned_does_not_harm_the_next(user: Settings) -> None:
    where = place.find(user)
    first = await daemon.connect(user)
    pid = (await first.health()).pid
    for path in where.folder.iterdir():
        path.unlink()
    second = await daemon.connect(user)
    assert (await second.health()).pid != pid
    assert (await first.drain()).pid == pid
    await until(lambda: not Path(f"/proc/{pid}").exists())
    await complete(second)
    await first.close()
    await second.close()


async def test_a_second_daemon_in_the_foreground_is_refused(user: Settings) -> None:
    client = await daemon.connect(user)
    pid = (await client.health()).pid
    await client.close()
    second = await asyncio.to_thread(
        subprocess.run,
        isolation.command("serve"),
        env=daemons.environment(user),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert second.returncode == 1
    assert f"a daemon runs already (process {pid})" in second.stderr
    assert "Traceback" not in second.stderr


async def test_a_daemon_that_dies_at_its_start_is_told_with_its_last_words(
    user: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = [sys.executable, "-I", "-c", "import sys; sys.exit('no more memory')"]
    monkeypatch.setattr(isolation, "command", lambda *_: dying)
    with pytest.raises(DaemonError, match="died at its start: no more memory"):
        await daemon.connect(user)
    assert is_free(user)


async def test_a_daemon_that_takes_too_long_is_told(user: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "command", lambda *_: [sys.executable, "-I", "-c", "import time; time.sleep(2)"])
    with pytest.raises(DaemonError, match="slow to start"):
        await daemon.connect(user, patience=0.2)


async def test_a_daemon_that_hangs_is_told_with_its_process(user: Settings) -> None:
    client = await daemon.connect(user)
    pid = (await client.health()).pid
    await client.close()
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(DaemonError, match=rf"process {pid}\) has not answered"):
            await daemon.connect(user, patience=0.1)
    finally:
        os.kill(pid, signal.SIGCONT)


class TestFolder:
    """Where a daemon may be met: only where nobody else can write."""

    def test_without_a_runtime_directory_it_is_a_private_temporary_one(
        self, user: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", "/tmp")
        monkeypatch.setattr(place, "_make_private", lambda _: None)
        found = place.find(msgspec.structs.replace(user, runtime=None), {})
        assert found.folder == Path(f"/tmp/lacuna-{os.geteuid()}")

    def test_the_runtime_directory_is_used_if_it_is_ours(self, user: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        assert user.runtime is not None
        unset = msgspec.structs.replace(user, runtime=None)
        ours = {"XDG_RUNTIME_DIR": str(user.runtime)}
        assert place.find(unset, ours).folder == user.runtime / "lacuna"
        monkeypatch.setattr(place, "_is_ours", lambda _: False)
        monkeypatch.setattr("tempfile.tempdir", str(user.runtime))
        assert place.find(unset, ours).folder == user.runtime / f"lacuna-{os.geteuid()}"

    def test_a_path_too_long_for_a_socket_gets_a_short_folder(self, user: Settings, tmp_path: Path) -> None:
        long = msgspec.structs.replace(user, runtime=tmp_path / ("long" * 20) / "er")
        found = place.find(long)
        try:
            assert len(os.fsencode(found.socket)) <= place.PATH_LIMIT
            assert found.folder != place.find(user).folder
            assert stat.S_IMODE(found.folder.stat().st_mode) == 0o700
        finally:
            found.folder.rmdir()

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda path: path.write_text(""), "is not a folder"),
            (lambda path: path.symlink_to("/tmp"), "is a link"),
            (lambda path: (path.mkdir(), path.chmod(0o777)), "others may write"),
        ],
    )
    def test_a_folder_that_is_not_private_is_refused(
        self, user: Settings, tmp_path: Path, spoil: Callable[[Path], object], message: str
    ) -> None:
        folder = (user.runtime or tmp_path) / "run"
        spoil(folder)
        with pytest.raises(DaemonError, match=f"{message}.*LACUNA_RUNTIME_DIR"):
            place.find(msgspec.structs.replace(user, runtime=folder))

    def test_a_folder_of_another_user_is_refused(self, user: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        with pytest.raises(DaemonError, match="belongs to another user"):
            place.find(user)

    def test_a_folder_that_cannot_be_made_is_told(self, user: Settings, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(DaemonError, match="LACUNA_RUNTIME_DIR"):
            place.find(msgspec.structs.replace(user, runtime=tmp_path / "file" / "run"))

    def test_no_right_to_make_the_socket_is_one_clear_message(self, user: Settings) -> None:
        assert user.runtime is not None
        user.runtime.chmod(0o500)
        become_nobody = ""
        if os.geteuid() == 0:  # whom no folder's rights stop
            os.chown(user.runtime, 65534, 65534)
            become_nobody = "os.setgid(65534); os.setuid(65534)"
        code = (
            f"import os, sys; sys.path.insert(0, {str(ROOT)!r})\n"
            "from lacuna import daemon_server, errors, settings\n"
            f"{become_nobody}\n"
            "try:\n"
            "    daemon_server.run(settings.read_settings(), ready=print)\n"
            "except errors.DaemonError as error:\n"
            "    sys.exit(str(error))\n"
        )
        said = subprocess.run(
            [sys.executable, "-I", "-c", code],
            env=daemons.environment(user),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert said.returncode == 1
        assert said.stderr.startswith("cannot open")
        assert "LACUNA_RUNTIME_DIR" in said.stderr
        assert "Traceback" not in said.stderr


async def test_no_process_outlives_its_parents_lock(user: Settings) -> None:
    """A process that took the lock and died before it started a daemon leaves nothing held."""
    where = place.find(user)
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path; from lacuna import lock\n"
    code += f"assert lock.take(Path({str(where.lock)!r})) is not None; print('held', flush=True); sys.stdin.read()"
    taker = subprocess.Popen(
        [sys.executable, "-I", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert taker.stdout is not None
    assert taker.stdout.readline() == "held\n"
    connecting = asyncio.create_task(daemon.connect(user))
    await asyncio.sleep(0.1)
    assert not connecting.done()
    taker.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        taker.communicate(timeout=PATIENCE)
    client = await connecting
    await complete(client)
    await client.close()


def test_log_rotation_is_bounded(tmp_path: Path) -> None:
    script = (
        "import sys, logging\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\n"
        "from lacuna import log\n"
        f"log.to_file(Path({str(tmp_path / 'log')!r}))\n"
        "for _ in range(9000):\n"
        "    logging.getLogger('lacuna.test').info('x' * 100)\n"
        "try:\n"
        "    raise KeyError('user code')\n"
        "except KeyError:\n"
        "    logging.getLogger('asyncio').exception('Task exception was never retrieved\\nfuture: user code')\n"
    )
    began = time.monotonic()
    subprocess.run([sys.executable, "-I", "-c", script], check=True, timeout=PATIENCE)
    assert time.monotonic() - began < PATIENCE
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["log", "log.1"]
    text = files[0].read_text()
    assert "KeyError" in text
    assert "user code" not in text
    assert sum(path.stat().st_size for path in files) < 600_000

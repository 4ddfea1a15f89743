"""The command line as a user meets it: a process, its output, its exit code, and never a traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import lacuna
from lacuna import isolation
from lacuna.position import locate, without_rest
from lacuna.settings import Settings
from lsp_server.editor.document import Place
from tests import daemons, tiny

ROOT = Path(__file__).resolve().parents[2]
FILE = "import os\n\n\ndef area(width, height):\n    return wid\n\n\nprint(area(2, 3))\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def user(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """One user, and so one daemon, for the whole module."""
    with daemons.settings(model, tmp_path_factory.mktemp("cache")) as settings:
        yield settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "area.py"
    path.write_text(FILE)
    return path


def run(
    user: Settings, *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        isolation.command(*arguments),
        env=daemons.environment(user, **environment),
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        timeout=daemons.PATIENCE,
    )


def answer(user: Settings, *arguments: str) -> Any:
    done = run(user, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_refusal(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One message on stderr that holds the words, nothing on stdout, exit code 1."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("lacuna: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_version_is_told_without_importing_anything_slow(user: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-X", "importtime", str(ROOT / "lacuna" / "__main__.py"), "--version"],
        env=daemons.environment(user),
        capture_output=True,
        text=True,
        timeout=daemons.PATIENCE,
    )
    assert done.stdout == f"lacuna {lacuna.__version__}\n"
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"typer", "rich", "httpx", "msgspec", "numpy", "asyncio", "onnxruntime"}


def test_one_more_typed_character_prefills_at_most_four_tokens(user: Settings, file: Path) -> None:
    first = answer(user, "complete", f"{file}:5:15")
    assert first["prefilled"] > 4
    file.write_text(FILE.replace("wid\n", "widt\n"))
    second = answer(user, "complete", f"{file}:5:16")
    assert second["prefilled"] <= 4
    assert second["reused"] >= first["prompt_tokens"] - 4


def test_json_tells_the_time_of_each_stage(user: Settings, file: Path) -> None:
    told = answer(user, "complete", f"{file}:5:15", "--max-tokens", "5")
    assert set(told["timings_ms"]) == {
        *("context", "connect", "queue", "layout", "prefill", "decode", "model", "total")
    }  # fmt: skip
    assert all(spent >= 0 for spent in told["timings_ms"].values())
    assert told["timings_ms"]["total"] >= told["timings_ms"]["model"] > 0
    assert told["prompt_tokens"] == told["prefilled"] + told["reused"]
    assert 0 < told["generated"] <= 5
    assert bool(told["completion"]) == (told["reason"] is None)


def test_without_a_daemon_the_answer_is_the_same(user: Settings, file: Path) -> None:
    shared = answer(user, "complete", f"{file}:5:15")
    alone = answer(user, "complete", f"{file}:5:15", "--no-daemon")
    assert alone["completion"] == shared["completion"]
    assert alone["prompt_tokens"] == shared["prompt_tokens"]
    assert alone["reused"] == 0


def test_no_daemon_starts_none(model: Path, user: Settings, file: Path) -> None:
    with daemons.settings(model, user.cache) as other:
        assert run(other, "complete", f"{file}:5:15", "--no-daemon").returncode == 0
        assert other.runtime is not None
        assert not list(other.runtime.iterdir())


def test_the_prompt_is_shown_with_its_markers(user: Settings, file: Path) -> None:
    done = run(user, "complete", f"{file}:5:15", "--show-prompt")
    assert done.returncode == 0
    assert done.stdout == (
        "<|file|>area.py\n<|suffix|>\n\n\nprint(area(2, 3))\n<|prefix|>"
        "import os\n\n\ndef area(width, height):\n    return wid▮\n"
    )


def test_the_hidden_rest_is_not_in_the_prompt_and_shown_afterwards(user: Settings, file: Path) -> None:
    told = answer(user, "complete", f"{file}:5:12", "--hide-rest", "--show-prompt")
    assert told["rest"] == "wid"
    assert "wid\n" not in told["prompt"].replace("area(width", "")
    done = run(user, "complete", f"{file}:5:12", "--hide-rest")
    assert "there is: wid\n" in done.stdout


def test_a_path_is_told_relative_to_its_repository(user: Settings, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text(FILE)
    assert run(user, "complete", f"{tmp_path}/src/a.py:1:1", "--show-prompt").stdout.startswith("<|file|>src/a.py\n")


def test_a_path_may_hold_colons(user: Settings, tmp_path: Path) -> None:
    (tmp_path / "a:1:2.py").write_text(FILE)
    assert run(user, "complete", "a:1:2.py:5:15", "--show-prompt", cwd=tmp_path).returncode == 0


class TestRefusals:
    """What cannot be done is told in one line, with what to do."""

    @pytest.mark.parametrize("position", ["area.py", "area.py:1", "area.py:one:1", ":1:1", "area.py:1:1:", "a:-1:1"])
    def test_no_position(self, user: Settings, position: str) -> None:
        check_refusal(run(user, "complete", position), "FILE:LINE:COL")

    @pytest.mark.parametrize(
        ("position", "words"),
        [("9999:1", "lines 1 to 9"), ("0:1", "lines 1 to 9"), ("5:16", "columns 1 to 15"), ("5:0", "columns 1 to 15")],
    )
    def test_a_position_outside_the_file(self, user: Settings, file: Path, position: str, words: str) -> None:
        check_refusal(run(user, "complete", f"{file}:{position}"), words)

    def test_a_file_that_is_not_there(self, user: Settings, tmp_path: Path) -> None:
        check_refusal(run(user, "complete", f"{tmp_path}/no.py:1:1"), "no.py", "No such file")

    def test_a_path_below_a_file(self, user: Settings, file: Path) -> None:
        check_refusal(run(user, "complete", f"{file}/b.py:1:1"), "Not a directory")

    def test_a_folder(self, user: Settings, tmp_path: Path) -> None:
        check_refusal(run(user, "complete", f"{tmp_path}:1:1"), "is a folder")

    def test_a_pipe_which_nobody_writes_to(self, user: Settings, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.py")
        check_refusal(run(user, "complete", f"{tmp_path}/pipe.py:1:1"), "pipe.py is no ordinary file")

    def test_a_file_that_is_not_utf_8(self, user: Settings, tmp_path: Path) -> None:
        (tmp_path / "latin.py").write_bytes("x = 'é'\n".encode("latin-1"))
        check_refusal(run(user, "complete", f"{tmp_path}/latin.py:1:1"), "is not UTF-8 (byte 6)", "iconv")

    def test_a_model_that_is_not_there(self, user: Settings, file: Path, tmp_path: Path) -> None:
        check_refusal(run(user, "complete", f"{file}:1:1", "--model", str(tmp_path / "no")), "is no folder")

    def test_a_model_of_the_settings_that_is_not_there(self, user: Settings, file: Path, tmp_path: Path) -> None:
        done = run(user, "complete", f"{file}:1:1", LACUNA_MODEL=str(tmp_path / "no"))
        check_refusal(done, "manifest.json", "No such file")

    def test_a_folder_without_a_manifest(self, user: Settings, file: Path, tmp_path: Path) -> None:
        for how in ((), ("--no-daemon",), ("--show-prompt",)):
            done = run(user, "complete", f"{file}:1:1", "--model", str(tmp_path), *how)
            check_refusal(done, "cannot read", "manifest.json")

    @pytest.mark.parametrize("how", [(), ("--no-daemon",)])
    @pytest.mark.parametrize(
        ("name", "spoil", "words"),
        [
            ("manifest.json", lambda raw: b"{}", "is not a model manifest"),
            ("manifest.json", lambda raw: re.sub(rb'"format": *1', b'"format":9', raw), "upgrade Lacuna"),
            ("model.onnx.data", lambda raw: raw[:-1], "cut short or replaced"),
            ("model.onnx", lambda raw: b"\0" * len(raw), "model.onnx"),
            ("tokenizer.json", lambda raw: b" " * len(raw), "is not a tokenizer"),
        ],
    )
    def test_a_spoilt_model(
        self,
        model: Path,
        user: Settings,
        file: Path,
        tmp_path: Path,
        name: str,
        spoil: Callable[[bytes], bytes],
        words: str,
        how: tuple[str, ...],
    ) -> None:
        copied = shutil.copytree(model, tmp_path / "model")
        (copied / name).write_bytes(spoil((copied / name).read_bytes()))
        check_refusal(run(user, "complete", f"{file}:1:1", "--model", str(copied), *how), words)

    def test_settings_that_make_no_sense(self, user: Settings, file: Path, tmp_path: Path) -> None:
        (tmp_path / "config.toml").write_text("colour = 1")
        done = run(user, "complete", f"{file}:1:1", LACUNA_CONFIG=str(tmp_path / "config.toml"))
        check_refusal(done, "config.toml", "'colour'")

    def test_a_runtime_folder_that_cannot_be_made(self, user: Settings, file: Path) -> None:
        done = run(user, "complete", f"{file}:1:1", LACUNA_RUNTIME_DIR=f"{file}/run")
        check_refusal(done, "LACUNA_RUNTIME_DIR")

    def test_a_prompt_without_room(self, user: Settings, file: Path) -> None:
        check_refusal(run(user, "complete", f"{file}:1:1", "--max-tokens", "500"), "ask for at most 256")

    @pytest.mark.parametrize("arguments", [("fly",), ("complete",), ("complete", "a:1:1", "--fast"), ("--stdoi",)])
    def test_a_command_line_that_makes_no_sense(self, user: Settings, arguments: tuple[str, ...]) -> None:
        done = run(user, *arguments)
        assert done.returncode == 2
        assert "Usage" in done.stderr
        assert "Traceback" not in done.stderr


def test_help_lists_the_commands(user: Settings) -> None:
    done = run(user, "--help")
    assert done.returncode == 0
    for command in ("complete", "doctor", "model", "serve", "stop"):
        assert command in done.stdout


def test_model_info_describes_the_model(user: Settings) -> None:
    told = answer(user, "model", "info")
    assert told["name"] == "tiny"
    assert told["embedded"] is False
    assert told["context_length"] == tiny.SHAPE.context_length
    assert told["infills"] is True
    assert "licence" in run(user, "model", "info").stdout


def test_stop_says_whether_there_was_a_daemon(model: Path, user: Settings, file: Path) -> None:
    with daemons.settings(model, user.cache) as other:
        assert run(other, "stop").stdout == "no daemon runs\n"
        assert run(other, "complete", f"{file}:5:15").returncode == 0
        assert run(other, "stop").stdout == "stopped\n"
        assert run(other, "stop").stdout == "no daemon runs\n"


def test_a_repository_with_packages_of_our_names_is_not_imported(user: Settings, file: Path, tmp_path: Path) -> None:
    for name in ("retrieval", "model_runtime", "lsp_server", "typer", "uvicorn"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("open('hijacked', 'w').close(); raise SystemExit(77)")
    entry = [sys.executable, "-c", "from lacuna.cli import main; main()"]  # what an installed script does
    with daemons.settings(user.model_directory, user.cache) as other:  # nothing runs yet for this one
        done = subprocess.run(
            [*entry, "complete", "area.py:5:15", "--json"],
            cwd=tmp_path,
            env=daemons.environment(other, PYTHONPATH=f".{os.pathsep}{ROOT}"),
            capture_output=True,
            text=True,
            timeout=daemons.PATIENCE,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["prompt_tokens"] > 0
    assert not (tmp_path / "hijacked").exists()


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_columns_count_characters_and_endings_are_none(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(f"\ufeffa = '🎈é'{ending}b\f = 2{ending}".encode())
    cursor = locate(f"{path}:1:8")
    assert cursor.place == Place(0, 7)
    assert cursor.rest == "'"
    assert without_rest(cursor).lines[0] == f"a = '🎈é{ending}"
    assert locate(f"{path}:2:4").rest == "= 2"
    assert locate(f"{path}:3:1").rest == ""


def test_doctor_finds_everything_well(user: Settings) -> None:
    checks = answer(user, "doctor")
    assert [check["name"] for check in checks] == [
        *("python", "packages", "onnxruntime", "settings", "cache", "kernels", "folder", "model", "tokens"),
        *("daemon", "infill"),
    ]
    assert all(check["ok"] for check in checks), checks
    plain = run(user, "doctor")
    assert plain.returncode == 0
    assert all(line.startswith("ok") for line in plain.stdout.splitlines())


def test_doctor_says_what_is_wrong_and_goes_on(user: Settings, model: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(model, tmp_path / "model")
    data = copied / "model.onnx.data"
    raw = bytearray(data.read_bytes())
    raw[100] ^= 1  # the size is as before, so only the checksum tells
    data.write_bytes(raw)
    (tmp_path / "file").write_text("")
    sick = msgspec.structs.replace(user, model=copied, cache=tmp_path / "file" / "cache")
    done = run(sick, "doctor", "--json")
    assert done.returncode == 1
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert not checks["model"]["ok"]
    assert "SHA-256" in checks["model"]["detail"]
    assert "LACUNA_CACHE_DIR" in checks["cache"]["detail"]
    assert "mend model first" in checks["tokens"]["detail"]
    assert checks["python"]["ok"]
    assert checks["folder"]["ok"]

"""The wheel, installed elsewhere: it holds what it should, completes without the checkout, and cannot be hijacked.

The installed environment borrows this one's dependencies through a .pth file, so that nothing is fetched.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"lacuna", "lsp_server", "retrieval", "model_runtime"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*command, "--no-build-isolation", "--wheel-dir", str(out), str(ROOT)], check=True, timeout=120)
    (found,) = out.glob("*.whl")
    return found


NAMES_OF_OURS = ("retrieval", "model_runtime", "lsp_server")
UNFINISHED = "def area_of_circle(radius):\n    return 3.14159 * radius"


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it and nothing of the checkout. home: its folders; work: an empty folder."""

    lacuna: Path
    python: Path
    home: Path
    work: Path

    def run(self, *command: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """One command in `work`, with a home of its own."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_", "LACUNA_"))}
        own |= {"HOME": str(self.home), "LACUNA_RUNTIME_DIR": str(self.home / "run"), "NO_COLOR": "1"}
        return subprocess.run(
            [str(one) for one in command],
            cwd=self.work,
            env=own | (env or {}),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=50,
        )


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Iterator[Installed]:
    base = Path(tempfile.mkdtemp(prefix="lacuna-wheel-"))  # short: a socket lies below it
    venv.create(base / "venv", with_pip=False, symlinks=os.name != "nt")
    scripts = base / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    site = Path(
        subprocess.run(
            [python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout.strip()
    )
    # A path from a .pth file does not have its own .pth files read, so the editable checkout stays out.
    dependencies = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "dependencies.pth").write_text("\n".join(sorted(dependencies)) + "\n", encoding="utf-8")
    command = [sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install"]
    subprocess.run([*command, "--quiet", "--no-deps", "--no-index", str(wheel)], check=True, timeout=120)
    (base / "work").mkdir()
    (base / "home").mkdir()
    (base / "home" / "run").mkdir(mode=0o700)
    yield Installed(scripts / "lacuna", python, base / "home", base / "work")
    shutil.rmtree(base, ignore_errors=True)


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_the_wheel_holds_every_tracked_file_of_its_packages(wheel: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *PACKAGES], cwd=ROOT, check=True, capture_output=True, text=True, timeout=30
    )
    tracked = {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}
    assert tracked - names(wheel) == set()


def test_the_wheel_holds_no_build_product(wheel: Path) -> None:
    assert not [name for name in names(wheel) if name.endswith((".pyc", ".so", "~")) or "/." in name]


def test_the_wheel_names_its_licence_and_neither_runtime_unasked(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(path).decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    runtimes = [one for one in metadata.get_all("Requires-Dist", []) if one.startswith("onnxruntime")]
    assert sorted(one.split(";")[1].strip().strip("\"'") for one in runtimes) == ["extra == 'cpu", "extra == 'gpu"]


def test_the_installed_packages_are_not_the_checkout(installed: Installed) -> None:
    code = f"import importlib; print(*(importlib.import_module(one).__file__ for one in {sorted(PACKAGES)}), sep='\\n')"
    done = installed.run(installed.python, "-I", "-c", code)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == len(PACKAGES)
    assert str(ROOT) not in done.stdout


def complete(installed: Installed, *options: str, column: int = 12, **env: str) -> dict[str, Any]:
    """What `lacuna complete --json` says at the second line of UNFINISHED."""
    (installed.work / "circle.py").write_text(UNFINISHED, encoding="utf-8")
    done = installed.run(installed.lacuna, "complete", f"circle.py:2:{column}", "--json", *options, env=env)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def stop(installed: Installed) -> None:
    done = installed.run(installed.lacuna, "stop")
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_the_whole_embedded_model(wheel: Path) -> None:
    directory = "model_runtime/embedded/"
    with zipfile.ZipFile(wheel) as archive:
        files = json.loads(archive.read(directory + "manifest.json"))["files"]
        assert {"tokenizer.json", "model.onnx"} <= set(files)
        for name, file in files.items():
            assert archive.getinfo(directory + name).file_size == file["bytes"]
            assert hashlib.sha256(archive.read(directory + name)).hexdigest() == file["sha256"]


def test_the_installed_command_completes_by_itself(installed: Installed) -> None:
    assert complete(installed, "--no-daemon", "--hide-rest")["generated"] > 0


def test_the_installed_daemon_reads_only_what_was_typed(installed: Installed) -> None:
    try:
        assert complete(installed, "--hide-rest")["generated"] > 0
        again = complete(installed, "--hide-rest", column=13)
    finally:
        stop(installed)
    assert again["prefilled"] <= 4
    assert again["reused"] > 0


def test_a_repository_cannot_put_itself_in_our_place(installed: Installed) -> None:
    trap = "from pathlib import Path\nPath(__file__).with_name('sprung').touch()\nraise RuntimeError('hijacked')\n"
    for name in NAMES_OF_OURS:
        (installed.work / name).mkdir()
        (installed.work / name / "__init__.py").write_text(trap, encoding="utf-8")
    try:
        sprung = installed.run(installed.python, "-c", "import retrieval", env={"PYTHONPATH": "."})
        assert "hijacked" in sprung.stderr, "the trap does not work"
        (installed.work / "retrieval" / "sprung").unlink()
        assert complete(installed, "--no-daemon", PYTHONPATH=".")["prompt_tokens"] > 0
        assert complete(installed, PYTHONPATH=".")["prompt_tokens"] > 0
        assert not list(installed.work.rglob("sprung"))
    finally:
        stop(installed)
        for name in NAMES_OF_OURS:
            shutil.rmtree(installed.work / name)

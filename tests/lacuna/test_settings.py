"""The settings file and the environment: what goes before what, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lacuna import settings
from lacuna.errors import SettingsError
from model_runtime import manifest


def read(tmp_path: Path, text: str | None = None, **environment: str) -> settings.Settings:
    path = tmp_path / "config.toml"
    if text is not None:
        path.write_text(text)
    return settings.read_settings({"HOME": str(tmp_path), "LACUNA_CONFIG": str(path), **environment})


def test_without_a_file_the_embedded_model_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "embedded", lambda: tmp_path)
    (tmp_path / manifest.MANIFEST).write_text("{}")
    found = read(tmp_path)
    assert found.model is None
    assert found.model_directory == tmp_path
    assert found.idle_exit == settings.IDLE_EXIT


def test_an_installation_without_its_model_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "embedded", lambda: tmp_path)
    with pytest.raises(SettingsError, match=r"no model in .*; install Lacuna again, or name .* LACUNA_MODEL"):
        _ = read(tmp_path).model_directory


def test_the_file_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, 'model = "/models/mine"\nthreads = 3\nidle_exit = 60')
    assert (found.model, found.threads, found.idle_exit) == (Path("/models/mine"), 3, 60)


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    found = read(tmp_path, "threads = 3\nidle_exit = 60", LACUNA_THREADS="1", LACUNA_IDLE_EXIT="")
    assert (found.threads, found.idle_exit) == (1, 60)


def test_a_relative_model_is_beside_the_file(tmp_path: Path) -> None:
    assert read(tmp_path, 'model = "mine"').model == tmp_path / "mine"


def test_paths_of_the_environment_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = read(tmp_path, LACUNA_MODEL="mine", LACUNA_RUNTIME_DIR="run", LACUNA_LOG="log")
    assert (found.model, found.runtime, found.log) == (tmp_path / "mine", tmp_path / "run", tmp_path / "log")


def test_a_relative_xdg_folder_is_ignored(tmp_path: Path) -> None:
    assert read(tmp_path, XDG_CACHE_HOME="relative").cache.is_absolute()
    assert read(tmp_path, XDG_CACHE_HOME="/c").cache == Path("/c/lacuna")
    assert read(tmp_path, XDG_CACHE_HOME="/c", LACUNA_CACHE_DIR="/d").cache == Path("/d")


def test_settings_survive_the_way_to_another_process(tmp_path: Path) -> None:
    first = read(
        tmp_path, 'model = "mine"\nthreads = 3\nkv_cache = 200\nidle_exit = 0.5', LACUNA_RUNTIME_DIR="/run/lacuna"
    )
    assert read(tmp_path, "", **first.to_environment()) == first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle = 1", r"config\.toml sets 'modle'.*there are model, threads, kv_cache, provider, idle_exit"),
        ("threads = 0", r"config\.toml cannot be used.*threads"),
        ('threads = "two"', r"threads"),
        ("kv_cache = 0", r"kv_cache"),
        ('provider = "gpu"', r"provider"),
        ("idle_exit = -1", r"idle_exit"),
        ("model = ", r"is not TOML"),
        ("\x00", r"is not TOML"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "environment",
    [
        {"LACUNA_THREADS": "many"},
        {"LACUNA_MODEL": "~no-such-user/model"},
        {"LACUNA_RUNTIME_DIR": "~no-such-user/run"},
        {"LACUNA_TOKEN": "two\nlines", "LACUNA_SERVER": "http://lacuna.example"},
    ],
)
def test_a_mistake_in_the_environment_is_named(tmp_path: Path, environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(environment))):
        read(tmp_path, **environment)


def test_a_folder_for_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(SettingsError, match="cannot read"):
        read(tmp_path)


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not TOML"):
        read(tmp_path)

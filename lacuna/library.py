"""The user's imported models: a name in, a model directory out; and which of them answers. Loads no weights.

They are kept in $XDG_DATA_HOME/lacuna/models (~/.local/share/lacuna/models), one folder each. The
choice is the line `model = …` of the settings file.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from lacuna.errors import ModelNameError, SettingsError
from lacuna.settings import Settings, data_folder, read_settings, settings_file
from model_runtime import manifest

EMBEDDED = "embedded"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LINE = re.compile(r"^[ \t]*model[ \t]*=.*\n?", re.MULTILINE)


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where imported models are kept; it need not be there yet."""
    return data_folder(environment) / "models"


def kept(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """The model directories there, by name."""
    try:
        return sorted(path for path in folder(environment).iterdir() if is_model(path))
    except FileNotFoundError:
        return []


def is_model(directory: Path) -> bool:
    """Whether there is a model; a checkout may have none embedded."""
    return (directory / manifest.MANIFEST).is_file()


def path_for(name: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Where a model of this name is, or would be, kept. Raises ModelNameError for a name that no folder can have."""
    if not _NAME.fullmatch(name) or name == EMBEDDED:
        raise ModelNameError(f"{name!r} cannot be a model's name; take letters, digits, '.', '_' and '-', with --name")
    return folder(environment) / name


def find(name: str, environment: Mapping[str, str] = os.environ) -> Path:
    """The directory of a model by its name, by its path, or "embedded". Raises ModelNameError when there is none."""
    if name == EMBEDDED:
        return manifest.embedded()
    if _NAME.fullmatch(name) and (path := folder(environment) / name) in kept(environment):
        return path
    if (path := Path(name).expanduser()).is_dir():
        return path.absolute()
    names = ", ".join([EMBEDDED, *(path.name for path in kept(environment))])
    raise ModelNameError(f"there is no model {name!r}; there are {names}; import one with: lacuna model import DIR")


def use(directory: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Makes this the model that answers, from the next start on; returns the settings file. Raises SettingsError."""
    if environment.get("LACUNA_MODEL"):
        raise SettingsError("LACUNA_MODEL is set and goes before the settings file; unset it, or name the model there")
    read_settings(environment)  # nothing is written into a file that is broken already
    path = settings_file(environment)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    line = "" if directory == manifest.embedded() else f"model = {json.dumps(str(directory), ensure_ascii=False)}\n"
    text = line + _LINE.sub("", text, count=1)
    tomllib.loads(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text)
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}; mend its rights or make room there") from error
    return path


def remove(directory: Path, settings: Settings, environment: Mapping[str, str] = os.environ) -> None:
    """Deletes an imported model. Raises ModelNameError for the one that answers and for what was not imported here."""
    if directory == manifest.embedded():
        raise ModelNameError("the embedded model is part of this installation and stays; there is nothing to remove")
    if directory not in kept(environment):
        raise ModelNameError(
            f"{directory} is not among the imported models in {folder(environment)}; delete it by hand"
        )
    if settings.model is not None and settings.model.resolve() == directory.resolve():
        raise ModelNameError(f"{directory.name} is the model that answers; first run: lacuna model use {EMBEDDED}")
    doomed = directory.with_name(f".{directory.name}.removed")
    os.replace(directory, doomed)  # what is seen is whole or gone
    shutil.rmtree(doomed)


def _replace(path: Path, text: str) -> None:
    target = path.resolve()  # a settings file may be a link into somebody's dotfiles
    with tempfile.NamedTemporaryFile("w", dir=target.parent, delete=False, encoding="utf-8") as stream:
        try:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
            if target.exists():
                shutil.copymode(target, stream.name)
            os.replace(stream.name, target)
        except OSError:
            os.unlink(stream.name)
            raise

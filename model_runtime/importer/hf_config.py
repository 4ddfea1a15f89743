"""A checkpoint's config.json in, checked values out; a missing or mistyped one is an error with its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from model_runtime.errors import CheckpointError

FILE = "config.json"


class Configuration:
    """The values of a JSON object, by name."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        self.path, self._values = path, values

    @classmethod
    def read(cls, directory: Path) -> Configuration:
        """config.json of a folder. Raises CheckpointError when there is none or it is no JSON object."""
        path = directory / FILE
        if not directory.is_dir():
            raise CheckpointError(f"{directory} is no folder; give the folder of a Hugging Face checkpoint")
        try:
            values = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except OSError as error:
            raise CheckpointError(
                f"cannot read {path}: {error.strerror}; give the folder of a Hugging Face checkpoint, "
                "which holds config.json, the tokenizer and the weights"
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{path} is no configuration ({error}); download it again") from error
        return cls(path, values)

    def __contains__(self, name: str) -> bool:
        """Whether a value is given and is not null."""
        return self._values.get(name) is not None

    def get(self, name: str) -> Any:
        """A value as it is; None when there is none."""
        return self._values.get(name)

    def replaced(self, name: str, value: Any) -> Configuration:
        """The same with another value."""
        return Configuration(self.path, {**self._values, name: value})

    def integer(self, *names: str, default: int | None = None) -> int:
        """The first of these that is given, a whole number above 0."""
        return int(self._number(names, default, int))

    def number(self, *names: str, default: float | None = None) -> float:
        """The first of these that is given, a number above 0."""
        return self._number(names, default, int | float)

    def flag(self, name: str, default: bool) -> bool:
        """Whether something is so."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(f"{name} is {value!r}, it must be true or false")
        return default if value is None else value

    def text(self, *names: str, default: str = "") -> str:
        """The first of these that is given."""
        value = self._first(names, default)
        if not isinstance(value, str):
            raise self.wrong(f"{names[0]} is {value!r}, it must be a text")
        return value

    def inner(self, name: str) -> Configuration:
        """An object within; an empty one when there is none."""
        value = self._values.get(name) or {}
        if not isinstance(value, dict):
            raise self.wrong(f"{name} is {value!r}, it must be an object")
        return Configuration(self.path, value)

    def wrong(self, what: str) -> CheckpointError:
        """An error that names the file."""
        return CheckpointError(f"{self.path}: {what}; it is not the configuration of a model that can be imported")

    def _first(self, names: tuple[str, ...], default: Any) -> Any:
        return next((self._values[name] for name in names if self._values.get(name) is not None), default)

    def _number(self, names: tuple[str, ...], default: float | None, kind: Any) -> float:
        value = self._first(names, default)
        if value is None:
            raise self.wrong(f"{names[0]} is missing")
        if not isinstance(value, kind) or isinstance(value, bool) or not 0 < value < float("inf"):
            raise self.wrong(f"{names[0]} is {value!r}, it must be a number above 0")
        return float(value) if kind is not int else value

"""FILE:LINE:COL in, that file and the cursor in it out. Reads one file; ignores what is in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lacuna.errors import PositionError
from lsp_server.editor.document import Place, content, split

_FORM = re.compile(r"(?P<path>.+):(?P<line>\d{1,9}):(?P<column>\d{1,9})", re.DOTALL)  # a path may hold colons itself


@dataclass(frozen=True)
class Cursor:
    """A place between two characters of a file. path: as it was given; lines carry their endings."""

    path: Path
    lines: tuple[str, ...]
    place: Place

    @property
    def rest(self) -> str:
        """What stands on the line right of the cursor."""
        return content(self.lines[self.place.line])[self.place.column :]


def locate(text: str) -> Cursor:
    """The cursor that FILE:LINE:COL names; line and column count from 1, columns in characters.

    Raises PositionError when the text has another form, the file cannot be read or is not UTF-8, or
    the position is outside it.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise PositionError(f"{text!r} is no position; give FILE:LINE:COL, such as src/app.py:12:8")
    path, line, column = Path(found["path"]), int(found["line"]), int(found["column"])
    lines = tuple(split(_read(path)))
    if not 1 <= line <= len(lines):
        raise PositionError(f"{path} has lines 1 to {len(lines)}, not {line}; give one of them")
    end = len(content(lines[line - 1])) + 1
    if not 1 <= column <= end:
        raise PositionError(f"line {line} of {path} has columns 1 to {end}, not {column}; give one of them")
    return Cursor(path, lines, Place(line - 1, column - 1))


def without_rest(cursor: Cursor) -> Cursor:
    """The same cursor, as if the rest of its line were not written yet."""
    at = cursor.place
    line = cursor.lines[at.line]
    shorter = line[: at.column] + line[len(content(line)) :]
    return Cursor(cursor.path, (*cursor.lines[: at.line], shorter, *cursor.lines[at.line + 1 :]), at)


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # a pipe is waited for, a device never ends
            raise PositionError(f"{path} is no ordinary file; name one that is")
        return path.read_bytes().decode("utf-8-sig")
    except IsADirectoryError as error:
        raise PositionError(f"{path} is a folder; name a file in it") from error
    except OSError as error:
        raise PositionError(f"cannot read {path}: {error.strerror}; check its name and rights") from error
    except UnicodeDecodeError as error:
        raise PositionError(
            f"{path} is not UTF-8 (byte {error.start + 1}); convert it, for example with iconv"
        ) from error
    except ValueError as error:  # a name that no file can have
        raise PositionError(f"cannot read {str(path)!r}: {error}; check its name") from error

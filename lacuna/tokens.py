"""The tokens of a team server: a file of grants, and the commands that change it.

The file holds digests, never a token; who may read it may not ask by it. A server reads it anew when it changes.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from lacuna import lock
from lacuna.errors import DaemonError, TokenError
from lacuna.settings import data_folder
from model_runtime.gateway import auth
from model_runtime.gateway.auth import Grant, Scope

FILE = "tokens.json"
DAYS, RATE, CONCURRENCY = 365, 1200, 8
_PATIENCE = 5.0  # seconds for another command that writes the same file

app = typer.Typer(help="Tokens that a team server asks for.", no_args_is_help=True)
Kept = Annotated[Path | None, typer.Option("--tokens", metavar="FILE", help="The file of tokens.")]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tokens: list[Grant] = []


def location(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the tokens are kept unless told."""
    return data_folder(environment) / FILE


def read(path: Path) -> dict[str, Grant]:
    """The grants by id; none where there is no file. Raises TokenError."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TokenError(f"cannot read {path}: {error.strerror}; mend its rights") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TokenError(f"{path} is no file of tokens: {error}; restore it, or remove it and make new ones") from error
    return {grant.id: grant for grant in found.tokens}


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is; the audit names it.")],
    scope: Annotated[list[str], typer.Option(help="What it may do: complete, metrics.")] = ["complete"],  # noqa: B006
    days: Annotated[int, typer.Option(min=0, max=36_500, help="Days until it expires; 0 never.")] = DAYS,
    rate: Annotated[int, typer.Option(min=0, help="Requests a minute; 0 any.")] = RATE,
    concurrency: Annotated[int, typer.Option(min=0, help="Requests at once; 0 any.")] = CONCURRENCY,
    tokens: Kept = None,
) -> None:
    """Make a token and print it, this once."""
    path = tokens or location()
    scopes, called, now = _checked_scopes(scope), _checked_name(name), time.time()
    ((token, grant),) = make(
        path,
        [called],
        scopes=scopes,
        created=now,
        expires=now + days * 86400 if days else None,
        rate=rate or None,
        concurrency=concurrency or None,
    )
    Console(stderr=True).print(f"kept in {path} as {grant.id}; this is the token, it is not shown again:", style="dim")
    print(token)


def make(path: Path, names: Sequence[str], **terms: Any) -> list[tuple[str, Grant]]:
    """A new token for each name, and the grant that is kept of it. terms: of `access.Grant`. Raises TokenError."""
    made = []
    for name in names:
        token, identifier, digest = auth.issue()
        made.append((token, Grant(id=identifier, name=name, digest=digest, **terms)))
    with _changing(path) as grants:
        grants |= {grant.id: grant for _, grant in made}
    return made


@app.command("list")
def show(tokens: Kept = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Name the tokens there are and what each may do."""
    grants = read(tokens or location()).values()
    if as_json:
        shown = [{key: value for key, value in msgspec.to_builtins(one).items() if key != "digest"} for one in grants]
        print(msgspec.json.format(msgspec.json.encode(shown)).decode())
        return
    table = Table("id", "name", "scopes", "made", "expires", "a minute", "at once", box=None)
    for one in grants:
        over = one.expires is not None and one.expires <= time.time()
        expires = "never" if one.expires is None else ("expired " if over else "") + _day(one.expires)
        table.add_row(
            one.id, one.name, " ".join(one.scopes), _day(one.created), expires, _most(one.rate), _most(one.concurrency)
        )
    Console().print(table)


@app.command()
def revoke(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="As `lacuna token list` shows it.")],
    tokens: Kept = None,
) -> None:
    """Make a token worthless, at once."""
    path = tokens or location()
    with _changing(path) as grants:
        if identifier not in grants:
            raise TokenError(f"{path} has no token {identifier!r}; `lacuna token list` names those there are")
        del grants[identifier]
    print(f"{identifier} is worthless now")


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[dict[str, Grant]]:
    """The grants, to be changed by nobody else meanwhile; written whole afterwards."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = _held(path.with_suffix(".lock"))
        try:
            grants = read(path)
            yield grants
            _write(path, msgspec.json.format(msgspec.json.encode(_File(list(grants.values())))))
        finally:
            os.close(held)
    except OSError as error:
        raise TokenError(
            f"cannot write {path}: {error.strerror}; mend its rights, make room or name another file"
        ) from error


def _held(path: Path) -> int:
    until = time.monotonic() + _PATIENCE
    try:
        while (held := lock.take(path)) is None:
            if time.monotonic() > until:
                raise TokenError(f"somebody else changes the tokens (process {lock.holder(path)}); try again")
            time.sleep(0.02)
    except DaemonError as error:
        raise TokenError(f"cannot lock {path}; mend its folder's rights, or name another file") from error
    lock.sign(held)
    return held


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and for this user alone."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise TokenError("a token's name is 1 to 100 printable characters")
    return name.strip()


def _checked_scopes(scopes: list[str]) -> tuple[Scope, ...]:
    known = [one for one in auth.SCOPES if one in scopes]
    if len(known) != len(set(scopes)):
        raise TokenError(f"there are the scopes {' and '.join(auth.SCOPES)}, not {' '.join(scopes)}")
    return tuple(known)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def _most(limit: int | None) -> str:
    return "any" if limit is None else str(limit)

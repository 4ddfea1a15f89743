"""The command `lacuna stats`: the journal's folder in, words on the terminal, JSON or a page in the browser out.

The page is one file beside the journal that nobody else may read. Nothing listens, and nothing leaves the machine.
"""

from __future__ import annotations

import os
import sys
import webbrowser
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from lacuna.settings import journal_folder
from lacuna.stats import Row, Statistics, gather
from lsp_server.feedback import journal

PAGE = "stats.html"

_AFTER = {30: "30 s", 120: "2 min", 600: "10 min"}


def stats(
    days: Annotated[
        int, typer.Option("--days", min=1, max=journal.DAYS, help="Of how many days, today included.")
    ] = 30,
    web: Annotated[bool, typer.Option("--web", help="Open them as a page in the browser.")] = False,
    page: Annotated[Path | None, typer.Option("--page", metavar="FILE", help="Write that page, open nothing.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what became of suggestions: how many were taken, how fast they came, why nothing was shown."""
    folder, today = journal_folder(), date.today()
    found = gather(journal.read(folder, today - timedelta(days - 1)))
    if web or page is not None:
        file = page or folder / PAGE
        _write(file, found, today, folder)
        if not web:
            print(file)
        elif not webbrowser.open(file.absolute().as_uri()):
            print(f"there is no browser here; open this in one: {file.absolute().as_uri()}")
    elif as_json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    elif not found.requests and not found.total.tally.shown:
        words = 'nothing was kept; set `journal` to "on" in your editor, write some code and look again'
        print(f"lacuna: {words}", file=sys.stderr)
    else:
        _print(found)


def _write(file: Path, found: Statistics, today: date, folder: Path) -> None:
    from lacuna import stats_html

    text = stats_html.render(found, today, str(folder))
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as opened:
        opened.write(text)


def _print(found: Statistics) -> None:
    tally = found.total.tally
    kept = ", ".join(
        f"{one.share:.0%} after {_AFTER.get(after, f'{after} s')}" for after, one in found.survival.items()
    )
    fates = (
        f"{tally.shown} suggestions shown: {tally.accepted} accepted, {tally.partly} partly, "
        f"{tally.typed} typed through, {tally.overtyped} typed over, {tally.dismissed} dismissed"
    )
    lines = [
        fates,
        f"{tally.saved} characters saved" + (f"; still there: {kept}" if kept else ""),
        *(f"{stage:9} {value:7.1f} ms" for stage, value in found.total.speed.stages.items()),
    ]
    console = Console(highlight=False, soft_wrap=True)
    console.print("\n".join(lines), markup=False)
    for heading, rows in (("language", found.languages), ("day", found.days)):
        console.print(_table(heading, rows))
    if found.reasons:
        reasons = Table("nothing shown because", "times", box=None, pad_edge=False)
        for reason, count in found.reasons.items():
            reasons.add_row(reason.replace("[", r"\["), str(count))
        console.print(reasons)


def _table(heading: str, rows: dict[str, Row]) -> Table:
    table = Table(heading, box=None, pad_edge=False)
    for name in ("shown", "taken", "saved", "median ms", "slowest 5 %"):
        table.add_column(name, justify="right")
    for name, row in rows.items():
        tally, speed = row.tally, row.speed
        taken = "" if tally.acceptance is None else f"{tally.acceptance:.0%}"
        times = ("" if value is None else f"{value:.0f}" for value in (speed.median, speed.slowest))
        table.add_row(name.replace("[", r"\["), str(tally.shown), taken, str(tally.saved), *times)
    return table

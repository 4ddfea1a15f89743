"""What is said about the journal: the numbers, the command, and the page as a real browser shows it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lacuna import isolation, stats_html
from lacuna.settings import Settings
from lacuna.stats import Survival, gather
from lsp_server.feedback.journal import AnswerRecord, Outcome, Record, Retention
from tests import daemons

TODAY = date(2026, 11, 21)
NOON = datetime(2026, 11, 21, 12).timestamp()
EVIL = "<script>document.title = 'run'</script>"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def outcome(number: int, fate: Any, characters: int, taken: int = 0, **more: Any) -> Outcome:
    given = {"suggestion": f"s-{number}", "at": NOON, "language": "python", "visible": 1.0, **more}
    return Outcome(fate=fate, characters=characters, taken=taken, **given)


RECORDS: list[Record] = [
    outcome(1, "accepted", 20, 20),
    outcome(2, "partly", 30, 11),
    outcome(3, "typed", 8, visible=0.1),
    outcome(4, "overtyped", 9),
    outcome(5, "dismissed", 9, language="go", at=NOON - 86_400),
    outcome(6, "dismissed", 9, visible=0.1),  # gone before it could be read
    outcome(7, "replaced", 9),  # never decided
    Retention("s-1", NOON, 30, 1.0),
    Retention("s-2", NOON, 30, 0.5),
    Retention("s-1", NOON, 600, 0.25),
    AnswerRecord(NOON, "python", "model", total=100.0, debounce=10.0, prefill=20.0, decode=60.0),
    AnswerRecord(NOON, "python", "model", total=200.0, debounce=0.0, prefill=40.0, decode=100.0),
    AnswerRecord(NOON, "python", "memory", total=1.0),
    AnswerRecord(NOON, "go", "skip", "inside a word", total=0.3),
    AnswerRecord(NOON, "go", "skip", "inside a word", total=0.3),
    AnswerRecord(NOON, EVIL, "skip", EVIL, total=0.3),
]


def test_suggestions_are_counted_by_what_became_of_them() -> None:
    tally = gather(RECORDS).total.tally
    assert (tally.accepted, tally.partly, tally.typed, tally.overtyped, tally.dismissed) == (1, 1, 1, 1, 1)
    assert (tally.shown, tally.acceptance) == (5, 0.4)


def test_a_key_that_accepts_is_not_saved() -> None:
    tally = gather(RECORDS).total.tally
    assert (tally.written, tally.saved) == (31, 29)


def test_times_are_those_of_suggestions_the_model_wrote_just_then() -> None:
    found = gather(RECORDS)
    assert found.total.speed.median == 150.0
    assert found.total.speed.slowest == 195.0
    assert found.total.speed.stages == {"debounce": 5.0, "prefill": 30.0, "decode": 80.0}
    assert (found.requests, found.total.speed.suggestions, found.remembered) == (6, 3, 1)


def test_each_day_and_language_has_its_own_numbers() -> None:
    found = gather(RECORDS)
    assert {day: row.tally.shown for day, row in found.days.items()} == {"2026-11-20": 1, "2026-11-21": 4}
    assert [(name, row.tally.shown) for name, row in found.languages.items()][:2] == [("python", 4), ("go", 1)]


def test_reasons_come_most_frequent_first_and_survival_by_its_time() -> None:
    found = gather(RECORDS)
    assert list(found.reasons.items()) == [("inside a word", 2), (EVIL, 1)]
    assert found.survival == {30: Survival(2, 0.75), 600: Survival(1, 0.25)}


def test_nothing_gives_no_rates() -> None:
    found = gather([])
    assert found.total.tally.acceptance is None and found.total.speed.median is None


class Tags(HTMLParser):
    """Balance of tags, and every address that a browser might ask."""

    VOID = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "action")]
        if tag not in self.VOID and tag not in ("rect", "path", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "path", "circle"):
            assert self.open.pop() == tag


@pytest.mark.parametrize("records", [RECORDS, [], RECORDS[:1], RECORDS[10:11]], ids=["all", "none", "taken", "timed"])
def test_the_page_is_whole_asks_for_nothing_and_quotes_what_it_shows(records: list[Record]) -> None:
    text = stats_html.render(gather(records), TODAY, "/home/<me>/journal")
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.addresses == []
    assert not tags.seen & {"script", "link", "img", "iframe", "form"}
    assert "url(" not in text and "@import" not in text and "://" not in text
    assert "/home/&lt;me&gt;/journal" in text
    assert "default-src 'none'" in text


def test_the_page_has_a_column_for_each_day_up_to_a_limit() -> None:
    many = [outcome(one, "accepted", 5, 5, at=NOON - one * 86_400) for one in range(100)]
    assert stats_html.render(gather(many), TODAY, "x").count('class="day') == 2 * stats_html.MOST_DAYS
    assert stats_html.render(gather(many[:3]), TODAY, "x").count('class="day') == 2 * 3


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Settings]:
    with daemons.settings(tmp_path / "no-model", tmp_path / "cache") as settings:
        yield settings


def run(user: Settings, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = daemons.environment(user, XDG_DATA_HOME=str(user.cache.parent / "data"), **variables)
    command = isolation.command("stats", *arguments)
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=daemons.PATIENCE)


def keep(user: Settings, records: list[Record]) -> Path:
    """A journal of these records, moved to the last two days."""
    folder = user.cache.parent / "data" / "lacuna" / "journal"
    folder.mkdir(parents=True)
    shift = datetime.now().timestamp() - NOON
    moved = [msgspec.structs.replace(one, at=one.at + shift) for one in records]
    lines = b"".join(msgspec.json.encode(one) + b"\n" for one in moved)
    (folder / f"{date.today().isoformat()}.jsonl").write_bytes(lines)
    return folder


def test_the_command_prints_them(user: Settings) -> None:
    keep(user, RECORDS)
    done = run(user)
    assert done.returncode == 0, done.stderr
    for words in (
        "5 suggestions shown: 1 accepted, 1 partly",
        "29 characters saved",
        "75% after 30 s",
        "inside a word",
    ):
        assert words in done.stdout
    assert EVIL in done.stdout
    told = json.loads(run(user, "--json").stdout)
    assert told["total"]["tally"]["acceptance"] == 0.4


def test_the_command_says_how_to_begin_when_nothing_was_kept(user: Settings) -> None:
    done = run(user)
    assert (done.returncode, done.stdout) == (0, "")
    assert 'set `journal` to "on"' in done.stderr
    assert not (user.cache.parent / "data").exists()


def test_older_days_are_left_out(user: Settings) -> None:
    folder = keep(user, RECORDS)
    (folder / f"{date.today().isoformat()}.jsonl").rename(folder / f"{date.today() - timedelta(9)}.jsonl")
    assert json.loads(run(user, "--json", "--days", "9").stdout)["requests"] == 0
    assert json.loads(run(user, "--json", "--days", "10").stdout)["requests"] == 6


def test_the_page_is_opened_in_the_users_browser_and_readable_by_them_alone(user: Settings, tmp_path: Path) -> None:
    folder = keep(user, RECORDS)
    browser, told = tmp_path / "browser", tmp_path / "told"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {told}\n')
    browser.chmod(0o755)
    done = run(user, "--web", BROWSER=str(browser))
    assert done.returncode == 0, done.stderr
    assert told.read_text() == (folder / "stats.html").as_uri()
    assert (folder / "stats.html").stat().st_mode & 0o077 == 0


def test_without_a_browser_the_pages_place_is_named(user: Settings, tmp_path: Path) -> None:
    folder = keep(user, RECORDS)
    done = run(user, "--web", BROWSER="", PATH=str(tmp_path), DISPLAY="", WAYLAND_DISPLAY="")
    assert (folder / "stats.html").as_uri() in done.stdout
    file = tmp_path / "page.html"
    assert run(user, "--page", str(file)).stdout == f"{file}\n"
    assert "Acceptance" in file.read_text("utf-8")


MEASURE = """<script>
const box = (selector) => [...document.querySelectorAll(selector)].map((one) => one.getBoundingClientRect());
const outside = [...document.querySelectorAll('.card, .tiles > div, .tiles b, .rows b, .fates b, .ring b')]
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 || one.scrollWidth > one.clientWidth + 1);
document.body.setAttribute('data-told', JSON.stringify({
  wide: document.documentElement.scrollWidth - innerWidth,
  outside: outside.map((one) => one.className + ': ' + one.textContent.slice(0, 60)),
  columns: box('.columns .day > i').map((one) => one.height),
  taken: box('.columns .day > i > i').map((one) => one.height),
  ranges: box('.ranges .day > i').map((one) => one.height),
  stack: box('.stack i').map((one) => one.width),
  bars: box('.rows li > i > i').map((one) => one.width),
  ink: getComputedStyle(document.querySelector('.tiles b')).color,
  requests: performance.getEntriesByType('resource').length,
}));
</script>"""


def shown(file: Path, profile: Path, width: int) -> str:
    """What a browser makes of a page: its document, once it is drawn."""
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    more = [f"--user-data-dir={profile}", f"--window-size={width},2000", "--dump-dom", file.as_uri()]
    done = subprocess.run([*command, *more], capture_output=True, encoding="utf-8", timeout=50, check=True)
    return done.stdout


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here to show the page")
@pytest.mark.parametrize("width", [1280, 500])
def test_a_browser_draws_every_number_inside_its_card(tmp_path: Path, width: int) -> None:
    text = stats_html.render(gather(RECORDS), TODAY, "/home/me/" + "journal/" * 12)
    file = tmp_path / "page.html"
    file.write_text(text.replace("default-src 'none';", "script-src 'unsafe-inline';") + MEASURE, encoding="utf-8")
    document = shown(file, tmp_path / "profile", width)
    found = Attribute()
    found.feed(document)
    told = found.told
    assert told["wide"] <= 0
    assert told["outside"] == []
    assert told["requests"] == 0
    dismissed, mixed = told["columns"]
    assert mixed == pytest.approx(4 * dismissed, rel=0.05)  # four were shown today and one yesterday
    assert told["taken"] == [0, pytest.approx(mixed / 2, rel=0.05)]
    assert len(told["ranges"]) == 1 and told["ranges"][0] > 0
    assert len(told["stack"]) == 5 and max(told["stack"]) - min(told["stack"]) < 1
    assert all(width > 0 for width in told["bars"])
    assert told["ink"] == "rgb(252, 163, 17)"


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here to show the page")
def test_nothing_that_a_journal_holds_is_run(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    text = stats_html.render(gather(RECORDS), TODAY, "x")
    file.write_text(text + EVIL + MEASURE, encoding="utf-8")  # even if something got through, the policy stops it
    document = shown(file, tmp_path / "profile", 1280)
    assert "<title>Lacuna · statistics</title>" in document
    assert "data-told=" not in document


class Attribute(HTMLParser):
    """What the measuring script left on the page."""

    told: Any = None

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.told = next((json.loads(value or "") for name, value in attributes if name == "data-told"), self.told)

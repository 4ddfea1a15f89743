"""The judge of retrieval and memory hides what it says it hides, and counts as it says."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gains, hidden_lines, repository
from benchmarks.gains import Record, Try
from benchmarks.hidden_lines import HiddenLine
from retrieval.index import index, workspace
from tests import tiny
from tests.retrieval.checking import write

FILES = '''
=== shop/models.py
class Order:
    """What a customer bought."""

    def total(self, tax_rate):
        return self.price * (1 + tax_rate)

    def settle(self, account):
        account.charge(self.price)

    def label(self):
        return f"an order of {self.price}"
=== shop/accounts.py
class Account:
    """Whose money it is."""

    def charge(self, amount):
        self.balance = self.balance - amount

    def empty(self):
        return self.balance == 0

    def close(self):
        self.balance = None
=== shop/desk.py
from shop.accounts import Account
from shop.models import Order


def sell(price):
    """
    Order in a text is no code
    """
    bought = Order()
    bought.price = price
    later = Order()
    return bought.total(3), later, Account()
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "root", FILES)
    return tmp_path / "root"


def gaps(root: Path) -> list[HiddenLine]:
    return hidden_lines.draw(index.build(root), 100, random.Random(3))


def test_a_gap_is_the_end_of_a_line_and_the_rest_of_the_file_stays(root: Path) -> None:
    found = gaps(root)
    assert len(found) > 10
    for gap in found:
        assert gap.before + gap.rest + gap.after == workspace.read(root, gap.path)
        assert "\n" not in gap.rest
        assert gap.before.count("\n") == gap.line
        assert not gap.rest.startswith(("from", "import", '"""'))
        assert "no code" not in gap.rest


def test_a_gap_crosses_files_where_it_hides_the_first_use_of_a_name_of_another(root: Path) -> None:
    crossing = {(gap.path, gap.line): gap for gap in gaps(root) if gap.oracle is not None}
    assert set(crossing) <= {("shop/desk.py", 8), ("shop/desk.py", 11), ("shop/models.py", 7)}
    order = crossing["shop/desk.py", 8]
    assert "rder" in order.rest
    assert order.oracle is not None
    assert order.oracle[0] == "shop/models.py"
    assert order.oracle[1].startswith("class Order:\n")


def test_the_index_forgets_a_file_only_for_a_while(root: Path) -> None:
    made = index.build(root)
    with repository._without(made, "shop/models.py"):
        made.look()
        assert not made.has("shop/models.py")
        assert made.named(["Order"], 5) == {}
    made.look()
    assert made.has("shop/models.py")
    assert [known.path for known in made.named(["Order"], 5)["Order"]] == ["shop/models.py"]


def test_what_is_left_of_a_file_holds_no_line_with_a_gap(root: Path) -> None:
    group = [gap for gap in gaps(root) if gap.path == "shop/desk.py"]
    text = workspace.read(root, "shop/desk.py")
    assert text is not None
    kept = [line for number, line in enumerate(text.split("\n")) if number not in {gap.line for gap in group}]
    assert "".join(repository._left(group)).split("\n")[:-1] == kept


def record(crossing: bool, alone: float, more: float, exact: bool = False) -> Record:
    tries = {"model": Try(False, 0.5, alone, 1.0), "+ retrieval": Try(exact, 0.7, more, 2.0)}
    return Record("r", "a.py", 1, "mid-line", crossing, 3.0, tries)


def test_gains_are_paired_and_told_apart_by_what_a_line_needs() -> None:
    rows = gains.report([record(True, -9, -4, exact=True), record(True, -8, -5), record(False, -2, -2)])
    assert set(rows) == {"all", "another file", "this file alone", "mid-line"}
    row = rows["another file"]["+ retrieval"]
    assert (row.n, row.exact, row.nats) == (2, 0.5, -4.5)
    assert row.nats_gain == pytest.approx((4.0, 4 - 1.96, 4 + 1.96))
    assert rows["this file alone"]["+ retrieval"].nats_gain == (0.0, 0.0, 0.0)


def test_shards_together_are_the_whole(root: Path, tmp_path: Path) -> None:
    model = tiny.write(tmp_path / "model")
    files, alone = [], []
    for shard in ("1/2", "2/2", "1/1"):
        done = run("--root", str(root), "--n", "8", "--model", str(model), "--shard", shard)
        files.append(tmp_path / f"{shard.replace('/', '-')}.json")
        files[-1].write_text(done)
        alone.append(json.loads(done)["lines"])
    first, second, whole = alone
    assert key(first + second) == key(whole)
    assert all(set(one["tries"]) >= set(gains.ARMS) - {"oracle"} for one in whole)
    merged = json.loads(run("--merge", str(files[0]), str(files[1])))
    assert merged["report"]["all"]["+ both"]["n"] == len(whole)


def key(lines: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return sorted((one["path"], one["line"], one["kind"]) for one in lines)  # type: ignore[type-var]


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.repository", "--json", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=50).stdout

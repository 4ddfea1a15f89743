"""A made-up team for the tests of tuning: its repository, code by others, a tiny model, and an order for all that."""

from __future__ import annotations

from pathlib import Path

from tests import tiny, training_sources
from training import finetune


def repository(root: Path, count: int = 24) -> Path:
    """A repository of modules that are alike in style and not in content."""
    root.mkdir(parents=True)
    words = ("apple", "bridge", "candle", "desert", "engine", "forest", "garden", "harbor")
    for number in range(count):
        name = words[number % len(words)] + "abc"[number // len(words) % 3]
        (root / f"{name}.py").write_text(training_sources.module(name, size=3 + number % 4))
    return root


def scripts(root: Path, count: int = 8) -> Path:
    """Code by others, in another language."""
    root.mkdir(parents=True)
    for number in range(count):
        lines = [
            f"export function step{number}_{line}(left, right) {{\n  const sum{line} = left * {line} + right;\n"
            f"  return sum{line} > {number} ? sum{line} : left - {number};\n}}\n"
            for line in range(4 + number)
        ]
        (root / f"part{number}.js").write_text("".join(lines))
    return root


def folders(home: Path) -> Path:
    """`team`, `others` and `base`, a model of ours, in a folder; that folder."""
    repository(home / "team")
    scripts(home / "others")
    (home / "base").mkdir()
    tiny.write(home / "base", precision="fp32")
    return home


def order(home: Path, **changes: object) -> finetune.Order:
    """A small order on these folders."""
    found: dict[str, object] = {
        "repositories": (home / "team",),
        "base": home / "base",
        "name": "ours",
        "target": home / "library" / "ours",
        "work": home / "work",
        "replay": (home / "others",),
        "regression": (home / "others",),
        "epochs": 1,
        "batch": 1024,
    }
    return finetune.Order(**{**found, **changes})  # type: ignore[arg-type]

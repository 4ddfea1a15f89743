"""A cursor in a real file in, what the model writes there out, on the terminal: `make demo`.

The files are those of packages that were held out of the model's training. Each time the rest of the line is hidden
from the model and shown afterwards, so that anybody can judge. Starts a daemon of its own and stops it at the end.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

LACUNA = [str(Path(sys.executable).with_name("lacuna"))]
SHOWN = 6  # lines of the file before the cursor


@dataclass(frozen=True)
class Spot:
    """A cursor: right after `typed` in the first line of the file that holds it, from the first `below` on."""

    package: str
    file: str
    typed: str
    below: str = ""


SPOTS = (
    Spot("httpx", "_models.py", "if not isinstance(", below="Close the response"),
    Spot("httpx", "_models.py", "if isinstance(", below="class Cookies"),
    Spot("click", "formatting.py", "max_width: ", below="class HelpFormatter"),
    Spot("click", "core.py", "return ", below="def get_usage"),
    Spot("rich", "console.py", "return ", below="def width"),
)


def main() -> int:
    """Complete at each spot, then once more after one more key."""
    console = Console(highlight=False, soft_wrap=True)
    console.print("[bold]The rest of each line is hidden from the model. Green is what it writes in its place.[/bold]")
    console.print("[dim]We chose these five places to show what the model can do. Of whole lines that nobody[/dim]")
    console.print("[dim]chose it writes about one in five as the file has it; its card says how many where.[/dim]")
    with tempfile.TemporaryDirectory(prefix="lacuna-demo-") as folder:
        environment = {**os.environ, "LACUNA_RUNTIME_DIR": folder}
        try:
            for spot in SPOTS:
                path, line, column = locate(spot)
                first = complete(path, line, column, environment)
                show(console, path, line, column, first)
                if spot is SPOTS[0] and first["rest"]:
                    second = complete(path, line, column + 1, environment)
                    console.print(f"\n[bold]One more key, [reverse]{first['rest'][0]}[/reverse][/bold]:")
                    show(console, path, line, column + 1, second, lines=1)
        finally:
            subprocess.run([*LACUNA, "stop"], env=environment, stdout=subprocess.DEVNULL, timeout=60, check=False)
    console.print(
        "\nYour own code: [bold].venv/bin/lacuna complete FILE:LINE:COL[/bold]; in an editor: docs/editors.md"
    )
    return 0


def locate(spot: Spot) -> tuple[Path, int, int]:
    """File, line and column of a spot, counted from 1."""
    found = importlib.util.find_spec(spot.package)
    assert found is not None and found.origin is not None
    path = Path(found.origin).parent / spot.file
    text = path.read_text(encoding="utf-8")
    at = text.index(spot.typed, text.index(spot.below)) + len(spot.typed)
    return path, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def complete(path: Path, line: int, column: int, environment: dict[str, str]) -> dict[str, Any]:
    """What `lacuna complete --json` says, with `wall`: the milliseconds of the whole command."""
    began = time.monotonic()
    command = [*LACUNA, "complete", f"{path}:{line}:{column}", "--hide-rest", "--json"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, timeout=120, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "wall": (time.monotonic() - began) * 1000}


def show(console: Console, path: Path, line: int, column: int, found: dict[str, Any], lines: int = SHOWN) -> None:
    """The code before the cursor, what the model wrote in colour, what the file says, and what it cost."""
    source = path.read_text(encoding="utf-8").split("\n")
    before = [*source[max(0, line - lines) : line - 1], source[line - 1][: column - 1]]
    console.print(f"\n[dim]{path.parents[1]}/[/dim][bold]{path.parent.name}/{path.name}:{line}:{column}[/bold]")
    console.print(Text("\n".join(before), style="dim") + Text(found["completion"] or "▮", style="bold green"))
    if not found["completion"]:
        console.print(f"  nothing: {found['reason']}", style="yellow")
    console.print(Text("  the file says: ", style="dim") + Text(found["rest"] or ""))
    times = found["timings_ms"]
    console.print(
        f"  [dim]{found['prompt_tokens']} tokens of prompt, {found['reused']} known from before, "
        f"{found['prefilled']} read; {found['generated']} written. "
        f"prefill {times['prefill']:.0f} ms, decode {times['decode']:.0f} ms; "
        f"the whole command {found['wall']:.0f} ms[/dim]"
    )


if __name__ == "__main__":
    sys.exit(main())

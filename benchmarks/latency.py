"""A person at the keyboard in front of the real `lacuna --stdio`: how long each key waits, and what it costs.

    python -m benchmarks.latency [--json] [--root PACKAGE_DIR] [--minutes 5] [--lines 50000] [--gate]

Functions of a real package (httpx by default, which no model of ours was trained on) are written again in a copy of
it, key by key: typos and their correction, jumps between two functions, closers that the editor inserts, Enter
between braces, suggestions accepted. The server and the daemon are the real ones, in folders of their own.
What the words of the report mean stands in `samples`; Linux only, as memory and time come from /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lacuna
from benchmarks import footprint, lsp_client, samples, sitting
from benchmarks.editor import Editor
from benchmarks.samples import Threshold
from benchmarks.sitting import Sitting
from benchmarks.workspace import Workspace, copied, enlarged, package

QUIET, IDLE = 30.0, 10.0  # seconds after the last key, and then of watching
OPTIONS = {"timings": True, "eagerness": "always"}
SERVER = shlex.join([sys.executable, str(Path(lacuna.__file__).with_name("__main__.py")), "--stdio"])


@dataclass(frozen=True)
class Household:
    """Every process of this session: the editor's, the daemon, and what they started. They come and go."""

    editor: int
    runtime: Path

    def commands(self) -> dict[int, str]:
        """Process id → command line."""
        return footprint.with_environment("LACUNA_RUNTIME_DIR", str(self.runtime))

    def cpu_seconds(self) -> dict[int, float]:
        """Processor time of each."""
        return {pid: footprint.cpu_seconds(pid) for pid in self.commands()}

    def memory(self) -> dict[str, float | None]:
        """In MB: the editor process, the daemon, what of that is no mapped file, and all the others."""
        commands = self.commands()
        daemons = [pid for pid, command in commands.items() if " serve" in command]
        daemon = max(daemons, default=None)  # where one replaced another, the newer
        others = [footprint.resident_mb(pid) for pid in commands if pid not in (self.editor, daemon)]
        return {
            "editor": round(footprint.resident_mb(self.editor), 1),
            "daemon": None if daemon is None else round(footprint.resident_mb(daemon), 1),
            "daemon_anonymous": None if daemon is None else round(footprint.anonymous_mb(daemon), 1),
            "others": round(sum(others), 1),
        }


def _spent(before: dict[int, float], after: dict[int, float]) -> float:
    """Seconds between two looks; a process that ended meanwhile counts as far as its parent does."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole session, as a report. Whoever interrupts it leaves nothing behind."""
    session = asyncio.current_task()
    assert session is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, session.cancel)
    with tempfile.TemporaryDirectory(prefix="lacuna-latency-") as name, ended(Path(name) / "run") as runtime:
        folder = Path(name)
        source = arguments.root or package("httpx")
        make = enlarged(source, folder, arguments.lines, arguments.seed) if arguments.lines else None
        workspace = make or copied(source, folder, arguments.seed)
        desk: Sitting | None = None

        def hear(method: str, params: Any) -> None:
            if desk is not None:
                desk.hear(method, params)

        try:
            client = await lsp_client.start(
                shlex.split(arguments.server),
                environment=environment(folder, runtime),
                root=workspace.root,
                options=OPTIONS,
                errors=folder / "stderr",
                notified=hear,
            )
            desk = Sitting(client, workspace.root, random.Random(arguments.seed))
            try:
                return await _sit(desk, workspace, runtime, arguments)
            finally:
                await lsp_client.stop(client)
        finally:
            sys.stderr.write((folder / "stderr").read_text("utf-8", "replace"))


async def _sit(desk: Sitting, workspace: Workspace, runtime: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    first = await _first_answer(desk, workspace)
    processes = Household(desk.client.process.pid, runtime)
    cpu, machine, began = processes.cpu_seconds(), footprint.machine_seconds(), time.perf_counter()
    own = footprint.cpu_seconds(os.getpid())
    await sitting.write(desk, workspace, arguments.minutes * 60)
    typed, spent = time.perf_counter() - began, _spent(cpu, processes.cpu_seconds())
    others = footprint.machine_seconds() - machine - spent - footprint.cpu_seconds(os.getpid()) + own
    await asyncio.sleep(QUIET)
    idle_cpu, idle_began = processes.cpu_seconds(), time.perf_counter()
    await asyncio.sleep(IDLE)
    idle = _spent(idle_cpu, processes.cpu_seconds()) / (time.perf_counter() - idle_began)
    memory = processes.memory()
    sitting.settle(desk)
    await sitting.probe(desk)
    taken = desk.samples
    if arguments.samples:
        arguments.samples.write_text("\n".join(json.dumps(samples.row(sample)) for sample in taken) + "\n")
    return {
        "minutes": round(typed / 60, 2),
        "seed": arguments.seed,
        "lines": arguments.lines,
        "first_answer_ms": first,
        "typed": {"keys": desk.keys, "requests": len(taken), "accepted": desk.accepted, "jumps": desk.jumps},
        "timed": sum(sample.timing is not None for sample in taken),
        "unprobed": sum(sample.unknown for sample in taken),
        "classes": samples.classes(taken),
        "warm_and_through": samples.together(taken),
        "reasons": samples.reasons(taken),
        "stages": samples.stages(taken),
        "memory_mb": memory,
        "cpu": {"typing_s_per_min": round(spent / typed * 60, 2), "idle_percent": round(100 * idle, 2)},
        "others_cpu_percent": round(100 * others / typed, 1),
    }


async def _first_answer(desk: Sitting, workspace: Workspace) -> float | None:
    """Milliseconds from opening a file to the first answer, the daemon's start included. Not part of the session."""
    path = next(path for path in sorted(workspace.root.rglob("*.py")) if path != workspace.holes[0].path)
    began = time.perf_counter()
    desk.open(path, Editor(path.read_text("utf-8").split("\n")))
    end = len(desk.editors[path].lines) - 1
    position = {"line": end, "character": 0}
    params = {"textDocument": {"uri": path.as_uri()}, "position": position, "context": {"triggerKind": 1}}
    await desk.client.ask("textDocument/inlineCompletion", params, 120.0)
    took = round((time.perf_counter() - began) * 1000, 1)
    desk.client.notify("textDocument/didClose", {"textDocument": {"uri": path.as_uri()}})
    del desk.editors[path]
    return took


def environment(folder: Path, runtime: Path) -> dict[str, str]:
    """Of a server and a daemon that keep everything in these folders."""
    homes = {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA", "STATE")}
    return {**os.environ, "LACUNA_RUNTIME_DIR": str(runtime), **homes}


@contextlib.contextmanager
def ended(runtime: Path) -> Iterator[Path]:
    """A folder for the daemon; afterwards whatever runs there is ended."""
    runtime.mkdir(mode=0o700)
    try:
        yield runtime
    finally:
        for pid in footprint.with_environment("LACUNA_RUNTIME_DIR", str(runtime)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def table(report: dict[str, Any], verdicts: Sequence[Threshold]) -> str:
    """The report for people."""
    typed = report["typed"]
    said = (
        f"{typed['keys']} keys in {report['minutes']} min, {typed['requests']} requests, {typed['jumps']} jumps, "
        f"{typed['accepted']} suggestions taken; first answer after {report['first_answer_ms']} ms"
    )
    ranks = "".join(f"{name:>8}" for name in ("p50", "p95", "p99"))
    lines = [said, "", f"{'class':9}{'asked':>7}{'cut off':>9}{'shown':>7}{'share':>7}{'due':>6}{'≤150':>7}{ranks}"]
    for name, one in {**report["classes"], "w+t": report["warm_and_through"]}.items():
        ms = one["latency_ms"]
        cells = (one["shown_share"], one["due_within_150_ms"], ms["p50"], ms["p95"], ms["p99"])
        share, prompt, *times = ("-" if cell is None else cell for cell in cells)
        asked = one["requests"] - one["skipped"]
        lines.append(
            f"{name:9}{asked:>7}{one['superseded']:>9}{one['shown']:>7}{share!s:>7.6}{one['due']:>6}{prompt!s:>7.6}"
            + "".join(f"{time:>8}" for time in times)
        )
    lines += ["", f"{'ms':16}{'n':>7}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}"]
    for name, one in report["stages"].items():
        lines.append(f"{name:16}{one['n']:>7}" + "".join(f"{one[rank]!s:>9}" for rank in ("p50", "p95", "p99", "max")))
    lines += ["", "nothing shown because: " + ", ".join(f"{why} {n}" for why, n in report["reasons"].items())]
    lines += [
        f"memory in MB: {report['memory_mb']}",
        f"CPU: {report['cpu']}; others took {report['others_cpu_percent']} % of a core",
        "",
    ]
    for one in verdicts:
        bound = "≥" if one.least else "≤"
        lines.append(f"{'ok' if one.kept else 'NO':3} {one.name:44}{one.measured!s:>10}  {bound} {one.limit:g}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit code is 0 unless --gate is given and a threshold is not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--root", type=Path, help="folder of the package to write in; httpx by default")
    parser.add_argument("--minutes", type=float, default=5.0, help="minutes of typing")
    parser.add_argument("--lines", type=int, default=0, help="write in one file of so many lines")
    parser.add_argument("--seed", type=int, default=1, help="another seed types other functions")
    parser.add_argument("--server", default=SERVER, help="the server's command line")
    parser.add_argument("--samples", type=Path, metavar="FILE", help="write each request as a line of JSON")
    parser.add_argument("--gate", action="store_true", help="exit with 1 when a threshold is not kept")
    arguments = parser.parse_args(argv)
    try:
        report = asyncio.run(measure(arguments))
    except (OSError, RuntimeError, TimeoutError) as error:
        print(f"latency: {error or 'no answer in time'}", file=sys.stderr)
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        print("latency: interrupted", file=sys.stderr)
        return 130
    verdicts = samples.thresholds(report, huge=bool(arguments.lines))
    if arguments.json:
        marks = {one.name: {"measured": one.measured, "limit": one.limit, "kept": one.kept} for one in verdicts}
        print(json.dumps({**report, "thresholds": marks}, indent=2))
    else:
        print(table(report, verdicts))
    return int(arguments.gate and not all(one.kept for one in verdicts))


if __name__ == "__main__":
    sys.exit(main())

"""The command line: arguments in, words and exit codes out. What a command does is in the module it calls.

Exit codes: 0 done, 1 an error or a check that failed, 2 a command line that makes no sense.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from lacuna import settings as configuration
from lacuna.errors import LacunaError, SettingsError
from lacuna.settings import Settings
from model_runtime.errors import LacunaRuntimeError

app = typer.Typer(
    name="lacuna",
    help="Private, self-hosted code completion.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
model_app = typer.Typer(help="Look at models.", no_args_is_help=True)
app.add_typer(model_app, name="model")

Model = Annotated[Path | None, typer.Option("--model", metavar="DIR", help="A model directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def run(arguments: list[str]) -> int:
    """The exit code of one command line; errors of ours become one message on stderr."""
    try:
        app(arguments, prog_name="lacuna")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except (LacunaError, LacunaRuntimeError) as error:
        return _fail(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    return 0


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    stdio: Annotated[bool, typer.Option("--stdio", help="Run the language server for an editor.")] = False,
) -> None:
    """Private, self-hosted code completion."""


@app.command()
def serve(
    model: Model = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the network.")] = None,
    idle_exit: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="End when idle this long; 0 never.")
    ] = None,
    lock_descriptor: Annotated[int | None, typer.Option(hidden=True)] = None,
    ready_descriptor: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the daemon in the foreground. Editors and commands start one by themselves when they need it."""
    with _reporting(ready_descriptor) as ready:
        settings = _settings(model, threads=threads, idle_exit=idle_exit)
        from lacuna import resident

        resident.run(settings, lock_descriptor=lock_descriptor, ready=ready)


@app.command()
def stop(model: Model = None) -> None:
    """End the daemon once what it does is finished."""
    from lacuna import daemon

    settings = _settings(model)
    with _status("the daemon ends"):
        ran = asyncio.run(daemon.stop(settings))
    print("stopped" if ran else "no daemon runs")


@contextlib.contextmanager
def _reporting(descriptor: int | None) -> Iterator[Callable[[], None]]:
    """What to call when the daemon is ready. It, or why there is none, goes to whoever started this process."""
    if descriptor is None:
        yield lambda: print("ready; stop with Ctrl+C", file=sys.stderr)
        return
    os.set_inheritable(descriptor, False)
    pipe = os.fdopen(descriptor, "w", encoding="utf-8")

    def say(words: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody listens any more, or all was said
            pipe.write(words)
            pipe.close()

    try:
        yield lambda: say("ready")
    except (LacunaError, LacunaRuntimeError) as error:
        say(str(error))
        raise
    except BaseException as error:
        say(f"the daemon failed ({type(error).__name__}: {error}); run `lacuna doctor`")
        raise


def _settings(model: Path | None = None, **overrides: float | None) -> Settings:
    settings = configuration.read()
    given = {name: value for name, value in overrides.items() if value is not None}
    if model is not None:
        if not model.is_dir():
            raise SettingsError(f"{model} is no folder; --model takes a model directory, see `lacuna model info`")
        given["model"] = model.absolute()  # type: ignore[assignment]
    return msgspec.structs.replace(settings, **given)


def _status(words: str) -> contextlib.AbstractContextManager[object]:
    """A sign of life on a terminal while something takes long."""
    return Console(stderr=True).status(words)


def _fail(message: str) -> int:
    print(f"lacuna: {message}", file=sys.stderr)
    return 1

"""The command line: arguments in, words and exit codes out. What a command does is in the module it calls.

Exit codes: 0 done, 1 an error or a check that failed, 2 a command line that makes no sense.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from lacuna import model_commands, report, repository, tokens
from lacuna.errors import LacunaError, ServeError, SettingsError
from lacuna.settings import Settings, read_settings
from model_runtime.errors import LacunaRuntimeError
from retrieval.errors import RetrievalError

if TYPE_CHECKING:
    from lacuna.completion import Outcome
    from lsp_server.editor.window import Frame

app = typer.Typer(
    name="lacuna",
    help="Private, self-hosted code completion.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(model_commands.app, name="model")
app.add_typer(tokens.app, name="token")
for command in (repository.index, repository.search, repository.context, report.stats, repository.purge):
    app.command()(command)

Model = Annotated[Path | None, typer.Option("--model", metavar="DIR", help="A model directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def run(arguments: list[str]) -> int:
    """The exit code of one command line; errors of ours become one message on stderr."""
    try:
        app(arguments, prog_name="lacuna")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except (LacunaError, LacunaRuntimeError, RetrievalError) as error:
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
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Serve on this port; 0 for a free one.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on; 127.0.0.1 unless told.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate, with its chain: PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key: PEM.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ask clients for a certificate by one of these: PEM.")
    ] = None,
    kept: tokens.Kept = None,
    audit: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to keep the audit log.")] = None,
    without_tls: Annotated[bool, typer.Option("--insecure-without-tls", help="Let code travel in the clear.")] = False,
    without_tokens: Annotated[
        bool, typer.Option("--insecure-without-tokens", help="Answer whoever can connect.")
    ] = False,
    memory: Annotated[int | None, typer.Option(min=1, metavar="MB", help="What a server may use of memory.")] = None,
    lock_descriptor: Annotated[int | None, typer.Option(hidden=True)] = None,
    ready_descriptor: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve a team on a port, or without one run the daemon in the foreground, which editors start by themselves."""
    with _reporting(ready_descriptor) as ready:
        settings = _settings(model, threads=threads, idle_exit=idle_exit)
        if port is None:
            _refuse_without_a_port(
                host=host,
                tls_cert=tls_cert,
                tls_key=tls_key,
                tls_client_ca=tls_client_ca,
                tokens=kept,
                audit=audit,
                insecure_without_tls=without_tls,
                insecure_without_tokens=without_tokens,
                memory=memory,
            )
            from lacuna import daemon_server

            daemon_server.run(settings, lock_descriptor=lock_descriptor, ready=_frozen(ready))
            return
        from lacuna import server
        from lacuna.server import Port

        kept = kept or tokens.location()
        listens = Port(
            host or "127.0.0.1",
            port,
            tls_cert,
            tls_key,
            tls_client_ca,
            kept,
            audit or kept.with_name("audit.log"),
            without_tls,
            without_tokens,
            memory,
        )
        server.run(settings, listens, ready=_frozen(lambda url: print(f"ready at {url}", flush=True)))


@app.command()
def stop(model: Model = None) -> None:
    """End the daemon once what it does is finished."""
    from lacuna import daemon

    settings = _settings(model)
    with _status() as status:
        status("the daemon ends")
        ran = asyncio.run(daemon.stop(settings))
    print("stopped" if ran else "no daemon runs")


@app.command()
def complete(
    position: Annotated[str, typer.Argument(metavar="FILE:LINE:COL", help="Line and column count from 1.")],
    as_json: Json = False,
    prompt: Annotated[bool, typer.Option("--show-prompt", help="Print what the model would read.")] = False,
    hide_rest: Annotated[
        bool, typer.Option("--hide-rest", help="As if the rest of the line were not written; then show it.")
    ] = False,
    model: Model = None,
    max_tokens: Annotated[int, typer.Option(min=1, max=1024, help="The longest completion.")] = 64,
    no_daemon: Annotated[bool, typer.Option("--no-daemon", help="Load the model into this process.")] = False,
) -> None:
    """Print what belongs at a position in a file."""
    settings = _settings(model)
    from lacuna import completion
    from lacuna.position import locate, without_rest

    cursor = locate(position)
    rest = cursor.rest if hide_rest else None
    question = completion.ask(without_rest(cursor) if hide_rest else cursor, max_tokens)
    if prompt and not as_json:
        print(f"{completion.show_prompt(question, settings)}▮")
        return
    with _status() as status:
        if no_daemon:
            status("the model is loaded")
            outcome = completion.in_process(question, settings)
        else:
            outcome = asyncio.run(completion.by_daemon(question, settings, status))
    if as_json:
        more = {"rest": rest, "prompt": completion.show_prompt(question, settings) if prompt else None}
        given = {name: value for name, value in more.items() if value is not None}
        _print_json({**msgspec.to_builtins(outcome), **given})
        return
    _print_outcome(outcome, question.frame, rest)


@app.command()
def doctor(model: Model = None, as_json: Json = False) -> None:
    """Look whether everything is as it should be; each line says ok, or what to do."""
    from lacuna.doctor import examine

    settings = _settings(model, check=False)
    checks = []
    with _status() as status:
        for check in examine(settings, status):
            checks.append(check)
            if not as_json:
                print(f"{'ok' if check.ok else 'NO':3} {check.name:12} {check.detail}", flush=True)
    if as_json:
        _print_json([msgspec.to_builtins(check) for check in checks])
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def _print_outcome(outcome: Outcome, frame: Frame, rest: str | None) -> None:
    if rest is not None:
        print(f"written:  {outcome.completion}\nthere is: {rest}")
    elif outcome.completion and sys.stdout.isatty():
        parts = ((frame.left, "dim"), (outcome.completion, "bold green"), (frame.right, "dim"))
        Console(highlight=False, soft_wrap=True).print(Text.assemble(*parts))
    elif outcome.completion:
        print(outcome.completion)
    if outcome.reason is not None:
        print(f"lacuna: nothing to show: {outcome.reason}", file=sys.stderr)


def _print_json(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _refuse_without_a_port(**options: object) -> None:
    """Raises ServeError where an option of a server's was given: who gave it believes that a port is served."""
    if given := [name.replace("_", "-") for name, value in options.items() if value]:
        raise ServeError(f"--{given[0]} is for a server on a port; give --port as well")


def _frozen(ready: Callable[..., None]) -> Callable[..., None]:
    """The same, but first what is loaded is set apart: it stays, and no collection is to walk it during an answer."""

    def call(*said: str) -> None:
        gc.freeze()
        ready(*said)

    return call


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


def _settings(model: Path | None = None, *, check: bool = True, **overrides: float | None) -> Settings:
    settings = read_settings()
    given: dict[str, Any] = {name: value for name, value in overrides.items() if value is not None}
    if model is not None:
        if check and not model.is_dir():
            raise SettingsError(f"{model} is no folder; --model takes a model directory")
        given["model"] = model.absolute()
    return msgspec.structs.replace(settings, **given)


@contextlib.contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    """What to call with a word about what takes long. It is shown on a terminal and gone afterwards."""
    status = Console(stderr=True).status("")

    def show(words: str) -> None:
        status.update(words)
        status.start()

    try:
        yield show
    finally:
        status.stop()


def _fail(message: str) -> int:
    print(f"lacuna: {message}", file=sys.stderr)
    return 1

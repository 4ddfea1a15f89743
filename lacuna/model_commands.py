"""The commands of the library: import, shard, list, info, use, verify and remove models. They are done elsewhere."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from lacuna import library, lock
from lacuna.errors import ModelNameError, SettingsError
from lacuna.settings import read_settings
from model_runtime.errors import ModelError

if TYPE_CHECKING:
    from lacuna.models import Description

app = typer.Typer(help="Import models, look at them, choose one.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A model's name, the path of its directory, or embedded.")]
_Show = Callable[[int, int], None]
Device = Literal["cpu", "cuda"]
Quant = Literal["int4", "int8", "hybrid", "fp16", "fp32"]

_UNABLE = "it cannot fill in the middle: it reads what stands before the cursor, and what stands after it only stops it"


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A GGUF file, or the folder of a Hugging Face checkpoint.")
    ],
    name: Annotated[str | None, typer.Option(help="What to call it; unless told, as the folder is called.")] = None,
    quant: Annotated[Quant, typer.Option(help="How its weights are stored.")] = "hybrid",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The model directory to make, elsewhere.")] = None,
    context: Annotated[int | None, typer.Option(min=512, help="Tokens that prompt and answer share.")] = None,
    use: Annotated[bool, typer.Option("--use", help="Make it the model that answers.")] = False,
) -> None:
    """Make a model directory of a GGUF or a checkpoint on this disk. Interrupted, the same command goes on."""
    from model_runtime.importer import importer

    called = name or _name_of(source)
    target = out.expanduser().absolute() if out is not None else library.path_for(called)
    checked = importer.examine(source, name=called, quant=quant, context=context)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target), _progress(called) as progress:
        made = importer.write(checked, target, progress)
    print(f"{made.name}: {_told(target)}")
    if made.fim.layout == "prefix":
        print(_UNABLE)
    if made.shape.context_length < checked.plan.trained:
        print(f"it serves {made.shape.context_length} of {checked.plan.trained} tokens; --context for another number")
    if use:
        _use(target)
    else:
        print(f"to let it answer: lacuna model use {called if out is None else target}")


@app.command()
def shard(
    name: Name,
    ranks: Annotated[int, typer.Option(min=2, help="Among how many processes, or graphics processors.")],
    device: Annotated[Device, typer.Option(help="What each of them computes on.")] = "cpu",
    called: Annotated[str | None, typer.Option("--name", help="What to call it; unless told, NAME-RANKS.")] = None,
    use: Annotated[bool, typer.Option("--use", help="Make it the model that answers.")] = False,
) -> None:
    """Make of a model one that is shared out among ranks, each with a part of every layer."""
    from model_runtime.manifest import Sharding
    from model_runtime.sharding.shard import write

    source = library.find(name)
    chosen = called or f"{library.EMBEDDED if name == library.EMBEDDED else source.name}-{ranks}"
    target = library.path_for(chosen)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target), _progress(chosen, "the same command begins anew") as progress:
        write(source, target, chosen, Sharding(ranks, device), progress)
    print(f"{chosen}: {_told(target)}")
    if use:
        _use(target)
    else:
        print(f"to let it answer: lacuna model use {chosen}")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """Name the models there are; * is the one that answers."""
    embedded = library.find(library.EMBEDDED)
    answers = read_settings().model or embedded
    elsewhere = [one for one in (embedded, answers) if one not in library.kept()]
    directories = [one for one in dict.fromkeys(elsewhere) if library.is_model(one)] + library.kept()
    if as_json:
        _print_json([_listed(one, one == answers) for one in directories])
        return
    for one in directories:
        name = library.EMBEDDED if one == embedded else one.name
        print(f"{'*' if one == answers else ' '} {name:30} {_told(one)}")


@app.command()
def info(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Unless told, the model that answers.")] = None,
    model: Annotated[Path | None, typer.Option("--model", metavar="DIR", help="A model directory.")] = None,
    as_json: Json = False,
) -> None:
    """Describe a model."""
    from lacuna import models

    if model is not None and not model.is_dir():
        raise SettingsError(f"{model} is no folder; --model takes a model directory")
    directory = model.absolute() if model is not None else _directory(name)
    description = msgspec.to_builtins(models.describe(directory))
    if as_json:
        _print_json(description)
        return
    for field, value in description.items():
        shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
        print(f"{field.replace('_', ' '):15} {shown}")


@app.command()
def use(name: Name) -> None:
    """Let a model answer, from the next start of an editor's server on; embedded for the one that came along."""
    _use(library.find(name))


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Unless told, the model that answers.")] = None,
) -> None:
    """Read every byte of a model, compare it with its checksums, and let it write a few tokens."""
    from model_runtime import manifest
    from model_runtime.backends.providers import Provider
    from model_runtime.engine.sequence import Cancel, Finish, Generation
    from model_runtime.opening import open_engine
    from model_runtime.prompt import Infill, lay_out

    directory = _directory(name)
    described = manifest.read(directory)
    manifest.check(directory, described)
    print(f"ok  {len(described.files)} files are what the manifest names")
    provider: Provider = described.sharding.device if described.sharding else "cpu"
    engine = open_engine(directory, cache=read_settings().cache, provider=provider)
    try:
        prompt = lay_out(Infill("area.py", "def area(r):\n    return ", "\n"), engine.tokenizer, described.fim, 256)
        *_, last = engine.generate(Generation(prompt.tokens, max_tokens=8), Cancel())
    finally:
        engine.close()
    assert isinstance(last, Finish)
    print(f"ok  it reads {len(prompt.tokens)} tokens and writes {last.usage.generated}")


@app.command()
def remove(name: Name) -> None:
    """Delete an imported model."""
    directory = library.find(name)
    library.remove(directory, read_settings())
    print(f"removed {directory}")


def _name_of(source: Path) -> str:
    """As the folder is called, or the file without its ending; in the Hugging Face cache, as the repository is."""
    from model_runtime.importer.gguf_checkpoint import is_gguf, stem

    if is_gguf(source):
        return _plain(stem(source))
    path = source.resolve()
    if path.parent.name == "snapshots":
        path = Path(path.parent.parent.name.rpartition("--")[2])
    return _plain(path.name)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")


def _directory(name: str | None) -> Path:
    return library.find(name) if name is not None else read_settings().model_directory


def _use(directory: Path) -> None:
    from model_runtime import manifest

    described = manifest.read(directory)
    manifest.check_sizes(directory, described)
    path = library.use(directory)
    print(f"{path}: {described.name} answers from now on; restart your editor's server")


def _told(directory: Path) -> str:
    """One line about a model, or what is wrong with it."""
    from lacuna import models

    try:
        return f"{_size(models.describe(directory))}, in {directory}"
    except ModelError as error:
        return f"broken: {error}"


def _listed(directory: Path, answers: bool) -> dict[str, Any]:
    from lacuna import models

    try:
        return {**msgspec.to_builtins(models.describe(directory)), "answers": answers}
    except ModelError as error:
        return {"name": directory.name, "directory": str(directory), "answers": answers, "broken": str(error)}


def _size(one: Description) -> str:
    kind = "infills" if one.infills else "goes on from what stands before the cursor"
    ranks = f" over {one.ranks} ranks" if one.ranks > 1 else ""
    return f"{one.parameters / 1e6:,.0f}M weights, {one.weights}, {one.bytes / 1e9:.2f} GB{ranks}, {kind}"


def _print_json(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Nobody else makes a model at the same place meanwhile."""
    path = target.with_name(f".{target.name}.lock")
    held = lock.take(path)
    if held is None:
        raise ModelNameError(f"{target} is being made already; wait for that, or give another --name")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(held)


@contextlib.contextmanager
def _progress(name: str, stopped: str = "the same command goes on from here") -> Iterator[_Show]:
    """What to call with how far the work is; it shows on a terminal alone. stopped: said after an interruption."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
            bar = bars.add_task(name, total=None)
            yield lambda done, total: bars.update(bar, completed=done, total=total)
    except KeyboardInterrupt:
        print(f"lacuna: interrupted; {stopped}", file=sys.stderr)
        raise typer.Exit(130) from None

"""The commands that bring models into the library: import, find, get. They are done elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from lacuna import library
from lacuna.model_commands import Json, Quant, alone, app, choose, print_json, shown_progress, told
from lacuna.other_programs import OLLAMA, ollama_model, on_disk

_SOURCE = "A GGUF file, the folder of a Hugging Face checkpoint, or ollama:NAME:TAG."
_REPOSITORY = "OWNER/REPOSITORY, or a GGUF file in it; with @REVISION for another than the newest."
models = app  # with the commands below among them

_UNABLE = "it cannot fill in the middle: it reads what stands before the cursor, and what stands after it only stops it"


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=_SOURCE)],
    name: Annotated[str | None, typer.Option(help="What to call it; unless told, as the folder is called.")] = None,
    quant: Annotated[Quant, typer.Option(help="How its weights are stored.")] = "hybrid",
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The model directory to make, elsewhere.")] = None,
    context: Annotated[int | None, typer.Option(min=512, help="Tokens that prompt and answer share.")] = None,
    use: Annotated[bool, typer.Option("--use", help="Make it the model that answers.")] = False,
) -> None:
    """Make a model directory of a GGUF or a checkpoint on this disk. Interrupted, the same command goes on."""
    path = _path_of(source)
    called = name or (_plain(source.removeprefix(OLLAMA)) if source.startswith(OLLAMA) else _name_of(path))
    _import(path, called, quant, out, context, use)


@app.command()
def get(
    source: Annotated[str, typer.Argument(metavar="REPOSITORY", help=_REPOSITORY)],
    name: Annotated[str | None, typer.Option(help="What to call it; unless told, as it is called there.")] = None,
    quant: Annotated[Quant, typer.Option(help="How its weights are stored.")] = "hybrid",
    context: Annotated[int | None, typer.Option(min=512, help="Tokens that prompt and answer share.")] = None,
    use: Annotated[bool, typer.Option("--use", help="Make it the model that answers.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Fetch without asking.")] = False,
) -> None:
    """Fetch a model from a Hugging Face hub and import it; asks first. Interrupted, the same command goes on."""
    from lacuna import hub

    model = hub.look_up(source)
    what = f"{model.repository}, {model.bytes / 1e9:.2f} GB in {len(model.files)} files, licence {model.licence}"
    if not yes and not typer.confirm(f"fetch {what}?"):
        raise typer.Exit(1)
    with shown_progress("fetching") as progress:
        path = hub.fetch(model, progress)
    called = name or _plain(
        Path(model.file).name.removesuffix(".gguf") if model.file else model.repository.split("/")[1]
    )
    _import(path, called, quant, None, context, use)


def _import(path: Path, called: str, quant: Quant, out: Path | None, context: int | None, use: bool) -> None:
    from model_runtime.importer import importer

    target = out.expanduser().absolute() if out is not None else library.path_for(called)
    checked = importer.examine(path, name=called, quant=quant, context=context)
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone(target), shown_progress(called) as progress:
        made = importer.write(checked, target, progress)
    print(f"{made.name}: {told(target)}")
    if made.fim.layout == "prefix":
        print(_UNABLE)
    if made.shape.context_length < checked.plan.trained:
        print(f"it serves {made.shape.context_length} of {checked.plan.trained} tokens; --context for another number")
    if use:
        choose(target)
    else:
        print(f"to let it answer: lacuna model use {called if out is None else target}")


@app.command()
def find(
    all_: Annotated[bool, typer.Option("--all", help="Also what cannot be imported, and why.")] = False,
    as_json: Json = False,
) -> None:
    """List what Ollama, LM Studio, llama.cpp and the hub's cache keep, and this folder, that can be imported."""
    from lacuna.found_models import judged

    found = judged(on_disk(Path.cwd()))
    shown = [one for one in found if all_ or not one.obstacle]
    if as_json:
        print_json([msgspec.to_builtins(one) for one in shown])
        return
    for one in shown:
        told = one.obstacle or (
            f"{one.parameters / 1e6:,.0f}M weights, {'infills' if one.infills else 'prefix only'}, "
            f"at least {one.token_ms:,.1f} ms a token here in 4 bits"
        )
        print(f"{one.source}\n    {one.keeper}, {one.bytes / 1e9:.2f} GB, {told}")
    if others := len(found) - len(shown):
        print(f"{others} more cannot be imported; --all says why")
    print(f"to import one: lacuna model import {shown[0].source}" if shown else "nothing was found to import")


def _path_of(source: str) -> Path:
    """The file or folder that is meant. Raises ModelNameError for a model that Ollama does not have."""
    if source.startswith(OLLAMA):
        return ollama_model(source.removeprefix(OLLAMA))
    return Path(source).expanduser()


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

"""A team's folders and a base in, a tuned model in the library out: unless it has become worse somewhere.

The story in order: part the files, lay rows out, tune, export, fill the same gaps before and after, judge, publish.
What is made on the way lies in a work folder; the same call goes on there. Nothing of a team's text is logged.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from model_runtime import manifest
from model_runtime.engine.engine import Engine
from model_runtime.importer import importer
from model_runtime.opening import open_engine
from model_runtime.tokenizer import Tokenizer
from training import bases, evaluation, gaps, packing, repositories
from training.evaluation import Trial, Verdict
from training.gaps import Filled, Gap
from training.repositories import Lots
from training.run import RowPlan
from training.samples import Recipe
from training.sources import SourceFile

if TYPE_CHECKING:
    from training import adapters

Method = Literal["full", "lora", "adalora", "freeze"]

REPORT = "tuning.json"  # beside the model: what was judged
_NEEDED = {"own": ("torch",), "foreign": ("torch", "transformers", "peft", "accelerate")}
_BUCKETS = ((256, 0.45), (512, 0.35), (1024, 0.2))  # as `RowPlan`
_LEAST_STEPS = 4


@dataclass(frozen=True)
class Order:
    """What is asked.

    repositories, replay, regression: folders, see `repositories.parted`. target: the model directory to make;
    name: what the model is called. held_out: share of the team's files to judge by. replayed: share of what is
    learnt that is by others. count: gaps of each language by others; five times as many of the team's. epochs: how
    often the team's files are read. rate: what the usual learning rates are multiplied by. batch: tokens a step.
    blend: for bases of ours, see `whole.exported`; None for `judgement.furthest`. method, quant, launch: for bases of
    others; launch: a configuration of accelerate, to tune in several processes.
    """

    repositories: tuple[Path, ...]
    base: Path
    name: str
    target: Path
    work: Path
    replay: tuple[Path, ...] | None = None
    regression: tuple[Path, ...] | None = None
    method: Method | None = None
    quant: importer.Quant = "int8"
    held_out: float = 0.15
    replayed: float = 0.5
    count: int = 100
    tolerance: float = evaluation.TOLERANCE
    epochs: int = 3
    rate: float = 1.0
    blend: float | None = None
    batch: int = 2048
    seed: int = 1
    threads: int | None = None
    device: str = "cpu"
    launch: Path | None = None
    publish_anyway: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class Outcome:
    """verdict: of the gate; published: whether the target is there; model: where the tuned model is."""

    verdict: Verdict
    published: bool
    model: Path


@dataclass(frozen=True)
class Prepared:
    """All that comes before the tuning. steps: in all."""

    lots: Lots
    base: bases.Own | bases.HuggingFaceBase
    plan: RowPlan
    data: Path
    steps: int


def library(environment: Mapping[str, str] = os.environ) -> Path:
    """Where `lacuna model list` looks."""
    return Path(environment.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "lacuna" / "models"


def is_there(name: str) -> bool:
    """Whether a library is installed, without loading it."""
    return importlib.util.find_spec(name) is not None


def finetune(order: Order, say: Callable[[str], None] = print) -> Outcome | None:
    """All of it; None for a dry run. Raises ValueError, OSError, RuntimeError, LacunaRuntimeError with what to do."""
    ready = prepared(order, say)
    if order.dry_run:
        if isinstance(ready.base, bases.HuggingFaceBase):
            _run(order, _job(order, ready, ready.base))
        return None
    learnt = gaps.known((*ready.lots.learnt, *ready.lots.replayed))
    own = gaps.drawn(ready.lots.held_out, learnt, 5 * order.count, order.seed)
    if not own:
        raise ValueError("what is held out has no gap that is not in what is learnt too; give more code with --repo")
    seeks = isinstance(ready.base, bases.Own) and order.blend is None
    chosen_by, judged_by = repositories.halves(ready.lots.judged, order.seed) if seeks else ((), ready.lots.judged)
    others = gaps.drawn(judged_by, learnt, order.count, order.seed)
    if isinstance(ready.base, bases.HuggingFaceBase):
        model = _tuned(order, ready, ready.base)
    else:
        model = _tuned_part(order, ready, ready.base, gaps.drawn(chosen_by, learnt, 2 * order.count, order.seed), say)
    both = (ready.base.directory, model)
    mine, theirs = (Trial(lot, *(_filled(order, gaps.filled, lot, one) for one in both)) for lot in (own, others))
    verdict = evaluation.judged(mine, theirs, order.tolerance)
    (model / REPORT).write_bytes(msgspec.json.format(msgspec.json.encode(verdict)) + b"\n")
    say(evaluation.table(verdict))
    published = verdict.publishes or order.publish_anyway
    for reason in verdict.reasons:
        say(reason)
    if published:
        _publish(model, order.target)
    return Outcome(verdict, published, order.target if published else model)


def prepared(order: Order, say: Callable[[str], None] = print) -> Prepared:
    """Everything but the tuning, in the work folder. Raises as `finetune`."""
    if order.target.exists():
        raise ValueError(f"{order.target} is there already; give another --name, or: lacuna model remove {order.name}")
    lots = repositories.parted(order.repositories, order.replay, order.regression, order.held_out, order.seed)
    for name in ("learnt", "held_out", "replayed", "judged"):
        say(f"{name.replace('_', ' '):9} {_told(getattr(lots, name))}")
    _open_work(order, lots)
    base = bases.opened(order.base, order.work, order.quant)
    _check(order, base)
    plan = _row_plan(base, order)
    steps = _write_rows(order, lots, base, plan)
    say(f"{steps} steps of about {order.batch} tokens, {order.epochs} times over the team's code")
    return Prepared(lots, base, plan, order.work / "rows", steps)


def _tuned(order: Order, ready: Prepared, base: bases.HuggingFaceBase) -> Path:
    """The tuned model of a checkpoint by others, whole or not at all."""
    from training import adapters

    model = order.work / "model"
    if not model.exists():
        job = _job(order, ready, base)
        if not job.moved.exists():
            _run(order, job)
        if not job.out.exists():
            adapters.write(job)
        importer.write(importer.examine(order.work / "merged", name=order.name, quant=order.quant), model)
    return model


def _tuned_part(
    order: Order, ready: Prepared, base: bases.Own, chosen_by: Sequence[Gap], say: Callable[[str], None]
) -> Path:
    """The model as far from its base as is told, or as these gaps of code by others allow."""
    from training import full_finetune

    told = f"{base.manifest.name} tuned on {', '.join(path.resolve().name for path in order.repositories)}"
    latest = full_finetune.tuned(
        base, ready.plan, ready.data, order.work, ready.steps, order.batch, order.rate, order.device
    )

    def at(blend: float) -> Path:
        model = order.work / f"model-{blend}"
        if not model.exists():
            part = model.with_name(f"{model.name}.part")
            full_finetune.exported(base, latest, part, order.name, told, blend)
            part.rename(model)
        return model

    if order.blend is not None:
        return at(order.blend)
    priced = partial(_filled, order, gaps.priced, chosen_by)
    blend = evaluation.furthest(chosen_by, priced(base.directory), lambda share: priced(at(share)), order.tolerance)
    say(f"{blend:.0%} of the way from the base to where it was tuned to, by {len(chosen_by)} other gaps by others")
    return at(blend)


def _job(order: Order, ready: Prepared, base: bases.HuggingFaceBase) -> adapters.Job:
    from training import adapters

    encoder, fim = _encoder(base), base.manifest.fim
    markers = {encoder.special(one) for one in fim.markers} - {encoder.special(one) for one in fim.end}
    return adapters.Job(
        source=base.source.resolve(),
        method=order.method or "lora",
        data=ready.data.resolve(),
        out=(order.work / "merged").resolve(),
        steps=ready.steps,
        batch=order.batch,
        rate=order.rate,
        device=order.device,
        markers=tuple(sorted(markers)),
        dry=order.dry_run,
    )


def _run(order: Order, job: adapters.Job) -> None:
    """The tuning: in this process, or in those that accelerate starts. Raises RuntimeError when they fail."""
    from training import adapters

    if order.launch is None:
        adapters.tuned(job)
        return
    written = order.work / "job.json"
    written.write_bytes(adapters.encoded(job))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(order.launch.resolve())]
    done = subprocess.run([*launch, "-m", "training.adapters", str(written.resolve())], cwd=repositories.CHECKOUT)
    if done.returncode:
        raise RuntimeError(f"the processes of {order.launch} ended with code {done.returncode}; their words are above")


def _check(order: Order, base: bases.Own | bases.HuggingFaceBase) -> None:
    own = isinstance(base, bases.Own)
    needed = _NEEDED["own" if own else "foreign"]
    missing = [name for name in needed if not is_there(name)]
    if missing:
        raise ValueError(f"tuning this needs {', '.join(missing)}: uv pip install -e '.[cpu,finetune]'")
    if own and (order.method not in (None, "full") or order.launch is not None):
        raise ValueError("a model of ours is tuned whole, in one process: leave --method and --launch out")
    if not own and order.blend is not None:
        raise ValueError("--blend is for models of ours; a lower --rate moves a checkpoint by others less")
    if order.launch is not None and order.method == "adalora":
        raise ValueError("adalora moves ranks about between layers, in one process: leave --launch out, or take lora")
    if order.launch is not None and not order.launch.is_file():
        raise ValueError(f"there is no {order.launch}; --launch takes a configuration of accelerate")


def _open_work(order: Order, lots: Lots) -> None:
    """The work folder, empty unless the same order was worked on in it."""
    digest = hashlib.sha256()
    for name in ("learnt", "held_out", "replayed", "judged"):
        for file in getattr(lots, name):
            digest.update(f"{name}\0{file.package}\0{file.path}\0{file.text}\0".encode("utf-8", "surrogatepass"))
    said = {
        key: str(value)
        for key, value in asdict(order).items()
        if key not in ("publish_anyway", "dry_run", "target", "blend", "count")
    }
    plan = json.dumps({**said, "files": digest.hexdigest()}, indent=1)
    path = order.work / "order.json"
    if not path.exists() or path.read_text(encoding="utf-8") != plan:
        shutil.rmtree(order.work, ignore_errors=True)
        order.work.mkdir(parents=True)
        path.write_text(plan, encoding="utf-8")


def _row_plan(base: bases.Own | bases.HuggingFaceBase, order: Order) -> RowPlan:
    longest = base.manifest.shape.context_length
    buckets = tuple((length, share) for length, share in _BUCKETS if length <= longest) or ((longest, 1.0),)
    return RowPlan(buckets=buckets, cap=0, shards=1, plain=0.05)


def _write_rows(order: Order, lots: Lots, base: bases.Own | bases.HuggingFaceBase, plan: RowPlan) -> int:
    """One shard a pass over the team's files, with as much by others beside as is asked; the steps they make."""
    encoder = _encoder(base)
    recipe = Recipe(plan.buckets, plan.cross_file, plan.plain, base.manifest.fim)
    known = packing.DefinitionsByPackage(packing.by_package([*lots.learnt, *lots.replayed]))
    steps = 0
    for turn in range(order.epochs):
        path = packing.shard_path(order.work / "rows", "train", turn)
        if not path.exists():
            seed, again = order.seed * 1_000_003 + turn, _replayed(lots, order.replayed, order.seed + turn)
            learnt, kept = (packing.shard(files, known, encoder, recipe, seed) for files in (lots.learnt, again))
            packing.save(path, packing.with_kept(learnt, kept, seed))
        steps += sum(1 for _ in packing.batches(packing.load(path), order.batch, turn))
    if steps < _LEAST_STEPS:
        raise ValueError(
            f"all of it makes {steps} steps of {order.batch} tokens; give more code with --repo, a larger --epochs "
            "or a smaller --batch"
        )
    return steps


def _encoder(base: bases.Own | bases.HuggingFaceBase) -> Tokenizer:
    described = base.manifest
    return Tokenizer.load(base.directory, vocab_size=described.shape.vocab_size, split_lines=described.split_lines)


def _replayed(lots: Lots, share: float, seed: int) -> list[SourceFile]:
    """Files by others, languages in turn, until they are `share` of what is learnt, or all there are."""
    room = sum(len(file.text) for file in lots.learnt) * share / (1 - share)
    by_language: dict[str, list[SourceFile]] = {}
    for file in random.Random(seed).sample(lots.replayed, len(lots.replayed)):
        by_language.setdefault(file.language, []).append(file)
    taken: list[SourceFile] = []
    while room > 0 and by_language:
        for language in sorted(by_language):
            file = by_language[language].pop()
            taken.append(file)
            room -= len(file.text)
            if not by_language[language]:
                del by_language[language]
    return taken


def _filled(
    order: Order, how: Callable[[Engine, Sequence[Gap]], list[Filled]], lot: Sequence[Gap], model: Path
) -> list[Filled]:
    """What a model makes of gaps. Kept in the work folder, as figures alone: the same call goes on there."""
    said = (model / manifest.MANIFEST).read_bytes() + how.__name__.encode() + msgspec.json.encode(lot)
    kept = order.work / "filled" / f"{hashlib.sha256(said).hexdigest()}.json"
    if not kept.exists():
        engine = open_engine(model, cache=order.work / "engine", threads=order.threads)
        try:
            found = how(engine, lot)
        finally:
            engine.close()
        kept.parent.mkdir(exist_ok=True)
        part = kept.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(found))
        part.rename(kept)
    return msgspec.json.decode(kept.read_bytes(), type=list[Filled])


def _publish(model: Path, target: Path) -> None:
    """The model where the library finds it, whole or not at all."""
    part = target.with_name(f".{target.name}.partial")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(model, part)
    os.replace(part, target)


def _told(files: Iterable[SourceFile]) -> str:
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for file in files:
        sizes[file.language] += len(file.text)
        counts[file.language] += 1
    return ", ".join(f"{language} {counts[language]} ({size // 1000} kB)" for language, size in sizes.most_common())

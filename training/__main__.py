"""The command line of training: `python -m training corpus | base | tokenizer | rows | train | export | finetune`.

Ignores how each step works; says what went wrong in one line and leaves with code 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from model_runtime import manifest
from model_runtime.errors import LacunaRuntimeError
from training import sources

WORK = Path(__file__).parent / "runs" / "out"


def _corpus(options: argparse.Namespace) -> None:
    from training import corpus

    pins = corpus.fetch_all(options.cache, options.relock)
    found = corpus.build(pins, options.cache, options.data, options.out, options.workers)
    print(json.dumps(found, indent=1))


def _pack(options: argparse.Namespace) -> None:
    from training import corpus

    print(f"{options.out}: {corpus.pack(options.corpus, options.cap, options.seed, options.out)} bytes")


def _tokenizer(options: argparse.Namespace) -> None:
    from training import corpus, vocabulary

    files = corpus.balanced(corpus.read(options.corpus, "train"), options.cap, options.seed)
    inner = vocabulary.learn(files, options.size, options.budget, options.seed)
    vocabulary.save(inner, options.out)
    print(f"{options.out}: {inner.get_vocab_size()} tokens")


def _base(options: argparse.Namespace) -> None:
    from training import pretrained, run

    shape = run.read(options.run).shape
    if options.weights is not None:
        pretrained.from_codes(options.weights, shape, options.out)
        print(f"{options.out}: {shape.vocab_size} tokens, as they came")
        return
    path = options.gguf or pretrained.fetch(options.cache)
    found = pretrained.read_gguf(path, shape.context_length)
    texts = pretrained.corpus_texts(options.corpus, options.cache, options.seed)
    kept = pretrained.from_gguf(found, shape, texts, options.budget, options.out)
    print(f"{options.out}: {shape.vocab_size} of {found.shape.vocab_size} tokens, {kept:.2%} of what was counted")


def _rows(options: argparse.Namespace) -> None:
    from training import packing, run

    chosen = range(options.first, options.last, options.stride)
    packing.write(options.corpus, options.role, options.tokenizer, run.read(options.run), options.out, chosen)


def _train(options: argparse.Namespace) -> None:
    from training import run, train

    limits = train.Options(
        data=options.data,
        out=options.out,
        device=options.device,
        compiled=not options.eager,
        cooldown=options.cooldown,
        steps=options.steps,
        minutes=options.minutes,
        finish_in=options.finish_in,
        patience=options.patience,
        start=options.start,
    )
    place = train.train(run.read(options.run), limits)
    print(f"stopped at step {place.step} after {place.tokens} tokens; {options.out / train.LATEST}")


def _ablate(options: argparse.Namespace) -> None:
    from training import ablation

    base = None
    for name, found in ablation.ablate(options.ablation, options.data, options.out, options.held_out):
        base = base or found
        print(ablation.line(name, found, base), flush=True)


def _export(options: argparse.Namespace) -> None:
    from training import export

    where = options.checkpoint, options.tokenizer, options.out
    done = export.export(*where, options.name, options.precision, rows=options.calibrate)
    for name, file in done.files.items():
        print(f"{options.out / name}: {file.bytes} bytes")


def _trust(options: argparse.Namespace) -> None:
    from model_runtime.opening import open_engine
    from training import corpus, mixture_weights, packing

    packages = packing.by_package(corpus.read(options.corpus, "held_out"))
    fitting = {name: files for name, files in packages.items() if name not in options.leave and len(files) > 1}
    engine = open_engine(options.model, cache=WORK / "engine")
    observed = mixture_weights.observe(engine, fitting, options.lines, options.seed)
    found = mixture_weights.fit(observed)
    mixture_weights.write(options.model, found)
    print(f"{', '.join(sorted(fitting))}: {len(observed.model)} tokens, {observed.gain(found):+.3f} nats each; {found}")


def _card(options: argparse.Namespace) -> None:
    from model_runtime import manifest
    from training import card, checkpoint, corpus, train

    text = card.card(
        manifest.read(options.model),
        checkpoint.load(options.checkpoint)[1],
        json.loads((options.corpus / "statistics.json").read_text(encoding="utf-8")),
        card.read_log(options.checkpoint.parent / train.LOG),
        json.loads(options.scores.read_text(encoding="utf-8")),
        corpus.read_lock(options.lock),
    )
    (options.model / "MODEL_CARD.md").write_text(text, encoding="utf-8")


def _notice(options: argparse.Namespace) -> None:
    from training import card, corpus

    text = card.notice(corpus.read_lock(options.lock), options.cache)
    (options.model / "NOTICE").write_text(text, encoding="utf-8")


def _finetune(options: argparse.Namespace) -> int:
    from training import finetune

    given = vars(options)
    known: dict[str, Any] = {
        key: tuple(one) if isinstance(one, list) else one for key, one in given.items() if key != "step"
    }
    target = known.pop("out") or finetune.library() / options.name
    work = known.pop("work") or WORK / "finetune" / options.name
    done = finetune.finetune(finetune.Order(target=target.absolute(), work=work.absolute(), **known))
    if done is None:
        return 0
    if not done.published:
        print(f"not published; it lies in {done.model}, and --publish-anyway takes it as it is", file=sys.stderr)
        return 1
    print(f"{done.model}; to let it answer: lacuna model use {options.out or options.name}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="Make the embedded model.")
    steps = parser.add_subparsers(required=True, metavar="STEP")

    one = steps.add_parser("corpus", help="fetch the named packages, filter them, write shards")
    one.add_argument("--cache", type=Path, default=WORK / "cache", help="folder of the fetched archives")
    one.add_argument("--data", type=Path, default=Path("../shared/data"), help="benchmark data to keep out")
    one.add_argument("--out", type=Path, default=WORK / "corpus")
    one.add_argument("--workers", type=int, default=2)
    one.add_argument("--relock", action="store_true", help="take what is newest and write the lock anew")
    one.set_defaults(step=_corpus)

    one = steps.add_parser("pack", help="a balanced part of the corpus, compressed hard, to carry elsewhere")
    one.add_argument("--corpus", type=Path, default=WORK / "corpus")
    one.add_argument("--cap", type=int, default=3_000_000, help="bytes of one package")
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--out", type=Path, default=WORK / "packed")
    one.set_defaults(step=_pack)

    one = steps.add_parser("tokenizer", help="learn the byte-level BPE")
    one.add_argument("--corpus", type=Path, default=WORK / "corpus")
    one.add_argument("--size", type=int, default=4096, help="tokens, markers included")
    one.add_argument("--budget", type=int, default=60_000_000, help="bytes of text to learn from")
    one.add_argument("--cap", type=int, default=1_500_000, help="bytes of one package")
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--out", type=Path, default=WORK / "tokenizer.json")
    one.set_defaults(step=_tokenizer)

    one = steps.add_parser("base", help="make a start of a pretrained network: a checkpoint and a cut tokenizer")
    one.add_argument("run", type=Path, metavar="RUN.toml", help="says the shape, the size of the vocabulary among it")
    one.add_argument("--gguf", type=Path, metavar="FILE", help="a llama-like GGUF, in place of the pinned package's")
    one.add_argument("--weights", type=Path, metavar="DIR", help="weights of ours in 8 bits, and their tokenizer.json")
    one.add_argument("--corpus", type=Path, default=WORK / "corpus")
    one.add_argument("--cache", type=Path, default=WORK / "cache", help="folder of the fetched archives")
    one.add_argument("--budget", type=int, default=2_500_000, help="characters of each language to count tokens on")
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--out", type=Path, default=WORK / "base")
    one.set_defaults(step=_base)

    one = steps.add_parser("rows", help="lay samples out and pack them into shards of token ids")
    one.add_argument("run", type=Path, metavar="RUN.toml")
    one.add_argument("--corpus", type=Path, default=WORK / "corpus")
    one.add_argument("--tokenizer", type=Path, default=WORK / "tokenizer.json")
    one.add_argument("--out", type=Path, default=WORK / "rows")
    one.add_argument("--role", choices=("train", "held_out"), default="train")
    one.add_argument("--first", type=int, default=0, help="number of the first shard")
    one.add_argument("--last", type=int, default=1, help="number after the last shard")
    one.add_argument("--stride", type=int, default=1, help="every so many: several processes share the work")
    one.set_defaults(step=_rows)

    one = steps.add_parser("train", help="train, or go on from the last checkpoint; stop it at any time")
    one.add_argument("run", type=Path, metavar="RUN.toml")
    one.add_argument("--data", type=Path, default=WORK / "rows", help="folder of the shards")
    one.add_argument("--out", type=Path, default=WORK / "checkpoints")
    one.add_argument("--device", default="cpu")
    one.add_argument("--start", type=Path, metavar="DIR", help="checkpoint to begin with where --out has none")
    one.add_argument("--eager", action="store_true", help="do not compile")
    one.add_argument("--cooldown", type=int, metavar="STEPS", help="cool down from here, over so many steps, and end")
    one.add_argument("--finish-in", type=float, metavar="MINUTES", help="cool down so as to end in so many minutes")
    one.add_argument("--patience", type=float, default=0.0, help="seconds to wait for rows still being written")
    one.add_argument("--steps", type=int, help="stop after so many steps")
    one.add_argument("--minutes", type=float, help="stop after so many minutes")
    one.set_defaults(step=_train)

    one = steps.add_parser("ablate", help="what each part of the recipe is worth, at one small token budget")
    one.add_argument("ablation", type=Path, metavar="ABLATION.toml")
    one.add_argument("--data", type=Path, default=WORK / "rows", help="folder of the shards, of both roles")
    one.add_argument("--out", type=Path, default=WORK / "ablations")
    one.add_argument("--held-out", type=int, default=2, help="shards of held-out rows to judge by")
    one.set_defaults(step=_ablate)

    one = steps.add_parser("export", help="write the model directory the runtime opens")
    one.add_argument("checkpoint", type=Path)
    one.add_argument("--tokenizer", type=Path, default=WORK / "tokenizer.json")
    one.add_argument("--out", type=Path, default=WORK / "model")
    one.add_argument("--name", default="lacuna-bootstrap")
    one.add_argument("--precision", choices=("fp32", "int8", "int4", "int4_head8", "hybrid"), default="int8")
    one.add_argument("--calibrate", type=Path, metavar="SHARD.npz", help="rows on which 4 bits are chosen; needs torch")
    one.set_defaults(step=_export)

    one = steps.add_parser("trust", help="fit how far the model believes a workspace's memory, into its manifest")
    one.add_argument("--model", type=Path, default=WORK / "model")
    one.add_argument("--corpus", type=Path, default=WORK / "corpus")
    one.add_argument("--lines", type=int, default=400, help="lines of held-out packages to look at")
    one.add_argument("--leave", nargs="*", default=["httpx", "rich"], help="packages kept for judging")
    one.add_argument("--seed", type=int, default=1)
    one.set_defaults(step=_trust)

    one = steps.add_parser("card", help="write MODEL_CARD.md beside the model")
    one.add_argument("checkpoint", type=Path)
    one.add_argument("scores", type=Path, help="what `python -m benchmarks.infill --json` printed")
    one.add_argument("--model", type=Path, default=WORK / "model")
    one.add_argument("--corpus", type=Path, default=WORK / "corpus")
    one.add_argument("--lock", type=Path, default=sources.LOCK, help="of the packages the model learnt from")
    one.set_defaults(step=_card)

    one = steps.add_parser("notice", help="write NOTICE beside the model: whose text it learnt from")
    one.add_argument("--model", type=Path, default=WORK / "model")
    one.add_argument("--cache", type=Path, default=WORK / "cache", help="folder of the fetched archives")
    one.add_argument("--lock", type=Path, default=sources.LOCK, help="of the packages the model learnt from")
    one.set_defaults(step=_notice)
    _add_finetune(steps.add_parser("finetune", help="tune a model on a team's repositories, judge and publish it"))
    return parser


def _add_finetune(one: argparse.ArgumentParser) -> None:
    add = one.add_argument
    add("--repo", dest="repositories", nargs="+", type=Path, required=True, metavar="DIR", help="the team's code")
    add("--base", type=Path, default=manifest.embedded(), metavar="DIR", help="a model of ours, or a checkpoint")
    add("--name", default="tuned", help="what the model is called in the library")
    add("--method", choices=("full", "lora", "adalora", "freeze"), help="lora, unless told; a model of ours: full")
    add("--epochs", type=int, default=3, help="times that the team's code is read")
    add("--rate", type=float, default=1.0, help="times the usual learning rates")
    add(
        "--blend",
        type=float,
        metavar="SHARE",
        help="how far a model of ours goes to where it was tuned to; unless told, as far as no language is lost",
    )
    add("--batch", type=int, default=2048, help="tokens a step")
    add("--held-out", type=float, default=0.15, help="share of the team's files to judge by")
    add("--replay", nargs="*", type=Path, metavar="DIR", help="code by others to learn beside, so as not to forget")
    add("--replayed", type=float, default=0.5, metavar="SHARE", help="how much of what is learnt that is")
    add("--regression", nargs="+", type=Path, metavar="DIR", help="code by others to judge by, in many languages")
    add(
        "--gaps",
        dest="count",
        type=int,
        default=100,
        help="of each language by others; five times as many of the team's",
    )
    add("--tolerance", type=float, default=0.02, help="share by which the code of others may become dearer")
    add("--publish-anyway", action="store_true", help="though it has become worse")
    add("--quant", choices=("int4", "int8", "hybrid", "fp16", "fp32"), default="int8", help="of a checkpoint by others")
    add("--launch", type=Path, metavar="FILE", help="a configuration of accelerate: FSDP, DeepSpeed, several devices")
    add("--dry-run", action="store_true", help="prepare all, take one step of a checkpoint by others, write no model")
    add("--device", default="cpu")
    add("--threads", type=int, help="of the judging")
    add("--seed", type=int, default=1)
    add("--work", type=Path, help="folder of what is made on the way; the same command goes on there")
    add("--out", type=Path, metavar="DIR", help="the model directory to make, elsewhere than in the library")
    one.set_defaults(step=_finetune)


def main() -> int:
    """Run one step; the exit code."""
    options = _parser().parse_args()
    try:
        return options.step(options) or 0
    except (OSError, ValueError, RuntimeError, LacunaRuntimeError) as error:
        print(f"training: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

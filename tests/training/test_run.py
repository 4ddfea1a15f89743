"""Training itself, at toy size on the CPU: from made-up packages to a model the engine serves. Needs torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with the `train` extra; `make test-training` brings it")

from benchmarks import infill, precision  # noqa: E402
from benchmarks.infill_tasks import Task  # noqa: E402
from model_runtime.engine.sequence import Cancel  # noqa: E402
from model_runtime.opening import open_engine  # noqa: E402
from tests import training_sources  # noqa: E402
from training import ablation, checkpoint, corpus, export, model, muon, packing, run, train, vocabulary  # noqa: E402

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]
torch.set_num_threads(1)  # a toy waits longer for a second thread than it computes
ROOT = Path(__file__).resolve().parents[2]
TOY = run.read(Path(run.__file__).parent / "runs" / "toy.toml")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpus, tokenizer and rows of the toy run."""
    home = tmp_path_factory.mktemp("toy")
    contents = {file.path: file.text for file in training_sources.files()}
    pins = [training_sources.wheel(home / "cache", "pack", "train", contents)]
    corpus.build(pins, home / "cache", training_sources.benchmark(home / "data"), home / "corpus", workers=1)
    vocabulary.save(vocabulary.learn(corpus.read(home / "corpus", "train"), 512, 10**6, 1), home / "tokenizer.json")
    packing.write(home / "corpus", "train", home / "tokenizer.json", TOY, home / "rows", range(80))
    return home


def options(made: Path, out: Path) -> train.Options:
    return train.Options(data=made / "rows", out=out, compiled=False)


def test_a_run_stopped_and_resumed_is_bit_for_bit_the_run_that_went_on(made: Path, tmp_path: Path) -> None:
    whole = train.train(TOY, replace(options(made, tmp_path / "whole"), steps=14, cooldown=20))
    train.train(TOY, replace(options(made, tmp_path / "halved"), steps=5, cooldown=20))
    halved = train.train(TOY, replace(options(made, tmp_path / "halved"), steps=9))
    assert whole == halved and whole.step == 14
    one, other = (checkpoint.load(tmp_path / name / train.LATEST)[0] for name in ("whole", "halved"))
    assert set(one) == set(other)
    for name, array in one.items():
        assert np.array_equal(array, other[name]), name


def test_training_waits_for_rows_that_are_still_being_written(made: Path, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    first = packing.shard_path(made / "rows", "train", 0)

    def write() -> None:
        shutil.copy(first, tmp_path / "rows" / first.name)

    timer = threading.Timer(1.0, write)
    timer.start()
    limits = replace(options(made, tmp_path / "run"), data=tmp_path / "rows", steps=1, patience=30.0)
    assert train.train(TOY, limits).step == 1
    timer.join()
    with pytest.raises(FileNotFoundError, match="training rows"):
        train.train(TOY, replace(limits, data=tmp_path, out=tmp_path / "none", patience=0.0))


def test_a_run_told_to_finish_soon_cools_down_to_nothing(made: Path, tmp_path: Path) -> None:
    found = train.train(TOY, replace(options(made, tmp_path), finish_in=0.05))
    assert found.cool_steps and found.step >= found.cool_from + found.cool_steps


def test_an_ablation_judges_every_variant_on_the_same_held_out_rows(made: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows"
    shutil.copytree(made / "rows", data)
    packing.shard_path(data, "train", 79).rename(packing.shard_path(data, "held_out", 0))
    plan = tmp_path / "ablation.toml"
    toy = (Path(run.__file__).parent / "runs" / "toy.toml").read_text()
    plan.write_text(toy + "\n[budget]\nsteps = 4\n[variants.adamw.rates]\nmuon = false\n")
    found = dict(ablation.ablate(plan, data, tmp_path / "out", held_out=1, compiled=False))
    assert list(found) == ["base", "adamw"] and found["base"] != found["adamw"]
    assert all(3 < one.text < 7 and 3 < one.middle < 7 for one in found.values())
    again = dict(ablation.ablate(plan, data, tmp_path / "out", held_out=1, compiled=False))
    assert again == found


def test_the_chunked_loss_is_the_plain_cross_entropy_and_so_is_its_slope() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(5000, 32, requires_grad=True)
    embed = torch.randn(128, 32, requires_grad=True)
    targets, weights = torch.randint(0, 128, (5000,)), torch.rand(5000)
    plain = torch.nn.functional.cross_entropy(hidden @ embed.T, targets, reduction="none")
    wanted = torch.autograd.grad((plain * weights).sum(), (hidden, embed))
    total, each = model.loss(hidden, embed, targets, weights, model.Kernels(compiled=False))
    found = torch.autograd.grad(total, (hidden, embed))
    assert torch.allclose(each, plain, atol=1e-4)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-3)


def test_where_it_keeps_to_another_network_the_slope_is_that_of_the_divergence_from_it() -> None:
    torch.manual_seed(0)
    hidden, other = torch.randn(5000, 32, requires_grad=True), torch.randn(5000, 32)
    embed, theirs = torch.randn(128, 32, requires_grad=True), torch.randn(128, 32)
    targets, weights, here = torch.randint(0, 128, (5000,)), torch.rand(5000), torch.rand(5000) < 0.5
    likely = (hidden @ embed.T).log_softmax(-1)
    plain = torch.nn.functional.nll_loss(likely, targets, reduction="none")
    divergence = torch.nn.functional.kl_div(likely, (other @ theirs.T).softmax(-1), reduction="none").sum(-1)
    wanted = torch.autograd.grad((torch.where(here, divergence, plain) * weights).sum(), (hidden, embed))
    kept = model.TeacherOutput(other, theirs, here)
    total, _ = model.loss(hidden, embed, targets, weights, model.Kernels(compiled=False), kept)
    for one, same in zip(torch.autograd.grad(total, (hidden, embed)), wanted, strict=True):
        assert torch.allclose(one, same, atol=1e-3)


def test_an_orthogonal_matrix_has_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for size in ((3, 64, 192), (2, 192, 64)):
        values = torch.linalg.svdvals(muon.orthogonal(torch.randn(size)).float())
        assert float(values.min()) > 0.5 and float(values.max()) < 1.5


def test_a_checkpoint_of_another_shape_is_refused_by_name(made: Path, tmp_path: Path) -> None:
    train.train(TOY, replace(options(made, tmp_path), steps=1))
    import msgspec

    other = msgspec.structs.replace(TOY, shape=msgspec.structs.replace(TOY.shape, ffn_size=192))
    with pytest.raises(ValueError, match="does not fit lacuna-toy: layers"):
        train.train(other, replace(options(made, tmp_path), steps=1))


def test_the_toy_run_learns_is_exported_and_serves(made: Path, tmp_path: Path) -> None:
    train.train(TOY, replace(options(made, tmp_path / "run"), steps=60, cooldown=60))
    log = [json.loads(line) for line in (tmp_path / "run" / train.LOG).read_text().splitlines()]
    assert log[0]["text"] > 4 > 2.5 > log[-1]["text"]
    export.export(tmp_path / "run" / train.LATEST, made / "tokenizer.json", tmp_path / "model", "toy", "fp32")
    engine = open_engine(tmp_path / "model", cache=tmp_path / "derived", threads=1)
    tasks = []
    for file in corpus.read(made / "corpus", "train"):
        before, line, after = file.text.partition("            return self.")
        if line:
            value, rest = after.split("\n", 1)
            tasks.append(Task("toy", file.path, file.path, before[-400:] + line, value, "\n" + rest[:200], 1))
    found = infill.score(tasks, "model", infill.model_filler(engine), run_tests=False)
    engine.close()
    assert found.similar > 0.3
    forms = {
        one.precision: one
        for one in precision.compare(tmp_path / "run" / train.LATEST, made / "tokenizer.json", tasks, 1)
    }
    assert list(forms) == ["fp32", "int8", "int4", "hybrid"]
    assert abs(forms["int8"].nats - forms["fp32"].nats) < 0.05 < forms["fp32"].nats
    assert forms["int4"].bytes < forms["int8"].bytes < forms["fp32"].bytes
    assert forms["fp32"].gained == forms["fp32"].lost == 0


def test_the_engine_computes_what_training_computed(made: Path, tmp_path: Path) -> None:
    train.train(TOY, replace(options(made, tmp_path / "run"), steps=10))
    shape, weights = export.network(tmp_path / "run" / train.LATEST)
    export.export(tmp_path / "run" / train.LATEST, made / "tokenizer.json", tmp_path / "model", "toy", "fp32")
    decoder = model.Decoder(shape)
    decoder.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    tokens = [2, 40, 41, 3, 50, 4, *range(100, 300)]
    wanted = decoder(torch.tensor([tokens]))[0, -1].detach().numpy()
    engine = open_engine(tmp_path / "model", cache=tmp_path / "derived", threads=1)
    backend = engine._backend
    found = backend.decode(backend.new_slots(1)[0], tokens, 0, Cancel())
    engine.close()
    assert np.allclose(found, wanted, atol=2e-3)


def test_two_processes_learn_what_one_does_with_twice_the_passes(made: Path, tmp_path: Path) -> None:
    plan = (Path(run.__file__).parent / "runs" / "toy.toml").read_text()
    (tmp_path / "one.toml").write_text(plan)
    (tmp_path / "two.toml").write_text(plan.replace("accumulate = 2", "accumulate = 1"))
    common = ["-m", "training", "train"]
    tail = ["--data", str(made / "rows"), "--eager", "--steps", "6"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for command in (
        [sys.executable, *common, str(tmp_path / "one.toml"), "--out", str(tmp_path / "one"), *tail],
        [*launch, *common, str(tmp_path / "two.toml"), "--out", str(tmp_path / "two"), *tail],
    ):
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
    one, two = (checkpoint.load(tmp_path / name / train.LATEST) for name in ("one", "two"))
    assert one[1]["tokens"] == two[1]["tokens"]
    for name, array in one[0].items():
        if name.endswith("weight") and not name.startswith(("momentum", "first", "second")):
            assert np.allclose(array, two[0][name], atol=2e-3), name

"""Tuning itself, at toy size on the CPU: models of ours, checkpoints by others, several processes. Needs torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with the `train` extra; `make test-training` brings it")
for _needed in ("transformers", "peft", "accelerate"):
    pytest.importorskip(_needed, reason="it comes with the `finetune` extra; `make test-training` brings it")

from lacuna import library, model_commands  # noqa: E402
from model_runtime import manifest  # noqa: E402
from model_runtime.engine.sequence import Cancel, Finish, Generation  # noqa: E402
from model_runtime.graph import graph  # noqa: E402
from model_runtime.opening import open_engine  # noqa: E402
from model_runtime.prompt import Infill, lay_out  # noqa: E402
from tests import checkpoints, team, tiny  # noqa: E402
from training import __main__ as command  # noqa: E402
from training import adapters, finetune, gaps, repositories  # noqa: E402

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]
torch.set_num_threads(1)  # a toy waits longer for a second thread than it computes
RUNS = repositories.CHECKOUT / "training" / "runs" / "finetune"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A team, code by others and a tiny model of ours."""
    return team.folders(tmp_path)


def foreign(folder: Path, kind: str) -> Path:
    """A random checkpoint: llama-like with markers to infill, or CodeGen, which has none."""
    if kind == "codegen":
        return checkpoints.gptj("codegen").write(folder)
    return replace(checkpoints.llama(model_type="qwen2"), markers=checkpoints.QWEN_MARKERS).write(folder)


def written(directory: Path, cache: Path) -> Finish:
    """How a generation of the model ended."""
    engine = open_engine(directory, cache=cache, threads=1)
    prompt = lay_out(Infill("a.py", "def area(r):\n    return ", "\n"), engine.tokenizer, engine.manifest.fim, 400)
    *_, last = engine.generate(Generation(prompt.tokens, max_tokens=8), Cancel())
    engine.close()
    assert isinstance(last, Finish)
    return last


def test_a_model_of_ours_is_tuned_published_and_listed(
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(made / "home"))
    done = finetune.finetune(
        team.order(
            made, target=finetune.library() / "ours", replay=(), rate=8.0, blend=1.0, count=20, publish_anyway=True
        )
    )
    assert done is not None and done.published and done.model == library.find("ours")
    tally = done.verdict.own["python"]
    assert tally.bits_after < 0.8 * tally.bits_before and tally.cost.high < 0
    described = manifest.read(done.model)
    manifest.check(done.model, described)
    assert described.name == "ours" and described.description == "tiny tuned on team"
    assert described.weights == "fp32" and described.fim == manifest.read(made / "base").fim
    assert json.loads((done.model / finetune.REPORT).read_text())["own"]["python"]["gaps"] == tally.gaps
    model_commands.list_(as_json=False)
    assert "ours" in capsys.readouterr().out
    assert written(done.model, made / "cache").usage.generated == 8


@pytest.fixture(scope="module")
def bilingual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `made`, and in `both` a model that has learnt Python and JavaScript."""
    home = team.folders(tmp_path_factory.mktemp("bilingual"))
    known = (home / "team", team.scripts(home / "scripts", 24))
    done = finetune.finetune(
        team.order(
            home,
            repositories=known,
            replay=(),
            target=home / "both",
            epochs=3,
            rate=8.0,
            blend=1.0,
            publish_anyway=True,
        )
    )
    assert done is not None and done.verdict.own["javascript"].bits_after < 4
    return home


def test_a_model_tuned_on_one_language_alone_is_refused_and_nothing_is_published(
    bilingual: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--repo", bilingual / "team", "--base", bilingual / "both", "--name", "alone", "--replay"]
    arguments += [
        "--regression",
        bilingual / "others",
        "--out",
        bilingual / "alone",
        "--work",
        bilingual / "work-alone",
    ]
    arguments += ["--epochs", "2", "--batch", "1024", "--rate", "8", "--blend", "1", "--gaps", "40"]
    monkeypatch.setattr("sys.argv", ["training", "finetune", *map(str, arguments)])
    assert command.main() == 1
    said = capsys.readouterr()
    assert "other javascript became worse" in said.out and "--publish-anyway" in said.err
    assert not (bilingual / "alone").exists()

    def filled(*_: object) -> None:
        raise AssertionError("what was filled once is kept")

    monkeypatch.setattr(gaps, "filled", filled)
    monkeypatch.setattr("sys.argv", ["training", "finetune", *map(str, arguments), "--publish-anyway"])
    assert command.main() == 0
    assert (bilingual / "alone" / manifest.MANIFEST).exists()


def test_code_by_others_that_is_replayed_stays_nearly_as_likely_as_it_was(bilingual: Path) -> None:
    beside = {"replay": (bilingual / "scripts",), "replayed": 0.5, "epochs": 2, "rate": 8.0, "blend": 1.0, "count": 40}
    found = finetune.finetune(
        team.order(bilingual, base=bilingual / "both", work=bilingual / "work-beside", publish_anyway=True, **beside)
    )
    assert found is not None and found.verdict.own["python"].cost.high < 0
    assert found.verdict.others["javascript"].cost.value < 0.2  # alone it has become twice as dear


def test_untold_it_goes_as_far_as_other_gaps_by_others_allow(bilingual: Path) -> None:
    said: list[str] = []
    sought = {"replay": (), "epochs": 2, "rate": 8.0, "count": 20, "target": bilingual / "sought"}
    found = finetune.finetune(
        team.order(bilingual, base=bilingual / "both", work=bilingual / "work-alone", publish_anyway=True, **sought),
        said.append,
    )
    (way,) = (line for line in said if "of the way" in line)
    assert found is not None and int(way.split("%")[0]) < 100  # where all of it is refused


def test_a_blend_goes_part_of_the_way_from_the_base_to_where_it_was_tuned_to(made: Path) -> None:
    found = {}
    for blend in (0.0, 0.5, 1.0):
        target = made / f"at-{blend}"
        finetune.finetune(team.order(made, target=target, blend=blend, rate=8.0, count=2, publish_anyway=True))
        found[blend] = dict(graph.read_weights(target, tiny.SHAPE))
    for name, array in tiny.weights().items():
        assert np.allclose(found[0.0][name], array, atol=1e-6), name
        assert np.allclose(found[0.5][name], (array + found[1.0][name]) / 2, atol=1e-5), name
    assert not np.allclose(found[1.0]["embed.weight"], tiny.weights()["embed.weight"])


def test_tuning_stopped_in_the_middle_goes_on_where_it_was(
    made: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from training import train

    whole = finetune.finetune(
        team.order(made, target=made / "one", work=made / "one-work", count=4, publish_anyway=True)
    )
    real = train._is_over
    monkeypatch.setattr(train, "_is_over", lambda place, *rest: place.step == 3 or real(place, *rest))
    halved = team.order(made, target=made / "two", work=made / "two-work", count=4, publish_anyway=True)
    with pytest.raises(RuntimeError, match="stopped at step 3"):
        finetune.finetune(halved)
    monkeypatch.undo()
    done = finetune.finetune(halved)
    assert whole is not None and done is not None and done.verdict == whole.verdict
    assert (made / "one" / "model.onnx.data").read_bytes() == (made / "two" / "model.onnx.data").read_bytes()


@pytest.mark.parametrize("kind", ["qwen2", "codegen"])
@pytest.mark.parametrize("method", ["lora", "adalora", "freeze", "full"])
def test_a_checkpoint_by_others_is_tuned_merged_imported_and_completes(
    made: Path,
    kind: str,
    method: str,
) -> None:
    base = foreign(made / "checkpoint", kind)
    done = finetune.finetune(
        team.order(made, base=base, method=method, epochs=1, rate=10.0, batch=2048, count=8, publish_anyway=True)
    )
    assert done is not None and done.published
    tally = done.verdict.own["python"]
    assert tally.bits_after < tally.bits_before
    described = manifest.read(done.model)
    manifest.check(done.model, described)
    assert described.name == "ours" and described.weights == "int8"
    assert described.fim.layout == ("psm" if kind == "qwen2" else "prefix")
    assert written(done.model, made / "cache").usage.generated


def logits(model: Any) -> Any:
    model.eval()
    with torch.no_grad():
        return model(input_ids=torch.arange(40, 100)[None]).logits.numpy()


@pytest.mark.parametrize("kind", ["qwen2", "codegen"])
@pytest.mark.parametrize("method", ["lora", "adalora"])
def test_the_merged_model_computes_what_the_adapters_computed(tmp_path: Path, kind: str, method: str) -> None:
    base = foreign(tmp_path / "checkpoint", kind)
    model = adapters.adapted(base, method, 100)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name and weight.requires_grad:
                weight.copy_(0.2 * torch.randn(weight.shape, generator=generator))
    with model.disable_adapter():
        plain = logits(model)
    adapted = logits(model)
    merged = logits(adapters.merged(model))
    assert abs(adapted - plain).max() > 0.1
    assert np.allclose(merged, adapted, atol=1e-3)


def test_freezing_moves_the_last_layers_alone(tmp_path: Path) -> None:
    model = adapters.adapted(foreign(tmp_path / "checkpoint", "qwen2"), "freeze", 10)
    moved = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert moved and all(name.startswith("model.layers.1.") for name in moved)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread for each of the processes that are started."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.parametrize("plan", ["two-processes", "fsdp"])
def test_two_processes_tune_one_checkpoint(made: Path, plan: str, quiet: None) -> None:
    base = foreign(made / "checkpoint", "qwen2")
    launch = RUNS / f"{plan}.yaml"
    both = team.order(made, base=base, launch=launch, rate=10.0, batch=2048, count=8, publish_anyway=True)
    done = finetune.finetune(both)
    assert done is not None and done.verdict.own["python"].bits_after < done.verdict.own["python"].bits_before


def test_processes_that_fail_are_one_clear_error(made: Path, quiet: None) -> None:
    (made / "odd.yaml").write_text("distributed_type: NONSENSE\n")
    with pytest.raises(RuntimeError, match=r"odd\.yaml ended with code"):
        finetune.finetune(team.order(made, base=foreign(made / "checkpoint", "qwen2"), launch=made / "odd.yaml"))


def test_a_dry_run_takes_one_step_and_writes_no_weights(made: Path, capfd: pytest.CaptureFixture[str]) -> None:
    base = foreign(made / "checkpoint", "qwen2")
    assert finetune.finetune(team.order(made, base=base, method="freeze", dry_run=True)) is None
    said = capfd.readouterr().out
    assert "weights move, on 1 processes" in said and said.count("nats a token") == 1
    assert not list((made / "work").rglob("*.safetensors"))


def test_accelerate_reads_each_configuration() -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    found = {path.stem: load_config_from_file(str(path)) for path in RUNS.glob("*.yaml")}
    kinds = {name: one.distributed_type.value for name, one in found.items()}
    assert kinds == {"two-processes": "MULTI_CPU", "fsdp": "FSDP", "deepspeed": "DEEPSPEED"}
    named = repositories.CHECKOUT / found["deepspeed"].deepspeed_config["deepspeed_config_file"]
    zero = json.loads(named.read_text())
    assert zero["zero_optimization"]["stage"] == 3 and isinstance(zero["train_micro_batch_size_per_gpu"], int)

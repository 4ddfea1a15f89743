"""Each family's checkpoint, imported, against the family in plain numpy; and what an import promises."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from model_runtime import manifest
from model_runtime.backends.onnx_backend import OnnxBackend
from model_runtime.engine.sequence import Cancel, Finish, Generation
from model_runtime.errors import CheckpointError, ModelError
from model_runtime.graph import graph
from model_runtime.importer import importer
from model_runtime.manifest import Manifest
from model_runtime.opening import open_engine
from model_runtime.prompt import Infill, lay_out
from tests import checkpoints
from tests.checkpoints import Array, Checkpoint

TOKENS = [int(token) for token in np.random.default_rng(1).integers(0, 256, 90)]

FAMILIES: dict[str, Checkpoint] = {
    "llama": checkpoints.llama(),
    "deepseek": checkpoints.llama(rope_scaling={"type": "linear", "factor": 4.0}, rope_theta=100000),
    "mistral": checkpoints.llama(model_type="mistral", sliding_window=17),
    "smollm": checkpoints.llama(tie_word_embeddings=True, num_key_value_heads=1),
    "biased llama": checkpoints.llama(attention_bias=True),
    "qwen2": checkpoints.llama(model_type="qwen2"),
    "qwen3": checkpoints.llama(model_type="qwen3", head_dim=32),
    "starcoder2": checkpoints.starcoder2(),
    "windowed starcoder2": checkpoints.starcoder2(sliding_window=16),
    "gptj": checkpoints.gptj(),
    "codegen": checkpoints.gptj("codegen", n_ctx=512),
    "codegen2": checkpoints.gptj("codegen", 8, checkpoints.CODEGEN2_MARKERS),
    "codegen2 by its code": checkpoints.gptj("codegen", 8, auto_map={"AutoModelForCausalLM": "modeling_codegen.X"}),
    "bigcode": checkpoints.bigcode(),
    "bigcode with many heads": checkpoints.bigcode(multi_query=False),
}


def imported(
    checkpoint: Checkpoint, at: Path, quant: importer.Quant = "fp32", context: int | None = None, **kinds: Any
) -> Path:
    """The model directory of a checkpoint, written first."""
    if not (at / "source").exists():
        checkpoint.write(at / "source", **kinds)
    importer.write(importer.examine(at / "source", name="test", quant=quant, context=context), at / "model")
    return at / "model"


class Runner:
    """A model's logits, fed as one likes."""

    def __init__(self, directory: Path, cache: Path) -> None:
        self.manifest: Manifest = manifest.read(directory)
        manifest.check(directory, self.manifest)
        self.backend = OnnxBackend.open(directory, self.manifest, cache=cache, threads=1)
        self.store = self.backend.new_slots(1)[0]

    def logits(self, tokens: Sequence[int], start: int = 0, *, long: bool = False) -> Array:
        """After the last of these tokens; long: all before the last go through the prefill graph."""
        if long:
            self.backend.prefill(self.store, tokens[:-1], start, Cancel())
            tokens, start = tokens[-1:], start + len(tokens) - 1
        return self.backend.decode(self.store, tokens, start, Cancel())


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_family(family: str, tmp_path: Path) -> None:
    checkpoint = FAMILIES[family]
    runner = Runner(imported(checkpoint, tmp_path), tmp_path / "cache")
    expected = checkpoint.logits(TOKENS)
    assert np.abs(runner.logits(TOKENS) - expected[-1]).max() <= 1e-3
    runner.logits(TOKENS[:30])
    for start, stop in itertools.pairwise((30, 31, 33, 70, 90)):  # chunks, and writing over what was there
        found = runner.logits(TOKENS[start:stop], start)
        assert np.abs(found - expected[stop - 1]).max() <= 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_going_back_and_on_again_is_exact(family: str, tmp_path: Path) -> None:
    runner = Runner(imported(FAMILIES[family], tmp_path, "int8"), tmp_path / "cache")
    runner.logits(TOKENS[:60], long=True)
    first = runner.logits(TOKENS[60:], 60)
    runner.logits(TOKENS[:20], 60)
    assert np.array_equal(first, runner.logits(TOKENS[60:], 60))


def two_at_once(directory: Path, tokens: Sequence[int], at: tuple[int, int]) -> Array:
    """Logits [2, V] of one run over two sequences, each the same text up to another place."""
    shape = manifest.read(directory).shape
    session = ort.InferenceSession(str(directory / graph.GRAPH))
    size = (2, shape.kv_heads, shape.context_length, shape.head_size)
    names = [f"{layer}.{part}" for layer in range(shape.layers) for part in ("key", "value")]
    filled = {name: np.zeros(size, np.float32) for name in names}
    for row, length in enumerate(at):
        alone = {f"past.{name}": filled[name][row : row + 1] for name in names}
        feeds = _feeds([tokens[:length]], [length], [length - 1])
        for name, value in zip(names, session.run(None, alone | feeds)[1:], strict=True):
            filled[name][row] = value[0]
    feeds = _feeds([[tokens[length]] for length in at], [length + 1 for length in at], [0, 1])
    found: Array = session.run(["logits"], {f"past.{name}": filled[name] for name in names} | feeds)[0]
    return found


def _feeds(tokens: Sequence[Sequence[int]], totals: Sequence[int], rows: Sequence[int]) -> dict[str, Array]:
    return {
        "tokens": np.array(tokens, np.int64),
        "rows": np.array(rows, np.int64),
        "length": np.array(totals, np.int32) - 1,
        "total": np.array(max(totals), np.int32),
    }


@pytest.mark.parametrize("family", ["llama", "codegen", "bigcode", "windowed starcoder2"])
def test_two_sequences_in_one_run_are_as_each_alone(family: str, tmp_path: Path) -> None:
    expected = FAMILIES[family].logits(TOKENS)
    found = two_at_once(imported(FAMILIES[family], tmp_path), TOKENS, (21, 80))
    assert np.abs(found - expected[[21, 80]]).max() <= 1e-3


# The share of the logits' own spread by which quantization may move them, in the mean: random
# weights are the worst case, they have no direction that matters more than another.
DIVERGENCE: dict[importer.Quant, float] = {"fp32": 1e-5, "fp16": 2e-3, "int8": 0.05, "int4": 0.35, "hybrid": 0.35}


@pytest.mark.parametrize("quant", DIVERGENCE)
@pytest.mark.parametrize("family", ["qwen2", "codegen", "bigcode"])
def test_quantization_moves_the_logits_by_little(family: str, quant: importer.Quant, tmp_path: Path) -> None:
    checkpoint = FAMILIES[family]
    runner = Runner(imported(checkpoint, tmp_path, quant), tmp_path / "cache")
    expected = checkpoint.logits(TOKENS)[-1]
    for long in (False, True):
        off = runner.logits(TOKENS, long=long) - expected
        assert np.sqrt((off**2).mean()) <= DIVERGENCE[quant] * expected.std()


def test_shards_and_pytorch_files_give_the_same_model(tmp_path: Path) -> None:
    checkpoint = checkpoints.llama()
    whole = imported(checkpoint, tmp_path / "whole")
    for kinds in ({"shards": 3}, {"pickled": True}, {"shards": 2, "pickled": True}):
        other = imported(checkpoint, tmp_path / str(kinds), **kinds)
        for name in (graph.GRAPH, graph.DATA):
            assert (whole / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.parametrize("pickled", [False, True])
def test_half_precision_is_read(pickled: bool, tmp_path: Path) -> None:
    checkpoint = checkpoints.llama()
    for name, array in checkpoint.tensors.items():
        checkpoint.tensors[name] = array.astype(np.float16)
    runner = Runner(imported(checkpoint, tmp_path, pickled=pickled), tmp_path / "cache")
    assert np.abs(runner.logits(TOKENS) - checkpoint.logits(TOKENS)[-1]).max() <= 1e-3


def test_bfloat16_is_read_from_a_pytorch_file(tmp_path: Path) -> None:
    checkpoint = checkpoints.llama()
    as_stored = {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in checkpoint.tensors.items()}
    for name, array in as_stored.items():
        checkpoint.tensors[name] = (array.astype(np.uint32) << 16).view(np.float32)
    source = checkpoint.write(tmp_path / "source")
    (source / "model.safetensors").unlink()
    checkpoints.write_tensors(source, as_stored, pickled=True)
    runner = Runner(imported(checkpoint, tmp_path), tmp_path / "cache")
    assert np.abs(runner.logits(TOKENS) - checkpoint.logits(TOKENS)[-1]).max() <= 1e-3


@pytest.mark.parametrize("quant", ["int4", "int8", "hybrid", "fp16"])
def test_an_imported_model_answers(quant: importer.Quant, tmp_path: Path) -> None:
    engine = open_engine(imported(checkpoints.starcoder2(), tmp_path, quant), cache=tmp_path / "cache")
    infill = Infill("a.py", "def area(r):\n    return ", " * r\n")
    prompt = lay_out(infill, engine.tokenizer, engine.manifest.fim, 400).tokens
    *tokens, finish = engine.generate(Generation(prompt, max_tokens=16), Cancel())
    engine.close()
    assert isinstance(finish, Finish)
    assert finish.usage.generated == 16 or finish.reason == "end"
    assert tokens or finish.reason == "end"


@pytest.mark.parametrize(
    ("family", "layout"), [("codegen", "prefix"), ("codegen2", "mask"), ("starcoder2", "psm"), ("bigcode", "spm2")]
)
def test_the_manifest_says_whether_the_model_can_infill(family: str, layout: str, tmp_path: Path) -> None:
    assert manifest.read(imported(FAMILIES[family], tmp_path)).fim.layout == layout


def test_a_model_describes_where_it_comes_from(tmp_path: Path) -> None:
    checkpoint = checkpoints.llama()
    checkpoint.files["README.md"] = "---\nlicense: bigcode-openrail-m\n---\n# A model\n"
    checkpoint.files["LICENSE"] = "BigCode OpenRAIL-M\n"
    found = manifest.read(imported(checkpoint, tmp_path, "hybrid", context=128))
    assert (found.family, found.licence, found.weights, found.prefill) == (
        "llama",
        "bigcode-openrail-m",
        "int4",
        "columns",
    )
    assert found.shape.context_length == 128
    assert set(found.files) == {
        "tokenizer.json",
        "LICENSE",
        graph.GRAPH,
        graph.DATA,
        graph.PREFILL,
        graph.PREFILL_DATA,
        "README.md",
    } - {"README.md"}
    assert found.description == "imported from source as hybrid"


def test_a_context_longer_than_the_training_is_refused(tmp_path: Path) -> None:
    checkpoints.llama().write(tmp_path / "source")
    with pytest.raises(CheckpointError, match="trained on 512 tokens; ask for no more with --context"):
        importer.examine(tmp_path / "source", name="test", quant="int4", context=513)


class Stop(Exception):
    """Somebody pressed Ctrl+C."""


def stop_after(count: int) -> importer.Progress:
    calls = itertools.count(1)

    def progress(done: int, total: int) -> None:
        assert 0 < done <= total
        if next(calls) > count:
            raise Stop

    return progress


@pytest.mark.parametrize("quant", ["int4", "hybrid"])
def test_an_interrupted_import_goes_on_where_it_stopped(quant: importer.Quant, tmp_path: Path) -> None:
    whole = imported(checkpoints.llama(), tmp_path / "whole", quant)
    checkpoints.llama().write(tmp_path / "source")
    checked = importer.examine(tmp_path / "source", name="test", quant=quant)
    read: list[int] = []
    for _ in range(20):
        try:
            importer.write(checked, tmp_path / "model", stop_after(4))
            break
        except Stop:
            read.append(1)
            assert not (tmp_path / "model").exists()
    # 16 matrices a pass, four kept in each run; the second pass needs no more of the last layer than queries to values.
    assert len(read) == (3 if quant == "int4" else 6)
    for path in whole.iterdir():
        if path.name != manifest.MANIFEST:
            assert path.read_bytes() == (tmp_path / "model" / path.name).read_bytes()
    assert sorted(tmp_path.iterdir()) == [tmp_path / "model", tmp_path / "source", tmp_path / "whole"]


def test_a_torn_journal_line_costs_one_tensor(tmp_path: Path) -> None:
    checkpoints.llama().write(tmp_path / "source")
    checked = importer.examine(tmp_path / "source", name="test", quant="int4")
    with pytest.raises(Stop):
        importer.write(checked, tmp_path / "model", stop_after(6))
    journal = tmp_path / ".model.partial" / f"{graph.GRAPH}.journal"
    journal.write_bytes(journal.read_bytes()[:-9])
    importer.write(checked, tmp_path / "model")
    whole = imported(checkpoints.llama(), tmp_path / "whole", "int4")
    found, expected = (graph.read_weights(path, checked.plan.shape) for path in (tmp_path / "model", whole))
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_another_import_does_not_go_on_with_the_leftovers(tmp_path: Path) -> None:
    checkpoints.llama().write(tmp_path / "source")
    with pytest.raises(Stop):
        importer.write(importer.examine(tmp_path / "source", name="t", quant="int8"), tmp_path / "model", stop_after(4))
    importer.write(importer.examine(tmp_path / "source", name="t", quant="fp32"), tmp_path / "model")
    runner = Runner(tmp_path / "model", tmp_path / "cache")
    assert np.abs(runner.logits(TOKENS) - checkpoints.llama().logits(TOKENS)[-1]).max() <= 1e-3


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    imported(checkpoints.llama(), tmp_path)
    with pytest.raises(CheckpointError, match="is there already; remove it or import under another name"):
        imported(checkpoints.llama(), tmp_path)


@pytest.mark.parametrize("pickled", [False, True])
def test_memory_is_bounded_by_a_tensor_and_not_by_the_model(pickled: bool, tmp_path: Path) -> None:
    """A model of 6B weights has tensors of up to 0.2B; here 40 of 0.5 MB each stand for them."""
    config = {**checkpoints.llama().config, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 8}
    make, tensors = checkpoints.Maker(), {}
    for name, tensor in checkpoints.llama().tensors.items():
        if ".0." in name:
            size = [{64: 256, 96: 512, 32: 128}[length] for length in tensor.shape]
            for layer in range(8):
                tensors[name.replace(".0.", f".{layer}.")] = make.matrices({name: (size[0], size[-1])})[name]
                if tensor.ndim == 1:
                    tensors[name.replace(".0.", f".{layer}.")] = np.ones(size[0], np.float32)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors |= make.matrices({name: (checkpoints.VOCAB, 256)})
    tensors["model.norm.weight"] = np.ones(256, np.float32)
    checkpoint = Checkpoint(config, tensors, lambda tokens: np.zeros(0))
    checkpoint.write(tmp_path / "source", shards=3, pickled=pickled)
    largest, total = max(one.nbytes for one in tensors.values()), sum(one.nbytes for one in tensors.values())
    checked = importer.examine(tmp_path / "source", name="test", quant="hybrid")
    tracemalloc.start()
    try:
        importer.write(checked, tmp_path / "model")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    slab = 12 * 4 * (1 << 16)  # what quantizing a slab needs, whatever the tensor's size
    assert total > 20 * largest
    assert peak < 3 * largest + slab + 2_000_000


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda source: edit(source / "config.json", lambda content: content.update(changes))


def tensors(change: Callable[[checkpoints.Tensors], object]) -> Callable[[Path], None]:
    def harm(source: Path) -> None:
        found = dict(checkpoints.llama().tensors)
        change(found)
        (source / "model.safetensors").unlink(missing_ok=True)
        checkpoints.write_tensors(source, found)

    return harm


def cut(name: str, length: int) -> Callable[[Path], None]:
    def harm(source: Path) -> None:
        path = source / name
        path.write_bytes(path.read_bytes()[:length] if length else b"")

    return harm


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda source: (source / name).write_text(content)


def _nan(found: checkpoints.Tensors) -> None:
    found["model.layers.1.mlp.up_proj.weight"] = np.full((96, 64), np.nan, np.float32)


UP = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut("model.safetensors", 30_000), r"model\.safetensors cannot be read, it may be cut short .*download"),
        (cut("model.safetensors", 0), r"model\.safetensors cannot be read.*download"),
        (text("model.safetensors", "version https://git-lfs.github.com/spec/v1\n"), r"Git LFS pointer.*git lfs pull"),
        (tensors(lambda found: found.pop(UP)), r"has no tensor model\.layers\.1\.mlp\.up_proj\.weight.*download"),
        (
            tensors(lambda found: found.update({UP: np.ones((96, 32), np.float32)})),
            r"safetensors: tensor .*up_proj\.weight is \[96, 32\], config\.json calls for \[96, 64\].*download",
        ),
        (tensors(_nan), r"model\.safetensors: tensor .*up_proj\.weight holds values that are no numbers.*download"),
        (
            tensors(lambda found: found.update({UP: np.ones((96, 64), np.int8)})),
            r"up_proj\.weight is of type I8; only checkpoints of floats",
        ),
        (
            tensors(lambda found: found.update({"model.layers.0.mlp.router.weight": np.ones((4, 64), np.float32)})),
            r"tensor model\.layers\.0\.mlp\.router\.weight and 0 others have no place",
        ),
        (
            lambda source: (source / "config.json").unlink(),
            r"cannot read .*config\.json: No such file.*give the folder",
        ),
        (text("config.json", "{"), r"config\.json is no configuration"),
        (
            config(model_type="mamba"),
            r"models of type 'mamba' cannot be imported; those that can are gptj, codegen, llama",
        ),
        (config(hidden_act="relu6"), r"hidden_act is 'relu6', known are"),
        (config(hidden_size=None), r"hidden_size is missing"),
        (config(hidden_size="wide"), r"hidden_size is 'wide', it must be a number above 0"),
        (config(tie_word_embeddings="no"), r"tie_word_embeddings is 'no', it must be true or false"),
        (config(rope_scaling={"rope_type": "longrope"}), r"scaled by 'longrope', which is not known"),
        (config(quantization_config={"bits": 4}), r"quantized already; import the original"),
        (config(num_hidden_layers=3), r"no tensor model\.layers\.2\."),
        (lambda source: (source / "tokenizer.json").unlink(), r"has neither tokenizer\.json nor vocab\.json"),
        (text("tokenizer.json", "{}"), r"tokenizer\.json is not a tokenizer .*download"),
        (
            lambda source: checkpoints.byte_level([f"<{one}>" for one in range(99)]).save(
                str(source / "tokenizer.json")
            ),
            r"tokenizer\.json has 355 tokens, config\.json says 272; the two belong to different models",
        ),
        (
            config(eos_token_id=271),
            r"tokenizer\.json has no token 271, with which config\.json ends a text; the two belong",
        ),
        (config(eos_token_id=10**12), r"tokenizer\.json has no token 1000000000000, with which"),
    ],
)
def test_a_harmed_checkpoint_names_the_file_and_the_cure(
    harm: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    source = checkpoints.llama().write(tmp_path / "source")
    harm(source)
    with pytest.raises(ModelError, match=message) as caught:
        importer.write(importer.examine(source, name="test", quant="int4"), tmp_path / "model")
    assert str(source) in str(caught.value)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("pickled", [False, True])
def test_a_missing_shard_is_named(pickled: bool, tmp_path: Path) -> None:
    source = checkpoints.llama().write(tmp_path / "source", shards=3, pickled=pickled)
    (shard,) = source.glob("*-00002-of-*")
    shard.unlink()
    with pytest.raises(CheckpointError, match=r"00002-of-00003\.\w+ is not there, .*index\.json names it; download"):
        importer.examine(source, name="test", quant="int4")


@pytest.mark.parametrize("pickled", [False, True])
def test_a_shard_cut_short_is_named(pickled: bool, tmp_path: Path) -> None:
    source = checkpoints.llama().write(tmp_path / "source", shards=3, pickled=pickled)
    (shard,) = source.glob("*-00002-of-*")
    shard.write_bytes(shard.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"00002-of-00003\.\w+.* cut short.*download"):
        importer.examine(source, name="test", quant="int4")


def test_a_shard_of_another_model_is_named(tmp_path: Path) -> None:
    source = checkpoints.llama().write(tmp_path / "source", shards=3)
    (shard,) = source.glob("*-00002-of-*")
    checkpoints.write_safetensors(shard, {"other": np.ones(3, np.float32)})
    with pytest.raises(CheckpointError, match=r"00002-of-00003\.safetensors has no tensor .* which the index says"):
        importer.examine(source, name="test", quant="int4")


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", ".."])
def test_an_index_that_leaves_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    source = checkpoints.llama().write(tmp_path / "source", shards=2)
    edit(source / "model.safetensors.index.json", lambda content: content["weight_map"].update({UP: name}))
    with pytest.raises(CheckpointError, match="leaves the folder; do not use it"):
        importer.examine(source, name="test", quant="int4")


def test_rows_that_do_not_fit_into_blocks_say_what_to_do(tmp_path: Path) -> None:
    checkpoint = checkpoints.llama(intermediate_size=96)
    for name, tensor in checkpoint.tensors.items():
        if "down_proj" in name:
            checkpoint.tensors[name] = tensor[:, :72]
        elif "gate_proj" in name or "up_proj" in name:
            checkpoint.tensors[name] = tensor[:72]
    checkpoint.config["intermediate_size"] = 72
    with pytest.raises(ModelError, match=r"down\.weight has rows of 72 values.*--quant fp16"):
        imported(checkpoint, tmp_path, "int4")


@pytest.mark.parametrize("changes", [{"num_attention_heads": 8}, {"head_dim": 24}])
def test_heads_that_cannot_be_turned_say_so(changes: dict[str, Any], tmp_path: Path) -> None:
    checkpoints.llama(**changes).write(tmp_path / "source")
    with pytest.raises(
        CheckpointError, match=r"of heads \d+ values wide it turns \d+, ONNX Runtime only multiples of 16"
    ):
        importer.examine(tmp_path / "source", name="test", quant="int4")


def test_a_disk_that_is_too_small_is_found_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.llama().write(tmp_path / "source")
    checked = importer.examine(tmp_path / "source", name="test", quant="int4")
    usage = importer.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(importer.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CheckpointError, match=r"has 0\.0 GB left; make room, or choose another folder with --out"):
        importer.write(checked, tmp_path / "model")

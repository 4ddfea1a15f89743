"""One generation after another: exactness, reuse, cancelling, deadlines, broken models."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from model_runtime.backends import onnx_backend
from model_runtime.engine.engine import Engine
from model_runtime.engine.ngrams import NGrams
from model_runtime.engine.sampling import Scores
from model_runtime.engine.sequence import Cancel, Finish, Generation, Token
from model_runtime.engine.token_healing import Spellings
from model_runtime.errors import LacunaRuntimeError, ModelError, Overloaded, PromptError
from model_runtime.graph import graph
from model_runtime.opening import open_engine
from tests import tiny
from tests.runtime.conftest import Precision

PROMPT = tuple(int(token) for token in np.random.default_rng(2).integers(5, 260, 200))


def run(engine: Engine, generation: Generation, cancel: Cancel | None = None) -> tuple[list[Token], Finish]:
    *tokens, finish = engine.generate(generation, cancel or Cancel())
    assert isinstance(finish, Finish)
    assert all(isinstance(token, Token) for token in tokens)
    return [token for token in tokens if isinstance(token, Token)], finish


def test_greedy_follows_the_reference(tiny_model: Callable[[Precision], Path], tmp_path: Path) -> None:
    engine = open_engine(tiny_model("fp32"), cache=tmp_path)
    prompt, weights = PROMPT[:50], tiny.weights()
    tokens, finish = run(engine, Generation(prompt, max_tokens=24))
    so_far, expected = list(prompt), []
    for _ in range(finish.usage.generated):
        scores = tiny.logits(weights, so_far)[-1]
        so_far.append(int(scores.argmax()))
        expected.append(float(scores.max() - np.logaddexp.reduce(scores.astype(np.float64))))
    assert [token.logprob for token in tokens[: finish.usage.generated]] == pytest.approx(expected, abs=1e-3)
    assert "".join(token.text for token in tokens) == engine.tokenizer.decode(so_far[len(prompt) :])


def test_scoring_a_middle_gives_what_generating_it_gave(engine: Engine) -> None:
    tokens, finish = run(engine, Generation(PROMPT, max_tokens=6))
    middle = [scores.best for scores in _greedy(engine, 6)]
    scored = list(engine.score(PROMPT, tuple(middle)))
    assert [scores[token] for scores, token in zip(scored, middle, strict=True)] == pytest.approx(
        [token.logprob for token in tokens[: finish.usage.generated]], abs=1e-5
    )


def _greedy(engine: Engine, count: int) -> list[Scores]:
    """Log-probabilities before each of the first tokens, each scored after the ones before it."""
    middle: tuple[int, ...] = ()
    found: list[Scores] = []
    for _ in range(count):
        found = list(engine.score(PROMPT, (*middle, 0)))
        middle = (*middle, found[-1].best)
    return found


def test_one_more_key_prefills_one_token(engine: Engine) -> None:
    run(engine, Generation(PROMPT, max_tokens=8))
    _, finish = run(engine, Generation((*PROMPT, 42), max_tokens=8))
    assert (finish.usage.prefilled, finish.usage.reused) == (1, len(PROMPT))


def test_what_was_generated_and_accepted_costs_nothing(engine: Engine) -> None:
    tokens, first = run(engine, Generation(PROMPT, max_tokens=8))
    accepted = engine.tokenizer.encode("".join(token.text for token in tokens))
    _, second = run(engine, Generation((*PROMPT, *accepted), max_tokens=8))
    if len(accepted) == first.usage.generated:  # the text came back as the very same tokens
        assert second.usage.prefilled <= 2
    assert second.usage.reused >= len(PROMPT)


def test_warm_and_cold_say_the_same(engine: Engine, tiny_model: Callable[[Precision], Path], tmp_path: Path) -> None:
    run(engine, Generation(PROMPT[:150], max_tokens=4))
    warm, _ = run(engine, Generation(PROMPT[:151], max_tokens=16))
    cold, _ = run(open_engine(tiny_model("int8"), cache=tmp_path), Generation(PROMPT[:151], max_tokens=16))
    assert warm[0].logprob == pytest.approx(cold[0].logprob, abs=0.2)


def test_only_prefilling_makes_the_next_request_warm(engine: Engine) -> None:
    tokens, finish = run(engine, Generation(PROMPT, max_tokens=0))
    assert tokens == []
    assert (finish.reason, finish.usage.prefilled) == ("length", len(PROMPT))
    assert run(engine, Generation((*PROMPT, 9)))[1].usage.prefilled == 1


def test_a_passed_deadline_ends_before_any_work(engine: Engine) -> None:
    tokens, finish = run(engine, Generation(PROMPT, deadline=time.monotonic() - 1))
    assert (tokens, finish.reason, finish.usage.prefilled) == ([], "deadline", 0)


def test_a_deadline_in_the_midst_ends_with_what_there_is(engine: Engine) -> None:
    tokens: list[Token] = []
    stream = engine.generate(Generation(PROMPT, max_tokens=300, deadline=time.monotonic() + 0.15), Cancel())
    for one in stream:
        if isinstance(one, Finish):
            assert one.reason in ("deadline", "end")
            assert one.usage.generated >= len(tokens) - 1
        else:
            tokens.append(one)
            time.sleep(0.01)
    assert 0 < len(tokens) < 300


def test_cancel_between_tokens_ends_and_the_cache_stays_right(engine: Engine) -> None:
    cancel = Cancel()
    stream = engine.generate(Generation(PROMPT, max_tokens=300), cancel)
    next(stream)
    cancel.set()
    *_, finish = stream
    assert isinstance(finish, Finish)
    assert finish.reason == "cancelled"
    again, _ = run(engine, Generation(PROMPT, max_tokens=4))
    fresh, _ = run(engine, Generation((PROMPT[0] + 1, *PROMPT[1:]), max_tokens=1))
    assert again
    assert fresh


def test_cancel_from_another_thread_stops_a_prefill(engine: Engine) -> None:
    ended = []
    for delay in (0.0, 0.001, 0.002, 0.004):
        cancel = Cancel()
        prompt = tuple((token + len(ended)) % 250 + 5 for token in PROMPT * 2)
        timer = threading.Timer(delay, cancel.set)
        timer.start()
        ended.append(run(engine, Generation(prompt, max_tokens=64), cancel)[1].reason)
        timer.join()
    assert "cancelled" in ended
    assert run(engine, Generation(PROMPT, max_tokens=2))[1].usage.generated > 0


def test_a_cancelled_prefill_leaves_no_false_memory(tiny_model: Callable[[Precision], Path], tmp_path: Path) -> None:
    engine = open_engine(tiny_model("int8"), cache=tmp_path)
    expected, _ = run(open_engine(tiny_model("int8"), cache=tmp_path), Generation(PROMPT, max_tokens=8))
    cancel = Cancel()
    cancel.set()
    assert run(engine, Generation(PROMPT, max_tokens=8), cancel)[1].reason == "cancelled"
    assert run(engine, Generation(PROMPT, max_tokens=8))[0] == expected


def test_a_generator_that_is_closed_frees_the_engine(engine: Engine) -> None:
    stream = engine.generate(Generation(PROMPT, max_tokens=64), Cancel())
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert run(engine, Generation(PROMPT, max_tokens=2))[1].usage.generated > 0


def test_a_memory_of_what_was_written_before_is_followed(engine: Engine) -> None:
    line = engine.tokenizer.encode("the_quick_brown_fox(jumps, over)\n" * 30)
    prompt = (*PROMPT, *engine.tokenizer.encode("the_quick_brown_fox(jumps, "))
    alone, _ = run(engine, Generation(prompt, max_tokens=5))
    mixed, _ = run(engine, Generation(prompt, max_tokens=5, ngrams=NGrams([line], 2000)))
    assert "".join(token.text for token in alone) != "over)"
    assert "".join(token.text for token in mixed) == "over)"
    assert all(token.logprob > -1.0 for token in mixed)


@pytest.mark.parametrize(
    ("prompt", "tokens", "message"),
    [((), 1, "0 prompt tokens"), ((7,) * 500, 64, "500 prompt tokens and 64"), ((9999,), 1, "outside 0 … 271")],
)
def test_a_prompt_that_cannot_be_is_refused(engine: Engine, prompt: tuple[int, ...], tokens: int, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        next(engine.generate(Generation(prompt, max_tokens=tokens), Cancel()))


def _truncate_data(directory: Path) -> None:
    path = directory / graph.DATA
    path.write_bytes(path.read_bytes()[:1000])


def _garble_graph(directory: Path) -> None:
    path = directory / graph.GRAPH
    path.write_bytes(b"\x00" * path.stat().st_size)


def _remove_tokenizer(directory: Path) -> None:
    (directory / "tokenizer.json").unlink()


def _garble_tokenizer(directory: Path) -> None:
    path = directory / "tokenizer.json"
    path.write_text("{" * path.stat().st_size)


def _future_format(directory: Path) -> None:
    path = directory / "manifest.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))


def _foreign_manifest(directory: Path, field: str = "layers", value: int = 3) -> None:
    path = directory / "manifest.json"
    described = json.loads(path.read_text())
    described["shape"][field] = value
    path.write_text(json.dumps(described))


def _no_manifest(directory: Path) -> None:
    (directory / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_truncate_data, r"model\.onnx\.data has 1000 bytes, the manifest names"),
        (_garble_graph, r"cannot (load|read) .*model\.onnx"),
        (_remove_tokenizer, r"cannot read .*tokenizer\.json: No such file"),
        (_garble_tokenizer, r"tokenizer\.json is not a tokenizer"),
        (_future_format, r"is of format 99, this Lacuna reads format 1"),
        (_foreign_manifest, r"is the graph of another model than manifest\.json describes"),
        (partial(_foreign_manifest, field="vocab_size", value=300), r"is the graph of another model"),
        (partial(_foreign_manifest, field="context_length", value=10**12), r"not the memory for .*smaller --context"),
        (_no_manifest, r"cannot read .*manifest\.json: No such file"),
    ],
)
def test_a_harmed_model_names_the_file_and_the_cure(
    tiny_model: Callable[[Precision], Path], tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    directory = tmp_path / "model"
    shutil.copytree(tiny_model("int8"), directory)
    harm(directory)
    with pytest.raises(ModelError, match=message) as caught:
        open_engine(directory, cache=tmp_path / "cache")
    assert isinstance(caught.value, LacunaRuntimeError)
    assert "restore" in str(caught.value) or "upgrade" in str(caught.value) or "--" in str(caught.value)


def test_weights_that_became_no_numbers_are_told_and_not_written_from(
    tiny_model: Callable[[Precision], Path], tmp_path: Path
) -> None:
    directory = tmp_path / "model"
    shutil.copytree(tiny_model("fp32"), directory)
    np.memmap(directory / graph.DATA, np.float32, "r+")[:5000] = np.nan
    engine = open_engine(directory, cache=tmp_path / "cache")
    with pytest.raises(ModelError, match=r"no numbers.*lacuna model verify"):
        run(engine, Generation(PROMPT, max_tokens=4))
    assert not engine.busy


def test_a_harmed_derived_graph_is_made_anew(tiny_model: Callable[[Precision], Path], tmp_path: Path) -> None:
    expected, _ = run(open_engine(tiny_model("int8"), cache=tmp_path), Generation(PROMPT, max_tokens=4))
    derived = next(tmp_path.glob("p*-*.onnx"))  # packed or prefill
    whole = derived.read_bytes()
    derived.write_bytes(whole[:100] + b"\x00" * 100 + whole[200:])
    assert run(open_engine(tiny_model("int8"), cache=tmp_path), Generation(PROMPT, max_tokens=4))[0] == expected
    assert derived.read_bytes() == whole


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 2), (3, 2), (4, 3), (9, 8), (64, 8)])
def test_threads_leave_the_editor_a_core_where_there_are_three(
    cores: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_backend, "_cores", lambda: cores)
    assert onnx_backend.default_threads() == threads


def test_more_threads_than_cores_are_not_started(
    tiny_model: Callable[[Precision], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_backend, "_cores", lambda: 2)
    opened = open_engine(tiny_model("int8"), cache=tmp_path, threads=1024)
    assert run(opened, Generation(PROMPT, max_tokens=2))[0]
    assert len(list(Path("/proc/self/task").glob("*"))) < 200  # Linux; elsewhere there is no such folder
    opened.close()


def test_without_a_writable_cache_the_engine_works_all_the_same(
    tiny_model: Callable[[Precision], Path], tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert run(open_engine(tiny_model("int8"), cache=blocked / "cache"), Generation(PROMPT, max_tokens=2))[0]


Told = list[tuple[int, Token | Finish]]


def together(engine: Engine, *asked: Generation) -> Told:
    """All of them at once: what came, in the order it came, with the place of the one it belongs to."""
    tasks = [engine.begin(generation, Cancel()) for generation in asked]
    found: Told = []
    while engine.busy:
        found += [(tasks.index(task), event) for task, event in engine.step()]
    return found


def of(found: Told, place: int) -> tuple[str, Finish]:
    *tokens, finish = [event for at, event in found if at == place]
    assert isinstance(finish, Finish)
    return "".join(token.text for token in tokens if isinstance(token, Token)), finish


def prompts(count: int) -> list[tuple[int, ...]]:
    """Of unequal length, with nothing in common."""
    random = np.random.default_rng(5)
    return [tuple(int(token) for token in random.integers(5, 260, 150 + 31 * at)) for at in range(count)]


@pytest.mark.parametrize("kept", [1, 256])
def test_many_at_once_say_what_each_says_alone(
    kept: int, tiny_model: Callable[[Precision], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "model_runtime.backends.onnx_backend._BOUND", kept
    )  # with one, what is bound is bound anew each time
    engine = open_engine(tiny_model("fp32"), cache=tmp_path)
    asked = [Generation(prompt, max_tokens=20, client=str(at)) for at, prompt in enumerate(prompts(6))]
    found = together(engine, *asked)
    for at, generation in enumerate(asked):
        tokens, finish = run(engine, generation)
        text, finished = of(found, at)
        assert text == "".join(token.text for token in tokens)
        assert (finished.reason, finished.usage.generated) == (finish.reason, finish.usage.generated)
        assert finished.usage.prefilled + finished.usage.reused == len(generation.prompt)


def test_reading_and_writing_take_turns(engine: Engine) -> None:
    short, long = (Generation(prompt, max_tokens=100, client=str(len(prompt))) for prompt in (PROMPT[:90], PROMPT * 2))
    writer = engine.begin(short, Cancel())
    while not any(isinstance(event, Token) for _, event in engine.step()):
        pass
    reader = engine.begin(long, Cancel())
    said = 0
    while reader.unread:
        said += sum(task is writer for task, _ in engine.step())
    assert said > 0, "the first went on while the second was read"
    while engine.busy:
        engine.step()


def test_by_hand_goes_first_and_a_prefetch_last(engine: Engine) -> None:
    prefetch, automatic, hand = prompts(3)
    found = together(
        engine,
        Generation(prefetch, max_tokens=0, priority="prefetch"),
        Generation(automatic, max_tokens=3, client="one"),
        Generation(hand, max_tokens=3, client="two", priority="hand"),
    )
    assert [at for at, event in found if isinstance(event, Finish)] == [2, 1, 0]
    assert of(found, 0)[1].usage.prefilled == len(prefetch)


def test_a_prefetch_gives_its_slot_to_who_waits_and_goes_on_later(
    tiny_model: Callable[[Precision], Path], tmp_path: Path
) -> None:
    engine = open_engine(tiny_model("fp32"), cache=tmp_path, kv_cache=2)
    *others, ahead = prompts(5)
    assert (slots := engine.free_slots) == 4
    prefetch = engine.begin(Generation(ahead, max_tokens=0, priority="prefetch"), Cancel())
    engine.step()
    assert engine.free_slots == slots - 1
    waiting = [engine.begin(Generation(prompt, max_tokens=30, client=str(prompt[0])), Cancel()) for prompt in others]
    finished = []
    while engine.busy:
        finished += [task for task, event in engine.step() if isinstance(event, Finish)]
    assert set(finished[:-1]) == set(waiting)
    assert finished[-1] is prefetch
    assert engine.free_slots == slots
    assert run(engine, Generation((*ahead, 9), max_tokens=1))[1].usage.prefilled == 1


def test_what_nobody_waits_for_is_not_written_beside_what_somebody_does(engine: Engine) -> None:
    ahead, asked = prompts(2)
    prefetch = Generation(ahead, max_tokens=6, priority="prefetch")
    found = together(engine, prefetch, Generation(asked, max_tokens=12, client="one"))
    assert [at for at, event in found if isinstance(event, Finish)] == [1, 0]
    texts = [at for at, event in found if isinstance(event, Token)]
    assert texts == sorted(texts, reverse=True)


def test_a_changed_context_is_read_beside_the_one_that_answers(engine: Engine) -> None:
    changed = (*PROMPT[:120], *prompts(1)[0][:80])
    run(engine, Generation(PROMPT, max_tokens=2))
    run(engine, Generation(changed, max_tokens=0, priority="prefetch"))
    assert run(engine, Generation((*PROMPT, 9), max_tokens=1))[1].usage.prefilled == 1
    assert run(engine, Generation((*changed, 9), max_tokens=1))[1].usage.prefilled == 1


def test_cancel_frees_every_slot_at_the_next_step(tiny_model: Callable[[Precision], Path], tmp_path: Path) -> None:
    engine = open_engine(tiny_model("int8"), cache=tmp_path, kv_cache=2)
    slots, cancels = engine.free_slots, [Cancel() for _ in range(6)]
    for cancel, prompt in zip(cancels, prompts(6), strict=True):
        engine.begin(Generation(prompt, max_tokens=64, client=str(prompt[0])), cancel)
    for _ in range(12):
        engine.step()
    assert engine.free_slots < slots
    for cancel in cancels:
        cancel.set()
    reasons = [event.reason for _, event in engine.step() if isinstance(event, Finish)]
    assert reasons == ["cancelled"] * 6
    assert engine.free_slots == slots
    assert not engine.busy


def test_who_would_come_too_late_behind_the_others_is_refused_at_once(engine: Engine) -> None:
    engine._scheduler.token = 0.01  # seconds: this one needs two by itself
    busy = [engine.begin(Generation((7, *prompt), max_tokens=99), Cancel()) for prompt in prompts(5)]
    with pytest.raises(Overloaded, match="5 requests go first"):
        engine.begin(Generation((8, *PROMPT), deadline=time.monotonic() + 4), Cancel())
    late = engine.begin(Generation((8, *PROMPT), deadline=time.monotonic() - 1), Cancel())
    assert any(task is late for task, event in engine.step() if isinstance(event, Finish))
    for task in busy:
        task.cancel.set()
    assert engine.begin(Generation((8, *PROMPT), deadline=time.monotonic() + 4), Cancel()), "they were given up"
    for task in engine._tasks[:]:
        engine.drop(task)


@pytest.mark.parametrize(("seconds", "chunk"), [(1e-5, 128), (1e-3, 32), (6e-4, 96), (1.0, 32)])
def test_a_slow_model_reads_in_short_runs(engine: Engine, seconds: float, chunk: int) -> None:
    engine._scheduler.token = seconds
    task = engine.begin(Generation(PROMPT, max_tokens=1), Cancel())
    engine.step()
    assert task.prefilled == chunk
    engine.drop(task)


def test_several_texts_of_one_prompt_differ_and_the_first_is_the_best(engine: Engine) -> None:
    alone, _ = run(engine, Generation(PROMPT, max_tokens=12))
    tokens, finish = run(engine, Generation(PROMPT, max_tokens=12, n=3))
    texts = ["".join(token.text for token in tokens if token.index == at) for at in range(3)]
    assert texts[0] == "".join(token.text for token in alone)
    assert len(set(texts)) == 3
    assert len(finish.others) == 2
    assert finish.usage.prefilled <= 1, "the prompt was read once"
    assert finish.usage.generated == sum(len(one.encode()) for one in texts) or "\ufffd" in "".join(texts)
    assert [token.index for token in tokens if token.index == 0] == [0] * len(alone)


def test_what_several_texts_have_in_common_is_read_only_once(engine: Engine) -> None:
    slots = engine.free_slots
    _, finish = run(engine, Generation(PROMPT[:20], max_tokens=6, n=2))
    assert finish.usage.prefilled == 20
    assert engine.free_slots == slots


def test_a_healed_prompt_goes_on_from_the_very_same_text(engine: Engine) -> None:
    # One token a byte: nothing is longer than what was typed, so healing has nothing to do.
    plain, before = run(engine, Generation(PROMPT, max_tokens=6))
    healed, after = run(engine, Generation(PROMPT, max_tokens=6, heal=True))
    assert healed == plain
    assert after.usage.prompt_tokens == before.usage.prompt_tokens


def test_what_was_typed_is_forced_and_neither_shown_nor_counted(engine: Engine) -> None:
    # With a token that reads on from "ab", both are taken back, and written again.
    typed = tuple(engine.tokenizer.encode("ab"))
    engine._spellings = Spellings([*engine.tokenizer.spelled[:-1], b"abc"])
    tokens, finish = run(engine, Generation((*PROMPT, *typed), max_tokens=6, heal=True, n=2))
    first = "".join(token.text for token in tokens if token.index == 0)
    assert finish.usage.prompt_tokens == len(PROMPT)
    assert finish.usage.generated in (11, 12), "six each, of which the second text has what it shares with the first"
    again, _ = run(engine, Generation((*PROMPT, *typed), max_tokens=6))
    assert first == "".join(token.text for token in again)

"""A sharded model in real processes that sum by torch: says what the whole one says, and survives its ranks."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from benchmarks import ranks as timing
from model_runtime import manifest
from model_runtime.backends.onnx_backend import OnnxBackend
from model_runtime.engine.engine import Engine
from model_runtime.engine.sampling import Logits
from model_runtime.engine.sequence import Cancel, Finish, Generation
from model_runtime.errors import RankError
from model_runtime.opening import open_engine
from model_runtime.sharding.tensor_parallel import Ranks
from tests.runtime.sharding.test_sharding import TOKENS, imported, sharded

pytestmark = [pytest.mark.parity, pytest.mark.timeout(300)]

NOTICED = 2.0  # seconds until a rank that is lost has been noticed, by the promise that is tested here
SETTLED = 30.0  # seconds at most for ranks to start, or to be gone
ASKED = Generation(tuple(TOKENS[:40]), max_tokens=24)


def opened(directory: Path, cache: Path) -> Ranks:
    return Ranks.open(directory, manifest.read(directory), cache=cache)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """A model of a family in 32 bits; sharded among so many ranks, or whole with one."""
    made: dict[str, Path] = {}

    def of(family: str, ranks: int = 1) -> Path:
        if family not in made:
            made[family] = imported(family, tmp_path_factory.mktemp(family), "fp32")
        target = made[family].with_name(f"model-{ranks}")
        return made[family] if ranks == 1 else target if target.is_dir() else sharded(made[family], ranks)

    return of


@pytest.fixture
def engine(model: Callable[[str, int], Path], tmp_path: Path) -> Iterator[Engine]:
    with contextlib.closing(open_engine(model("llama", 2), cache=tmp_path)) as found:
        yield found


def answers(network: Ranks | OnnxBackend) -> list[Logits]:
    """Prompts in chunks, one token, several checked at once, a copy that goes on, and three texts in one run."""
    cancel = Cancel()
    one, two, three, four = network.new_slots(4)
    network.prefill(one, TOKENS[:50], 0, cancel)
    found = [network.decode(one, TOKENS[50:60], 50, cancel), network.decode(one, TOKENS[60:61], 60, cancel)]
    found.extend(network.verify(one, TOKENS[61:69], 61, cancel).copy())  # the next run writes over them
    network.copy(one, three, 40)
    network.prefill(four, TOKENS[20:90], 0, cancel)
    found.extend(network.decode_batch([four, one, three], TOKENS[:3], [70, 69, 40], cancel))
    found.append(network.decode(three, TOKENS[5:30], 41, cancel))
    network.prefill(two, TOKENS, 0, cancel)
    found.append(network.decode(one, TOKENS[30:31], 30, cancel))  # back, and written over
    return found


def text(engine: Engine) -> str:
    *tokens, finish = engine.generate(ASKED, Cancel())
    assert isinstance(finish, Finish)
    return "".join(token.text for token in tokens if not isinstance(token, Finish))


def ranks_of(engine: Engine) -> Ranks:
    assert isinstance(engine._backend, Ranks)
    return engine._backend


def gone(pids: list[int]) -> bool:
    """Within the time for it; a process that nobody has taken note of yet is gone."""
    until = time.monotonic() + SETTLED
    while time.monotonic() < until:
        running = []
        for pid in pids:
            with contextlib.suppress(OSError):
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                running += [pid] if state != "Z" else []
        if not running:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("family", ["llama", "codegen", "bigcode"])
def test_processes_say_what_the_whole_network_says(
    family: str, ranks: int, model: Callable[[str, int], Path], tmp_path: Path
) -> None:
    whole = model(family, 1)
    backend = OnnxBackend.open(whole, manifest.read(whole), cache=tmp_path, threads=1)
    with contextlib.closing(opened(model(family, ranks), tmp_path)) as group:
        for found, expected in zip(answers(group), answers(backend), strict=True):
            assert np.abs(found - expected).max() <= 1e-3


@pytest.mark.gpu
def test_cards_say_about_what_the_whole_network_says(tmp_path: Path) -> None:
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("this ONNX Runtime does not know CUDA; install the extras gpu and shards where there are two cards")
    whole = imported("codegen", tmp_path, "fp16")
    backend = OnnxBackend.open(whole, manifest.read(whole), cache=tmp_path, threads=1)
    split = sharded(whole, 2, "cuda")
    with contextlib.closing(Ranks.open(split, manifest.read(split), cache=tmp_path, provider="cuda")) as group:
        for found, expected in zip(answers(group), answers(backend), strict=True):
            assert np.abs(found - expected).max() <= 0.02 * np.abs(expected).max()


def test_an_engine_over_ranks_writes_what_an_engine_over_one_network_writes(
    engine: Engine, model: Callable[[str, int], Path], tmp_path: Path
) -> None:
    with contextlib.closing(open_engine(model("llama", 1), cache=tmp_path)) as whole:
        assert text(engine) == text(whole) != ""


@pytest.mark.parametrize(
    ("sent", "said", "times"), [(signal.SIGKILL, r"died \(SIGKILL\)", 10), (signal.SIGSTOP, "hangs and was ended", 4)]
)
def test_a_rank_that_is_lost_is_noticed_and_the_next_request_answered(
    sent: signal.Signals, said: str, times: int, engine: Engine
) -> None:
    expected = text(engine)
    for turn in range(times):
        generation = engine.generate(ASKED, Cancel())
        next(generation)
        os.kill(ranks_of(engine).pids[turn % 2], sent)
        began = time.monotonic()
        with pytest.raises(RankError, match=rf"rank {turn % 2} of 2 {said}; what was asked .* ask again: the ranks"):
            list(generation)
        assert time.monotonic() - began < NOTICED
        assert text(engine) == expected


def test_what_the_ranks_had_read_is_read_again_when_it_is_built_upon(
    model: Callable[[str, int], Path], tmp_path: Path
) -> None:
    with contextlib.closing(opened(model("codegen", 2), tmp_path)) as group:
        one, two = group.new_slots(2)
        group.prefill(one, TOKENS[:60], 0, Cancel())
        expected = group.decode(one, TOKENS[60:], 60, Cancel())
        lost = group.pids
        os.kill(lost[1], signal.SIGKILL)
        assert gone(lost)
        group.copy(one, two, 60)
        assert np.array_equal(group.decode(two, TOKENS[60:], 60, Cancel()), expected)


def test_a_rank_that_dies_while_nothing_is_asked_costs_no_request(engine: Engine) -> None:
    expected = text(engine)
    group = ranks_of(engine)
    time.sleep(5.5)  # ranks that die at their very start wait for somebody to ask
    before = group.pids
    os.kill(before[1], signal.SIGKILL)
    assert gone(before)
    until = time.monotonic() + SETTLED
    while group._group is None or not group._group.pids or group._group.pids == before:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert text(engine) == expected


def test_ranks_are_watched_also_where_many_files_are_open(model: Callable[[str, int], Path], tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with contextlib.closing(open_engine(model("llama", 2), cache=tmp_path)) as engine:
            generation = engine.generate(ASKED, Cancel())
            next(generation)
            os.kill(ranks_of(engine).pids[1], signal.SIGSTOP)
            with pytest.raises(RankError, match="rank 1 of 2 hangs"):
                list(generation)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_ranks_end_with_whoever_started_them(model: Callable[[str, int], Path], tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from model_runtime import manifest\n"
        "from model_runtime.sharding.tensor_parallel import Ranks\n"
        "directory = Path(sys.argv[1])\n"
        "group = Ranks.open(directory, manifest.read(directory), cache=Path(sys.argv[2]))\n"
        "print(*group.pids, flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(model("llama", 2)), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pids = [int(word) for word in owner.stdout.readline().split()]
        owner.kill()
    assert len(pids) == 2
    assert gone(pids)


def test_ranks_can_be_timed_beside_one_process(tmp_path: Path) -> None:
    whole, split = timing.measured("nothing", "fp32", [2], 1, tmp_path)
    assert (whole.ranks, split.ranks) == (1, 2)
    assert min(whole.token_ms, split.token_ms, whole.chunk_ms, split.chunk_ms) > 0


def test_ranks_that_cannot_load_say_why(model: Callable[[str, int], Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in model("llama", 2).iterdir():
        (broken / path.name).symlink_to(path)
    (broken / "rank1.002.onnx").unlink()
    with pytest.raises(RankError, match=r"cannot load .*rank1\.002\.onnx.*restore the model directory"):
        opened(broken, tmp_path)

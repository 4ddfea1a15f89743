"""Generations in, Tokens and one Finish for each out: schedule, run, postprocess.

Many at once: prompts are read in chunks, one after the other, and all that is written is written in one run.
Knows token ids, the clock and the KV cache; nothing of editors, files or HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_runtime.engine import n_best
from model_runtime.engine.backend import Backend
from model_runtime.engine.cache import Cache, count
from model_runtime.engine.profile import Profile
from model_runtime.engine.sampling import Logits, Scores, scored
from model_runtime.engine.scheduler import Scheduler
from model_runtime.engine.sequence import Cancel, Finish, Generation, Sequence, Token
from model_runtime.engine.speculation import Chances, Drafter
from model_runtime.engine.task import Task, Text
from model_runtime.engine.token_healing import Spellings
from model_runtime.engine.work import Decode, Outcome, Prefill, Work, run
from model_runtime.errors import PromptError
from model_runtime.manifest import Manifest
from model_runtime.protocol import Reason
from model_runtime.tokenizer import Tokenizer

CHUNK, LEAST = 128, 32  # tokens read in one run: what a cancel may lose, and how often the clock is looked at
RUN = 0.06  # seconds that reading a chunk should take at most: less than there is between two keys

Event = Token | Finish


class Engine:
    """The model, ready to generate. Call it from one thread; `Cancel.set` from any."""

    def __init__(
        self,
        manifest: Manifest,
        tokenizer: Tokenizer,
        backend: Backend[Any],
        speed: Profile,
        kv_cache: int | None = None,
    ) -> None:
        self.manifest, self.tokenizer = manifest, tokenizer
        self._backend = backend
        self._cache: Cache[Any] = Cache(backend, count(kv_cache, backend.slot_bytes))
        self._end = frozenset(tokenizer.special(token) for token in manifest.fim.end)
        self._scheduler = Scheduler(token=1 / speed.prefill, step=speed.decode_ms / 1e3)
        self._chances, self._costs = Chances(), speed.costs()
        self._tasks: list[Task[Any]] = []

    @cached_property
    def _spellings(self) -> Spellings:
        return Spellings(self.tokenizer.spelled)

    @property
    def context_length(self) -> int:
        """Tokens that prompt and generation share."""
        return self._backend.context_length

    @property
    def busy(self) -> bool:
        """There is something to do."""
        return bool(self._tasks)

    @property
    def free_slots(self) -> int:
        """KV slots that no task uses."""
        return self._cache.free

    def reading(self, generation: Generation) -> float:
        """Seconds that it would take to read its prompt now, by what was measured."""
        prompt = generation.prompt
        return (len(prompt) - self._cache.held(prompt, generation.owner)) * (self._scheduler.token or 0.0)

    def begin(self, generation: Generation, cancel: Cancel) -> Task[Any]:
        """Takes a generation. Raises PromptError, and Overloaded when it would come too late behind the others."""
        self._check(generation.prompt, generation.max_tokens)
        prompt, forced = self._spellings.healed(generation.prompt) if generation.heal else (generation.prompt, b"")
        unread = len(prompt) - self._cache.held(prompt, generation.owner)
        self._scheduler.check(generation, unread, [task for task in self._tasks if not task.cancel.is_set])
        turn = self._scheduler.enter(generation, unread)
        task: Task[Any] = Task(generation, unread, *turn, cancel, prompt, forced)
        self._tasks.append(task)
        return task

    def step(self) -> list[tuple[Task[Any], Event]]:
        """Schedules, runs the network at most once, and turns its logits into events: tokens, and ends of tasks.

        Raises ModelError, and then has dropped every task.
        """
        try:
            ended, work = self._schedule()
            outcome = run(self._backend, work)
            return [*ended, *self._postprocess(work, outcome)]
        except BaseException:
            for task in self._tasks[:]:
                self.drop(task)
            raise

    def drop(self, task: Task[Any]) -> None:
        """Forgets a task, finished or not; its slots are free."""
        if task in self._tasks:
            self._tasks.remove(task)
            for slot in task.slots:
                self._cache.release(slot)

    def generate(self, generation: Generation, cancel: Cancel) -> Iterator[Event]:
        """Tokens as they come, then exactly one Finish, for a caller who has the engine to itself.

        Raises PromptError before the first, ModelError at any.
        """
        task = self.begin(generation, cancel)
        try:
            while task in self._tasks:
                for _, event in self.step():
                    yield event
        finally:
            self.drop(task)

    def score(self, prompt: tuple[int, ...], middle: tuple[int, ...]) -> Iterator[Scores]:
        """The model's own log-probabilities before each token of a middle that is known.

        Raises PromptError when the two do not fit.
        """
        self._check(prompt, len(middle))
        for _ in self.generate(Generation(prompt, max_tokens=0), Cancel()):
            pass
        found = self._cache.acquire(prompt)
        assert found is not None, "the caller has the engine to itself"
        slot, start = found
        try:
            following = prompt[start:]
            for token in middle:
                logits = self._backend.decode(slot.kv, following, len(slot.tokens), Cancel())
                slot.tokens.extend(following)
                yield scored(logits)
                following = (token,)
        finally:
            self._cache.release(slot)

    def close(self) -> None:
        """Gives memory and threads back."""
        self._backend.close()

    def _check(self, prompt: tuple[int, ...], room: int) -> None:
        if not prompt or len(prompt) + room > self.context_length:
            raise PromptError(
                f"{len(prompt)} prompt tokens and {room} new ones do not fit into {self.context_length}; "
                f"send a prompt of 1 to {self.context_length - room} tokens"
            )
        if min(prompt) < 0 or max(prompt) >= self._backend.vocab_size:
            raise PromptError(f"the prompt holds ids outside 0 … {self._backend.vocab_size - 1}")

    def _schedule(self) -> tuple[list[tuple[Task[Any], Event]], Work]:
        """The ends of tasks that were cancelled or whose time is over, and the network's next work."""
        ended = [event for task in self._tasks[:] for event in self._interrupted(task)]
        writing = [task for task in self._tasks if task.texts]
        reader = self._scheduler.next(self._readers(), writing)
        if reader is not None:
            return ended, self._next_chunk(reader, contended=bool(writing))
        if not writing:
            return ended, None
        awaited = [task for task in writing if not task.is_prefetch]
        texts = [(task, text) for task in awaited or writing for text in task.growing]
        return ended, Decode(texts, self._draft(*texts[0]) if len(texts) == 1 else [])

    def _postprocess(self, work: Work, outcome: Outcome) -> Iterator[tuple[Task[Any], Event]]:
        """The tokens and ends that follow from a run."""
        if work is None:
            return
        if outcome.is_cancelled:
            yield from self._finish(work.task if isinstance(work, Prefill) else work.texts[0][0], "cancelled")
        elif isinstance(work, Prefill):
            yield from self._after_prefill(work, outcome)
        else:
            yield from self._after_decode(work, outcome)

    def _interrupted(self, task: Task[Any]) -> Iterator[tuple[Task[Any], Event]]:
        """The end of a task that nobody wants any more, or whose time is over."""
        deadline = task.generation.deadline
        if task.cancel.is_set:
            yield from self._finish(task, "cancelled")
        elif deadline is not None and time.monotonic() >= deadline:
            yield from self._finish(task, "deadline")

    def _readers(self) -> list[Task[Any]]:
        """The tasks that read their prompt, or may begin to; a prefetch leaves the last slot to the others."""
        reading = [task for task in self._tasks if not task.texts]
        if not self._cache.free and any(task.slot is None and not task.is_prefetch for task in reading):
            for task in reading:
                if task.is_prefetch and task.slot is not None:
                    self._cache.release(task.slot)
                    task.slot = None
        free = self._cache.free
        return [task for task in reading if task.slot is not None or free > task.is_prefetch]

    def _next_chunk(self, task: Task[Any], *, contended: bool) -> Prefill:
        """A chunk of the prompt, or all that is left where that is little.

        The last token of a long prompt is left to the first run that writes, so that what follows a long
        prefill comes from the very kernels that what follows a short one does.
        """
        prompt = task.prompt
        if task.slot is None:
            task.earlier = self._cache.said(prompt, task.generation.owner)
            found = self._cache.acquire(prompt, task.generation.owner, keep=task.is_prefetch)
            assert found is not None, "a reader has a slot or finds one"
            task.place(*found, few=self._backend.few)
        assert task.slot is not None
        start = len(task.slot.tokens)
        stop = min(start + self._chunk(), len(prompt) - 1) if task.many else len(prompt)
        return Prefill(task, start, stop if start < len(prompt) - 1 else start, contended)

    def _after_prefill(self, work: Prefill, outcome: Outcome) -> Iterator[tuple[Task[Any], Event]]:
        """The slot holds a chunk more of the prompt; behind its last the first text begins."""
        task, prompt, count = work.task, work.task.prompt, work.stop - work.start
        assert task.slot is not None
        if count:
            task.slot.tokens.extend(prompt[work.start : work.stop])
            task.charge_prefill(count, outcome.seconds)
            self._scheduler.read(count, outcome.seconds, contended=work.contended)
        task.unread = len(prompt) - len(task.slot.tokens)
        if task.unread <= 1:
            task.unread = 0
            drafter = Drafter(self._chances, self._costs, prompt, task.generation.ngrams, task.earlier)
            drafter.open(self._allowed(task.forced), task.generation.prompt[len(prompt) :])
            task.texts.append(text := Text(0, self._sequence(task), task.slot, prompt[-1], drafter))
            if outcome.logits is not None:
                yield from self._accept_logits(task, text, outcome.logits)

    def _chunk(self) -> int:
        """Tokens to be read in one run: as many as the model reads before the next key, else no key would find more."""
        token = self._scheduler.token or 0.0
        return CHUNK if token * CHUNK <= RUN else max(LEAST, int(RUN / token) // LEAST * LEAST)

    def _after_decode(self, work: Decode, outcome: Outcome) -> Iterator[tuple[Task[Any], Event]]:
        """Each text gets its token; a single text several where drafts of them stand."""
        assert outcome.logits is not None
        self._scheduler.wrote(outcome.seconds)
        for at, row in enumerate(outcome.logits):
            task, text = work.texts[0 if work.draft else at]
            text.slot.tokens.append(text.following)
            if len(text.slot.tokens) == len(task.prompt):
                task.charge_prefill(1, outcome.seconds)
            elif not (work.draft and at) and text.index == task.growing[0].index:  # texts of one task share the run
                task.decode += outcome.seconds
            yield from self._accept_logits(task, text, row)
            if work.draft and (text.sequence.reason is not None or [text.following] != work.draft[at : at + 1]):
                return

    def _draft(self, task: Task[Any], text: Text[Any]) -> list[int]:
        """What may follow the text's last token and is worth checking in the same run."""
        if text.drafter is None:
            return []
        wanted = task.generation.max_tokens - text.sequence.generated
        room = min(wanted, self.context_length - len(text.slot.tokens)) - 1
        return text.sequence.within(text.drafter.draft(max(0, room)))

    def _accept_logits(self, task: Task[Any], text: Text[Any], logits: Logits) -> Iterator[tuple[Task[Any], Event]]:
        """What the network said goes into the text; perhaps that or the whole task ends with it."""
        for token in task.accept_logits(
            text, logits, self.manifest.mixture_weights, self._allowed(text.sequence.forced)
        ):
            yield task, token
        if text.sequence.reason is not None and text.index == 0:
            yield from self._fork(task, text)
        if not task.growing:
            yield from self._finish(task, "end")

    def _allowed(self, forced: bytes) -> NDArray[np.int64] | None:
        """The tokens that a text may go on with that has yet to spell this; None where it may with any."""
        return self._spellings.fitting(forced) if forced else None

    def _fork(self, task: Task[Any], first: Text[Any]) -> Iterator[tuple[Task[Any], Event]]:
        """Begins the further texts, as many as differ and find a slot."""
        said = [*first.slot.tokens[len(task.prompt) :], first.following]
        for fork in n_best.distinct(task.forks, said, self.tokenizer.token_bytes, task.generation.n - 1):
            slot = self._cache.fork(first.slot, len(task.prompt) + fork.at)
            if slot is None:
                return
            task.texts.append(text := Text(len(task.texts), self._sequence(task), slot, fork.token))
            for token in task.repeat(text, said, fork):
                yield task, token

    def _finish(self, task: Task[Any], reason: Reason) -> Iterator[tuple[Task[Any], Event]]:
        """Ends what is not complete for this reason; the slots are free."""
        for token in task.end(reason):
            yield task, token
        self.drop(task)
        reasons = [text.sequence.reason or reason for text in task.texts] or [reason]
        yield task, Finish(reasons[0], task.usage(), tuple(reasons[1:]))

    def _sequence(self, task: Task[Any]) -> Sequence:
        return Sequence(task.generation, self.tokenizer, self._end, task.forced)

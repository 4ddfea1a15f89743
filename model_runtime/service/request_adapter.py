"""An InfillRequest in, the engine's Generation out; the engine's events in, the service's out.

Ignores how either travels and who waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from model_runtime.engine.ngrams import NGrams
from model_runtime.engine.sequence import Finish, Generation, Token
from model_runtime.errors import PromptError
from model_runtime.manifest import Manifest
from model_runtime.owner import LOCAL, Owner
from model_runtime.prompt import stops
from model_runtime.protocol import Chunk, Done, InfillRequest, Usage, prompt
from model_runtime.tokenizer import Tokenizer

READ = 0.4  # share of a request's time that may go to reading its prompt: the editor waits for half of that time
PARTS = (
    1,
    2,
    4,
)  # a prompt that takes too long to read is laid out within this part of the room, and cut by its shares
AHEAD = 2.0  # seconds of reading in one pause


@dataclass(frozen=True)
class AdaptedRequest:
    """What the engine is to do. before: what the request has cost so far.

    later: the whole prompt, to be read in a pause where there was only time for a part of it; then the next key has it.
    """

    generation: Generation
    before: Usage
    later: Generation | None = None


def adapt(
    request: InfillRequest,
    tokenizer: Tokenizer,
    manifest: Manifest,
    arrived: float,
    ngrams: NGrams | None = None,
    reading: Callable[[Generation], float] = lambda generation: 0.0,
    *,
    owner: Owner = LOCAL,
    starved: bool = False,
) -> AdaptedRequest:
    """What a request asks for. arrived: when, of time.monotonic(); reading: the seconds that reading its prompt takes;
    starved: as in `sequence.Generation`.

    Raises PromptError when the request cannot be laid out.
    """
    began = time.monotonic()
    generation = Generation(
        prompt=prompt(request, tokenizer, manifest).tokens,
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed,
        max_lines=request.max_lines,
        open_lines=request.open_lines,
        stop=(*request.stop, *stops(request.suffix, manifest.fim)),
        floor=request.floor,
        deadline=None if request.deadline_ms is None else arrived + request.deadline_ms / 1000,
        ngrams=ngrams,
        n=request.n,
        client=request.client,
        owner=owner,
        starved=starved,
        priority=request.priority if request.max_tokens else "prefetch",
        heal=request.max_tokens > 0,
    )
    later: Generation | None = None
    if generation.max_tokens and generation.deadline is not None:
        part = _affordable(request, tokenizer, manifest, generation, READ * (generation.deadline - began), reading)
        if part is not generation:
            later = Generation(generation.prompt, max_tokens=0, client=request.client, owner=owner, priority="prefetch")
            generation = part
    usage = Usage(queue_ms=(began - arrived) * 1000, layout_ms=(time.monotonic() - began) * 1000)
    return AdaptedRequest(generation, usage, later)


def _affordable(
    request: InfillRequest,
    tokenizer: Tokenizer,
    manifest: Manifest,
    whole: Generation,
    seconds: float,
    reading: Callable[[Generation], float],
) -> Generation:
    """With the longest layout that can be read in that time; with the quickest to be read where none can."""
    found: list[tuple[float, Generation]] = []
    for part in PARTS:
        try:
            one = whole if part == 1 else replace(whole, prompt=prompt(request, tokenizer, manifest, part).tokens)
        except PromptError:  # too short to hold anything
            break
        found.append((reading(one), one))
        if found[-1][0] <= seconds:
            return one
    return min(found, key=lambda one: one[0])[1]


def reply(event: Token | Finish, before: Usage) -> Chunk | Done:
    """What the engine said, as the service says it. before: what the request had cost before the engine got it."""
    if isinstance(event, Token):
        return Chunk(event.text, event.logprob, event.index)
    queued = before.queue_ms + event.usage.queue_ms
    usage = msgspec.structs.replace(event.usage, queue_ms=queued, layout_ms=before.layout_ms)
    return Done(event.reason, usage, event.others)

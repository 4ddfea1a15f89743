"""An InfillRequest in, the engine's Generation out; the engine's events in, the service's out.

Ignores how either travels and who waits for it.
"""

from __future__ import annotations

import time

from model_runtime.manifest import Manifest
from model_runtime.ngrams import NGrams
from model_runtime.prompt import stops
from model_runtime.protocol import Chunk, Done, InfillRequest, Usage, prompt
from model_runtime.sequence import Finish, Generation, Token
from model_runtime.tokenizer import Tokenizer


def asked(
    request: InfillRequest, tokenizer: Tokenizer, manifest: Manifest, arrived: float, memory: NGrams | None = None
) -> tuple[Generation, Usage]:
    """The generation that a request asks for, and what it has cost so far. arrived: when, of time.monotonic().

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
        stop=(*request.stop, *stops(request.suffix, manifest.fim)),
        deadline=None if request.deadline_ms is None else arrived + request.deadline_ms / 1000,
        memory=memory,
        n=request.n,
        client=request.client,
        priority=request.priority if request.max_tokens else "prefetch",
        heal=request.max_tokens > 0,
    )
    return generation, Usage(queue_ms=(began - arrived) * 1000, layout_ms=(time.monotonic() - began) * 1000)


def told(event: Token | Finish, before: Usage) -> Chunk | Done:
    """What the engine said, as the service says it. before: what the request had cost before the engine got it."""
    if isinstance(event, Token):
        return Chunk(event.text, event.logprob, event.index)
    used = event.usage
    usage = Usage(
        prompt_tokens=used.prompt_tokens,
        prefilled=used.prefilled,
        reused=used.reused,
        generated=used.generated,
        queue_ms=before.queue_ms + used.queue_ms,
        layout_ms=before.layout_ms,
        prefill_ms=used.prefill_ms,
        decode_ms=used.decode_ms,
        model_ms=used.model_ms,
    )
    return Done(event.reason, usage, event.others)

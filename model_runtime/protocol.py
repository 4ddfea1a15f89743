"""What service and client say to each other, as values. Ignores how they travel and who computes.

    GET  /health            → Health
    POST /infill   Infill…  → one JSON line a Chunk, and a last line that is a Done or an {"error": Problem}
    POST /memory   Lesson   → Learnt; what a workspace's code looks like, for the infills that name it
    POST /count    Texts    → Counts; on the user's own socket alone
    POST /drain             → Health; what runs is finished, then the service ends
    GET  /metrics           → Prometheus text

An answer that is not 200 is {"error": Problem}. A change that an older end would
misread raises PROTOCOL; each protocol number has a socket of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from model_runtime.errors import PromptError
from model_runtime.manifest import Manifest
from model_runtime.prompt import STEP, Encoder, Infill, Prompt, Snippet, lay_out

PROTOCOL = 1
BODY_LIMIT = 4 << 20  # bytes of one request; windows are a few kilobytes
RESERVE = 128  # tokens always left for the middle, so that a prefill and the request after it are cut alike
_CHARACTERS = 32  # a token, more than a text has: what is beyond cannot fit, and is not even encoded

Reason = Literal["end", "stop", "length", "deadline", "cancelled"]
Priority = Literal["hand", "automatic", "prefetch"]  # who goes first: asked for by hand, by a key, by nobody yet
State = Literal["loading", "ready", "draining"]
Fault = Literal["overloaded", "bad_request", "too_large", "draining", "model", "internal", "denied"]


class InfillRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A gap to fill; see `prompt.Infill` for path, prefix, suffix, typed and context.

    client: opaque; a newer request of the same client supersedes the older one. Empty: never superseded.
    max_tokens: 0 only prefills, which is a prefetch. max_lines, open_lines, stop, floor: as in
    `sequence.Generation`.
    workspace: whose memory sharpens the model, see Lesson; empty for none.
    priority: who goes first; a prefetch neither supersedes nor delays what somebody waits for, and on battery there is
    none: it ends as cancelled.
    n: texts wanted, up to so many that differ; a Chunk's index says which one it belongs to.
    deadline_ms: counted from the request's arrival at the service; None waits as long as it takes.
    """

    client: str
    path: str
    prefix: str
    suffix: str
    typed: str = ""
    context: tuple[Snippet, ...] = ()
    max_tokens: Annotated[int, msgspec.Meta(ge=0, le=4096)] = 64
    max_lines: Annotated[int, msgspec.Meta(ge=1)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=2.0)] = 0.0
    top_p: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 1.0
    seed: Annotated[int, msgspec.Meta(ge=0)] | None = None
    stop: tuple[str, ...] = ()
    deadline_ms: Annotated[float, msgspec.Meta(ge=0.0)] | None = None
    workspace: str = ""
    priority: Priority = "automatic"
    n: Annotated[int, msgspec.Meta(ge=1, le=3)] = 1
    floor: Annotated[int, msgspec.Meta(ge=0)] | None = None
    open_lines: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Lesson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Texts of a workspace, masked, by opaque name; an empty text forgets. more: another lesson follows at once."""

    workspace: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    texts: dict[str, str]
    more: bool = False


class Learnt(msgspec.Struct, frozen=True):
    """How many tokens of the workspace are known now."""

    tokens: int


class Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts that might go into a prompt."""

    texts: tuple[str, ...]


class Counts(msgspec.Struct, frozen=True):
    """How many of the model's tokens each of them has."""

    tokens: tuple[int, ...]


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """One token: its text, empty inside a character, and its natural log-probability.

    index: of the text that goes on with it, 0 unless several were asked for. The second and the third begin when the
    first has ended, and what they have in common with it comes as one Chunk.
    """

    text: str
    logprob: float
    index: int = 0


class Usage(msgspec.Struct, frozen=True):
    """Counts in tokens, times in milliseconds. model_ms: inside the network, in prefill and decode together.

    prompt_tokens = reused (found in the KV cache) + prefilled (computed now), unless cut short.
    """

    prompt_tokens: int = 0
    prefilled: int = 0
    reused: int = 0
    generated: int = 0
    queue_ms: float = 0.0
    layout_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0
    model_ms: float = 0.0


class Done(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last of a stream: why it ended and what it cost. others: why the second and the third text did."""

    finish: Reason
    usage: Usage = Usage()
    others: tuple[Reason, ...] = ()


class Problem(msgspec.Struct, frozen=True):
    """Why there is no answer; `message` says what to do."""

    type: Fault
    message: str


class Answer(msgspec.Struct, frozen=True):
    """The body of every answer that is a no."""

    error: Problem


class Health(msgspec.Struct, frozen=True):
    """Who answers. build: see `lacuna.build`; requests: infills taken so far."""

    protocol: int
    build: str
    model: str
    pid: int
    state: State
    requests: int


def prompt(request: InfillRequest, encoder: Encoder, manifest: Manifest, part: int = 1) -> Prompt:
    """The request's token ids, with room left for the middle; at most one `part`th of them all. Raises PromptError."""
    held = manifest.shape.context_length
    limit = held - max(request.max_tokens, RESERVE)
    if request.max_tokens > RESERVE and limit < 2 * STEP:
        raise PromptError(
            f"max_tokens is {request.max_tokens}, but the model holds {held} tokens, prompt and answer together; "
            f"ask for at most {max(RESERVE, held - 2 * STEP)}"
        )
    most = limit * _CHARACTERS
    infill = Infill(
        path=request.path[:most],
        prefix=_end(request.prefix, most),
        suffix=request.suffix[:most],
        typed=_end(request.typed, most),
        context=_last_within(request.context, most),
    )
    return lay_out(infill, encoder, manifest.fim, limit // part)


def _end(text: str, most: int) -> str:
    """At most so much of the end of a text, cut in steps as `lay_out` cuts, so that one more key moves no cut."""
    step = most // 2
    return text[-(-max(0, len(text) - most) // step) * step :]


def _last_within(context: Sequence[Snippet], most: int) -> tuple[Snippet, ...]:
    kept: list[Snippet] = []
    for snippet in reversed(context):
        most -= len(snippet.path) + len(snippet.text)
        if most < 0:
            break
        kept.append(snippet)
    return tuple(reversed(kept))


def leaves_open(text: str) -> bool:
    """Whether the last line of a text opens a block or a bracket that it does not close, by its look."""
    line = text.rpartition("\n")[2].rstrip()
    return line.endswith((":", "{")) or sum(map(line.count, "([{")) > sum(map(line.count, ")]}"))

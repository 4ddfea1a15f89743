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

from typing import Annotated, Literal

import msgspec

from model_runtime.manifest import Manifest
from model_runtime.prompt import Encoder, Infill, Prompt, Snippet, lay_out

PROTOCOL = 1
BODY_LIMIT = 4 << 20  # bytes of one request; windows are a few kilobytes
RESERVE = 128  # tokens always left for the middle, so that a prefill and the request after it are cut alike

Reason = Literal["end", "stop", "length", "deadline", "cancelled"]
Priority = Literal["hand", "automatic", "prefetch"]
State = Literal["loading", "ready", "draining"]
Fault = Literal["overloaded", "bad_request", "draining", "model", "internal", "denied"]


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
    """Counts in tokens, times in milliseconds. model_ms: inside the network, part of prefill and decode."""

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
    infill = Infill(
        path=request.path,
        prefix=request.prefix,
        suffix=request.suffix,
        typed=request.typed,
        context=request.context,
    )
    limit = manifest.shape.context_length - max(request.max_tokens, RESERVE)
    return lay_out(infill, encoder, manifest.fim, limit // part)


def leaves_open(text: str) -> bool:
    """Whether the last line of a text opens a block or a bracket that it does not close, by its look."""
    line = text.rpartition("\n")[2].rstrip()
    return line.endswith((":", "{")) or sum(map(line.count, "([{")) > sum(map(line.count, ")]}"))

"""What the model wrote so far and the Frame it is for in, the text to show out, or why there is none.

Cuts it to what is wanted there (`extent`) and makes it fit (`mending`); and what is left of it while it is typed. Pure.
Knows nothing of time or tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from lsp_server.editor import brackets
from lsp_server.editor.window import Frame
from lsp_server.shaping import postprocess, style, truncation
from lsp_server.shaping.truncation import Plan


@dataclass(frozen=True)
class Suggestion:
    """Text to insert at the cursor, \\n between its lines. whole: more tokens would not make it better.

    replaces: how many characters right of the cursor go away for it.
    """

    text: str
    whole: bool
    replaces: int = 0


@dataclass(frozen=True)
class Nothing:
    """Nothing to show. whole: more tokens would not change that; reason is for people."""

    reason: str
    whole: bool


@lru_cache(maxsize=8)  # a text is looked at when a line of it ends, and again when it is to be shown
def shape(raw: str, finish: str | None, frame: Frame, wanted: Plan) -> Suggestion | Nothing:
    """What to show of `raw`, the middle so far.

    finish: why it ended, as `protocol.Reason` has it; None while it goes on.
    """
    raw, marked = postprocess.unmarked(raw)
    if marked:
        finish = "end"
    raw = postprocess.joined(raw, frame)
    is_beside = bool(frame.right.strip()) and not truncation.is_braced(frame)
    found = _line(raw, finish, frame) if wanted.floor is None or is_beside else _block(raw, finish, frame, wanted)
    if not found.text.strip():
        complete = raw.startswith("\n") or (not raw and finish in ("end", "stop"))
        return Nothing("the line is complete" if complete else "nothing to add", found.whole)
    return found


def rest(text: str, right: str, replaces: int, frame: Frame) -> Suggestion | None:
    """What is left of a suggestion at the frame's cursor; None when what stands right of it is not as it was.

    right: what stood there when it was shown, of which it replaced so many characters. Meanwhile the editor may have
    added closers there, or the user gone past some; or it has put one below on Enter.
    """
    return _beside(postprocess.without_closers_below(text, frame), right, replaces, frame)


def _beside(text: str, right: str, replaces: int, frame: Frame) -> Suggestion | None:
    """The same, as far as it is about what stands right of the cursor."""
    if frame.right == right:
        return Suggestion(text, True, replaces)
    if right.endswith(frame.right) and len(right) - len(frame.right) <= replaces:
        return Suggestion(text, True, replaces - len(right) + len(frame.right))
    added = frame.right[: len(frame.right) - len(right)]
    if not frame.right.endswith(right) or not added or added.strip(postprocess.CLOSERS):
        return None
    inner = postprocess.before_closer(text, replace(frame, right=added))
    behind = text[len(inner) + len(added) :] if text.startswith(added, len(inner)) else _behind(text, added)
    if behind.strip():  # it has them too
        return Suggestion(text, True, replaces + len(added))
    if text != inner and (quoted := _up_to_quote(text, added, frame)) is not None:
        return Suggestion(quoted, True)
    if "\n" in text or inner == text:
        return Suggestion(inner, True)
    found = _fitted(text, replace(frame, right=added, inserted=added), ended=True)
    return replace(found, replaces=found.replaces + replaces) if found.replaces == len(added) else found


def _up_to_quote(text: str, closers: str, frame: Frame) -> str | None:
    """The text without the closers at its end, a quote first, where that quote ends another string than the frame's."""
    for count in range(len(closers), 0, -1):
        kept = text[: len(text) - count]
        if text.endswith(closers[:count]) and brackets.open_quote(frame.left + kept) == closers[0] in brackets.QUOTES:
            return kept
    return None


def _behind(text: str, closers: str) -> str:
    """What comes behind these closers in a text that has them, one after the other; empty where it has not."""
    for closer in closers:
        at = text.find(closer) if closer in brackets.QUOTES else brackets.first_closer(text)
        if at is None or text[at : at + 1] != closer:
            return ""
        text = text[at + 1 :]
    return text


def _line(raw: str, finish: str | None, frame: Frame) -> Suggestion:
    """The rest of the cursor's line."""
    text, ended = truncation.line(raw, finish, frame)
    if ended and text.rstrip()[-1:] in ("(", "[", "{", ","):  # what follows on the next lines is not wanted here
        text = brackets.balanced(text, brackets.open_quote(frame.left)).rstrip()
    fitted = _fitted(postprocess.without_last_comma(postprocess.unstuck(text), frame), frame, ended=ended)
    if ended:
        fitted = replace(fitted, text=postprocess.docstring_ended(fitted.text, frame))
    closers = frame.right[fitted.replaces :]
    if not closers.strip(postprocess.CLOSERS) and (
        postprocess.repeats_neighbour(fitted.text + closers, frame) or postprocess.closes_too_deep(fitted.text, frame)
    ):
        fitted = Suggestion("", whole=True)
    return Suggestion(fitted.text, ended or finish is not None, fitted.replaces)


def _block(raw: str, finish: str | None, frame: Frame, wanted: Plan) -> Suggestion:
    """Whole lines up to the end of the block."""
    lines, stopped = truncation.block(raw, finish, frame, wanted)
    kept = postprocess.without_lines_below(postprocess.unrepeated(lines, frame), frame)
    whole = stopped or len(kept) < len(lines) or finish is not None
    kept = [postprocess.unstuck(line) for line in kept]
    if kept:
        kept[-1] = postprocess.without_last_comma(kept[-1], frame)
        kept = _sound_ends(kept, frame, whole=whole)
    if len(kept) == 1:
        return Suggestion(_fitted(kept[0], frame, ended=stopped).text, whole)
    if not kept:
        return Suggestion("", whole)
    kept = [line.rstrip() for line in style.indented(kept, frame)]
    return Suggestion("\n".join(postprocess.braced(kept, frame)), whole)


def _sound_ends(lines: list[str], frame: Frame, *, whole: bool) -> list[str]:
    """The lines up to one with a closer that closes nothing; a text in quotes that is left open is closed, or goes."""
    text = "\n".join(lines)
    closable = postprocess.closable(text, frame)
    if closable != text and len(lines) > 1:  # one line will be fitted to what stands right of it
        lines = closable.split("\n")[:-1] or [closable]
    return postprocess.unquoted(lines, frame.language, whole=whole)


def _fitted(text: str, frame: Frame, *, ended: bool) -> Suggestion:
    """One line's text as it fits left of what stands right of the cursor."""
    cut = postprocess.before_closer(text, frame)
    if cut == text:
        fitted = postprocess.closable(postprocess.without_overlap(text, frame.right), frame)
        return Suggestion(postprocess.spaced(fitted, frame), ended)
    met = postprocess.closers_behind(text, cut, frame) if ended else ""
    if met:
        left, right = frame.left + cut + met, frame.right[len(met) :]
        there = replace(frame, typed=frame.typed + cut + met, left=left, right=right, inserted=right)
        behind = _fitted(text[len(cut + met) :], there, ended=ended)
        if behind.text.strip():
            return Suggestion(cut + met + behind.text, ended, len(met) + behind.replaces)
    if frame.right.startswith(text[len(cut)]):
        return Suggestion(cut, ended)  # with the space that it has before its own closer
    return Suggestion(postprocess.spaced(cut, frame), ended)

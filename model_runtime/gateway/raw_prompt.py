"""A prompt that a client has laid out for some model in, the gap that is meant out.

Editors that speak OpenAI's protocol write a model family's markers into the prompt themselves. Taken apart, the gap
can be laid out as our model learnt it. Ignores what the texts say.
"""

from __future__ import annotations

from dataclasses import dataclass

from model_runtime.manifest import Fim


@dataclass(frozen=True)
class RawInfill:
    """What stands before the gap and what after it."""

    prefix: str
    suffix: str = ""


@dataclass(frozen=True)
class _Markers:
    """What opens a prompt, stands between its two texts, and closes it. suffix_first: which text comes first."""

    begin: str
    between: str
    end: str = ""
    suffix_first: bool = False


# As the families' own model cards and papers have them.
_FAMILIES = (
    _Markers("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen, CodeGemma
    _Markers("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder
    _Markers("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    _Markers("<PRE> ", " <SUF>", " <MID>"),  # CodeLlama
    _Markers("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek
    _Markers("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),  # GLM
    _Markers("[SUFFIX]", "[PREFIX]", suffix_first=True),  # Codestral
)


def raw_infill(prompt: str, fim: Fim) -> RawInfill:
    """The gap of a raw prompt; one in no known markup is all prefix. fim: how the model at hand marks gaps."""
    for markers in (*_own(fim), *_FAMILIES):
        if not prompt.startswith(markers.begin) or not prompt.endswith(markers.end):
            continue
        inner = prompt[len(markers.begin) : len(prompt) - len(markers.end)]
        first, between, second = inner.partition(markers.between)
        if between:
            return RawInfill(second, first) if markers.suffix_first else RawInfill(first, second)
    return RawInfill(prompt)


def _own(fim: Fim) -> tuple[_Markers, ...]:
    if fim.prefix is None or fim.suffix is None:
        return ()
    if fim.layout == "spm":
        return (_Markers(fim.suffix, fim.prefix, suffix_first=True),)
    if fim.layout == "psm" and fim.middle is not None:
        return (_Markers(fim.prefix, fim.suffix, fim.middle),)
    return ()

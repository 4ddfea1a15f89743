"""How fast each pair of a head turns with the position: from a configuration, scaled as it says.

Sources: Su et al. 2021 (rotary embedding); "linear", Chen et al. 2023; "dynamic" and "yarn",
Peng et al. 2023 (YaRN); "llama3", the Llama 3.1 release.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_runtime.importer.hf_config import Configuration

Frequencies = NDArray[np.float64]


@dataclass(frozen=True)
class Rope:
    """theta: the base; frequencies: radians a position for each pair, None where theta says it all;
    magnitude: what cos and sin are multiplied by; limit: the most positions it is good for, None if any number."""

    theta: float
    frequencies: tuple[float, ...] | None = None
    magnitude: float = 1.0
    limit: int | None = None


def rope(config: Configuration, size: int) -> Rope:
    """size: how much of a head is turned. Raises CheckpointError for a kind of scaling that is not known."""
    scaling = config.inner("rope_parameters" if "rope_parameters" in config else "rope_scaling")
    theta = scaling.number("rope_theta", default=config.number("rope_theta", default=10_000.0))
    kind = scaling.text("rope_type", "type", default="default")
    plain = theta ** (-np.arange(0, size, 2, dtype=np.float64) / size)
    if kind == "default":
        return Rope(theta)
    if kind == "dynamic":  # as long as no prompt is longer than those of the training, nothing is scaled
        return Rope(theta, limit=config.integer("max_position_embeddings"))
    if kind == "linear":
        return Rope(theta, tuple((plain / scaling.number("factor")).tolist()))
    if kind == "llama3":
        return Rope(theta, tuple(_llama3(scaling, plain).tolist()))
    if kind == "factors":  # a GGUF's: what each pair is slowed down by
        return Rope(theta, tuple((plain / _factors(scaling, len(plain))).tolist()))
    if kind == "yarn":
        length = config.integer("max_position_embeddings")
        return Rope(theta, tuple(_yarn(scaling, plain, theta, length).tolist()), _yarn_magnitude(scaling))
    raise config.wrong(f"rotary embedding is scaled by {kind!r}, which is not known here")


def _factors(scaling: Configuration, count: int) -> Frequencies:
    found = scaling.get("factors")
    if not isinstance(found, list) or len(found) != count or not all(0 < one < math.inf for one in found):
        raise scaling.wrong(f"of the factors of its rotary embedding there must be {count}, each above 0")
    return np.array(found, np.float64)


def _llama3(scaling: Configuration, plain: Frequencies) -> Frequencies:
    """What turns slower than once in the trained length is slowed down, what turns fast is not, with a ramp between."""
    factor, length = scaling.number("factor"), scaling.number("original_max_position_embeddings")
    low, high = scaling.number("low_freq_factor"), scaling.number("high_freq_factor")
    turns = length * plain / (2 * math.pi)
    share = np.clip((turns - low) / (high - low), 0, 1)
    found: Frequencies = share * plain + (1 - share) * plain / factor
    return found


def _yarn(scaling: Configuration, plain: Frequencies, theta: float, length: int) -> Frequencies:
    """The same thought, with the ramp over the pairs' numbers and not over their turns."""
    factor, count = scaling.number("factor"), len(plain)
    length = scaling.integer("original_max_position_embeddings", default=length)

    def pair_that_turns(times: float) -> float:
        return count * math.log(length / (times * 2 * math.pi)) / math.log(theta)

    low = pair_that_turns(scaling.number("beta_fast", default=32.0))
    high = pair_that_turns(scaling.number("beta_slow", default=1.0))
    if scaling.flag("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * count - 1)
    share = np.clip((np.arange(count) - low) / max(high - low, 1e-3), 0, 1)
    found: Frequencies = (1 - share) * plain + share * plain / factor
    return found


def _yarn_magnitude(scaling: Configuration) -> float:
    def magnitude(weight: float) -> float:
        return 0.1 * weight * math.log(scaling.number("factor")) + 1 if scaling.number("factor") > 1 else 1.0

    if "attention_factor" in scaling:
        return scaling.number("attention_factor")
    if "mscale" in scaling and "mscale_all_dim" in scaling:
        return magnitude(scaling.number("mscale")) / magnitude(scaling.number("mscale_all_dim"))
    return magnitude(1.0)

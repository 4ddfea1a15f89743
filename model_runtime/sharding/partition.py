"""A network's Shape and a number of ranks in, what each rank holds of it out, and its weights. Computes nothing.

Shoeybi et al. 2019: attention is shared out by heads and the feed-forward by what is between its two products, so
that each rank's part of either ends in a sum over all ranks, and nothing else is ever sent. Norms are everywhere,
and so is the embedding: to look a token up costs nothing, to share it out would cost one more sum. The head is
shared out by tokens: it is read whole for each token that is written, and its logits need only be laid side by side.

Heads of keys and values that are fewer than the ranks are held by several. A rank's part is again a Shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from model_runtime.errors import ShardError
from model_runtime.graph.nodes import Weights
from model_runtime.graph.quantize import Floats
from model_runtime.manifest import Shape

_WHOLE_BIASES = ("o", "down")  # what is added to a sum is added by one rank


@dataclass(frozen=True)
class Partition:
    """What one rank holds: which heads, heads of keys and values, columns of the feed-forward, tokens' logits.

    is_first: this rank adds the biases of what is summed.
    """

    heads: range
    kv_heads: range
    ffn: range
    vocabulary: range
    is_first: bool

    def shape(self, whole: Shape) -> Shape:
        """The rank's part as a network of its own; its logits are of `vocabulary` alone."""
        biases = whole.biases if self.is_first else tuple(one for one in whole.biases if one not in _WHOLE_BIASES)
        return msgspec.structs.replace(
            whole,
            heads=len(self.heads),
            kv_heads=len(self.kv_heads),
            ffn_size=len(self.ffn),
            biases=biases,
            tied=False,
        )


def partitions(shape: Shape, ranks: int, unit: int = 1) -> list[Partition]:
    """What each rank holds. unit: the feed-forward is only cut at multiples of it, as its integers are in blocks.

    Raises ShardError when the heads cannot be shared out evenly or there is too little to share.
    """
    if not _fits(shape, ranks):
        possible = [count for count in range(2, shape.heads + 1) if _fits(shape, count)]
        numbers = ", ".join(map(str, possible))
        cure = f"give --ranks one of {numbers}" if possible else "it cannot be sharded"
        raise ShardError(
            f"{shape.heads} heads that share {shape.kv_heads} heads of keys and values cannot be split evenly "
            f"among {ranks} ranks; {cure}"
        )
    if shape.ffn_size // unit < ranks:
        raise ShardError(
            f"a feed-forward of {shape.ffn_size} in blocks of {unit} is too narrow for {ranks} ranks; "
            "give fewer --ranks, or import the model with --quant fp16"
        )
    return [
        Partition(
            heads=_cut(shape.heads, ranks, rank),
            kv_heads=_kv_heads(shape, ranks, rank),
            ffn=_cut(shape.ffn_size, ranks, rank, unit),
            vocabulary=_cut(shape.vocab_size, ranks, rank),
            is_first=rank == 0,
        )
        for rank in range(ranks)
    ]


class PartitionWeights(Mapping[str, "Floats"]):
    """A rank's part of the weights, by the same names, each read when asked for."""

    def __init__(self, partition: Partition, whole: Shape, weights: Weights) -> None:
        self._weights, self._tied = weights, whole.tied
        size = whole.head_size
        heads, kv_heads = _scaled(partition.heads, size), _scaled(partition.kv_heads, size)
        self._rows = {"q": heads, "k": kv_heads, "v": kv_heads, "gate": partition.ffn, "up": partition.ffn}
        self._rows["head"] = partition.vocabulary
        self._columns = {"o": heads, "down": partition.ffn}

    def __getitem__(self, name: str) -> Floats:
        found = self._weights["embed.weight" if self._is_tied_head(name) else name]
        part, kind = name.split(".")[-2:]
        if part in self._rows:
            rows = self._rows[part]
            found = found[rows.start : rows.stop]
        elif part in self._columns and kind == "weight":
            columns = self._columns[part]
            found = found[:, columns.start : columns.stop]
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._weights or self._is_tied_head(name)  # without reading it

    def __iter__(self) -> Iterator[str]:
        yield from self._weights
        if self._tied:
            yield "head.weight"

    def __len__(self) -> int:
        return len(self._weights) + self._tied

    def _is_tied_head(self, name: object) -> bool:
        return self._tied and name == "head.weight"


def _fits(shape: Shape, ranks: int) -> bool:
    even = shape.kv_heads % ranks == 0 or ranks % shape.kv_heads == 0
    return shape.heads % ranks == 0 and even


def _kv_heads(shape: Shape, ranks: int, rank: int) -> range:
    """The heads of keys and values that the rank's queries read."""
    if shape.kv_heads >= ranks:
        return _cut(shape.kv_heads, ranks, rank)
    one = rank * shape.kv_heads // ranks
    return range(one, one + 1)


def _cut(size: int, ranks: int, rank: int, unit: int = 1) -> range:
    """The rank's part, as even as units allow; the last takes what is less than a unit."""
    units = size // unit
    start, stop = (at * units // ranks * unit for at in (rank, rank + 1))
    return range(start, size if rank == ranks - 1 else stop)


def _scaled(heads: range, size: int) -> range:
    return range(heads.start * size, heads.stop * size)

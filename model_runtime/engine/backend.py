"""What the engine asks of whatever runs the network. Types only.

A KVSlot is one sequence's keys and values; only the backend that made it knows its inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from model_runtime.engine.sampling import Logits
from model_runtime.engine.sequence import Cancel

KVSlot = TypeVar("KVSlot")


class Backend(Protocol[KVSlot]):
    """Runs the network over some tokens of one sequence, or over one token each of several."""

    @property
    def vocab_size(self) -> int:
        """V, the width of the logits."""

    @property
    def context_length(self) -> int:
        """The most tokens that one store holds."""

    kernels: str
    """A word for what multiplies: how fast it is holds for these alone."""

    @property
    def few(self) -> int:
        """Up to this many tokens `decode` is quicker than `prefill`."""

    @property
    def slot_bytes(self) -> int:
        """What a store takes once it is full."""

    def new_slots(self, count: int) -> list[KVSlot]:
        """That many empty stores, all there will ever be; those made before are of no use afterwards."""

    def copy(self, source: KVSlot, target: KVSlot, length: int) -> None:
        """The first `length` positions of source, into target."""

    def prefill(self, slot: KVSlot, tokens: Sequence[int], start: int, cancel: Cancel) -> None:
        """Writes the tokens' keys and values at position `start` on, in the kernels that are fastest for many.

        Raises Cancelled when `cancel` was set; positions from `start` on are then undefined.
        """

    def decode(self, slot: KVSlot, tokens: Sequence[int], start: int, cancel: Cancel) -> Logits:
        """As `prefill`, in the kernels that are fastest for few; logits [V] after the last token."""

    def verify(self, slot: KVSlot, tokens: Sequence[int], start: int, cancel: Cancel) -> Logits:
        """As `decode`, for at most 16 tokens; logits [T, V] after each of them, good until the next run."""

    def decode_batch(
        self, slots: Sequence[KVSlot], tokens: Sequence[int], starts: Sequence[int], cancel: Cancel
    ) -> Logits:
        """One token of each of several sequences in one run; logits [B, V] in their order, good until the next run."""

    def close(self) -> None:
        """Gives memory and threads back."""

"""A prompt in, a KV slot out that already holds as much of it as any slot does.

Slots are compared by content, so documents and clients share what they have in common. Where several users share an
engine each has slots of its own: what one asked makes another's answer neither other nor quicker.
Knows nothing of the network: a slot's `kv` is the backend's affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

from model_runtime.engine.backend import Backend, KVSlot
from model_runtime.errors import ModelError
from model_runtime.owner import LOCAL, Owner

MEGABYTES = 96  # of keys and values, unless told otherwise
MOST = 16  # slots: more than ever write at once on one machine
MOST_TOLD = 256  # of a server that was told how much it may use
_LOOK = 16  # tokens looked at first
_SAID = 160  # tokens: a text of the usual length and a little of what it was written after
_WORTH_COPYING = 32  # tokens: below this a copy costs more thought than the prefill it saves


@dataclass(eq=False)
class PrefixSlot(Generic[KVSlot]):
    """tokens: those whose keys and values stand in `kv`, in order; owner: whose. busy: somebody uses it."""

    kv: KVSlot
    tokens: list[int] = field(default_factory=list)
    owner: Owner = LOCAL
    used_at: int = 0
    busy: bool = False


class Cache(Generic[KVSlot]):
    """So many slots; of those that nobody uses the least recently used is given away first."""

    def __init__(self, backend: Backend[KVSlot], size: int) -> None:
        assert size >= 1
        self._backend = backend
        self._slots = [PrefixSlot(kv) for kv in backend.new_slots(size)]
        self._clock = 0

    def acquire(
        self, prompt: Sequence[int], owner: Owner = LOCAL, *, keep: bool = False
    ) -> tuple[PrefixSlot[KVSlot], int] | None:
        """A slot whose first n tokens are the prompt's, and n; at least one token is left to compute. None: all busy.

        A slot that would lose most of what it holds is copied instead of overwritten, so that going back to
        where one came from is still warm; with `keep`, one that would lose more than a few tokens.
        """
        best, reused = self._nearest(prompt, owner)
        lost = len(best.tokens) - reused
        if best.owner == owner and not best.busy and lost <= (_WORTH_COPYING if keep else len(best.tokens) // 2):
            del best.tokens[reused:]
            return self._taken(best), reused
        reused = reused if reused >= _WORTH_COPYING else 0
        slot = self.fork(best, reused)
        if slot is None:
            return None
        slot.owner = owner
        return slot, reused

    def fork(self, slot: PrefixSlot[KVSlot], length: int) -> PrefixSlot[KVSlot] | None:
        """Another slot, which holds the same first `length` tokens. None: all busy."""
        fresh = min((one for one in self._slots if not one.busy), key=lambda one: one.used_at, default=None)
        if fresh is None:
            return None
        if fresh is slot:
            del fresh.tokens[length:]
        else:
            if length:
                self._backend.copy(slot.kv, fresh.kv, length)
            fresh.tokens = slot.tokens[:length]
            fresh.owner = slot.owner
        return self._taken(fresh)

    def said(self, prompt: Sequence[int], owner: Owner = LOCAL) -> list[int]:
        """The last tokens of what the owner's slot holds that holds most of the prompt: its text, or the end of it."""
        slot, length = self._nearest(prompt, owner)
        return slot.tokens[-_SAID:] if length and slot.owner == owner else []

    def release(self, slot: PrefixSlot[KVSlot]) -> None:
        """Nobody uses the slot any more; what it holds stays until it is given away."""
        slot.busy = False

    def held(self, prompt: Sequence[int], owner: Owner = LOCAL) -> int:
        """How many of the prompt's first tokens need not be computed."""
        return self._nearest(prompt, owner)[1]

    @property
    def free(self) -> int:
        """Slots that nobody uses."""
        return sum(not slot.busy for slot in self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def _taken(self, slot: PrefixSlot[KVSlot]) -> PrefixSlot[KVSlot]:
        self._clock += 1
        slot.used_at, slot.busy = self._clock, True
        return slot

    def _nearest(self, prompt: Sequence[int], owner: Owner) -> tuple[PrefixSlot[KVSlot], int]:
        """The owner's slot that holds most of it, and how much; any slot, and nothing, where the owner has none."""
        wanted = list(prompt)
        found = [
            (shared(slot.tokens, wanted) if slot.owner == owner else 0, slot.used_at, slot) for slot in self._slots
        ]
        length, _, slot = max(found, key=lambda one: one[:2])
        return slot, min(length, len(wanted) - 1)


def count(megabytes: int | None, slot_bytes: int) -> int:
    """How many slots may be held. megabytes: for all of them; None for MEGABYTES, or what two take where that is more.

    Raises ModelError when there is no room for two: one answers while the other is read ahead.
    """
    room = (megabytes or MEGABYTES) << 20
    if megabytes is not None and room < 2 * slot_bytes:
        raise ModelError(
            f"kv_cache is {megabytes} MB, two texts of this model's length need {-(-2 * slot_bytes >> 20)}; "
            "raise it in the settings, or leave it out"
        )
    return max(2, min(MOST if megabytes is None else MOST_TOLD, room // slot_bytes))


def shared(left: list[int], right: list[int]) -> int:
    """Length of the longest common beginning. Where two differ they mostly do so soon."""
    end = min(len(left), len(right))
    low, high = 0, min(_LOOK, end)  # the first `low` agree
    while left[low:high] == right[low:high]:
        if high == end:
            return end
        low, high = high, min(4 * high, end)
    while high - low > 1:  # the first `high` do not
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low

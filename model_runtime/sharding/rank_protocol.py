"""What the ranks of a sharded model are told, and what each of them answers. Types and their bytes only.

Every rank gets every order, in one order, and does the same at the same time with its own share.
"""

from __future__ import annotations

from multiprocessing.connection import Connection

import msgspec


class NewSlots(msgspec.Struct, frozen=True, tag="slots"):
    """So many empty stores, in place of those there were."""

    count: int


class Copy(msgspec.Struct, frozen=True, tag="copy"):
    """The first `length` positions of one store, into another."""

    source: int
    target: int
    length: int


class Run(msgspec.Struct, frozen=True, tag="run"):
    """The network over some tokens of each of some stores, as many of each; logits after the last `rows` of them."""

    slots: list[int]
    tokens: list[list[int]]
    starts: list[int]
    rows: int


Order = NewSlots | Copy | Run


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The order is done, or the rank is ready for the first. logits: float32 [R, V/N]; of a run alone."""

    logits: bytes = b""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """It is not, and this is why; nothing else will be."""

    message: str


_orders = msgspec.msgpack.Decoder(Order)
_answers = msgspec.msgpack.Decoder(Done | Failed)


def send(connection: Connection, message: Order | Done | Failed) -> None:
    """Raises OSError when nobody is at the other end."""
    connection.send_bytes(msgspec.msgpack.encode(message))


def order(connection: Connection) -> Order:
    """The next one; waits for it. Raises EOFError when there will be none, OSError."""
    found: Order = _orders.decode(connection.recv_bytes())
    return found


def answer(connection: Connection) -> Done | Failed:
    """The next one; waits for it. Raises EOFError when there will be none, OSError."""
    found: Done | Failed = _answers.decode(connection.recv_bytes())
    return found

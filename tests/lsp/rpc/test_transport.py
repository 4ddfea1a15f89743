"""Messages come whole off any kind of pipe, in any pieces."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.rpc import transport
from lsp_server.rpc.transport import Reader, Writer, messages

SECONDS = 15


def heard(data: bytes, sizes: list[int] | None = None) -> list[bytes]:
    stream, steps = io.BytesIO(data), iter(sizes or [])
    return list(messages(lambda size: stream.read(min(size, next(steps, size)))))


def framed(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


@given(st.lists(st.binary(max_size=40), max_size=5), st.lists(st.integers(1, 30), max_size=40))
def test_messages_come_whole_in_any_pieces(bodies: list[bytes], sizes: list[int]) -> None:
    assert heard(b"".join(map(framed, bodies)), sizes) == bodies


@pytest.mark.parametrize(
    "data",
    [
        b"content-length: 2\r\n\r\n{}",
        b"CONTENT-LENGTH:2\r\n\r\n{}",
        b"Content-Length: 2\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n{}",
        b"Content-Type: x\r\nContent-Length: 2\r\n\r\n{}",
        b"Content-Length: 2\n\n{}",
        b"\r\n\r\nnoise\r\nContent-Length: 2\r\n\r\n{}",
        b"Content-Length: many\r\n\r\nContent-Length: 2\r\n\r\n{}",
        b"Content-Length: 2\r\n\r\n{}Content-Length: 9\r\n\r\ncut",
    ],
)
def test_headers_are_read_as_generously_as_they_are_written(data: bytes) -> None:
    assert heard(data) == [b"{}"]


def test_a_message_beyond_all_measure_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LIMIT", 100)
    assert heard(framed(b"x" * 101) + framed(b"{}")) == [b"{}"]
    assert heard(b"x" * 300 + b"\n" + framed(b"{}")) == [b"{}"]


async def test_a_plain_file_is_read_like_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "session"
    path.write_bytes(framed(b"one") + framed(b"two"))
    received: list[bytes] = []
    ended = asyncio.Event()
    with path.open("rb") as stream:
        reader = Reader(stream.fileno(), asyncio.get_running_loop(), lambda body, _: received.append(body), ended.set)
        reader.start()
        await asyncio.wait_for(ended.wait(), SECONDS)
    assert received == [b"one", b"two"]


async def test_a_message_is_heard_while_the_loop_is_busy() -> None:
    """It carries the time it was read, not the time the loop got round to it."""
    reading, writing = os.pipe()
    times: list[float] = []
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    reader = Reader(reading, loop, lambda _, at: times.append(at), ended.set)
    reader.start()
    os.write(writing, framed(b"{}"))
    os.close(writing)
    reader.join(SECONDS)  # the loop stands still until the thread has read everything
    busy_until = loop.time()
    await asyncio.wait_for(ended.wait(), SECONDS)
    os.close(reading)
    assert len(times) == 1
    assert times[0] <= busy_until


async def test_a_reader_whose_loop_is_gone_ends_quietly() -> None:
    reading, writing = os.pipe()
    gone = asyncio.new_event_loop()
    reader = Reader(reading, gone, lambda *_: None, lambda: None)
    gone.close()
    reader.start()
    os.write(writing, framed(b"{}"))
    os.close(writing)
    await asyncio.to_thread(reader.join, SECONDS)
    os.close(reading)
    assert not reader.is_alive()


def test_a_writer_says_once_that_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    lost = threading.Semaphore(0)
    with os.fdopen(writing, "wb", buffering=0) as stream:
        writer = Writer(stream, lost.release)
        writer.write(b"hello")
        writer.write(b"anybody?")
    assert lost.acquire(blocking=False)
    assert not lost.acquire(blocking=False)

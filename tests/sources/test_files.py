"""Streams from files and pipes."""

import os
from pathlib import Path

import anyio
import pytest

from streamkit import Completed, Disconnected, StreamRun
from streamkit.cursor import Cursor
from streamkit.errors import ConnectFailed, ConnectionLost
from streamkit.outcome import Outcome
from streamkit.sources.files import CHUNK_BYTES, FileSource
from tests.scripted import BEFORE_END, CREATED, HELLO

pytestmark = pytest.mark.anyio

UNREADABLE = Path("/proc/self/mem")
"""Linux lets this file be opened, and refuses to read its beginning."""


async def outcome_of(path: str | Path | int) -> Outcome:
    async with StreamRun(FileSource(path)) as run:
        return await run.outcome()


async def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "hello.sse"
    path.write_bytes(b"".join(HELLO))
    outcome = await outcome_of(path)
    assert isinstance(outcome, Completed)
    assert outcome.response.output_text == "Hello"


async def test_a_large_file_comes_in_chunks(tmp_path: Path) -> None:
    path = tmp_path / "large.sse"
    path.write_bytes(b": padding\n" * CHUNK_BYTES)
    chunks = await FileSource(path).open(Cursor())
    sizes = [len(chunk) async for chunk in chunks]
    await chunks.aclose()
    assert sum(sizes) == 10 * CHUNK_BYTES
    assert max(sizes) == CHUNK_BYTES


async def test_a_file_without_the_end_of_the_response_is_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "cut.sse"
    path.write_bytes(b"".join(BEFORE_END))
    outcome = await outcome_of(path)
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ConnectionLost)
    assert outcome.response.output_text == "Hello"


@pytest.mark.parametrize(
    ("name", "reason"), [("missing.sse", "No such file or directory"), ("", "Is a directory")], ids=["file", "folder"]
)
async def test_what_cannot_be_opened_is_named(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / name
    outcome = await outcome_of(path)
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ConnectFailed)
    assert str(outcome.error) == f"cannot open {path}: {reason}"


async def test_events_from_a_pipe_are_delivered_while_it_stays_open() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0) as writer:
        writer.write(CREATED)
        async with StreamRun(FileSource(reading)) as run:
            events = aiter(run)
            assert (await anext(events)).type == "response.created"
            writer.write(b"".join(HELLO[1:]))
            assert (await run.outcome()).response.output_text == "Hello"
        os.fstat(reading)  # An open descriptor stays open.


async def test_waiting_for_a_pipe_can_be_cancelled() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb"):
        with anyio.move_on_after(0.05) as scope:
            await outcome_of(reading)
        assert scope.cancelled_caught


@pytest.mark.skipif(not UNREADABLE.exists(), reason="this system has no file that opens but cannot be read")
async def test_what_cannot_be_read_is_a_lost_connection() -> None:
    outcome = await outcome_of(UNREADABLE)
    assert isinstance(outcome, Disconnected)
    assert isinstance(outcome.error, ConnectionLost)
    assert str(outcome.error) == f"cannot read {UNREADABLE}: Input/output error"

"""Streams without sockets: what streamkit itself costs, and what it holds, apart from the network."""

from functools import cache

from benchmarks.wire import deltas, frames
from streamkit import Dispatcher
from streamkit.run import StreamRun
from streamkit.testing import ScriptedSource

PIECE_BYTES = 16 * 1024
DISTINCT = 1000
"""Different deltas of a long stream, which repeats them."""


async def consume(dispatcher: Dispatcher, chunks: tuple[bytes, ...]) -> None:
    """Read one stream to its end."""
    async with StreamRun(ScriptedSource(chunks)) as run:
        await run.dispatch(dispatcher)


@cache
def pieces(tokens: int) -> tuple[bytes, ...]:
    """Return the chunks of a stream that comes as fast as it is read."""
    return _cut(b"".join(frames(tokens)))


def long_pieces(tokens: int) -> tuple[bytes, ...]:
    """Return the chunks of a stream of any length, which takes no more memory than that of a short one."""
    before, found, after = b"".join(frames(DISTINCT)).partition(b"".join(deltas(DISTINCT)))
    assert found
    return (before, *_cut(found) * (tokens // DISTINCT), after)


def _cut(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES))

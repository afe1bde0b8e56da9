"""Chunks of an event stream cut again at its blank lines, for those faults that are about events."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from streamkit.testing.answers import Cut, Step

_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DATA = re.compile(rb"(?:^|\xef\xbb\xbf|[\r\n])data[:\r\n]")


def by_block(steps: Iterable[Step]) -> Iterator[Step]:
    """Cut the bytes so that each chunk is one block of the stream, with the blank line that ends it.

    What stands between the chunks of one block then comes before it.
    """
    pending = bytearray()
    for step in steps:
        if isinstance(step, bytes):
            yield from _take_blocks(pending, step)
            continue
        if isinstance(step, Cut) and pending:
            yield bytes(pending)
            pending.clear()
        yield step
    if pending:
        yield bytes(pending)


def numbered(steps: Iterable[Step]) -> Iterator[tuple[int | None, Step]]:
    """Cut at blank lines and count the events from 0; what is no event, such as a comment, has no number."""
    count = 0
    for step in by_block(steps):
        if isinstance(step, bytes) and _DATA.search(step):
            yield count, step
            count += 1
        else:
            yield None, step


def _take_blocks(pending: bytearray, chunk: bytes) -> list[bytes]:
    """Add a chunk to what is pending, and take out the blocks that are then whole."""
    # A blank line may straddle the two; further back there is none.
    search_from = max(0, len(pending) - 3)
    pending += chunk
    ends = [0, *(blank.end() for blank in _BLANK_LINE.finditer(pending, search_from))]
    blocks = [bytes(pending[start:end]) for start, end in pairwise(ends)]
    del pending[: ends[-1]]
    return blocks

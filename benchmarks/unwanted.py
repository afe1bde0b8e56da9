"""Deltas that no handler wants: they need not even be decoded, unless somebody reads the unfinished response."""

import asyncio

from benchmarks.clients import STREAMKIT, STREAMKIT_AT_END
from benchmarks.clients.with_streamkit import dispatcher, for_the_end
from benchmarks.effort import Effort
from benchmarks.in_memory import consume, pieces
from benchmarks.loops import cpu_seconds
from benchmarks.processes import Job, best_of, server
from benchmarks.report import Compared, Row
from benchmarks.saturated import microseconds_per_event
from benchmarks.wire import frames

STREAMS = 5
"""Streams that each process reads after the first, which warms it up."""
DISPATCHERS = {STREAMKIT: dispatcher, STREAMKIT_AT_END: for_the_end}
LENGTH = 5
"""The streams are longer by this factor than those of other measurements."""


def rows(effort: Effort) -> list[Row]:
    """Measure and compare, with sockets and without."""
    tokens = effort.tokens * LENGTH
    without = {name: Job(microseconds_without_sockets, {"client": name, "tokens": tokens}) for name in DISPATCHERS}
    with server() as url:
        saturated = {
            name: Job(microseconds_per_event, {"client": name, "url": url, "tokens": tokens}) for name in DISPATCHERS
        }
        return [
            _row(f"{tokens:,} deltas that no handler wants, CPU per event", best_of(effort.rounds, saturated)),
            _row(f"{tokens:,} deltas that no handler wants, no sockets", best_of(effort.rounds, without)),
        ]


def microseconds_without_sockets(client: str, tokens: int) -> float:
    """Return the CPU time per event of the best of several streams."""
    return asyncio.run(_best_stream(client, tokens)) * 1e6 / len(frames(tokens))


async def _best_stream(client: str, tokens: int) -> float:
    await consume(DISPATCHERS[client], pieces(tokens))
    return min([await cpu_seconds(consume(DISPATCHERS[client], pieces(tokens))) for _ in range(STREAMS)])


def _row(what: str, figures: dict[str, float | None]) -> Row:
    return Compared(what, "µs", figures[STREAMKIT_AT_END], "one handler of every delta", figures[STREAMKIT], 1 / 3)

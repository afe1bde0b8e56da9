"""Deltas that no handler wants: they need not even be decoded, unless somebody reads the unfinished response."""

import asyncio

from benchmarks.clients import STREAMKIT, STREAMKIT_AT_END, THROW_AWAY
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
            name: Job(microseconds_per_event, {"client": name, "url": url, "tokens": tokens})
            for name in (*DISPATCHERS, THROW_AWAY)
        }
        figures = best_of(effort.rounds, saturated)
    what = f"{tokens:,} deltas that no handler wants"
    return [
        _row(f"{what}, CPU per event", figures, None),
        _row(f"{what}, CPU per event beyond {THROW_AWAY}", _beyond(THROW_AWAY, figures), 1 / 3),
        _row(f"{what}, no sockets", best_of(effort.rounds, without), 1 / 3),
    ]


def microseconds_without_sockets(client: str, tokens: int) -> float:
    """Return the CPU time per event of the best of several streams."""
    return asyncio.run(_best_stream(client, tokens)) * 1e6 / len(frames(tokens))


async def _best_stream(client: str, tokens: int) -> float:
    await consume(DISPATCHERS[client], pieces(tokens))
    return min([await cpu_seconds(consume(DISPATCHERS[client], pieces(tokens))) for _ in range(STREAMS)])


def _beyond(base: str, figures: dict[str, float | None]) -> dict[str, float | None]:
    """Return the figures less that of one contestant, which all have in common."""
    common = figures[base] or 0.0
    return {name: None if figure is None else figure - common for name, figure in figures.items()}


def _row(what: str, figures: dict[str, float | None], at_most: float | None) -> Row:
    return Compared(what, "µs", figures[STREAMKIT_AT_END], "one handler of every delta", figures[STREAMKIT], at_most)

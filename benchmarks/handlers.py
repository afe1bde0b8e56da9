"""Many handlers of the same event: what a call of each costs."""

import asyncio

from benchmarks.effort import Effort
from benchmarks.in_memory import consume, pieces
from benchmarks.loops import cpu_seconds
from benchmarks.processes import Job, best_of
from benchmarks.report import Bounded, Row
from benchmarks.wire import frames
from streamkit import Dispatcher
from streamkit.events import OutputTextDelta

STREAMS = 5
"""Streams that each process reads after the first, which warms it up."""
MANY = (10, 100)


def rows(effort: Effort) -> list[Row]:
    """Measure; what an event costs with one handler counts all the rest of its way, too."""
    jobs = {
        str(count): Job(microseconds_per_event, {"handlers": count, "tokens": effort.tokens}) for count in (1, *MANY)
    }
    figures = best_of(effort.rounds, jobs)
    one = figures["1"]
    return [
        Bounded("one async handler of each delta, no sockets, CPU per event", "µs", one, 6.0),
        *(
            Bounded(
                f"{count} async handlers of each delta, no sockets, CPU per call beyond the first",
                *("µs", _per_further_call(figures[str(count)], one, count), 1.0),
            )
            for count in MANY
        ),
    ]


def microseconds_per_event(handlers: int, tokens: int) -> float:
    """Return the CPU time per event of the best of several streams, with so many handlers of each delta."""
    dispatcher = Dispatcher()
    for _ in range(handlers):
        dispatcher.on("response.output_text.delta")(_handle)
    return asyncio.run(_best_stream(dispatcher, tokens)) * 1e6 / len(frames(tokens))


async def _handle(_: OutputTextDelta) -> None: ...


async def _best_stream(dispatcher: Dispatcher, tokens: int) -> float:
    await consume(dispatcher, pieces(tokens))
    return min([await cpu_seconds(consume(dispatcher, pieces(tokens))) for _ in range(STREAMS)])


def _per_further_call(many: float | None, one: float | None, count: int) -> float | None:
    return None if many is None or one is None else (many - one) / (count - 1)

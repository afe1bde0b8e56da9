"""Many streams at the speed of a model: nearly every event is a read of its own, as in a real service."""

import asyncio

from benchmarks.clients import ONE_LOOP, OPENAI_CREATE, STREAMKIT, THROW_AWAY, Consume, load
from benchmarks.effort import Effort
from benchmarks.loops import ASYNCIO, UVLOOP, cpu_seconds, run_on
from benchmarks.processes import Argument, Job, best_of, better, server
from benchmarks.report import Compared, Row
from benchmarks.wire import Shape, frames

EVENTS_PER_SECOND = 50.0
REST_SECONDS = 0.3
"""How long the connections rest before they are used again.

Linux takes a connection on which a request follows within 40 ms of the last data for an interactive one, and delays its
acknowledgements: fewer are sent, which saves about a microsecond an event. Without a rest, that is what a contestant
gets whose first streams were over soon enough.
"""
BUDGETS = {THROW_AWAY: 1.35, ONE_LOOP: None, OPENAI_CREATE: 1 / 4}


def rows(effort: Effort) -> list[Row]:
    """Measure and compare on each event loop."""
    with server() as url:
        return [row for loop in (ASYNCIO, UVLOOP) for row in _rows_on(loop, url, effort)]


def _rows_on(loop: str, url: str, effort: Effort) -> list[Row]:
    arguments: dict[str, Argument] = {"url": url, "loop": loop, "streams": effort.streams, "seconds": effort.seconds}
    jobs = {name: Job(microseconds_per_event, {"client": name, **arguments}) for name in (STREAMKIT, *BUDGETS)}
    # These two are so close, and lucky rounds so rare, that they are measured three times as often.
    close = {name: jobs[name] for name in (STREAMKIT, THROW_AWAY)}
    figures = better(best_of(effort.rounds, jobs), best_of(2 * effort.rounds, close))
    what = f"{effort.streams} streams of {EVENTS_PER_SECOND:g} events/s on {loop}, CPU per event"
    return [
        *(Compared(what, "µs", figures[STREAMKIT], peer, figures[peer], most) for peer, most in BUDGETS.items()),
        Compared(f"{what}: only {ONE_LOOP}", "µs", figures[ONE_LOOP], THROW_AWAY, figures[THROW_AWAY], None),
    ]


def microseconds_per_event(client: str, url: str, loop: str, streams: int, seconds: float) -> float:
    """Return the CPU time per event of all streams together."""
    shape = Shape(int(seconds * EVENTS_PER_SECOND), EVENTS_PER_SECOND)
    events = streams * len(frames(shape.tokens))
    return run_on(loop, _cpu_seconds(client, url, streams, shape)) * 1e6 / events


async def _cpu_seconds(client: str, url: str, streams: int, shape: Shape) -> float:
    async with load(client)(url) as consume:
        await _consume_all(consume, streams, Shape(shape.tokens))
        await asyncio.sleep(REST_SECONDS)
        return await cpu_seconds(_consume_all(consume, streams, shape))


async def _consume_all(consume: Consume, streams: int, shape: Shape) -> None:
    await asyncio.gather(*(consume(shape) for _ in range(streams)))

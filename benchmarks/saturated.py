"""One stream that comes as fast as it is read: the CPU time that the client spends on an event."""

from benchmarks.clients import FLOOR, HTTPX_SSE, OPENAI_CREATE, OPENAI_STREAM, STREAMKIT, Consume, load
from benchmarks.effort import Effort
from benchmarks.loops import ASYNCIO, cpu_seconds, run_on
from benchmarks.processes import Job, best_of, server
from benchmarks.report import Compared, Row
from benchmarks.wire import Shape, frames

STREAMS = 5
"""Streams that each process reads after the first, which warms it up."""
BUDGETS = {FLOOR: 2.0, HTTPX_SSE: None, OPENAI_CREATE: 1 / 12, OPENAI_STREAM: 1 / 20}


def rows(effort: Effort) -> list[Row]:
    """Measure and compare."""
    with server() as url:
        jobs = {
            name: Job(microseconds_per_event, {"client": name, "url": url, "tokens": effort.tokens})
            for name in (STREAMKIT, *BUDGETS)
        }
        figures = best_of(effort.rounds, jobs)
    return [
        Compared("one saturated stream, CPU per event", "µs", figures[STREAMKIT], peer, figures[peer], at_most)
        for peer, at_most in BUDGETS.items()
    ]


def microseconds_per_event(client: str, url: str, tokens: int) -> float:
    """Return the CPU time per event of the best of several streams."""
    return run_on(ASYNCIO, _best_stream(client, url, Shape(tokens)))


async def _best_stream(client: str, url: str, shape: Shape) -> float:
    async with load(client)(url) as consume:
        await consume(shape)
        return min([await _one_stream(consume, shape) for _ in range(STREAMS)])


async def _one_stream(consume: Consume, shape: Shape) -> float:
    return await cpu_seconds(consume(shape)) * 1e6 / len(frames(shape.tokens))

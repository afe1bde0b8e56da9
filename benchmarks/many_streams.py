"""Thousands of streams open in one process: all of them complete, and none takes much memory."""

import asyncio

from benchmarks.clients.with_streamkit import open_client
from benchmarks.effort import Effort
from benchmarks.loops import ASYNCIO, run_on
from benchmarks.memory import peak_kibibytes
from benchmarks.processes import Job, measure, server
from benchmarks.report import Bounded, Row
from benchmarks.wire import Shape
from streamkit import Client, Dispatcher, Opened, Outcome
from streamkit.events import OutputTextDelta

TOKENS = 15


class _Census:
    """Handlers that count the streams that are open."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.dispatcher = Dispatcher()
        self.dispatcher.on(Opened)(self._opened)
        self.dispatcher.on("response.output_text.delta")(self._handle)
        self.dispatcher.on_close(self._closed)

    async def _opened(self, _: Opened) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    async def _handle(self, _: OutputTextDelta) -> None: ...

    async def _closed(self, _: Outcome) -> None:
        self.now -= 1


def rows(effort: Effort) -> list[Row]:
    """Measure; a stream that does not complete ends the whole measurement with its error."""
    with server() as url:
        pace = effort.open_events_per_second
        job = Job(kibibytes_per_stream, {"url": url, "streams": effort.open_streams, "events_per_second": pace})
        figure = measure(job)
    what = f"{effort.open_streams:,} streams open at once, all complete: memory each beyond the first"
    return [Bounded(what, "KiB", figure, 60.0)]


def kibibytes_per_stream(url: str, streams: int, events_per_second: float) -> float:
    """Return the growth of the process's peak memory for each stream beyond the first."""
    return run_on(ASYNCIO, _kibibytes_per_stream(url, streams, Shape(TOKENS, events_per_second)))


async def _kibibytes_per_stream(url: str, streams: int, shape: Shape) -> float:
    census = _Census()
    async with open_client(url) as client:
        await _run_all(client, census, 1, Shape(TOKENS))
        before = peak_kibibytes()
        await _run_all(client, census, streams, shape)
    if census.most < streams:
        raise RuntimeError(f"only {census.most} of {streams} streams were open at once: the machine is too slow")
    return (peak_kibibytes() - before) / (streams - 1)


async def _run_all(client: Client, census: _Census, streams: int, shape: Shape) -> None:
    await asyncio.gather(*(client.run(census.dispatcher, **shape.request()) for _ in range(streams)))

"""A lane whose handler is slower than the stream: what waits for it must not grow with the stream."""

import asyncio

from benchmarks.effort import Effort
from benchmarks.in_memory import consume, long_pieces
from benchmarks.memory import peak_kibibytes
from benchmarks.processes import Job, best_of
from benchmarks.report import Bounded, Row
from streamkit import Dispatcher, Lane
from streamkit.events import OutputTextDelta

LANES = {"wait": Lane(), "merge": Lane(when_full="merge"), "drop": Lane(when_full="drop")}
INLINE = "inline"
MEBIBYTES = 4.0
"""A full queue of 1,024 deltas takes one or two."""


def rows(effort: Effort) -> list[Row]:
    """Measure the memory beyond that of a handler without a lane, for the answer itself does grow."""
    jobs = {way: Job(peak_mebibytes, {"way": way, "tokens": effort.lane_deltas}) for way in (INLINE, *LANES)}
    peaks = best_of(1, jobs)
    return [
        Bounded(
            f"{effort.lane_deltas:,} deltas for a slow handler in a lane, when full: {way}; memory beyond inline",
            *("MiB", _beyond(peaks[way], peaks[INLINE]), MEBIBYTES),
        )
        for way in LANES
    ]


def peak_mebibytes(way: str, tokens: int) -> float:
    """Return the most memory that the process has held when a stream has ended."""
    dispatcher = Dispatcher()
    if way == INLINE:
        dispatcher.on("response.output_text.delta")(_handle_slowly)
    else:
        dispatcher.on("response.output_text.delta", lane=LANES[way])(_handle_slowly)
    asyncio.run(consume(dispatcher, long_pieces(tokens)))
    return peak_kibibytes() / 1024


async def _handle_slowly(_: OutputTextDelta) -> None:
    # The stream brings as many events as are in a chunk before it lets others work.
    await asyncio.sleep(0)


def _beyond(peak: float | None, base: float | None) -> float | None:
    return None if peak is None or base is None else max(peak - base, 0.0)

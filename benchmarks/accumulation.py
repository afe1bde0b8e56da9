"""Text accumulated: an event must cost the same in a long answer as in a short one."""

from itertools import cycle, islice

from benchmarks.effort import Effort
from benchmarks.processes import Job, best_of
from benchmarks.report import Compared, Row
from benchmarks.timing import best_cpu_seconds
from benchmarks.wire import frames
from streamkit.accumulator import Accumulator
from streamkit.codec import decode
from streamkit.events import DeltaEvent
from streamkit.sse import Decoder

DISTINCT = 1000
"""Different deltas; longer texts repeat them, so that building them does not count."""


def rows(effort: Effort) -> list[Row]:
    """Measure and compare."""
    long, short = effort.deltas, effort.deltas // 100
    jobs = {
        "long": Job(microseconds_per_delta, {"count": long, "repetitions": 5}),
        "short": Job(microseconds_per_delta, {"count": short, "repetitions": 200}),
    }
    figures = best_of(effort.rounds, jobs)
    what = f"accumulation of {long:,} deltas, CPU per delta"
    return [Compared(what, "µs", figures["long"], f"{short:,} deltas", figures["short"], 1.25)]


def microseconds_per_delta(count: int, repetitions: int) -> float:
    """Return the CPU time per delta of a text of that length, the text read once at its end."""
    events = [decode(frame) for frame in Decoder().feed(b"".join(frames(DISTINCT)))]
    deltas = [event for event in events if isinstance(event, DeltaEvent)]
    announced = events[: events.index(deltas[0])]

    def work() -> None:
        accumulator = Accumulator()
        for event in (*announced, *islice(cycle(deltas), count)):
            accumulator.add(event)
        assert accumulator.text

    return best_cpu_seconds(work, repetitions=repetitions) * 1e6 / count

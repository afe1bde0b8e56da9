"""A large frame in many chunks, as base64 images come: time must grow with the bytes and no faster."""

from benchmarks.effort import Effort
from benchmarks.processes import Job, best_of
from benchmarks.report import Compared, Row
from benchmarks.timing import best_cpu_seconds
from streamkit.sse import Decoder

SINGLE_BYTES_SHARE = 32
"""A frame that comes byte by byte is smaller by this factor."""


def rows(effort: Effort) -> list[Row]:
    """Measure and compare, in chunks of 1 KiB and of one byte."""
    large = effort.frame_bytes
    return [_row(effort, large, 1024), _row(effort, large // SINGLE_BYTES_SHARE, 1)]


def _row(effort: Effort, size: int, chunk_size: int) -> Row:
    jobs = {
        name: Job(milliseconds, {"size": bytes_, "chunk_size": chunk_size})
        for name, bytes_ in (("whole", size), ("half", size // 2))
    }
    figures = best_of(effort.rounds, jobs)
    what = f"a frame of {_shown(size)} in chunks of {_shown(chunk_size)}"
    return Compared(what, "ms", figures["whole"], _shown(size // 2), figures["half"], 2.2)


def milliseconds(size: int, chunk_size: int) -> float:
    """Return the CPU time for a frame of ``size`` bytes."""
    frame = b"event: image\ndata: " + b"A" * size + b"\n\n"
    chunks = [frame[start : start + chunk_size] for start in range(0, len(frame), chunk_size)]

    def work() -> None:
        decoder = Decoder()
        assert [found for chunk in chunks for found in decoder.feed(chunk)]

    return best_cpu_seconds(work, repetitions=5) * 1e3


def _shown(size: int) -> str:
    for unit, name in ((1024 * 1024, "MiB"), (1024, "KiB")):
        if size >= unit:
            return f"{size / unit:g} {name}"
    return f"{size} byte"

"""How much work a run of the benchmarks does."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """Sizes of all measurements; smaller ones are quicker and less exact."""

    rounds: int
    """How often the contestants of a measurement take turns; the best of all rounds counts."""
    tokens: int
    """Deltas of a stream that comes as fast as it can be read."""
    streams: int
    """Streams that are paced like those of a model, at 50 events a second."""
    seconds: float
    """How long these take."""
    open_streams: int
    """Streams that are open at once where memory is measured."""
    open_events_per_second: float
    """How fast each of these comes; slow enough that the first has not ended when the last is opened."""
    deltas: int
    """Deltas of the long text that is accumulated; the short one has a hundredth of it."""
    lane_deltas: int
    """Deltas of a stream that a lane has a slow handler for."""
    frame_bytes: int
    """Size of the large frame."""


FULL = Effort(
    rounds=6,
    tokens=4000,
    streams=200,
    seconds=4.0,
    open_streams=5000,
    open_events_per_second=1.0,
    deltas=200_000,
    lane_deltas=1_000_000,
    frame_bytes=16 * 1024 * 1024,
)
QUICK = Effort(
    rounds=2,
    tokens=2000,
    streams=100,
    seconds=2.0,
    open_streams=500,
    open_events_per_second=5.0,
    deltas=100_000,
    lane_deltas=100_000,
    frame_bytes=8 * 1024 * 1024,
)

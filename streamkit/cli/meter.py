"""What a run is measured by: deltas and seconds. The time comes in as an argument."""

from streamkit.events import DeltaEvent, Event
from streamkit.outcome import Opened, Reconnecting
from streamkit.response import Response
from streamkit.stats import RunStats


class Meter:
    """Counts the events of one run that starts now.

    Args:
        now: the time.
        stats: the run's own figures.

    Attributes:
        deltas: how many events were pieces of growing text.
    """

    def __init__(self, now: float, stats: RunStats) -> None:
        self.deltas = 0
        self._started = now
        self._stats = stats
        self._first_delta: float | None = None
        self._doing = "connecting"

    def opened(self, _: Opened) -> None:
        """The server answered."""
        self._doing = "waiting for the first event"

    def reconnecting(self, _: Reconnecting) -> None:
        """An attempt failed, and another follows."""
        self._doing = "reconnecting"

    def count(self, event: Event, now: float) -> None:
        """An event came."""
        self._doing = event.type
        if isinstance(event, DeltaEvent):
            self.deltas += 1
            self._first_delta = self._first_delta or now

    def status(self, now: float) -> str:
        """Return where the run stands, as one line."""
        return self._line(self._doing, self.deltas, "delta", now)

    def summary(self, ending: str, response: Response, now: float) -> str:
        """Return what the run came to, as one line; tokens are those that the server counted, if it did."""
        tokens = response.usage and response.usage.output_tokens
        return self._line(ending, tokens, "token", now) if tokens else self._line(ending, self.deltas, "delta", now)

    def _line(self, beginning: str, count: int, unit: str, now: float) -> str:
        parts = [beginning]
        if self._first_delta is not None:
            streaming = max(now - self._first_delta, 0.001)
            parts.append(_counted(count, unit))
            parts.append(f"first {unit} after {self._first_delta - self._started:.2f} s")
            parts.append(f"{count / streaming:.0f} {unit}s/s")
        if self._stats.attempts > 1:
            parts.append(_counted(self._stats.attempts - 1, "reconnect"))
        return " · ".join([*parts, f"{now - self._started:.1f} s"])


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"

"""What one run of the soak delivered, as its handlers saw it."""

from streamkit import (
    Cancelled,
    Closed,
    Completed,
    Disconnected,
    Failed,
    Incomplete,
    Outcome,
    Reconnecting,
    Restarted,
    Run,
    StreamHandler,
    on,
)
from streamkit.events import Event, OutputTextDelta


class Witness(StreamHandler):
    """Remembers what it was told.

    Attributes:
        numbers: the sequence numbers of the events of the response.
        pieces: its deltas of text.
        outcomes, closings: what the handlers of the end were told.
        late: how many deliveries came after the run was closed.
        retries: attempts that were made again before the first event.
        reconnects: streams that were taken up after it.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.pieces: list[str] = []
        self.outcomes: list[Outcome] = []
        self.closings: list[Closed] = []
        self.late = 0
        self.retries = 0
        self.reconnects = 0
        self._restarts = 0

    @on(Event)
    def see(self, event: Event) -> None:
        """Take an event down."""
        self.late += bool(self.closings)
        if event.sequence_number is not None:
            self.numbers.append(event.sequence_number)
        if isinstance(event, OutputTextDelta):
            self.pieces.append(event.delta)

    @on(Reconnecting)
    def count_attempt(self, _: Reconnecting, run: Run) -> None:
        """Count another attempt."""
        if run.stats.events:
            self.reconnects += 1
        else:
            self.retries += 1

    @on(Restarted)
    def forget(self, _: Restarted) -> None:
        """Discard what was seen, as everybody must."""
        self._forget()

    def follow(self, run: Run) -> None:
        """Discard it where nobody is told: an iteration brings events, and no notices."""
        if run.stats.restarts > self._restarts:
            self._restarts = run.stats.restarts
            self._forget()

    @on(Completed, Incomplete, Failed, Cancelled, Disconnected)
    def note_outcome(self, outcome: Outcome) -> None:
        """Take the outcome down."""
        self.late += bool(self.closings)
        self.outcomes.append(outcome)

    @on(Closed)
    def note_closing(self, closed: Closed) -> None:
        """Take the closing down."""
        self.closings.append(closed)

    def _forget(self) -> None:
        self.numbers.clear()
        self.pieces.clear()

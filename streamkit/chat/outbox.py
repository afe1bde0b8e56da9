"""The events of a response while they are made: numbered in order, and kept until they are taken."""

from streamkit.events import Event


class Outbox:
    """Makes events and keeps them until they are taken, which happens after each frame."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._next_number = 0

    def put(self, event: Event) -> None:
        """Add an event as it came."""
        self._events.append(event)

    def add(self, model: type[Event], **fields: object) -> None:
        """Make an event of these fields, with the next number."""
        self._events.append(model.model_validate({"sequence_number": self._next_number, **fields}))
        self._next_number += 1

    def take(self) -> list[Event]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

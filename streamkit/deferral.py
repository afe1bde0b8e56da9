"""What came of a response and waits to be looked at: deltas that nobody listens to, and what followed them."""

from itertools import takewhile

from streamkit.backlog import size_of
from streamkit.events import TEXT_DELTA, Event
from streamkit.undecoded import BEGINS, name_of_delta

FRAME_BYTES = 128
"""What a frame takes in memory, roughly, besides its data."""


class Deferral:
    """Keeps deltas as they came, in place of decoding them, and the events behind them, in order.

    Args:
        most: how many bytes to keep, roughly.

    Attributes:
        entries: blocks of deltas, and events.
        unread: how many deltas came since the last event.
        has_text: whether some of the deltas are of the answer's text.
        is_full: whether more than ``most`` is kept.
    """

    __slots__ = ("_bytes", "_most", "entries", "has_text", "is_full", "unread")

    def __init__(self, most: int) -> None:
        self.entries: list[bytes | Event] = []
        self.unread = 0
        self.has_text = False
        self.is_full = False
        self._bytes = 0
        self._most = most

    def put_off(self, blocks: list[bytes], unwanted: frozenset[str]) -> int:
        """Take blocks from the end of a list, as far as they are deltas that nobody wants, and return how many.

        Args:
            blocks: the next one last.
            unwanted: the wire names of the deltas that nobody wants.
        """
        count = 0
        while blocks and (name := name_of_delta(blocks[-1])) in unwanted:
            # Those behind it are mostly of the same kind: no code of Python's own is run for each of them.
            same = [blocks.pop(), *takewhile(BEGINS[name], reversed(blocks))]
            del blocks[len(blocks) - len(same) + 1 :]
            self.entries += same
            self.has_text = self.has_text or name == TEXT_DELTA
            count += len(same)
            self._note_size(self._bytes + sum(map(len, same)) + FRAME_BYTES * len(same))
            if self.is_full:
                break
        self.unread += count
        return count

    def add(self, event: Event) -> None:
        """Keep an event that came behind the deltas."""
        self.entries.append(event)
        self._note_size(self._bytes + size_of(event))

    def _note_size(self, size: int) -> None:
        self._bytes = size
        self.is_full = size > self._most

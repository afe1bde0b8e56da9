"""Server-sent events: bytes to frames and back, by the WHATWG algorithm, on bytes.

Stdlib only, and usable alone. The algorithm is section 9.2.6 of the HTML standard, "Interpreting an event stream"
(https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation). It works on bytes because
only CR and LF end a line: text methods would also split at U+2028, NEL, VT and FF.
"""

from itertools import takewhile
from sys import intern
from typing import NamedTuple

from streamkit.errors import FrameTooLarge, UsageError

MAX_EVENT_BYTES = 64 * 1024 * 1024
"""Default for ``max_event_bytes``: base64 images of tens of megabytes come as one event."""

_BOM = b"\xef\xbb\xbf"
_CR, _LF = b"\r\n"
_DIGITS = frozenset(b"0123456789")


class Frame(NamedTuple):
    """One server-sent event, still bytes."""

    event: str = "message"
    """The event's name; ``"message"`` where the stream names none."""
    data: bytes = b""
    """The ``data`` lines, joined with LF."""
    id: str = ""
    """The last event id at dispatch: it stays in force for later frames until the stream changes it."""
    retry: int | None = None
    """Reconnection time in milliseconds, where this frame sets one."""

    @property
    def text(self) -> str:
        """The data as text; bytes that are not UTF-8 become U+FFFD."""
        return self.data.decode("utf-8", "replace")


class Decoder:
    """Turns chunks of bytes into frames; any way of cutting the same bytes gives the same frames.

    Cost is linear in the bytes, whatever the chunks: nothing is scanned twice.

    Attributes:
        last_event_id: the last event id the stream set, also by a block without data.
        retry: the last reconnection time the stream set, in milliseconds.
    """

    __slots__ = (
        "_after_cr",
        "_at_start",
        "_head",
        "_is_settled",
        "_limit",
        "_name",
        "_pending",
        "_too_large",
        "last_event_id",
        "retry",
    )

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        if max_event_bytes < 1:
            raise UsageError(f"max_event_bytes must be at least 1, not {max_event_bytes}")
        self.last_event_id = ""
        self.retry: int | None = None
        self._limit = max_event_bytes
        # The bytes of the unfinished block, if there is one, with every line end already LF.
        self._pending: bytearray | None = None
        self._at_start = True
        self._after_cr = False
        self._too_large = False
        # Whether none of these three matters to the next chunk.
        self._is_settled = False
        # The last `event: NAME` and its name: most frames of a stream have the one of the frame before.
        self._head = b""
        self._name = "message"

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take the next bytes of the stream and return the frames they complete; raises as ``cut``."""
        frames: list[Frame] = []
        for block in blocks_in(self.cut(chunk)):
            frame = self.parse(block)
            if frame is not None:
                frames.append(frame)
        return frames

    def cut(self, chunk: bytes) -> bytes:
        """Take the next bytes of the stream and return the blocks they complete, in one piece, for ``blocks_in``.

        Returns:
            The blocks with blank lines between them, and none behind the last one; empty where there are no blocks.

        Raises:
            FrameTooLarge: an event passes ``max_event_bytes``. Blocks completed before it are returned first, the
                error is raised by the call after; the stream cannot be read further.
        """
        if not self._is_settled or _CR in chunk:
            chunk = self._normalise(chunk)
            if not chunk:
                return b""
        pending = self._pending
        if pending is not None:
            # The terminator may straddle the two, so the search starts at the last pending byte.
            start = len(pending) - 1
            pending += chunk
            if pending.find(b"\n\n", start) < 0:
                return self._check_limit(b"") if len(pending) > self._limit else b""
            chunk = bytes(pending)
            self._pending = None
        whole, _, rest = chunk.rpartition(b"\n\n")
        if rest:
            self._pending = bytearray(rest)
        return self._check_limit(whole) if len(chunk) > self._limit else whole

    def parse(self, block: bytes) -> Frame | None:
        """Return the frame of a block; ``None`` where it has no data, as with comments."""
        # Nearly every frame of the Responses API is `event: NAME` and one line of data.
        head, found, data = block.partition(b"\ndata: ")
        if found and _LF not in data and (head == self._head or self._is_event_line(head)):
            # What `Frame(...)` does, without a call of Python's own. The type of `__new__` is open in typeshed.
            fields = (self._name, data, self.last_event_id, None)
            return tuple.__new__(Frame, fields)  # pyright: ignore[reportUnknownMemberType]
        return self._parse_lines(block)

    def flush(self) -> Frame | None:
        """End the stream and return the last, unterminated block as a frame, if it has data.

        The standard drops such a block; whoever accepts it should know that it is whole (for JSON: that it parses).

        Raises:
            FrameTooLarge: an event passed ``max_event_bytes`` and no call has said so yet.
        """
        if self._too_large:
            raise FrameTooLarge(self._limit)
        block, self._pending = bytes(self._pending or b""), None
        return self._parse_lines(block)

    def _normalise(self, chunk: bytes) -> bytes:
        if self._too_large:
            raise FrameTooLarge(self._limit)
        if self._at_start:
            chunk = self._strip_bom(chunk)
        if self._after_cr and chunk:
            # A CR at the end of a chunk ended its line at once; an LF right after it belongs to the same line end.
            self._after_cr = False
            if chunk.startswith(b"\n"):
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._is_settled = not (self._at_start or self._after_cr)
        return chunk

    def _strip_bom(self, chunk: bytes) -> bytes:
        head = bytes(self._pending or b"") + chunk
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._pending = bytearray(head)
            return b""
        self._at_start = False
        self._pending = None
        return head.removeprefix(_BOM)

    def _check_limit(self, whole: bytes) -> bytes:
        """Return of some blocks those before one that is too large, if one is; raises ``FrameTooLarge`` for none."""
        blocks = blocks_in(whole)
        fitting = list(takewhile(self._fits, blocks))
        if len(fitting) < len(blocks) or not self._fits(self._pending or b""):
            self._too_large = True
            self._is_settled = False
            self._pending = None
            if not fitting:
                raise FrameTooLarge(self._limit)
        return b"\n\n".join(fitting)

    def _fits(self, block: bytes | bytearray) -> bool:
        # Of three LF in a row, it is chance whether the first or the last one is counted to a block.
        return len(block) - block.startswith(b"\n") - block.endswith(b"\n") <= self._limit

    def _is_event_line(self, head: bytes) -> bool:
        """Tell whether a frame begins with the event's name alone, and remember which one it is."""
        if _LF in head or not head.startswith(b"event: "):
            return False
        # One string for all streams: it is looked up for every frame.
        self._head, self._name = head, intern(head[7:].decode("utf-8", "replace")) or "message"
        return True

    def _parse_lines(self, block: bytes) -> Frame | None:
        event = b""
        data: list[bytes] = []
        retry: int | None = None
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                event = value
            elif field == b"id" and b"\0" not in value:
                self.last_event_id = value.decode("utf-8", "replace")
            elif field == b"retry" and value and _DIGITS.issuperset(value):
                retry = self.retry = _milliseconds(value)
        if not data:
            return None
        name = event.decode("utf-8", "replace") or "message"
        return Frame(name, b"\n".join(data), self.last_event_id, retry)


def blocks_in(whole: bytes) -> list[bytes]:
    """Return the blocks that ``cut`` gave in one piece, each for ``parse``, in this order."""
    return whole.split(b"\n\n") if whole else []


def _milliseconds(digits: bytes) -> int:
    # int() refuses text of more than 4,300 digits; a wait that long is no different from the longest.
    return int(digits[-18:]) if len(digits.lstrip(b"0")) <= 18 else 10**18


def encode(frame: Frame) -> bytes:
    """Write a frame as it goes over the wire; decoding the result gives an equal frame.

    CR and CRLF within the data become LF, as the format cannot tell them apart. The id is written only where it is not
    empty: in the format an id stays in force until it is changed, so a decoder also reports it for later frames.

    Raises:
        UsageError: the event's name or its id contains a line break, or the id a NUL.
    """
    lines: list[bytes] = []
    if frame.event != "message":
        lines.append(b"event: " + _single_line("event name", frame.event))
    if frame.id:
        lines.append(b"id: " + _single_line("id", frame.id))
    if frame.retry is not None:
        lines.append(b"retry: %d" % frame.retry)
    data = frame.data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines.extend(b"data: " + line for line in data.split(b"\n"))
    return b"\n".join(lines) + b"\n\n"


def _single_line(what: str, text: str) -> bytes:
    if "\n" in text or "\r" in text:
        raise UsageError(f"an SSE {what} cannot contain a line break: {text!r}")
    if what == "id" and "\0" in text:
        raise UsageError(f"an SSE id cannot contain NUL: {text!r}")
    return text.encode("utf-8", "replace")

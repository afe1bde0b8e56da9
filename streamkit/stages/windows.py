"""A growing text cut into windows for a check: what may pass of it, and what may not."""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from itertools import islice

from streamkit.verdict import Moderated


@dataclass(eq=False, slots=True)
class Window:
    """A piece of the text to be checked, with the end of what came before it."""

    text: str
    start: int
    end: int
    is_decided: bool = False
    is_removed: bool = False
    notice: Moderated | None = None


class WindowedText:
    """A text that grows, and passes as far as every window that a character stands in was decided.

    Each window begins with the last ``overlap`` characters before it, so that whatever is up to ``overlap + 1``
    characters long stands whole in one of them. Therefore the last ``overlap`` characters do not pass before the window
    behind them is decided, or the text is complete.

    Args:
        size: characters of a window, without the overlap.
        overlap: characters that a window shares with those before it.
    """

    def __init__(self, size: int, overlap: int) -> None:
        self._size = size
        self._overlap = overlap
        self.length = 0
        """Characters so far."""
        self._pieces: list[str] = []
        self._waiting: list[str] = []
        self._context = ""
        self._cut = 0
        self._completed = 0
        self._undecided: deque[Window] = deque()
        self._removed: list[tuple[int, int]] = []
        self._notices: deque[tuple[int, Moderated]] = deque()

    @property
    def is_waiting(self) -> bool:
        """Whether there are characters that no window has yet."""
        return self._cut < self.length

    @property
    def passable(self) -> int:
        """How many characters, counted from the beginning, are decided for good."""
        # What is removed stays so, whatever the windows say that reach back over it.
        removed = self._removed[-1][1] if self._removed else 0
        if self._undecided:
            return max(removed, self._undecided[0].start)
        return max(removed, self._completed, self._cut - self._overlap)

    def add(self, piece: str) -> list[Window]:
        """Append to the text and return the windows that are full by it, for ``decide``."""
        self._pieces.append(piece)
        self._waiting.append(piece)
        self.length += len(piece)
        if self.length - self._cut < self._size:
            return []
        text = "".join(self._waiting)
        whole = len(text) - len(text) % self._size
        self._waiting = [text[whole:]]
        return [self._open(text[at : at + self._size]) for at in range(0, whole, self._size)]

    def flush(self) -> list[Window]:
        """Return what fills no window yet as a window of its own, if there is anything."""
        text = "".join(self._waiting)
        self._waiting = []
        return [self._open(text)] if text else []

    def complete(self) -> list[Window]:
        """Take the text for complete and return what is left as a window. Should it go on, it begins anew in that."""
        windows = self.flush()
        self._completed = self.length
        self._context = ""
        return windows

    def decide(self, window: Window, *, removed: bool, notice: Moderated | None) -> None:
        """Say whether all of a window's text is removed, and what to tell of it; in any order of windows."""
        window.is_decided, window.is_removed, window.notice = True, removed, notice
        while self._undecided and self._undecided[0].is_decided:
            self._settle(self._undecided.popleft())

    def is_whole(self, text: str) -> bool:
        """Tell whether the text so far is this one."""
        if self.length != len(text):
            return False
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0] == text

    def first_removed(self, start: int, end: int) -> int | None:
        """Return where, between two positions, the first removed character stands."""
        if not self._removed:
            return None
        at = self._run_behind(start)
        if at < len(self._removed) and self._removed[at][0] < end:
            return max(self._removed[at][0], start)
        return None

    def without_removed(self, start: int, text: str, replacement: str) -> str:
        """Return a piece of the text, which begins at ``start``, with a replacement where a removed run begins."""
        kept: list[str] = []
        at, end = start, start + len(text)
        for first, behind in islice(self._removed, self._run_behind(start), None):
            if first >= end:
                break
            kept += (text[at - start : max(first - start, 0)], replacement if first >= start else "")
            at = min(behind, end)
        kept.append(text[at - start :])
        return "".join(kept)

    def take_notices(self, end: int) -> list[Moderated]:
        """Return, once, the notices of windows that begin before a position."""
        taken: list[Moderated] = []
        while self._notices and self._notices[0][0] < end:
            taken.append(self._notices.popleft()[1])
        return taken

    def _open(self, text: str) -> Window:
        window = Window(self._context + text, self._cut - len(self._context), self._cut + len(text))
        self._cut = window.end
        self._context = window.text[-self._overlap :] if self._overlap else ""
        self._undecided.append(window)
        return window

    def _settle(self, window: Window) -> None:
        if window.notice is not None:
            self._notices.append((window.start, window.notice))
        if window.is_removed:
            self._remove(window.start, window.end)

    def _remove(self, start: int, end: int) -> None:
        if self._removed and start <= self._removed[-1][1]:
            start = self._removed.pop()[0]
        self._removed.append((start, end))

    def _run_behind(self, position: int) -> int:
        return bisect_right(self._removed, position, key=lambda run: run[1])

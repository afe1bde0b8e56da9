"""Cuts text anew for display: a word or a line at a time, and at an even pace, however the server sent it."""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal
from unicodedata import category, combining

from streamkit.chat import ChatChunk
from streamkit.context import Run
from streamkit.errors import UsageError
from streamkit.events import (
    DeltaEvent,
    Event,
    Keepalive,
    OutputTextDelta,
    ReasoningDelta,
    ReasoningSummaryTextDelta,
    ReasoningTextDelta,
    RefusalDelta,
)
from streamkit.items import Logprob
from streamkit.merging import Part, part_of
from streamkit.stage import Passage, Stage

LONGEST_WORD = 40
"""A word with more characters is cut: some languages write whole sentences without a space."""
LONGEST_UNIT = 4096
"""A line, or a unit of a pattern, with more characters is cut."""
MAX_HELD_CHARACTERS = 64 * 1024
"""With so much text waiting for its turn, nothing more is read from the server."""
MAX_HELD_EVENTS = 64 * 1024
"""With so many events waiting for their turn, text or not, nothing more is read from the server."""

_TEXTS = (OutputTextDelta, RefusalDelta, ReasoningTextDelta, ReasoningDelta, ReasoningSummaryTextDelta)

# Besides marks and format characters: what attaches to the character before it, and what to the one after it.
_ATTACHED = re.compile("[\u0e33\u0eb3\u1160-\u11ff\ud7b0-\ud7ff\uff9e\uff9f\U0001f3fb-\U0001f3ff]")
_PREPENDED = re.compile(
    "[\u0d4e\U000111c2\U000111c3\U0001193f\U00011941\U00011a3a\U00011a84-\U00011a89\U00011d46\U00011f02]"
)
_HANGUL_LEADING = re.compile("[\u1100-\u115f\ua960-\ua97f]")
_HANGUL = re.compile("[\u1100-\u11ff\ua960-\ua97f\uac00-\ud7ff]")
_FLAG_LETTER = re.compile("[\U0001f1e6-\U0001f1ff]")
_VIRAMA = 9


def smooth(*, by: Literal["word", "line"] | re.Pattern[str] = "word", every: float | None = None) -> Stage:
    """Return a stage that cuts text anew, so that each delta of it is one unit to display.

    ::

        await client.run(dispatcher, stages=[smooth(by="word", every=0.02)], model="gpt-5", input="…")

    It applies to the deltas of output text, refusals, reasoning and reasoning summaries; arguments of tools, code and
    everything else stay as they are. No text is lost, and it keeps its place among the other events: before any of
    them, and where another part goes on, all text that is held comes out, whole unit or not. Only a keepalive, or a raw
    chunk of a chat, passes by text that is held, and loses its sequence number where it does.

    A unit is never cut within what is seen as one character: letters with accents, joined emoji, flags, syllables.

    A delta carries the sequence number, and the log probabilities, of the deltas of the wire that end in it: a stream
    that is resumed after that number repeats and skips no text. Where none ends in it, it has no number.

    Args:
        by: ``"word"``: a word with the space behind it. ``"line"``: a line with its newline. A pattern: each of its
            matches, with what lies between it and the one before. A match at the end of what has come is held, for it
            may go on. The pattern sees only the text that is still held, so that it must not look back. A unit is cut
            after ``LONGEST_WORD`` characters, or ``LONGEST_UNIT`` if it is not a word.
        every: seconds from one unit to the next; ``None`` to let them pass at once. What the server sends faster waits,
            its terminal event too; with ``MAX_HELD_CHARACTERS`` waiting, no more is read.

    Raises:
        UsageError: there is no such unit, or the seconds are not a positive number.
    """
    return _Smooth(_rule(by), None if every is None else _positive(every))


@dataclass(frozen=True, slots=True)
class _Rule:
    """Where a unit ends: with each match, if that cannot go on in text that has not come yet."""

    pattern: re.Pattern[str]
    longest: int
    can_go_on: bool

    def ends(self, text: str) -> Iterator[int]:
        """Yield where the units of a text end, ascending."""
        start = 0
        for match in self.pattern.finditer(text):
            end = match.end()
            if end > start and self._is_end(text, end):
                yield from self._cuts_of_long(text, start, end)
                yield end
                start = end
        yield from self._cuts_of_long(text, start, len(text))

    def _is_end(self, text: str, end: int) -> bool:
        if end == len(text):
            return not self.can_go_on
        return not is_within_character(text, end)

    def _cuts_of_long(self, text: str, start: int, stop: int) -> Iterator[int]:
        while stop - start > self.longest:
            latest = start + self.longest
            fitting = (end for end in range(latest, start, -1) if not is_within_character(text, end))
            # What is longer than a unit may be is no character of any script.
            start = next(fitting, latest)
            yield start


_RULES = {
    # The space may go on, but the lookahead sees to it that it does not.
    "word": _Rule(re.compile(r"\S\s+(?=\S)"), LONGEST_WORD, can_go_on=False),
    "line": _Rule(re.compile(r"\n"), LONGEST_UNIT, can_go_on=False),
}


def _rule(by: str | re.Pattern[str]) -> _Rule:
    if isinstance(by, str):
        if by in _RULES:
            return _RULES[by]
    elif type(getattr(by, "pattern", None)) is str:
        return _Rule(by, LONGEST_UNIT, can_go_on=True)
    raise UsageError(f'smooth(by=...) takes "word", "line" or a pattern of re.compile for str, not {by!r}')


def _positive(every: object) -> float:
    if isinstance(every, int | float) and 0 < every < inf:
        return every
    raise UsageError(f"smooth(every=...) takes a positive number of seconds, or None for no pause, not {every!r}")


def is_within_character(text: str, position: int) -> bool:
    """Tell whether what stands before a position and what stands behind it may be seen as one character.

    A simplification of Unicode's extended grapheme clusters that in doubt joins what those keep apart, as two flags.
    """
    before, after = text[position - 1], text[position]
    if before < "\x7f" and after < "\x7f":
        return before == "\r" and after == "\n"
    kind_before, kind_after = category(before), category(after)
    if "Cc" in (kind_before, kind_after):
        return False
    return (
        kind_after in ("Mn", "Mc", "Me", "Cf")
        or kind_before == "Cf"
        or _is_after_virama(text, position)
        or _ATTACHED.match(after) is not None
        or _PREPENDED.match(before) is not None
        or (_HANGUL_LEADING.match(before) is not None and _HANGUL.match(after) is not None)
        or (_FLAG_LETTER.match(before) is not None and _FLAG_LETTER.match(after) is not None)
    )


def _is_after_virama(text: str, position: int) -> bool:
    """Tell whether a virama stands before a position, with nothing but marks above or below it between."""
    while position:
        position -= 1
        if combining(text[position]) == _VIRAMA:
            return True
        # Not "Mc" too: Burmese, without spaces, has such a mark behind its virama at the end of many syllables.
        if category(text[position]) not in ("Mn", "Me", "Cf"):
            return False
    return False


@dataclass(frozen=True, slots=True)
class _Smooth(Stage):
    rule: _Rule
    every: float | None

    def open(self, run: Run[object], wake: Callable[[], None]) -> Passage:
        units = _Recut(self.rule)
        return units if self.every is None else _Paced(units, self.every, wake)


class _Recut(Passage):
    """Passes text by units, and each as soon as it is whole."""

    def __init__(self, rule: _Rule) -> None:
        self._rule = rule
        self._part: Part | None = None
        self._text = _HeldText()

    def feed(self, event: Event) -> list[Event]:
        if isinstance(event, _TEXTS):
            part = part_of(event)
            passing = [] if part == self._part else self.finish()
            self._part = part
            return [*passing, *self._cut(event)]
        if isinstance(event, Keepalive | ChatChunk) and self._text:
            return [_without_number(event)]
        return [*self.finish(), event]

    def finish(self) -> list[Event]:
        return [self._text.piece(self._text.end)] if self._text else []

    def _cut(self, event: DeltaEvent) -> list[Event]:
        if not event.delta and not self._text:
            return [event]
        if self._text.deltas >= self._rule.longest:
            # Only of deltas without text there can be so many.
            return [*self.finish(), *self._cut(event)]
        start = self._text.start
        text = self._text.add(event)
        return [self._text.piece(start + end) for end in self._rule.ends(text)]


class _HeldText:
    """The end of a text, which has not passed yet, and where the deltas that brought it ended.

    Attributes:
        start, end: its position, in characters, counted from the first that was ever held.
    """

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self._text = ""
        # Where the text begins that is kept: what passed is taken off only when more is added.
        self._kept_from = 0
        self._deltas: deque[tuple[int, DeltaEvent]] = deque()

    def __bool__(self) -> bool:
        return self.end > self.start

    @property
    def deltas(self) -> int:
        """How many deltas are held that have not passed whole."""
        return len(self._deltas)

    def add(self, event: DeltaEvent) -> str:
        """Hold another delta and return all text that is held."""
        self._text = self._text[self.start - self._kept_from :] + event.delta
        self._kept_from = self.start
        self.end += len(event.delta)
        self._deltas.append((self.end, event))
        return self._text

    def piece(self, end: int) -> DeltaEvent:
        """Let the text up to a position pass, in one delta."""
        text = self._text[self.start - self._kept_from : end - self._kept_from]
        self.start = end
        template = self._deltas[0][1]
        ended: list[DeltaEvent] = []
        while self._deltas and self._deltas[0][0] <= end:
            ended.append(self._deltas.popleft()[1])
        return _delta(ended[-1] if ended else template, text, ended)


def _delta(template: DeltaEvent, text: str, ended: Sequence[DeltaEvent]) -> DeltaEvent:
    if len(ended) == 1 and template.delta == text:
        return template
    changes: dict[str, object] = {"delta": text, "sequence_number": template.sequence_number if ended else None}
    if isinstance(template, OutputTextDelta):
        changes["logprobs"] = _logprobs(ended)
    return template.model_copy(update=changes)


def _without_number(event: Event) -> Event:
    return event if event.sequence_number is None else event.model_copy(update={"sequence_number": None})


def _logprobs(deltas: Iterable[DeltaEvent]) -> list[Logprob]:
    return [logprob for delta in deltas if isinstance(delta, OutputTextDelta) for logprob in delta.logprobs]


class _Paced(Passage):
    """Passes units of text one by one, with a pause after each; the events between them keep their place."""

    def __init__(self, units: _Recut, seconds: float, wake: Callable[[], None]) -> None:
        self._units = units
        self._seconds = seconds
        self._wake = wake
        self._queue: deque[Event] = deque()
        self._characters = 0
        self._pause: asyncio.TimerHandle | None = None

    @property
    def is_holding(self) -> bool:
        return bool(self._queue)

    @property
    def is_full(self) -> bool:
        return self._characters >= MAX_HELD_CHARACTERS or len(self._queue) >= MAX_HELD_EVENTS

    def feed(self, event: Event) -> list[Event]:
        return self._pass_after(self._units.feed(event))

    def release(self) -> list[Event]:
        return self._pass_after(())

    def finish(self) -> list[Event]:
        return self._pass_after(self._units.finish())

    async def aclose(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _pass_after(self, events: Iterable[Event]) -> list[Event]:
        """Let events wait for their turn, and return those whose turn it is."""
        for event in events:
            self._queue.append(event)
            self._characters += _length(event)
        passing: list[Event] = []
        while self._queue and not (self._pause and isinstance(self._queue[0], _TEXTS)):
            event = self._queue.popleft()
            self._characters -= _length(event)
            passing.append(event)
            if isinstance(event, _TEXTS):
                self._pause = asyncio.get_running_loop().call_later(self._seconds, self._end_pause)
        return passing

    def _end_pause(self) -> None:
        self._pause = None
        if self._queue:
            self._wake()


def _length(event: Event) -> int:
    return len(event.delta) if isinstance(event, DeltaEvent) else 0

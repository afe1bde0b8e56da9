"""Moderation of a stream: text is held back until the windows that contain it were checked."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, Protocol, TypeVar, get_args

from pydantic import BaseModel, Field

from streamkit import events as ev
from streamkit.accumulator import Accumulator
from streamkit.chat import ChatChunk
from streamkit.context import Run
from streamkit.errors import UsageError
from streamkit.growing import GrowingItem
from streamkit.items import OutputItem
from streamkit.outcome import Notice
from streamkit.response import IncompleteDetails, ModerationResult
from streamkit.stage import Passage, Stage
from streamkit.stages.checks import Check, Checks
from streamkit.stages.texts import Place, Text, adds_text, bare_copy, ends_text, item_of, texts_of, with_texts
from streamkit.stages.windows import Window, WindowedText
from streamkit.synthesis import missing_events
from streamkit.verdict import Channel, Moderated, Verdict, verdict_of

CHANNELS: tuple[Channel, ...] = get_args(Channel)
MAX_UNCHECKED_CHARACTERS = 64 * 1024
"""While more than this waits for its check, nothing is read from the server."""
MAX_HELD_EVENTS = 10_000
"""When more events than this wait for a text that does not go on, it is taken for complete."""

Word = TypeVar("Word", bound=str)
OnFlag = Literal["block", "replace", "annotate"]
OnError = Literal["closed", "open"]


class JsonClient(Protocol):
    """What is needed of a client: a request in JSON to its server. ``streamkit.Client`` is one."""

    def post_json(self, path: str, body: dict[str, object]) -> Awaitable[bytes]:
        """Send a body to a path below the base address and return the body of the answer."""
        ...


class _ModerationAnswer(BaseModel):
    results: list[ModerationResult] = Field(min_length=1)


def openai_moderation(client: JsonClient, model: str = "omni-moderation-latest") -> Check:
    """Return a check that asks the moderation endpoint of a client's server.

    Args:
        client: a ``streamkit.Client``.
        model: the moderation model.
    """

    async def check(text: str) -> Verdict:
        answer = await client.post_json("moderations", {"model": model, "input": text})
        verdict = verdict_of(_ModerationAnswer.model_validate_json(answer).results[0])
        if verdict is None:
            raise ValueError("the moderation endpoint answered without a verdict")
        return verdict

    return check


class Moderate(Stage):
    """Holds text back until it was checked, so that nothing flagged is ever delivered.

    The text of each part is cut into windows, and each window is shown to the check together with the end of the text
    before it. A character passes when every window that it stands in has passed: a hit of up to ``overlap + 1``
    characters is seen whole, wherever a window ends. Checks run beside the stream; events pass in order all the same.
    Deltas pass whole, so that their numbers stay right, and events without text wait for the text before them.

    Handlers get a ``Moderated`` notice before the text that it is about. See docs/moderation.md.

    Args:
        check: an async callable that takes a text and returns a ``Verdict``.
        window: characters of a window.
        overlap: characters before a window that are shown to the check with it.
        every: seconds after which a window is checked that has not filled; ``None`` to wait until it has.
        on_flag: ``"block"`` cancels the response and ends it as incomplete, reason ``content_filter``; ``"replace"``
            puts a replacement in the place of the window's text, also where the text is repeated; ``"annotate"`` lets
            it pass with the notice.
        replacement: what stands in the place of flagged text.
        channels: what to check. The others pass unchecked, but in order.
        timeout: seconds a check may take before it has failed; ``None`` for no limit.
        on_error: whether text passes whose check has failed: ``"closed"`` treats it as flagged.
        max_checks: how many checks may run at a time for one run.

    Raises:
        UsageError: an argument is out of its range.
    """

    def __init__(
        self,
        check: Check,
        *,
        window: int = 200,
        overlap: int = 40,
        every: float | None = 1.0,
        on_flag: OnFlag = "block",
        replacement: str = "[removed]",
        channels: Collection[Channel] = CHANNELS,
        timeout: float | None = 10.0,
        on_error: OnError = "closed",
        max_checks: int = 8,
    ) -> None:
        if not callable(check):
            raise UsageError(f"Moderate: check must be an async function of a text, not {check!r}")
        self.check = check
        self.window = _at_least("window", window, 1)
        self.overlap = _at_least("overlap", overlap, 0)
        self.every = _positive("every", every)
        self.on_flag: OnFlag = _one_of("on_flag", on_flag, get_args(OnFlag))
        self.replacement = _text("replacement", replacement)
        self.channels = frozenset(_one_of("channels", channel, CHANNELS) for channel in channels)
        self.timeout = _positive("timeout", timeout)
        self.on_error: OnError = _one_of("on_error", on_error, get_args(OnError))
        self.max_checks = _at_least("max_checks", max_checks, 1)

    def open(self, run: Run[object], wake: Callable[[], None]) -> Passage:
        """Return the passage for a run."""
        return _ModeratedRun(self, wake)


def _at_least(name: str, value: object, least: int) -> int:
    if not isinstance(value, int) or value < least:
        raise UsageError(f"Moderate: {name} must be a whole number, at least {least}, not {value!r}")
    return value


def _positive(name: str, value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or not value > 0:
        raise UsageError(f"Moderate: {name} must be a number of seconds above 0, or None; not {value!r}")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f"Moderate: {name} must be a text, not {value!r}")
    return value


def _one_of(name: str, value: Word, allowed: Collection[Word]) -> Word:
    if value not in allowed:
        raise UsageError(f"Moderate: {name} must be of {', '.join(map(repr, allowed))}, not {value!r}")
    return value


@dataclass(eq=False, slots=True)
class _Part:
    """A text on its way through the check, and where it belongs."""

    place: Place
    text: WindowedText
    timer: asyncio.TimerHandle | None = None


class _Span(NamedTuple):
    """A text of an event, as a piece of the text of its part."""

    text: Text
    part: WindowedText
    start: int
    end: int

    @property
    def first_removed(self) -> int | None:
        return self.part.first_removed(self.start, self.end)


class _Held(NamedTuple):
    """An event that waits: for the events before it, and for its texts."""

    event: ev.Event
    spans: list[_Span]


class _ModeratedRun(Passage):
    """Moderation at work in one run."""

    def __init__(self, rules: Moderate, wake: Callable[[], None]) -> None:
        self._rules = rules
        self._wake = wake
        self._checks = Checks(rules.check, timeout=rules.timeout, at_once=rules.max_checks)
        self._held: deque[_Held] = deque()
        self._parts: dict[Place, _Part] = {}
        self._open: dict[Place, _Part] = {}
        self._passed = Accumulator()
        self._is_over = False
        self._misuse: UsageError | None = None

    def feed(self, event: ev.Event) -> Iterable[ev.Event | Notice]:
        """Hold an event until its texts and all before it may pass."""
        if self._is_over or isinstance(event, ChatChunk):
            # A raw chunk tells its texts before they are checked; the events that follow from it tell them again.
            return ()
        if isinstance(event, ev.ResponseEvent) and not isinstance(event, ev.TerminalEvent):
            event = self._without_output(event)
        self._held.append(_Held(event, self._spans_of(event)))
        if len(self._held) > MAX_HELD_EVENTS and not self._checks.unchecked:
            self._complete(self._open)
        return self._let_pass()

    def release(self) -> Iterable[ev.Event | Notice]:
        """Return what the checks that have ended let pass."""
        if self._misuse is not None:
            raise self._misuse
        return self._let_pass()

    def finish(self) -> Iterable[ev.Event | Notice]:
        """Take all texts for complete, as far as they came."""
        self._complete(self._open)
        return self._let_pass()

    @property
    def is_holding(self) -> bool:
        """Whether events wait; once all texts are complete, they wait for nothing but checks."""
        return bool(self._held)

    @property
    def is_full(self) -> bool:
        """Whether the checks do not keep up."""
        unchecked = self._checks.unchecked
        return unchecked > MAX_UNCHECKED_CHARACTERS or (unchecked > 0 and len(self._held) > MAX_HELD_EVENTS)

    async def aclose(self) -> None:
        """Give up the checks that run."""
        self._end()
        await self._checks.aclose()

    def _texts_of(self, event: ev.Event) -> list[Text]:
        return [text for text in texts_of(event) if text.place.channel in self._rules.channels]

    def _without_output(self, event: ev.ResponseEvent) -> ev.ResponseEvent:
        """Leave out what a response that goes on has so far: the events before it told that, and may still be held."""
        if not self._texts_of(event):
            return event
        return bare_copy(event, {"response": bare_copy(event.response, {"output": []})})

    def _spans_of(self, event: ev.Event) -> list[_Span]:
        """Give the texts of an event to the parts they belong to, and return where in these they stand."""
        texts = self._texts_of(event)
        if adds_text(event):
            return [self._add(text) for text in texts]
        spans = [self._repeat(text) for text in texts]
        if ends_text(event):
            name = item_of(event)
            self._complete([place for place in self._open if name is None or place.item == name])
        return spans

    def _add(self, text: Text) -> _Span:
        part = self._open.get(text.place) or self._begin(text.place)
        start = part.text.length
        windows = part.text.add(text.text)
        if windows:
            self._check(part, windows)
        if part.timer is None and part.text.is_waiting and self._rules.every is not None:
            loop = asyncio.get_running_loop()
            part.timer = loop.call_later(self._rules.every, lambda: self._check(part, part.text.flush()))
        return _Span(text, part.text, start, part.text.length)

    def _begin(self, place: Place) -> _Part:
        """Open the text of a part."""
        # Parts come one after the other: those before it end here, even where the server does not say so. Only calls
        # may be written side by side.
        self._complete([other for other in self._open if other.channel != "arguments"])
        part = self._parts.setdefault(place, self._new_part(place))
        self._open[place] = part
        return part

    def _repeat(self, text: Text) -> _Span:
        """Find the part whose text is told once more as a whole; what was not seen before is checked as a new one."""
        for place in (text.place, text.by_id):
            part = self._parts.get(place) if place else None
            if part is not None and part.text.is_whole(text.text):
                return _Span(text, part.text, 0, part.text.length)
        part = self._new_part(text.place)
        self._complete([text.place] if text.place in self._open else ())
        self._parts[text.place] = part
        self._check(part, [*part.text.add(text.text), *part.text.complete()])
        return _Span(text, part.text, 0, part.text.length)

    def _new_part(self, place: Place) -> _Part:
        return _Part(place, WindowedText(self._rules.window, self._rules.overlap))

    def _complete(self, places: Iterable[Place]) -> None:
        for place in list(places):
            part = self._open.pop(place)
            self._check(part, part.text.complete())

    def _check(self, part: _Part, windows: Iterable[Window]) -> None:
        if part.timer is not None:
            part.timer.cancel()
            part.timer = None
        for window in windows:
            self._checks.submit(window.text, partial(self._decide, part, window))

    def _decide(self, part: _Part, window: Window, answer: Verdict | Exception) -> None:
        if isinstance(answer, UsageError):
            self._misuse = answer
        else:
            notice = self._notice(part.place, window, answer)
            removed = notice is not None and notice.action != "annotate"
            part.text.decide(window, removed=removed, notice=notice)
        self._wake()

    def _notice(self, place: Place, window: Window, answer: Verdict | Exception) -> Moderated | None:
        error = answer if isinstance(answer, Exception) else None
        passes = error is not None and self._rules.on_error == "open"
        verdict = answer if isinstance(answer, Verdict) else Verdict(flagged=not passes)
        if error is None and not verdict.flagged:
            return None
        return Moderated(
            verdict=verdict,
            reason="flagged" if error is None else "check_failed",
            action="annotate" if passes else self._rules.on_flag,
            channel=place.channel,
            output_index=place.item if isinstance(place.item, int) else None,
            part_index=place.part_index,
            start=window.start,
            end=window.end,
            error=error,
        )

    def _let_pass(self) -> list[ev.Event | Notice]:
        passed: list[ev.Event | Notice] = []
        while self._held:
            held = self._held[0]
            if self._rules.on_flag == "block" and any(span.first_removed is not None for span in held.spans):
                passed += self._block(held)
            elif all(span.end <= span.part.passable for span in held.spans):
                passed += self._judge(self._held.popleft())
            else:
                break
        return passed

    def _judge(self, held: _Held) -> Iterable[ev.Event | Notice]:
        """Yield what passes of an event whose texts are decided."""
        yield from _notices(held)
        event = self._allowed(held)
        if event is None:
            return
        yield self._deliver(event)

    def _allowed(self, held: _Held) -> ev.Event | None:
        event = held.event
        if isinstance(event, ev.OutputTextAnnotationAdded) and self._is_changed(event):
            return None
        replaced = [
            (span.text, span.part.without_removed(span.start, span.text.text, self._rules.replacement))
            for span in held.spans
            if span.first_removed is not None
        ]
        if not replaced:
            return event
        if isinstance(event, ev.DeltaEvent) and not replaced[0][1]:
            return None
        return with_texts(event, replaced)

    def _is_changed(self, event: ev.OutputTextAnnotationAdded) -> bool:
        """Whether an annotation belongs to a text that has lost something, where it may point anywhere."""
        part = self._parts.get(Place("text", item_of(event), ("content", event.content_index or 0, "text")))
        return part is not None and part.text.first_removed(0, part.text.length) is not None

    def _block(self, held: _Held) -> Iterable[ev.Event | Notice]:
        """Yield what stands before the flagged text, the verdict, and the end of the response as it was delivered."""
        if isinstance(held.event, ev.DeltaEvent):
            (span,) = held.spans
            kept = span.text.text[: (span.first_removed or 0) - span.start]
            if kept:
                yield self._deliver(with_texts(held.event, [(span.text, kept)]))
        yield from _notices(held)
        for event in _closing(self._passed):
            yield self._deliver(event)
        self._end()

    def _deliver(self, event: ev.Event) -> ev.Event:
        self._passed.add(event)
        return event

    def _end(self) -> None:
        self._is_over = True
        self._held.clear()
        for part in self._open.values():
            if part.timer is not None:
                part.timer.cancel()


def _notices(held: _Held) -> Iterable[Moderated]:
    for span in held.spans:
        yield from span.part.take_notices(span.end)


_ClosingEvent = (
    ev.OutputTextDone
    | ev.RefusalDone
    | ev.ReasoningTextDone
    | ev.ReasoningSummaryTextDone
    | ev.ContentPartDone
    | ev.ReasoningSummaryPartDone
    | ev.OutputItemDone
    | ev.TerminalEvent
)


def _closing(passed: Accumulator) -> list[ev.Event]:
    """Return the events that close what has passed, as a server closes a response that it filters."""
    output = [_left_incomplete(item, passed.item(index)) for index, item in enumerate(passed.snapshot().output)]
    changes = {"status": "incomplete", "incomplete_details": IncompleteDetails(reason="content_filter")}
    response = passed.snapshot().model_copy(update={**changes, "output": output})
    # The arguments of a call are not finished by it: a handler might carry the call out.
    return [event for event in missing_events(response, passed, None) if isinstance(event, _ClosingEvent)]


def _left_incomplete(item: OutputItem, passed: GrowingItem | None) -> OutputItem:
    is_done = passed is not None and passed.done
    return item if is_done else item.model_copy(update={"status": "incomplete"})

"""Text is cut anew, by units, without loss, without splitting what is seen as one character, and at an even pace."""

import asyncio
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from streamkit import StreamRun
from streamkit.errors import UsageError
from streamkit.events import (
    DeltaEvent,
    Event,
    FunctionCallArgumentsDelta,
    Keepalive,
    OutputTextDelta,
    OutputTextDone,
    ReasoningDelta,
    ReasoningSummaryTextDelta,
    ReasoningTextDelta,
    RefusalDelta,
    ResponseCompleted,
)
from streamkit.response import Response
from streamkit.stage import Passage, Stage
from streamkit.stages.smooth import LONGEST_UNIT, LONGEST_WORD, is_within_character, smooth
from tests import virtual_time
from tests.scripted import ScriptedSource

By = Any
TEXTS = (OutputTextDelta, RefusalDelta, ReasoningTextDelta, ReasoningDelta, ReasoningSummaryTextDelta)
FAMILY = "\U0001f469\u200d\U0001f467"
FLAG = "\U0001f1e9\U0001f1ea"
COMPLETED = ResponseCompleted(response=Response(status="completed"))


def text(delta: str, number: int | None = None, part: int = 0, **fields: Any) -> OutputTextDelta:
    return OutputTextDelta(delta=delta, output_index=part, content_index=0, sequence_number=number, **fields)


def done(number: int | None = None) -> OutputTextDone:
    return OutputTextDone(text="", output_index=0, content_index=0, sequence_number=number)


def opened(stage: Stage, wake: Any = lambda: None) -> Passage:
    return stage.open(StreamRun(ScriptedSource()), wake)


def passed(stage: Stage, events: Iterable[Event]) -> list[Any]:
    """What comes out of a stage that does not wait, up to the end of the stream."""
    passage = opened(stage)
    out = [passing for event in events for passing in passage.feed(event)]
    assert not passage.is_holding
    return [*out, *passage.finish()]


def units(by: By, *deltas: str) -> list[str]:
    return [event.delta for event in passed(smooth(by=by), map(text, deltas))]


WORDS = re.compile(r"\w+")
SENTENCES = re.compile(r"[.!?]+\s*")


@pytest.mark.parametrize(
    ("by", "deltas", "expected"),
    [
        ("word", ["Hello"], ["Hello"]),
        ("word", ["Hel", "lo wor", "ld"], ["Hello ", "world"]),
        ("word", ["one two  three\n\nfour"], ["one ", "two  ", "three\n\n", "four"]),
        ("word", ["one ", " ", "two"], ["one  ", "two"]),
        ("word", ["  one", " two"], ["  one ", "two"]),
        ("word", ["a" * 95], ["a" * LONGEST_WORD, "a" * LONGEST_WORD, "a" * 15]),
        ("word", ["\u4f60\u597d"] * 25, ["\u4f60\u597d" * 20, "\u4f60\u597d" * 5]),
        ("line", ["one\ntwo", " words\n", "\nlast"], ["one\n", "two words\n", "\n", "last"]),
        ("line", ["one\r", "\ntwo"], ["one\r\n", "two"]),
        ("line", ["x" * (LONGEST_UNIT + 1)], ["x" * LONGEST_UNIT, "x"]),
        (WORDS, ["one, t", "wo; "], ["one", ", two", "; "]),
        (WORDS, ["on", "e"], ["one"]),
        (SENTENCES, ["Yes. N", "o!", "? Well"], ["Yes. ", "No!? ", "Well"]),
        (re.compile("x*"), ["abxx", "xc"], ["a", "bxxx", "c"]),
        (re.compile("(?=[A-Z])"), ["oneTwoThr", "ee"], ["one", "Two", "Three"]),
        (re.compile("."), ["cafe", "\u0301!"], ["c", "a", "f", "e\u0301", "!"]),
        (re.compile("."), ["a" + FAMILY, FAMILY[:1], FAMILY[1:]], ["a", FAMILY, FAMILY]),
        (re.compile("."), [FAMILY[:2], FAMILY[2:], "\U0001f3fd", "\ufe0f"], [FAMILY + "\U0001f3fd\ufe0f"]),
        (re.compile("."), ["x", FLAG[0], FLAG[1] + "x"], ["x", FLAG, "x"]),
        (re.compile("."), ["\u1112", "\u1161\u11ab\uae00"], ["\u1112\u1161\u11ab", "\uae00"]),
        (re.compile("."), ["\u0915\u094d\u0937", "\u093f\u0915"], ["\u0915\u094d\u0937\u093f", "\u0915"]),
        (re.compile("."), ["\u0915\u094d\u0301", "\u0937x"], ["\u0915\u094d\u0301\u0937", "x"]),
        (re.compile("."), ["\u0915\u094d\u200d\u0301\u0937x"], ["\u0915\u094d\u200d\u0301\u0937", "x"]),
        (re.compile("."), ["\u0915\u094d\u0903\u0937"], ["\u0915\u094d\u0903", "\u0937"]),
        (re.compile("."), ["\u1b13\u1b44\u1b13x"], ["\u1b13\u1b44\u1b13", "x"]),
        (re.compile("."), ["\u0301\u0915\u0301\u0937"], ["\u0301", "\u0915\u0301", "\u0937"]),
        (re.compile("."), ["\u0d4e\u0d15", "\u0e01", "\u0e33"], ["\u0d4e\u0d15", "\u0e01\u0e33"]),
        ("word", ["a ", "\u0301b c"], ["a \u0301b ", "c"]),
        ("word", ["e" + "\u0301" * 60], ["e" + "\u0301" * 39, "\u0301" * 21]),
        ("word", ["x" * 39 + "e", "\u0301" + "x" * 40], ["x" * 39, "e\u0301" + "x" * 38, "xx"]),
    ],
)
def test_each_delta_is_one_unit(by: By, deltas: list[str], expected: list[str]) -> None:
    assert units(by, *deltas) == expected


@pytest.mark.parametrize("by", ["words", "", b"word", None, 3, re.compile(b"x")])
def test_there_is_no_other_unit(by: By) -> None:
    with pytest.raises(UsageError, match="smooth"):
        smooth(by=by)


@pytest.mark.parametrize("every", [0, -1, float("nan"), float("inf"), "1"])
def test_a_pause_takes_time(every: Any) -> None:
    with pytest.raises(UsageError, match="None for no pause"):
        smooth(every=every)


@pytest.mark.parametrize("model", TEXTS)
def test_every_kind_of_text_is_cut(model: Any) -> None:
    out = passed(smooth(), [model(delta="one t", output_index=0), model(delta="wo", output_index=0)])
    assert [(type(event), event.delta) for event in out] == [(model, "one "), (model, "two")]


def test_what_is_no_text_is_not_cut() -> None:
    events = [FunctionCallArgumentsDelta(delta='{"a b": 1}', output_index=0), done(), Keepalive(), COMPLETED]
    assert passed(smooth(), events) == events


def test_all_text_comes_before_another_event_or_part() -> None:
    events = [text("one"), text("two", part=1), done(), text("th"), COMPLETED]
    assert passed(smooth(), events) == events


def test_an_item_is_known_by_its_index_and_only_without_one_by_its_id() -> None:
    rotating = [text("o", item_id="a"), text("ne", item_id="b")]
    assert [event.delta for event in passed(smooth(), rotating)] == ["one"]
    nameless = [OutputTextDelta(delta="o", item_id="a"), OutputTextDelta(delta="ne", item_id="b")]
    assert [event.delta for event in passed(smooth(), nameless)] == ["o", "ne"]


def test_a_keepalive_passes_by_held_text_without_its_number() -> None:
    out = passed(smooth(), [Keepalive(sequence_number=1), text("o", 2), Keepalive(sequence_number=3), text("ne", 4)])
    assert [(event.type, event.sequence_number) for event in out] == [
        ("keepalive", 1),
        ("keepalive", None),
        ("response.output_text.delta", 4),
    ]


def test_a_delta_has_the_number_of_the_last_one_that_ends_in_it() -> None:
    out = passed(smooth(), [text("a", 1), text("b c d", 2), text("", 3), text("e", 4), done(5)])
    assert [(getattr(event, "delta", None), event.sequence_number) for event in out] == [
        ("ab ", 1),
        ("c ", None),
        ("de", 4),
        (None, 5),
    ]


def test_log_probabilities_stay_with_the_end_of_their_text() -> None:
    events = [text(piece, logprobs=[{"token": piece}]) for piece in ("one", " tw", "o", " ", "")]
    tokens = [(event.delta, [logprob.token for logprob in event.logprobs]) for event in passed(smooth(), events)]
    assert tokens == [("one ", ["one"]), ("two ", [" tw", "o", " ", ""])]


def test_a_delta_that_is_a_unit_passes_as_it_is() -> None:
    event = text("one\n", 1)
    assert passed(smooth(by="line"), [event])[0] is event


def test_an_empty_delta_passes() -> None:
    assert passed(smooth(), [text(""), text("a"), done()]) == [text(""), text("a"), done()]


def test_no_more_deltas_are_held_than_characters_may_be() -> None:
    out = passed(smooth(), [text("a"), *[text("")] * LONGEST_WORD, text("b"), done()])
    assert [event.delta for event in out[:-1]] == ["a", "", "b"]


# What grapheme clusters are made of, and what separates them.
ALPHABET = "ab  \n\r\u4f60\u0301\u200d\ufe0f\U0001f469\U0001f3fd\U0001f1e9\u1112\u1161\u11ab\uae00\u094d\u0915"
PIECES = st.lists(st.text(ALPHABET, max_size=12), max_size=12)
BYS = st.sampled_from(["word", "line", WORDS, SENTENCES, re.compile("."), re.compile(r"(?<=a)\s*"), re.compile("")])
OTHERS = st.sampled_from([done(), Keepalive(), FunctionCallArgumentsDelta(delta="{}", output_index=0), COMPLETED])
STREAMS = st.lists(
    st.builds(text, st.text(ALPHABET, max_size=12), part=st.integers(0, 1)) | OTHERS,
    max_size=20,
)


def atoms(events: Iterable[Event]) -> list[Any]:
    """Every character with its part, and every other event but keepalives, which pass by text."""
    kept = [event for event in events if not isinstance(event, Keepalive)]
    return [atom for e in kept for atom in ([(e.output_index, c) for c in e.delta] if isinstance(e, TEXTS) else [e])]


@given(STREAMS, BYS)
@examples(max_examples=80)
def test_no_text_is_lost_and_every_event_keeps_its_place(events: list[Event], by: By) -> None:
    out = passed(smooth(by=by), events)
    assert atoms(out) == atoms(events)
    assert out.count(Keepalive()) == events.count(Keepalive())


@given(STREAMS, BYS)
@examples(max_examples=60)
def test_a_number_is_passed_when_all_before_it_is(events: list[Event], by: By) -> None:
    numbered = [event.model_copy(update={"sequence_number": number}) for number, event in enumerate(events)]
    seen = ""
    for event in passed(smooth(by=by), numbered):
        seen += event.delta if isinstance(event, TEXTS) else ""
        if event.sequence_number is not None:
            upto = numbered[: event.sequence_number + 1]
            assert seen.startswith("".join(before.delta for before in upto if isinstance(before, TEXTS)))


@given(PIECES, BYS)
@examples(max_examples=100)
def test_no_cut_is_within_what_is_seen_as_one_character(pieces: list[str], by: By) -> None:
    for left, right in pairwise(piece for piece in units(by, *pieces) if piece):
        assert not is_within_character(left + right, len(left))


@given(PIECES, st.sampled_from(["word", "line"]))
@examples(max_examples=80)
def test_units_do_not_depend_on_how_the_text_came(pieces: list[str], by: By) -> None:
    whole = "".join(pieces)
    if max(map(len, [*whole.split(), ""])) < LONGEST_WORD / 2 and "   " not in whole:
        assert [piece for piece in units(by, *pieces) if piece] == [piece for piece in units(by, whole) if piece]


class Clocked:
    """A stage in virtual time: what passes, and when."""

    def __init__(self, stage: Stage) -> None:
        self.passed: list[tuple[float, Event]] = []
        self.passage = opened(stage, self.woken)

    def feed(self, *events: Event) -> None:
        for event in events:
            self.note(self.passage.feed(event))

    def woken(self) -> None:
        self.note(self.passage.release())

    def note(self, events: Iterable[Any]) -> None:
        self.passed += [(asyncio.get_running_loop().time(), event) for event in events]

    @property
    def times(self) -> list[tuple[Any, str]]:
        return [
            (pytest.approx(when), event.delta if isinstance(event, DeltaEvent) else event.type)
            for when, event in self.passed
        ]


def test_units_pass_one_by_one_and_the_end_behind_them() -> None:
    async def main() -> None:
        clocked = Clocked(smooth(every=0.5))
        clocked.feed(text("one two three"), done(), COMPLETED)
        assert clocked.passage.is_holding
        await asyncio.sleep(10)
        assert clocked.times == [
            (0, "one "),
            (0.5, "two "),
            (1.0, "three"),
            (1.0, "response.output_text.done"),
            (1.0, "response.completed"),
        ]
        assert not clocked.passage.is_holding

    virtual_time.run(main())


def test_what_comes_slowly_does_not_wait() -> None:
    async def main() -> None:
        clocked = Clocked(smooth(every=0.5))
        for delta in ("one t", "wo t", "hree"):
            clocked.feed(text(delta))
            await asyncio.sleep(2)
        clocked.note(clocked.passage.finish())
        assert clocked.times == [(0, "one "), (2, "two "), (6, "three")]
        await clocked.passage.aclose()

    virtual_time.run(main())


def test_what_runs_ahead_too_far_is_full_until_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.stages.smooth.MAX_HELD_CHARACTERS", 10)

    async def main() -> None:
        clocked = Clocked(smooth(every=1))
        is_full = []
        for delta in ("1234 1234 12345 ", "1 "):
            clocked.feed(text(delta))
            is_full.append(clocked.passage.is_full)
        await asyncio.sleep(1.5)
        assert [*is_full, clocked.passage.is_full] == [False, True, False]
        await clocked.passage.aclose()

    virtual_time.run(main())


def test_events_have_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.stages.smooth.MAX_HELD_EVENTS", 3)

    async def main() -> None:
        clocked = Clocked(smooth(every=1))
        clocked.feed(text("one two"), done(), Keepalive())
        assert clocked.passage.is_full
        await clocked.passage.aclose()

    virtual_time.run(main())


def test_a_closed_stage_wakes_nobody() -> None:
    async def main() -> None:
        clocked = Clocked(smooth(every=1))
        clocked.feed(text("one two three"))
        await clocked.passage.aclose()
        await clocked.passage.aclose()
        await asyncio.sleep(10)
        assert clocked.times == [(0, "one ")]

    virtual_time.run(main())


@given(PIECES, st.sampled_from(["word", "line", WORDS]), st.integers(0, 3))
@examples(max_examples=40)
def test_a_pace_changes_nothing_but_the_time(pieces: list[str], by: By, pause: int) -> None:
    events = [*map(text, pieces), done(), COMPLETED]

    async def main() -> None:
        clocked = Clocked(smooth(by=by, every=1))
        for event in events:
            clocked.feed(event)
            await asyncio.sleep(pause)
        await asyncio.sleep(1000)
        assert [event for _, event in clocked.passed] == passed(smooth(by=by), events)
        times = [when for when, event in clocked.passed if isinstance(event, TEXTS)]
        assert all(later - earlier >= 0.999 for earlier, later in pairwise(times))
        await clocked.passage.aclose()

    virtual_time.run(main())

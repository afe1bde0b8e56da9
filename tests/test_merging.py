"""Which deltas can be joined, and that joining them loses nothing."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.events import (
    EVENTS,
    ApplyPatchCallOperationDiffDelta,
    AudioDelta,
    AudioTranscriptDelta,
    CodeInterpreterCallCodeDelta,
    CustomToolCallInputDelta,
    DeltaEvent,
    FunctionCallArgumentsDelta,
    McpCallArgumentsDelta,
    OutputTextDelta,
    ReasoningDelta,
    ReasoningSummaryTextDelta,
    ReasoningTextDelta,
    RefusalDelta,
    ShellCallCommandDelta,
)
from streamkit.items import Logprob
from streamkit.merging import LOOSE_DELTAS, GrowingDelta, joined, part_of

JOINABLE: set[type[DeltaEvent]] = {
    ApplyPatchCallOperationDiffDelta,
    AudioTranscriptDelta,
    CodeInterpreterCallCodeDelta,
    CustomToolCallInputDelta,
    FunctionCallArgumentsDelta,
    McpCallArgumentsDelta,
    OutputTextDelta,
    ReasoningDelta,
    ReasoningSummaryTextDelta,
    ReasoningTextDelta,
    RefusalDelta,
    ShellCallCommandDelta,
}


def text(delta: str = "", **fields: Any) -> OutputTextDelta:
    return OutputTextDelta(delta=delta, **fields)


def call(delta: str = "", **fields: Any) -> FunctionCallArgumentsDelta:
    return FunctionCallArgumentsDelta(delta=delta, **fields)


def test_every_delta_but_audio_can_be_joined() -> None:
    deltas = {model for model in EVENTS.values() if issubclass(model, DeltaEvent)}
    joinable = {model for model in deltas if part_of(model.model_validate({"delta": ""})) is not None}
    assert joinable == JOINABLE == deltas - {AudioDelta}


def test_a_class_of_somebody_else_is_not_joined() -> None:
    class Special(OutputTextDelta):
        extra_text: str = ""

    assert part_of(Special(delta="")) is None


SAME: list[tuple[DeltaEvent, DeltaEvent]] = [
    (text("a"), text("b", sequence_number=7)),
    (text(output_index=0, item_id="a"), text(output_index=0, item_id="rotated")),
    (call(output_index=1, item_id="a"), call(output_index=1)),
    (call(item_id="a"), call(item_id="a")),
    (AudioTranscriptDelta(delta="a"), AudioTranscriptDelta(delta="b")),
    (
        ShellCallCommandDelta(delta="", output_index=0, command_index=1),
        ShellCallCommandDelta(delta="", output_index=0, command_index=1),
    ),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=repr)
def test_deltas_of_the_same_part(one: DeltaEvent, other: DeltaEvent) -> None:
    assert part_of(one) == part_of(other)
    assert hash(part_of(one)) == hash(part_of(other))


DIFFERENT: list[tuple[DeltaEvent, DeltaEvent]] = [
    (text(output_index=0), text(output_index=1)),
    (text(output_index=0, content_index=0), text(output_index=0, content_index=1)),
    (text(output_index=0), text(output_index=0, content_index=0)),
    (text(output_index=0), text()),
    (text(output_index=0), RefusalDelta(delta="", output_index=0)),
    (text(output_index=0, stream_id="a"), text(output_index=0, stream_id="b")),
    (call(item_id="a"), call(item_id="b")),
    (call(item_id="a"), McpCallArgumentsDelta(delta="", item_id="a")),
    (AudioTranscriptDelta(delta=""), AudioTranscriptDelta(delta="", stream_id="a")),
    (
        ReasoningSummaryTextDelta(delta="", output_index=0, summary_index=0),
        ReasoningSummaryTextDelta(delta="", output_index=0, summary_index=1),
    ),
    (
        ShellCallCommandDelta(delta="", output_index=0, command_index=0),
        ShellCallCommandDelta(delta="", output_index=0, command_index=1),
    ),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=repr)
def test_deltas_of_different_parts(one: DeltaEvent, other: DeltaEvent) -> None:
    assert part_of(one) != part_of(other)


def test_a_joined_delta_stands_where_the_last_one_stood() -> None:
    whole = joined([text("Hel", sequence_number=4, item_id="a"), text("lo", sequence_number=5, item_id="b")])
    assert whole == text("Hello", sequence_number=5, item_id="b", merged=2)


def test_one_delta_is_joined_to_nothing() -> None:
    event = text("Hello")
    assert joined([event]) is event


def test_logprobs_are_joined_too() -> None:
    first, second, third = (Logprob(token=token) for token in "abc")
    whole = joined([text("ab", logprobs=[first, second]), text(), text("c", logprobs=[third])])
    assert isinstance(whole, OutputTextDelta)
    assert whole.logprobs == [first, second, third]


@pytest.mark.parametrize(("made_up", "expected"), [((False, False), False), ((True, False), True)])
def test_what_is_partly_synthetic_is_synthetic(made_up: tuple[bool, bool], expected: bool) -> None:
    assert joined([text(synthetic=synthetic) for synthetic in made_up]).synthetic is expected


def test_a_joined_delta_looks_like_any_other_on_the_wire() -> None:
    parts = [text(delta, output_index=0, sequence_number=number) for number, delta in enumerate("ab")]
    alike = text("ab", output_index=0, sequence_number=1)
    assert joined(parts).model_dump_json(exclude_unset=True) == alike.model_dump_json(exclude_unset=True)


def numbered(deltas: list[str]) -> list[OutputTextDelta]:
    return [
        text(delta, sequence_number=number, logprobs=[Logprob(token=delta)] if delta > "k" else [])
        for number, delta in enumerate(deltas)
    ]


@given(st.lists(st.text(max_size=3), min_size=2, max_size=9).map(numbered), st.data())
@settings(max_examples=50)
def test_what_was_joined_can_be_joined_again(events: list[OutputTextDelta], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(events) - 1))
    whole = joined(events)
    assert joined([joined(events[:cut]), joined(events[cut:])]) == whole
    assert (whole.delta, whole.merged) == ("".join(event.delta for event in events), len(events))


@pytest.mark.parametrize("count", [1, 2, LOOSE_DELTAS - 1, LOOSE_DELTAS, LOOSE_DELTAS + 1, 3 * LOOSE_DELTAS])
def test_a_delta_that_grew_is_all_of_them_joined(count: int) -> None:
    events = numbered([chr(97 + number % 26) for number in range(count)])
    growing = GrowingDelta(events[0])
    for event in events[1:]:
        growing.add(event)
    assert growing.build() == growing.build() == joined(events)


def test_a_million_deltas_are_held_as_few() -> None:
    event = text("word ")
    growing = GrowingDelta(event)
    for _ in range(999_999):
        growing.add(event)
    assert growing.pieces <= 1_000_000 // LOOSE_DELTAS + LOOSE_DELTAS
    whole = growing.build()
    assert (whole.merged, len(whole.delta)) == (1_000_000, 5_000_000)

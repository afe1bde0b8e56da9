"""Texts in events: all of them are found, and put back they are what the accumulator reads."""

import pytest

from streamkit import events as ev
from streamkit.accumulator import Accumulator
from streamkit.events import EVENTS, DeltaEvent, Event
from streamkit.items import Logprob, OutputText, UrlCitation
from streamkit.stages.texts import Place, adds_text, ends_text, texts_of, with_texts
from tests.strategies import STREAMS, events_of

NO_TEXT = {ev.AudioDelta}
"""Deltas that are no text."""


def test_every_delta_of_a_text_is_known() -> None:
    deltas = {event for event in EVENTS.values() if issubclass(event, DeltaEvent)} - NO_TEXT
    assert deltas == {event for event in deltas if texts_of(event(delta="x"))}


@pytest.mark.parametrize("name", STREAMS)
def test_the_texts_of_deltas_add_up_to_what_is_repeated(name: str) -> None:
    grown: dict[Place, str] = {}
    for event in events_of(STREAMS[name]):
        for text in texts_of(event):
            if adds_text(event):
                grown[text.place] = grown.get(text.place, "") + text.text
            else:
                assert grown.setdefault(text.place, text.text) == text.text
                assert ends_text(event)


@pytest.mark.parametrize("name", STREAMS)
def test_texts_put_back_give_the_same_response(name: str) -> None:
    """Every text in capitals, everywhere: what the events add up to is what the terminal response says."""
    accumulated, ended = Accumulator(), Accumulator()
    for event in map(in_capitals, events_of(STREAMS[name])):
        if isinstance(event, ev.TerminalEvent):
            ended.add(event)
        else:
            accumulated.add(event)
    expected = [capitals(text.text) for event in events_of(STREAMS[name]) for text in texts_of(event)]
    assert not any(letter.islower() for text in expected for letter in text)
    if ended.ended:
        assert texts_in(ended) == texts_in(accumulated)


def capitals(text: str) -> str:
    return text.upper().replace("ß", "SS")


def in_capitals(event: Event) -> Event:
    texts = texts_of(event)
    return with_texts(event, [(text, capitals(text.text)) for text in texts]) if texts else event


def texts_in(accumulator: Accumulator) -> list[tuple[Place, str]]:
    end = ev.ResponseCompleted(response=accumulator.snapshot())
    return [(text.place, text.text) for text in texts_of(end)]


def test_what_belonged_to_the_text_goes_with_it() -> None:
    part = OutputText(text="old", annotations=[UrlCitation(title="old")], logprobs=[Logprob(token="old")])
    place = {"output_index": 0, "content_index": 0}
    for event in (
        ev.OutputTextDelta(delta="old", logprobs=part.logprobs, **place),
        ev.OutputTextDone(text="old", logprobs=part.logprobs, **place),
        ev.ContentPartDone(part=part, **place),
    ):
        (text,) = texts_of(event)
        assert "old" not in with_texts(event, [(text, "new")]).model_dump_json()


@pytest.mark.parametrize("summary", [None, [{"type": "summary_text", "text": "x"}], "x"])
def test_a_field_that_only_other_items_have_may_hold_anything(summary: object) -> None:
    item = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "Hello"}], "summary": summary}
    event = ev.OutputItemDone.model_validate({"item": item, "output_index": 0})
    assert [text.text for text in texts_of(event)] == ["Hello"]


def test_an_event_keeps_its_number_and_its_place() -> None:
    event = ev.OutputTextDelta(delta="old", output_index=3, content_index=1, sequence_number=7)
    (text,) = texts_of(event)
    assert text.place == Place("text", 3, ("content", 1, "text"))
    assert text.place.part_index == 1
    assert with_texts(event, [(text, "new")]) == event.model_copy(update={"delta": "new"})

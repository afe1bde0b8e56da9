"""The text of an answer among the events of a response."""

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.answer import AnswerReader, answer_text
from streamkit.errors import ConnectionLost
from streamkit.events import Event
from streamkit.items import OutputItem
from streamkit.outcome import Restarted
from streamkit.response import Response
from tests.answer.support import added, completed, created, delta, done, finished, message, streamed

DOCUMENT = '{"name": "Ada", "steps": [1, 22, 333]}'
VALUE = json.loads(DOCUMENT)


def read(events: Iterable[Event | Restarted]) -> AnswerReader:
    reader = AnswerReader()
    for event in events:
        reader.feed(event)
    return reader


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([], None),
        ([message("{}")], "{}"),
        ([message('{"a"', ": 1}")], '{"a": 1}'),
        ([message("thinking", phase="commentary"), message("{}", phase="final_answer")], "{}"),
        ([message("{}", phase="final_answer"), message("bye", phase="commentary")], "{}"),
        ([message("thinking", phase="commentary")], None),
        ([message("thinking", phase="of a kind that is not known")], None),
        ([message("first"), message("second")], "second"),
        ([message()], ""),
    ],
)
def test_the_answer_is_the_last_message_that_is_no_commentary(messages: list[OutputItem], text: str | None) -> None:
    assert answer_text(Response(output=messages)) == text


WAYS: dict[str, list[Event | Restarted]] = {
    "a delta": [delta(DOCUMENT)],
    "deltas": [delta(character) for character in DOCUMENT],
    "everything": [*streamed(DOCUMENT, [3, 9])],
    "no deltas": [done(DOCUMENT)],
    "only the item": [finished(message(DOCUMENT))],
    "only the end": [completed(message(DOCUMENT))],
    "two parts": [delta(DOCUMENT[:9]), done(DOCUMENT[:9]), delta(DOCUMENT[9:], part=1), done(DOCUMENT[9:], part=1)],
    "two parts, whole": [finished(message(DOCUMENT[:9], DOCUMENT[9:]))],
    "parts out of order": [delta(DOCUMENT[9:], part=1), delta(DOCUMENT[:9]), finished(message(DOCUMENT))],
    "no indexes": [delta(DOCUMENT[:9], output=None, part=None), done(DOCUMENT, output=None, part=None)],
    "a beginning that was missed": [delta(DOCUMENT[9:]), done(DOCUMENT)],
    "a whole text that differs": [delta('{"name": "Bob"'), completed(message(DOCUMENT))],
    "a commentary first": [
        added(message(phase="commentary")),
        delta("Let me see."),
        finished(message("Let me see.", phase="commentary")),
        added(message(phase="final_answer"), 1),
        delta(DOCUMENT, output=1),
    ],
    "a commentary that is told late": [
        delta("Let me see."),
        finished(message("Let me see.", phase="commentary")),
        delta(DOCUMENT, output=1),
    ],
    "an earlier answer": [delta('{"name": 1}'), delta(DOCUMENT, output=1), done('{"name": 1}')],
    "an earlier response": [created(), delta('{"name": 1}'), created("resp_2"), delta(DOCUMENT)],
    "a response that is announced again": [created(), delta(DOCUMENT[:9]), created(), delta(DOCUMENT[9:])],
    "an attempt that broke off": [delta('{"name": 1'), Restarted(cause=ConnectionLost("cut")), delta(DOCUMENT)],
    "an item that is finished without its content": [delta(DOCUMENT), finished(message())],
    "an end without output": [delta(DOCUMENT), completed()],
}


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_is_read_whichever_way_it_comes(way: str) -> None:
    reader = read(WAYS[way])
    assert (reader.json.value, reader.json.is_complete, reader.length) == (VALUE, True, len(DOCUMENT))


def test_a_commentary_is_no_answer() -> None:
    for way in ("a commentary first", "a commentary that is told late"):
        events = WAYS[way][:-1]
        assert read(events).json.value is None


@given(st.lists(st.integers(0, len(DOCUMENT)), max_size=6))
def test_whole_texts_repeat_nothing_that_came_in_pieces(cuts: list[int]) -> None:
    reader = AnswerReader()
    changes = [change for event in streamed(DOCUMENT, cuts) for change in reader.feed(event)]
    finished_paths = [str(change.path) for change in changes if change.kind == "finished"]
    assert finished_paths == ["$.name", "$.steps[0]", "$.steps[1]", "$.steps[2]", "$.steps", "$"]
    assert reader.readings == reader.answers

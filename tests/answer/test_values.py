"""Growing answers as values of a type."""

import json
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from streamkit.answer import ElementReader, Elements, PartialReader
from streamkit.answer.values import EAGER_CHARACTERS, STEPS
from streamkit.errors import ConnectionLost, UsageError
from streamkit.events import Event
from streamkit.outcome import Restarted
from streamkit.partial_model import PartialModel
from streamkit.schema import output_type
from tests.answer.support import completed, created, delta, done, message, streamed


class Step(BaseModel):
    title: str
    minutes: int | None = None


class Recipe(BaseModel):
    name: str
    steps: list[Step]


RECIPE = {
    "name": "Soup",
    "steps": [{"title": "cut", "minutes": 5}, {"title": "cook", "minutes": None}, {"title": "eat"}],
}
TEXT = json.dumps(RECIPE)
STEPS_OF_IT = [Step(title="cut", minutes=5), Step(title="cook"), Step(title="eat")]
CUTS = st.lists(st.integers(0, len(TEXT)), max_size=12)


def partials(events: Iterable[Event | Restarted]) -> list[PartialModel]:
    reader = PartialReader(Recipe)
    return [partial for event in events for partial in reader.feed(event)]


def steps(events: Iterable[Event | Restarted], path: str = "steps[*]") -> list[object]:
    reader = ElementReader(Elements(Recipe, path))
    return [element for event in events for element in reader.feed(event)]


@given(CUTS)
def test_the_last_partial_value_is_the_whole_one_and_none_comes_twice(cuts: list[int]) -> None:
    seen = partials(streamed(TEXT, cuts))
    assert seen[-1] == output_type(Recipe).partial(RECIPE)
    assert all(before != after for before, after in pairwise(seen))


@given(CUTS, st.integers(0, 20))
def test_what_was_cut_off_is_there_as_far_as_it_came(cuts: list[int], kept: int) -> None:
    events = [event for event in streamed(TEXT, cuts)[: 2 + kept] if event.type == "response.output_text.delta"]
    came = "".join(event.delta for event in events if hasattr(event, "delta"))
    seen = partials(events)
    assert bool(seen) == bool(came)
    assert not seen or seen[-1] == partials([delta(came)])[-1]


def test_a_value_comes_for_every_change_of_a_short_answer() -> None:
    names = [
        partial.name for partial in partials([delta(piece) for piece in ('{"name": ', '"S', "ou", 'p"', " ", "}")])
    ]
    assert names == [None, "S", "Sou", "Soup"]


def test_a_long_answer_costs_in_proportion_to_its_length() -> None:
    long = json.dumps({"name": "x" * 40 * EAGER_CHARACTERS, "steps": []})
    events = streamed(long, range(0, len(long), 64))
    seen = partials(events)
    assert seen[-1].name == "x" * 40 * EAGER_CHARACTERS
    # The lengths grow by a part in a hundred each time, so that there are few of them, and the last is no exception.
    assert len(seen) < EAGER_CHARACTERS // 64 + 8 * STEPS < len(events) / 2


def test_values_begin_anew_with_the_response() -> None:
    cut = Restarted(cause=ConnectionLost("cut"))
    names = [partial.name for partial in partials([delta('{"name": "A'), cut, delta('{"name": "A'), created("resp_2")])]
    assert names == ["A", "A"]


@given(CUTS)
def test_each_element_comes_once_in_order_whole(cuts: list[int]) -> None:
    assert steps(streamed(TEXT, cuts)) == STEPS_OF_IT


@given(CUTS, st.integers(0, len(TEXT)))
def test_only_finished_elements_come(cuts: list[int], end: int) -> None:
    found = steps([delta(piece.delta) for piece in streamed(TEXT[:end], cuts) if hasattr(piece, "delta")])
    assert found == STEPS_OF_IT[: len(found)]
    assert len(found) == TEXT[:end].count("}") - (end == len(TEXT))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("steps[*]", STEPS_OF_IT),
        ("steps[1]", STEPS_OF_IT[1:2]),
        ("$.steps[*].title", ["cut", "cook", "eat"]),
        ("steps[*].minutes", [5, None]),
        ("name", ["Soup"]),
        ("steps", [STEPS_OF_IT]),
        ("$", [Recipe(name="Soup", steps=STEPS_OF_IT)]),
        ("steps[*].*", ["cut", 5, "cook", None, "eat"]),
    ],
)
def test_elements_have_the_type_that_stands_at_their_path(path: str, expected: list[object]) -> None:
    assert steps(streamed(TEXT), path) == expected


def test_an_element_that_does_not_fit_is_left_out() -> None:
    text = json.dumps({"name": "", "steps": [{"title": 1}, {"title": "a"}, {"title": "\ud800"}, {"title": "b"}]})
    assert steps(streamed(text)) == [Step(title="a"), Step(title="b")]


def test_an_answer_that_is_read_anew_repeats_no_element() -> None:
    other = TEXT.replace("Soup", "Stew")
    assert steps([delta(TEXT[:-40]), completed(message(other))]) == STEPS_OF_IT
    assert steps([delta(TEXT), done(other), completed(message(other))]) == STEPS_OF_IT


def test_the_elements_of_the_next_response_are_others() -> None:
    assert steps([*streamed(TEXT), created("resp_2"), delta(TEXT)]) == [*STEPS_OF_IT, *STEPS_OF_IT]


def test_in_a_list_the_path_begins_at_the_list() -> None:
    reader = ElementReader(Elements(list[Step], "[*].title"))
    assert reader.feed(delta('{"items": [{"title": "cut"}')) == ["cut"]


@pytest.mark.parametrize("path", ["step[*]", "steps.title", "name[0]", "steps[*].title.length", "no path at all"])
def test_a_path_to_nothing_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match=r"has nothing at|is no path"):
        Elements(Recipe, path)

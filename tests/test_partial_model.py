"""Models of answers that are still being written."""

import dataclasses
import enum
import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Generic, Literal, Required, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, Field, RootModel, ValidationError
from typing_extensions import TypeAliasType, TypedDict

from streamkit.errors import UsageError
from streamkit.partial_model import PartialModel, partial_model


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Step:
    text: str
    minutes: int | None = None


class Source(TypedDict, total=False):
    author: Required[str]
    year: int


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Tags(RootModel[list[Color]]):
    pass


class Recipe(BaseModel):
    title: str
    servings: Annotated[int, Field(ge=1)]
    color: Color
    published: date
    changed: datetime | None
    steps: list[Step]
    source: Source
    tags: Tags
    words: Annotated[list[str], Field(min_length=3)]
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    variants: Sequence["Recipe"]
    long_name: str = Field(alias="longName")


WHOLE = {
    "title": "Soup",
    "servings": 2,
    "color": "red",
    "published": "2026-01-31",
    "changed": "2026-01-31T12:00:00",
    "steps": [{"text": "Boil", "minutes": 3}, {"text": "Eat", "minutes": None}],
    "source": {"author": "Ada", "year": 1843},
    "tags": ["red", "blue"],
    "words": ["a", "b", "c"],
    "pet": {"kind": "dog", "name": "Rex"},
    "variants": [],
    "longName": "Soup of the day",
}


def partial(value: object) -> PartialModel:
    return partial_model(Recipe).model_validate(value)


def test_the_partial_of_a_whole_value_has_all_of_it() -> None:
    nested = {**WHOLE, "variants": [WHOLE]}
    whole = Recipe.model_validate(nested)
    assert partial(nested).model_dump(mode="json") == whole.model_dump(mode="json")


GROWING: dict[str, tuple[dict[str, object], str, object]] = {
    "text grows": ({"title": "So"}, "title", "So"),
    "a number below its bound": ({"servings": 0}, "servings", None),
    "a number within its bound": ({"servings": 1}, "servings", 1),
    "part of an enum": ({"color": "re"}, "color", None),
    "an enum": ({"color": "red"}, "color", Color.RED),
    "the year of a date": ({"published": "2026"}, "published", None),
    "most of a date": ({"published": "2026-01-3"}, "published", None),
    "a date": ({"published": "2026-01-31"}, "published", date(2026, 1, 31)),
    "the year of an optional time": ({"changed": "2026"}, "changed", None),
    "a list grows below its least length": ({"words": ["a", "b"]}, "words", ["a", "b"]),
    "elements that do not fit yet": ({"tags": ["red", "bl"]}, "tags", [Color.RED]),
    "a list that is none": ({"words": {}}, "words", None),
    "an alias": ({"longName": "S"}, "long_name", "S"),
    "a field that nobody declared": ({"other": 1}, "title", None),
}


@pytest.mark.parametrize(("value", "field", "expected"), GROWING.values(), ids=GROWING.keys())
def test_a_field_is_there_once_it_fits(value: dict[str, object], field: str, expected: object) -> None:
    assert getattr(partial(value), field) == expected


def test_what_does_not_fit_takes_nothing_else_with_it() -> None:
    so_far = partial({"title": "Soup", "color": "re", "steps": [{"text": "Bo", "minutes": "x"}, 4]})
    assert so_far.model_fields_set == {"title", "steps"}
    assert so_far.model_dump(exclude_unset=True) == {"title": "Soup", "steps": [{"text": "Bo"}]}


def test_a_null_that_came_is_told_from_what_has_not_come() -> None:
    assert partial({"changed": None}).model_fields_set == {"changed"}


@pytest.mark.parametrize(("pet", "name"), [({"kind": "cat", "lives": 9}, "PartialCat"), (WHOLE["pet"], "PartialDog")])
def test_a_union_is_the_member_that_fits_best(pet: object, name: str) -> None:
    assert type(partial({"pet": pet}).pet).__name__ == name


def test_objects_within_are_partial_models_too() -> None:
    so_far = partial({"steps": [{}], "source": {}, "variants": [{"variants": [{}]}]})
    assert isinstance(so_far.source, PartialModel)
    assert so_far.model_dump(exclude_unset=True) == {"steps": [{}], "source": {}, "variants": [{"variants": [{}]}]}


def test_a_partial_model_is_made_once_and_cannot_be_changed() -> None:
    annotated: Any = Annotated[Recipe, []]
    assert partial_model(Recipe) is partial_model(annotated)
    with pytest.raises(ValidationError):
        partial({}).title = "Soup"  # type: ignore[misc]


@pytest.mark.parametrize("type_", [int, list[Recipe], Cat | Dog, Color], ids=str)
def test_a_type_without_fields_has_no_partial_model(type_: Any) -> None:
    with pytest.raises(UsageError, match="has no fields"):
        partial_model(type_)


T = TypeVar("T")


@dataclasses.dataclass
class Box(Generic[T]):
    content: T
    others: list[T | None]


class Crate(TypedDict, Generic[T]):
    content: T


Boxes = TypeAliasType("Boxes", list[Box[Step]])
Nested = TypeAliasType("Nested", "list[Nested]")


class Store(BaseModel):
    boxes: Boxes
    crate: Crate[Step]
    nested: Nested
    pair: tuple[Step, ...]


def test_generic_types_aliases_and_tuples_are_seen_through() -> None:
    box = {"content": {"text": "Bo"}, "others": [{"text": "Ea"}, None]}
    so_far = {"boxes": [box], "crate": {"content": {}}, "nested": [[], [[]]], "pair": [{"text": "Sa"}]}
    value = partial_model(Store).model_validate(so_far)
    assert value.model_dump(exclude_unset=True) == so_far
    assert partial_model(Box[int]).model_validate({"content": 3}).content == 3


def test_fields_may_be_called_like_methods_and_have_several_names() -> None:
    answer = TypedDict("answer", {"json": str, "copy": int, "odd name": str})

    class Named(BaseModel):
        text: str = Field(validation_alias=AliasChoices("first", "second"))

    value = partial_model(answer).model_validate({"json": "{}", "copy": 1, "odd name": "x"})
    assert (value.json, value.copy, getattr(value, "odd name")) == ("{}", 1, "x")
    assert partial_model(Named).model_validate({"first": "So"}).text == "So"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*WHOLE, "text", "kind"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(list(WHOLE)), JSON_VALUES))
def test_no_object_is_refused(value: dict[str, object]) -> None:
    partial(value)


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(list(WHOLE))))
def test_any_part_of_a_whole_value_comes_through(names: set[str]) -> None:
    part = {name: WHOLE[name] for name in names}
    dumped = partial(part).model_dump(mode="json", exclude_unset=True, by_alias=True)
    assert json.loads(json.dumps(dumped)) == part

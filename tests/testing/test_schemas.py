"""Made-up values fit the schemas they are made for; pydantic's own schemas are the judge where it can be one."""

from datetime import date, datetime
from enum import Enum
from typing import Annotated, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, JsonValue

from streamkit.testing.schemas import MAX_ITEMS, example_of


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Leaf(BaseModel):
    label: str
    weight: float = Field(gt=0, lt=1)


class Tree(BaseModel):
    name: Annotated[str, Field(min_length=12, max_length=14)]
    born: date
    seen: datetime
    id: UUID
    color: Color
    kind: Literal["oak", "ash"]
    height: Annotated[int, Field(ge=3, le=4)]
    age: Annotated[int, Field(gt=1, multiple_of=7)]
    girth: float | None
    leaves: Annotated[list[Leaf], Field(min_length=2)]
    position: tuple[int, str]
    tags: dict[str, int]
    parent: "Tree | None"
    children: list["Tree"]


class Chain(BaseModel):
    next: "Chain | None"


@pytest.mark.parametrize("model", [Leaf, Tree, Chain])
def test_values_fit_the_schema_of_a_model(model: type[BaseModel]) -> None:
    model.model_validate(example_of(model.model_json_schema()))


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"const": 7}, 7),
        ({"enum": ["b", "a"]}, "b"),
        ({"type": "string", "examples": ["Lima"]}, "Lima"),
        ({"type": "string", "default": "x"}, "x"),
        ({"type": "string"}, "example"),
        ({"type": "string", "format": "email"}, "ada@example.com"),
        ({"type": "string", "maxLength": 3}, "exa"),
        ({"type": ["null", "integer"]}, 1),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "number", "multipleOf": 0.5, "minimum": 0.75}, 1),
        ({"type": "null"}, None),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"type": "array", "items": {"type": "boolean"}, "maxItems": 0}, []),
        ({"type": "object"}, {}),
        ({"properties": {"home_town": {"type": "string"}}}, {"home_town": "example home town"}),
        ({"oneOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"allOf": [{"type": "integer"}, {"minimum": 4}]}, 4),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": "found"}}}, "found"),
        ({"$ref": "#/$defs/missing"}, "example"),
        ({"type": "unheard-of"}, "example"),
        ({}, "example"),
    ],
)
def test_values(schema: dict[str, JsonValue], value: JsonValue) -> None:
    assert example_of(schema) == value


def test_arrays_are_bounded() -> None:
    value = example_of({"type": "array", "items": {"type": "null"}, "minItems": 10**9})
    assert value == [None] * MAX_ITEMS


def test_a_schema_that_cannot_end_is_cut() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    assert example_of(node)

"""Python types as strict JSON schemas, and answers read back."""

import dataclasses
import enum
import json
from collections.abc import Callable, Iterator
from datetime import date
from typing import Annotated, Any, Literal, NotRequired

import pytest
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, RootModel, ValidationError, WithJsonSchema
from typing_extensions import TypedDict

from streamkit.errors import UsageError
from streamkit.schema import MAX_NAME_LENGTH, JsonObject, OutputType, output_type
from streamkit.testing.schemas import example_of


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=0, le=9)] = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    color: Color
    name: str | None = None


class Node(BaseModel):
    """A node of a tree."""

    title: str
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    favourite: Cat = Field(description="the best one")
    children: list["Node"] = []


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    word: str


class Aliased(BaseModel):
    word: str = Field(alias="theWord")


@dataclasses.dataclass
class Point:
    x: float
    on: date | None = None


class Entry(TypedDict):
    key: str
    mixed: NotRequired[Literal[1, "a"]]


TYPES: list[Any] = [
    *(Node, Point, Entry, Aliased, Open, Color, str, float, list[Node], Cat | Dog, Node | None, Literal["a", "b"]),
    *(RootModel[list[int]], Annotated[list[int], Field(max_length=3)], list[Entry], list[list[Point]]),
]


def schemas_within(node: JsonObject) -> Iterator[JsonObject]:
    """Yield a schema and all schemas in it."""
    yield node
    below = [*node.get("properties", {}).values(), *node.get("$defs", {}).values(), *node.get("anyOf", [])]
    for schema in [*below, *([node["items"]] if "items" in node else [])]:
        yield from schemas_within(schema)


@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_every_schema_is_strict(type_: Any) -> None:
    root = OutputType(type_).schema
    assert root["type"] == "object"
    for schema in schemas_within(root):
        assert schema.keys() & {"type", "anyOf", "$ref"}
        assert not schema.keys() & {"title", "default", "oneOf", "allOf", "discriminator"}
        assert "$ref" not in schema or len(schema) == 1
        if schema.get("type") == "object":
            assert schema["required"] == list(schema["properties"])
            assert schema["additionalProperties"] is False


@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_what_fits_the_schema_can_be_parsed(type_: Any) -> None:
    output = OutputType(type_)
    output.parse(json.dumps(example_of(output.schema)))


def test_the_format_is_what_the_request_takes() -> None:
    assert output_type(Point).format() == {
        "type": "json_schema",
        "name": "Point",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "x": {"type": "number"},
                "on": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
            },
            "required": ["x", "on"],
            "additionalProperties": False,
        },
    }


def test_a_reference_with_a_description_becomes_what_it_refers_to() -> None:
    properties = output_type(Node).schema["properties"]
    assert properties["favourite"] == {
        "type": "object",
        "description": "the best one",
        "properties": {
            "kind": {"type": "string", "const": "cat"},
            "lives": {"type": "integer", "minimum": 0, "maximum": 9},
        },
        "required": ["kind", "lives"],
        "additionalProperties": False,
    }
    assert properties["pet"] == {"anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]}
    assert properties["children"] == {"type": "array", "items": {"$ref": "#/$defs/Node"}}


def test_only_what_is_referred_to_is_defined() -> None:
    class Owner(BaseModel):
        cat: Cat = Field(description="inlined")
        dog: Dog

    assert list(output_type(Owner).schema["$defs"]) == ["Dog", "Color"]
    assert "$defs" not in output_type(Cat).schema


def test_an_enumeration_of_several_types_names_them() -> None:
    assert output_type(Entry).schema["properties"]["mixed"] == {"enum": [1, "a"], "type": ["integer", "string"]}


def test_a_single_intersection_is_unwrapped_and_several_are_refused() -> None:
    number = {"type": "integer"}
    assert output_type(Annotated[int, WithJsonSchema({"allOf": [number]})]).schema["properties"]["value"] == number
    with pytest.raises(UsageError, match="allOf; use one model"):
        OutputType(Annotated[int, WithJsonSchema({"allOf": [number, number]})])


WRAPPED: dict[str, tuple[Any, str | None, str, object]] = {
    "an object": (Cat, None, '{"kind":"cat","lives":1}', Cat(kind="cat", lives=1)),
    "a dataclass": (Point, None, '{"x":1,"on":"2026-01-31"}', Point(1, date(2026, 1, 31))),
    "a TypedDict": (Entry, None, '{"key":"a","mixed":1}', {"key": "a", "mixed": 1}),
    "a list": (list[Cat], "items", '{"items":[{"kind":"cat","lives":1}]}', [Cat(kind="cat", lives=1)]),
    "a union": (Cat | Dog, "value", '{"value":{"kind":"cat","lives":1}}', Cat(kind="cat", lives=1)),
    "a scalar": (int, "value", '{"value":3}', 3),
    "an enum": (Color, "value", '{"value":"red"}', Color.RED),
    "nothing": (int | None, "value", '{"value":null}', None),
}


@pytest.mark.parametrize(("type_", "wrapper", "text", "value"), WRAPPED.values(), ids=WRAPPED.keys())
def test_what_is_no_object_travels_within_one(type_: Any, wrapper: str | None, text: str, value: object) -> None:
    output = OutputType(type_)
    assert output.wrapper == wrapper
    assert output.parse(text) == value


@pytest.mark.parametrize("text", ["", "{", '{"items":[{"kind":"dog"}]}', '{"items":[],"more":1}', "[]"])
def test_what_does_not_fit_is_a_validation_error(text: str) -> None:
    with pytest.raises(ValidationError):
        output_type(list[Cat]).parse(text)


def within(type_: Any) -> Any:
    return TypedDict("Outer", {"fields": list[type_]})  # type: ignore[misc]


MIXED = {"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": {"type": "null"}}

REFUSED: dict[str, tuple[Any, str]] = {
    "any": (Any, "values of any type; declare what type"),
    "object": (object, "values of any type"),
    "free keys": (dict[str, int], "additionalProperties; use a model with named fields"),
    "no keys": (dict, "additionalProperties; use a model"),
    "keys besides fields": (Annotated[Cat, WithJsonSchema(MIXED)], "additionalProperties; use a model"),
    "a tuple": (tuple[int, str], "prefixItems; .* instead of a tuple"),
    "a set": (set[int], "uniqueItems; use a list instead of a set"),
    "a length": (Annotated[str, Field(min_length=2)], "minLength; constrain it with a pattern"),
    "an address": (HttpUrl, "format 'uri'; declare the field as str"),
    "bytes": (bytes, "format 'binary'; declare the field as str"),
    "look-around": (Annotated[str, WithJsonSchema({"type": "string", "pattern": "a(?!b)"})], "look-around"),
    "negation": (Annotated[int, WithJsonSchema({"type": "integer", "not": {}})], "not; leave it out"),
}


@pytest.mark.parametrize(("type_", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_strict_mode_cannot_express_is_refused_by_field(type_: Any, message: str) -> None:
    with pytest.raises(
        UsageError, match=rf"^Outer\.fields\[\*\]: the strict mode of the API does not support {message}"
    ):
        OutputType(within(type_))


@pytest.mark.parametrize(
    ("type_", "message"),
    [
        (TypedDict("Row", {"_id": str}), "field '_id' begins with '_'"),
        ({"type": "object"}, "give a JSON schema as text="),
        (Annotated[str, Field(pattern="(?=x)")], "cannot be read from JSON"),
    ],
    ids=str,
)
def test_what_would_fail_later_is_refused_at_once(type_: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        output_type(type_)


@pytest.mark.parametrize("type_", [Callable[[int], int], ValueError, "Nowhere"], ids=str)
def test_what_pydantic_cannot_express_is_refused(type_: Any) -> None:
    with pytest.raises(UsageError):
        OutputType(type_)


NAMES: dict[str, Any] = {
    "Node": Node,
    "list_Node": list[Node],
    "Cat_Dog": Cat | Dog,
    "Literal_a_b": Literal["a", "b"],
    "list_int": Annotated[list[int], Field(max_length=3)],
    "RootModel_int": RootModel[int],
    "answer": type("\N{SNOWMAN}", (BaseModel,), {}),
    "A" * MAX_NAME_LENGTH: type("A" * 100, (BaseModel,), {}),
}


@pytest.mark.parametrize(("name", "type_"), NAMES.items(), ids=NAMES.keys())
def test_the_name_is_one_that_the_api_takes(name: str, type_: Any) -> None:
    assert OutputType(type_).name == name


def test_an_output_type_is_made_once() -> None:
    assert output_type(list[Node]) is output_type(list[Node])
    unhashable = Annotated[int, Field(ge=1), []]
    assert output_type(unhashable).parse('{"value":1}') == 1


def test_the_schema_is_written_the_same_way_every_time() -> None:
    assert json.dumps(OutputType(Node).schema) == json.dumps(OutputType(Node).schema)


def test_partial_values_are_found_where_the_wire_has_them() -> None:
    whole = {"items": [{"kind": "cat", "lives": 3}, {"kind": "c"}]}
    partial = output_type(list[Cat]).partial(whole)
    assert partial.model_dump() == {"items": [{"kind": "cat", "lives": 3}, {"kind": None, "lives": None}]}


@pytest.mark.parametrize("value", [None, "{", [], 3])
def test_before_the_object_begins_the_partial_value_is_empty(value: object) -> None:
    assert not output_type(Node).partial(value).model_fields_set

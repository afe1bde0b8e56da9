"""Python types as strict JSON schemas, for structured outputs and function calls, and answers read as the types."""

import re
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, cast, get_args, get_origin

from pydantic import ConfigDict, JsonValue, PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter, create_model
from pydantic_core import SchemaError

from streamkit.errors import UsageError
from streamkit.partial_model import CACHED_TYPES, PartialModel, partial_model

if TYPE_CHECKING:
    from typing_extensions import TypeForm

T = TypeVar("T")

JsonObject = dict[str, JsonValue]

MAX_NAME_LENGTH = 64

_KEPT = frozenset(
    {
        *("type", "description", "enum", "const", "pattern", "format", "minItems", "maxItems"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    }
)
_DROPPED = frozenset(
    {"title", "default", "examples", "discriminator", "deprecated", "readOnly", "writeOnly", "$schema", "$comment"}
)
"""They constrain nothing."""
_STRUCTURE = frozenset(
    {"$defs", "$ref", "properties", "required", "additionalProperties", "items", "anyOf", "oneOf", "allOf"}
)
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_NO_LENGTH = "constrain it with a pattern, or check its length in an AfterValidator"
_NO_FREE_KEYS = "use a model with named fields, or a list of models that hold key and value"
_ADVICE = {
    "minLength": _NO_LENGTH,
    "maxLength": _NO_LENGTH,
    "prefixItems": "use a model with named fields, or a list, instead of a tuple",
    "uniqueItems": "use a list instead of a set",
    "patternProperties": _NO_FREE_KEYS,
    "propertyNames": _NO_FREE_KEYS,
}
_LOOK_AROUND = re.compile(r"\(\?<?[=!]")
_REFERENCE = "#/$defs/"
_JSON_TYPES: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


class OutputType(Generic[T]):
    """A Python type as the form of an answer: what to ask the API for, and how to read what it sends.

    The API wants an object. Another type is asked for within one: a list in a field ``items``, anything else in
    ``value``.

    Attributes:
        name: what the API calls the form, of at most 64 letters, digits, ``_`` and ``-``.
        schema: the strict schema; every field is required, those with a default too.
        wrapper: the field that holds the value, where it is not an object itself.

    Raises:
        UsageError: the strict mode of the API cannot express the type; the message names the field and says what to do.
    """

    def __init__(self, type_: "TypeForm[T]") -> None:
        label = _label_of(type_)
        self.name = _valid_name(label)
        self._adapter: TypeAdapter[Any] = adapter_for(type_, label)
        loose = _json_schema(self._adapter, label)
        self.schema = _Strict(loose).root(label)
        self.wrapper = _wrapper_for(self.schema)
        self._wire_type: Any = type_
        if self.wrapper is not None:
            self.schema = _within_object(self.schema, self.wrapper)
            field: dict[str, Any] = {self.wrapper: (type_, ...)}
            self._wire_type = create_model(self.name, __config__=ConfigDict(extra="forbid"), **field)
            self._adapter = TypeAdapter(self._wire_type)
        # Made here, so that what is wrong with a type is said before anything is paid for.
        self._partial_model = partial_model(self._wire_type)

    def format(self) -> JsonObject:
        """Return the format to ask for: ``text={"format": output_type.format()}``."""
        return {"type": "json_schema", "name": self.name, "schema": self.schema, "strict": True}

    def parse(self, text: str) -> T:
        """Return the value that a whole answer holds.

        Raises:
            pydantic.ValidationError: the text is no JSON, or does not fit the type.
        """
        parsed = self._adapter.validate_json(text)
        return cast("T", parsed if self.wrapper is None else getattr(parsed, self.wrapper))

    def partial(self, value: object) -> PartialModel:
        """Return what has come of an answer, given the JSON value so far.

        Costs as much as to validate the value so far. What a ``wrapper`` holds is found in the field of that name.
        """
        return self._partial_model.model_validate(value if isinstance(value, Mapping) else {})


def output_type(type_: "TypeForm[T]") -> OutputType[T]:
    """Return the output type of a Python type, the same one the next time.

    Raises:
        UsageError: see ``OutputType``.
    """
    if isinstance(type_, Mapping):
        raise UsageError("an answer is described by a type; give a JSON schema as text={'format': ...} in the request")
    try:
        hash(type_)
    except TypeError:
        return OutputType(type_)
    return cast("OutputType[T]", _kept_output_type(cast("Hashable", type_)))


@lru_cache(maxsize=CACHED_TYPES)
def _kept_output_type(type_: Any) -> OutputType[Any]:
    return OutputType(type_)


def strict_schema(adapter: TypeAdapter[T], label: str) -> JsonObject:
    """Return the schema of a type in the strict form; the type must be an object.

    Args:
        adapter: the type.
        label: how messages name it.

    Raises:
        UsageError: the strict mode of the API cannot express the type; the message names the field and says what to do.
    """
    return _Strict(_json_schema(adapter, label)).root(label)


def adapter_for(type_: "TypeForm[T]", label: str) -> TypeAdapter[T]:
    """Return pydantic's adapter of a type.

    Raises:
        UsageError: pydantic knows no such type, or not all names in its annotations.
    """
    try:
        return TypeAdapter(type_)
    except (PydanticUserError, PydanticUndefinedAnnotation, SchemaError) as error:
        raise UsageError(f"{label} cannot be read from JSON: {error}") from error


def _json_schema(adapter: TypeAdapter[Any], label: str) -> JsonObject:
    try:
        return adapter.json_schema()
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        raise UsageError(f"{label} has no JSON schema: {error}") from error


class _Strict:
    """Turns a schema of pydantic's into the strict form."""

    def __init__(self, loose: JsonObject) -> None:
        self._loose = loose
        self._definitions = cast("dict[str, JsonObject]", loose.get("$defs", {}))
        self._referenced: set[str] = set()
        self._rules: dict[str, Callable[[Any, str], JsonObject]] = {
            "properties": self._properties,
            "items": self._items,
            "anyOf": self._any_of,
            "oneOf": self._any_of,
            "pattern": _pattern,
            "format": _format,
        }

    def root(self, label: str) -> JsonObject:
        """Return the whole schema; its root is no reference, which the API would refuse."""
        node = {name: value for name, value in self._loose.items() if name != "$defs"}
        schema = self._schema(self._inlined(node), label)
        definitions: JsonObject = {}
        while unwritten := self._referenced - definitions.keys():
            definitions |= {name: self._schema(self._definitions[name], name) for name in sorted(unwritten)}
        if definitions:
            schema["$defs"] = definitions
        return schema

    def _schema(self, loose: JsonValue, path: str) -> JsonObject:
        node = self._flattened(loose, path)
        if isinstance(reference := node.get("$ref"), str):
            self._referenced.add(reference.removeprefix(_REFERENCE))
            return node
        schema: JsonObject = {name: value for name, value in node.items() if name in _KEPT}
        for keyword, rule in self._rules.items():
            if keyword in node:
                schema |= rule(node[keyword], path)
        _check_keywords(node, path)
        if node.get("type") == "object":
            schema = {"properties": {}} | schema | _closed(node, path)
        return schema if schema.keys() & {"type", "anyOf"} else schema | {"type": _types_of(node, path)}

    def _flattened(self, loose: JsonValue, path: str) -> JsonObject:
        """Merge what a schema refers to into it, unless the reference stands alone."""
        node = {name: value for name, value in loose.items() if name not in _DROPPED} if isinstance(loose, dict) else {}
        match node.pop("allOf", []):
            case []:
                pass
            case [dict(only)]:
                return self._flattened(node | only, path)
            case _:
                raise _refusal(path, "allOf", "use one model instead of an intersection of schemas")
        return node if node.keys() == {"$ref"} else self._inlined(node)

    def _inlined(self, node: JsonObject) -> JsonObject:
        reference = node.get("$ref")
        if not isinstance(reference, str):
            return node
        siblings = {name: value for name, value in node.items() if name != "$ref"}
        return self._inlined(self._definitions[reference.removeprefix(_REFERENCE)] | siblings)

    def _properties(self, properties: JsonObject, path: str) -> JsonObject:
        return {"properties": {name: self._schema(node, f"{path}.{name}") for name, node in properties.items()}}

    def _items(self, items: JsonValue, path: str) -> JsonObject:
        return {"items": self._schema(items, f"{path}[*]")}

    def _any_of(self, variants: list[JsonValue], path: str) -> JsonObject:
        return {"anyOf": [self._schema(variant, path) for variant in variants]}


def _check_keywords(node: JsonObject, path: str) -> None:
    for keyword in sorted(node.keys() - _KEPT - _DROPPED - _STRUCTURE):
        raise _refusal(path, keyword, _ADVICE.get(keyword, "leave it out of the type"))


def _closed(node: JsonObject, path: str) -> JsonObject:
    """Return what makes an object strict: all fields required, and no others."""
    properties = cast("JsonObject", node.get("properties", {}))
    others = node.get("additionalProperties", False)
    if isinstance(others, dict) or (others and not properties):
        raise _refusal(path, "additionalProperties", _NO_FREE_KEYS)
    return {"required": list(properties), "additionalProperties": False}


def _pattern(pattern: str, path: str) -> JsonObject:
    if _LOOK_AROUND.search(pattern):
        raise _refusal(path, "look-around in a pattern", "write it without, or check it in an AfterValidator")
    return {"pattern": pattern}


def _format(name: str, path: str) -> JsonObject:
    if name not in _FORMATS:
        raise _refusal(path, f"format {name!r}", "declare the field as str")
    return {"format": name}


def _types_of(node: JsonObject, path: str) -> JsonValue:
    """Return the JSON types of an enumeration, which pydantic leaves out where they differ."""
    values = node.get("enum")
    names = [_JSON_TYPES.get(type(value)) for value in values] if isinstance(values, list) else [None]
    if None in names:
        raise _refusal(path, "values of any type", "declare what type the value has")
    return list(dict.fromkeys(names))


def _refusal(path: str, what: str, advice: str) -> UsageError:
    return UsageError(f"{path}: the strict mode of the API does not support {what}; {advice}")


def _wrapper_for(schema: JsonObject) -> str | None:
    match schema.get("type"):
        case "object":
            return None
        case "array":
            return "items"
        case _:
            return "value"


def _within_object(schema: JsonObject, name: str) -> JsonObject:
    inner = {keyword: value for keyword, value in schema.items() if keyword != "$defs"}
    wrapped: JsonObject = {
        "type": "object",
        "properties": {name: inner},
        "required": [name],
        "additionalProperties": False,
    }
    return wrapped | {keyword: value for keyword, value in schema.items() if keyword == "$defs"}


def _label_of(type_: Any) -> str:
    """Return a name for a type: ``Step``, ``list[Step]``."""
    if get_origin(type_) is Annotated:
        return _label_of(get_args(type_)[0])
    if isinstance(type_, type) and get_origin(type_) is None:
        return type_.__name__
    return re.sub(r"[\w.<>]+\.", "", str(type_))


def _valid_name(label: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", label).strip("_")[:MAX_NAME_LENGTH] or "answer"

"""Makes up a value that fits a JSON schema: arguments for a function, an answer in a structured format."""

import math
import operator
from collections.abc import Callable

from pydantic import JsonValue
from pydantic_core import to_json

from streamkit.testing.request import JsonObject, Request, objects, section

MAX_DEPTH = 6
"""Beyond this depth optional properties and array items are left out, so that recursive schemas end."""

MAX_ITEMS = 20
"""An array is never longer than this, whatever ``minItems`` asks for."""

_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "duration": "PT5M",
    "email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "12:00:00Z",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_BY_NAME = {"city": "Paris", "country": "France", "location": "Paris", "name": "Ada"}


def requested_json(request: Request) -> str | None:
    """JSON that fits the schema of the request's ``text.format``, or None where the request has no schema."""
    schema = section(section(request, "text"), "format").get("schema")
    return to_json(example_of(schema)).decode() if isinstance(schema, dict) else None


def example_of(schema: JsonObject) -> JsonValue:
    """A value that fits the schema as far as its types, bounds, formats, enums and references say.

    Patterns and conditions (``pattern``, ``if``, ``not``, ``dependentSchemas``) are not looked at.
    """
    return _Examples(schema).value(schema)


class _Examples:
    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._by_type: dict[str, Callable[[JsonObject, str, int], JsonValue]] = {
            "array": self._array,
            "boolean": lambda schema, name, depth: True,
            "integer": lambda schema, name, depth: int(_number(schema)),
            "null": lambda schema, name, depth: None,
            "number": lambda schema, name, depth: _number(schema),
            "object": self._object,
            "string": lambda schema, name, depth: _string(schema, name),
        }

    def value(self, schema: JsonValue, name: str = "", depth: int = 0) -> JsonValue:
        if not isinstance(schema, dict) or depth > 2 * MAX_DEPTH:
            return None
        schema = self._flat(schema)
        if "const" in schema:
            return schema["const"]
        for listed in (schema.get("enum"), schema.get("examples")):
            if isinstance(listed, list) and listed:
                return listed[0]
        if "default" in schema:
            return schema["default"]
        variants = objects(schema.get("anyOf")) or objects(schema.get("oneOf"))
        if variants:
            return self.value(_simplest(variants) if depth >= MAX_DEPTH else _fullest(variants), name, depth + 1)
        return self._by_type[_type_of(schema)](schema, name, depth)

    def _flat(self, schema: JsonObject) -> JsonObject:
        """The schema with what it refers to and what it extends written into it."""
        reference = schema.get("$ref")
        if isinstance(reference, str):
            schema = self._flat(self._referenced(reference)) | schema
        for base in objects(schema.get("allOf")):
            schema = self._flat(base) | schema
        return schema

    def _referenced(self, reference: str) -> JsonObject:
        found: JsonValue = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def _object(self, schema: JsonObject, name: str, depth: int) -> JsonObject:
        properties, required = schema.get("properties"), schema.get("required")
        if not isinstance(properties, dict):
            return {}
        wanted = list(properties)
        if depth >= MAX_DEPTH:
            wanted = [key for key in properties if isinstance(required, list) and key in required]
        return {key: self.value(properties[key], key, depth + 1) for key in wanted}

    def _array(self, schema: JsonObject, name: str, depth: int) -> list[JsonValue]:
        items: list[JsonValue] = list(objects(schema.get("prefixItems")))
        if not items:
            least = _bound(schema, "minItems") or 0
            count = least if depth >= MAX_DEPTH else max(least, 1)
            most = _bound(schema, "maxItems")
            count = min(count, MAX_ITEMS if most is None else most, MAX_ITEMS)
            items = [schema.get("items", {"type": "string"})] * int(count)
        return [self.value(item, name, depth + 1) for item in items]


_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_CHECKS: dict[str, Callable[[float, float], bool]] = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
}


def _type_of(schema: JsonObject) -> str:
    declared = schema.get("type")
    if isinstance(declared, list):
        declared = next((kind for kind in declared if kind != "null"), "null")
    if isinstance(declared, str) and declared in _TYPES:
        return declared
    return "object" if "properties" in schema else "string"


def _fullest(variants: list[JsonObject]) -> JsonObject:
    return next((variant for variant in variants if variant.get("type") != "null"), variants[0])


def _simplest(variants: list[JsonObject]) -> JsonObject:
    return next((variant for variant in variants if variant.get("type") == "null"), variants[0])


def _string(schema: JsonObject, name: str) -> str:
    fixed = _FORMATS.get(str(schema.get("format"))) or _BY_NAME.get(name)
    text = fixed or (f"example {name.replace('_', ' ')}" if name else "example")
    least, most = int(_bound(schema, "minLength") or 0), _bound(schema, "maxLength")
    return text.ljust(least, ".")[: None if most is None else int(most)]


def _bound(schema: JsonObject, name: str) -> float | None:
    value = schema.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _number(schema: JsonObject) -> float:
    bounds = [bound for name in _CHECKS if (bound := _bound(schema, name)) is not None]
    step = _bound(schema, "multipleOf") or 1
    around = [step * (math.floor(bound / step) + offset) for bound in bounds for offset in (0, 1, -1)]
    middle = [sum(bounds) / len(bounds)] if bounds else []
    return next((number for number in [1, step, *around, *bounds, *middle] if _fits(number, schema)), 1)


def _fits(number: float, schema: JsonObject) -> bool:
    bounds = ((_bound(schema, name), check) for name, check in _CHECKS.items())
    if not all(bound is None or check(number, bound) for bound, check in bounds):
        return False
    step = _bound(schema, "multipleOf") or (1 if schema.get("type") == "integer" else None)
    return step is None or number % step == 0

"""Paths through Python types: what type stands at ``items[*].name``."""

import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Union, cast, get_args, get_origin

from streamkit.errors import UsageError
from streamkit.partial_json import PathPattern
from streamkit.partial_model import fields_of, has_fields, is_list, without_wrapping

if TYPE_CHECKING:
    from typing_extensions import TypeForm


def type_at(type_: "TypeForm[object]", pattern: PathPattern) -> "TypeForm[object]":
    """Return the type at a path; a union where there are several, as behind ``*`` in an object.

    Raises:
        UsageError: the type has nothing there.
    """
    found: list[object] = [type_]
    for step in pattern.steps:
        found = [inner for outer in found for inner in _inner_types(outer, step)]
    if not found:
        raise UsageError(f"{type_!r} has nothing at {pattern}; a path goes by the names that the JSON has")
    union: Any = Union
    return cast("TypeForm[object]", union[tuple(found)])


def _inner_types(type_: object, step: str | int | None) -> Iterator[object]:
    core = without_wrapping(type_)
    origin, arguments = get_origin(core), get_args(core)
    if origin in (Union, types.UnionType):
        for member in arguments:
            yield from _inner_types(member, step)
    elif is_list(core) and not isinstance(step, str):
        yield arguments[0]
    elif has_fields(core) and not isinstance(step, int):
        for name, (annotation, alias) in fields_of(core).items():
            if step in (None, alias or name):
                yield annotation

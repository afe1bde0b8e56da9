"""Reads what a scenario wants to know out of the body of a request, however that body was written."""

from collections.abc import Mapping
from typing import TypeAlias

from pydantic import JsonValue

JsonObject: TypeAlias = dict[str, JsonValue]
Request: TypeAlias = Mapping[str, JsonValue]


def objects(value: JsonValue) -> list[JsonObject]:
    """The objects of a JSON array; whatever else there is counts as absent."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def section(request: Request, name: str) -> JsonObject:
    """A field that is an object, such as ``metadata``; empty where it is absent or something else."""
    value = request.get(name)
    return value if isinstance(value, dict) else {}


def input_items(request: Request) -> list[JsonObject]:
    """The request's input as items: plain text is one message of the user."""
    given = request.get("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    return objects(given)


def content_text(content: JsonValue) -> str:
    """The text of a message's content or of a tool's output, which may be plain text or a list of parts."""
    if isinstance(content, str):
        return content
    texts = (part.get("text", part.get("refusal")) for part in objects(content))
    return "".join(text for text in texts if isinstance(text, str))


def prompt(request: Request) -> str:
    """What the user said last."""
    said = (content_text(item.get("content")) for item in input_items(request) if item.get("role") == "user")
    return next(reversed(list(said)), "")

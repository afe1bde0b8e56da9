"""Frames to events: bytes are validated straight into the model their event is known by.

The ``event:`` line picks the model before anything is parsed, and the model checks it against ``type`` in the data,
which decides. Only what does not fit on this first try is parsed again, to see what it is instead.
"""

import json
from collections.abc import Callable
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import from_json

from streamkit.errors import InvalidEventError
from streamkit.events import EVENTS, DoneSentinel, ErrorEvent, Event, InvalidEvent, UnknownEvent
from streamkit.sse import Frame

Validate = Callable[[bytes], Event]


class _Validators(dict[str, Validate | None]):
    """From a wire name to what validates its data; models are built when their first event comes, not on import."""

    def __missing__(self, name: str) -> Validate | None:
        model = EVENTS.get(name)
        if model is None:
            return None
        model.model_rebuild()
        validate: Validate = model.__pydantic_validator__.validate_json
        self[name] = validate
        return validate


_VALIDATORS = _Validators()
_UNNAMED = "message"


def decode(frame: Frame) -> Event:
    """Return the event of a frame; whatever the frame holds, this returns an event and raises nothing.

    What no model knows is an ``UnknownEvent``; what is not JSON, or does not have the shape of the type it claims, is
    an ``InvalidEvent`` with the error. Error objects without a type are ``ErrorEvent``; ``[DONE]`` is ``DoneSentinel``.
    """
    validate = _VALIDATORS[frame.event]
    if validate is not None:
        try:
            event = validate(frame.data)
        except ValidationError:
            return _decode_slowly(frame)
        return _without_obfuscation(event)
    return _decode_slowly(frame)


def decode_strictly(frame: Frame) -> Event:
    """Return the event of a frame like ``decode``, but accept no ``InvalidEvent``.

    Raises:
        InvalidEventError: the frame is not JSON, or does not have the shape of the type it claims.
    """
    event = decode(frame)
    if isinstance(event, InvalidEvent):
        name = event.type or "an event without a type"
        raise InvalidEventError(f"{name} does not fit its model: {event.error}", type=event.type, raw=event.raw)
    return event


def _without_obfuscation(event: Event) -> Event:
    # Padding against traffic analysis (wire.md: only on deltas so far, whose models ignore extras); not for handlers.
    extra = event.__pydantic_extra__
    if extra:
        extra.pop("obfuscation", None)
    return event


def _decode_slowly(frame: Frame) -> Event:
    if frame.data == b"[DONE]":
        return DoneSentinel()
    try:
        data = _parse(frame)
    except (ValueError, RecursionError) as error:
        name = "" if frame.event == _UNNAMED else frame.event
        return InvalidEvent(type=name, raw=frame.data, error=f"not JSON: {error}")
    if not isinstance(data, dict):
        return InvalidEvent(type="", raw=frame.data, error="not a JSON object", data=cast("Any", data))
    return _decode_object(frame, cast("dict[str, Any]", data))


def _parse(frame: Frame) -> object:
    try:
        return from_json(frame.data)
    except ValueError:
        # The standard library accepts halves of surrogate pairs, which servers that cut text by UTF-16 units escape
        # into separate deltas; and replacing bytes that are not UTF-8 is what the SSE standard asks for.
        return _well_formed(json.loads(frame.text))


def _well_formed(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_well_formed(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {_well_formed(key): _well_formed(item) for key, item in cast("dict[str, object]", value).items()}
    return value


def _decode_object(frame: Frame, data: dict[str, Any]) -> Event:
    name = _type_of(frame, data)
    model = EVENTS.get(name)
    if model is None:
        data.pop("obfuscation", None)
        number = data.get("sequence_number")
        return UnknownEvent(type=name, data=data, sequence_number=number if type(number) is int else None)
    if model is ErrorEvent and data.get("type", "error") != "error":
        data = {"error": data}
    try:
        return _without_obfuscation(model.model_validate({**data, "type": name}))
    except ValidationError as error:
        return InvalidEvent(type=name, raw=frame.data, error=_one_line(error), data=data)


def _type_of(frame: Frame, data: dict[str, Any]) -> str:
    name = data.get("type")
    named = "" if frame.event == _UNNAMED else frame.event
    if isinstance(name, str) and (name in EVENTS or named != "error"):
        return name
    # Chat-style error objects have no type, or the error's own type in its place (wire.md 3.5).
    return "error" if data.get("error") else named


def _one_line(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, entry['loc'])) or 'event'}: {entry['msg']}" for entry in error.errors())

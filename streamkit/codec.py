"""Frames to events: bytes are validated straight into the model their event is known by.

The ``event:`` line picks the model before anything is parsed, and the model checks it against ``type`` in the data,
which decides. Only what does not fit on this first try is parsed again, to see what it is instead.
"""

import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol, cast

from pydantic import ValidationError
from pydantic_core import from_json

from streamkit.errors import InvalidEventError
from streamkit.events import EVENTS, TEXT_DELTA, DoneSentinel, ErrorEvent, Event, InvalidEvent, UnknownEvent
from streamkit.sse import Frame

Validate = Callable[[bytes], Event]
_LF = ord("\n")


class Translator(Protocol):
    """Makes events of the frames of one connection, where they do not correspond one to one."""

    def feed(self, frame: Frame) -> Iterable[Event]:
        """Return the events of a frame."""
        ...

    def finish(self) -> Iterable[Event]:
        """Return the events that the end of the bytes gives; none where the response has no end yet."""
        ...


class _Validators(dict[str, Validate | None]):
    """From a wire name to what validates its data; models are built when their first event comes, not on import."""

    def __missing__(self, name: str) -> Validate | None:
        model = EVENTS.get(name)
        if model is None:
            return None
        model.model_rebuild()
        validate: Validate = model.__pydantic_validator__.validate_json
        self[name] = partial(_without_padding, validate) if model.model_config.get("extra") == "allow" else validate
        return self[name]


def _without_padding(validate: Validate, data: bytes) -> Event:
    """Validate, and drop what pads events against traffic analysis: it is not for handlers."""
    event = validate(data)
    if event.__pydantic_extra__:
        event.__pydantic_extra__.pop("obfuscation", None)
    return event


_VALIDATORS = _Validators()
_UNNAMED = "message"


class _Heads(dict[bytes, tuple[str, Validate | None]]):
    """From how a block begins, where that is the name of an event and no more, to that name and its validator."""

    def __missing__(self, head: bytes) -> tuple[str, Validate | None]:
        name = head.removeprefix(b"event: ").decode("utf-8", "replace")
        validate = _VALIDATORS[name] if head.startswith(b"event: ") else None
        if validate is not None:
            self[head] = name, validate
        return name, validate


_HEADS = _Heads()
# What most blocks of a stream begin with: to compare it takes less than to look a beginning up.
_TEXT_DELTA = b"event: %s\ndata: " % TEXT_DELTA.encode()


def decode_block(block: bytes, unwanted: frozenset[str]) -> Event | None:
    """Return the event of a block of an event stream; ``None`` where it has to be parsed, and its frame decoded.

    That is so unless it is written as most servers do: ``event: NAME``, and one line of data that fits.

    Args:
        block: the bytes between two blank lines. Of several blocks in one piece no event is returned.
        unwanted: names of events that are not to be decoded either.
    """
    data = block.removeprefix(_TEXT_DELTA)
    if data is not block:
        name, validate = TEXT_DELTA, _VALIDATORS[TEXT_DELTA]
    else:
        head, _, data = block.partition(b"\ndata: ")
        name, validate = _HEADS[head]
    if validate is None or name in unwanted or _LF in data:
        return None
    try:
        return validate(data)
    except ValidationError:
        return None


def decode(frame: Frame) -> Event:
    """Return the event of a frame; whatever the frame holds, this returns an event and raises nothing.

    What no model knows is an ``UnknownEvent``; what is not JSON, or does not have the shape of the type it claims, is
    an ``InvalidEvent`` with the error. Error objects without a type are ``ErrorEvent``; ``[DONE]`` is ``DoneSentinel``.
    """
    validate = _VALIDATORS[frame.event]
    if validate is not None:
        try:
            return validate(frame.data)
        except ValidationError:
            pass
    return _decode_slowly(frame)


def decode_strictly(frame: Frame) -> Event:
    """Return the event of a frame like ``decode``, but accept no ``InvalidEvent``; raises as ``valid``."""
    return valid(decode(frame))


def valid(event: Event) -> Event:
    """Return an event unless it is an ``InvalidEvent``.

    Raises:
        InvalidEventError: its frame was not JSON, or did not have the shape of the type it claims.
    """
    if isinstance(event, InvalidEvent):
        name = event.type or "an event without a type"
        raise InvalidEventError(f"{name} does not fit its model: {event.error}", type=event.type, raw=event.raw)
    return event


def _decode_slowly(frame: Frame) -> Event:
    if frame.data == b"[DONE]":
        return DoneSentinel()
    try:
        data = _parse(frame)
    except (ValueError, RecursionError) as error:
        return InvalidEvent(type=_name_of(frame), raw=frame.data, error=f"not JSON: {error}")
    if not isinstance(data, dict):
        return InvalidEvent(type=_name_of(frame), raw=frame.data, error="not a JSON object", data=cast("Any", data))
    return _decode_object(frame, cast("dict[str, Any]", data))


def _parse(frame: Frame) -> object:
    try:
        return from_json(frame.data)
    except ValueError:
        # The standard library accepts halves of surrogate pairs, which servers that cut text by UTF-16 units escape
        # into separate deltas; and replacing bytes that are not UTF-8 is what the SSE standard asks for.
        text = json.dumps(json.loads(frame.text), ensure_ascii=False)
        return from_json(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))


def _decode_object(frame: Frame, data: dict[str, Any]) -> Event:
    data.pop("obfuscation", None)
    name = _type_of(frame, data)
    model = EVENTS.get(name)
    if model is None:
        return UnknownEvent(type=name, data=data, sequence_number=_number_in(data))
    if model is ErrorEvent and data.get("type", "error") != "error":
        data = {"error": data.get("error") or data}
    try:
        return model.model_validate({**data, "type": name})
    except ValidationError as error:
        number = _number_in(data)
        return InvalidEvent(type=name, raw=frame.data, error=in_one_line(error), data=data, sequence_number=number)


def _number_in(data: dict[str, Any]) -> int | None:
    number = data.get("sequence_number")
    return number if type(number) is int else None


def _type_of(frame: Frame, data: dict[str, Any]) -> str:
    name = data.get("type")
    if isinstance(name, str) and name in EVENTS:
        return name
    # Chat-style errors have no type, or the error's own type in its place.
    if frame.event == "error" or data.get("object") == "error":
        return "error"
    if isinstance(name, str):
        return name
    return "error" if data.get("error") else _name_of(frame)


def _name_of(frame: Frame) -> str:
    return "" if frame.event == _UNNAMED else frame.event


def in_one_line(error: ValidationError) -> str:
    """Return what pydantic found wrong with an event, field by field, without the values."""
    entries = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, entry['loc'])) or 'event'}: {entry['msg']}" for entry in entries)

"""What a request asks of the local server: its record, its body, and the options in its headers."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import NoneType
from typing import TypeAlias

from aiohttp import web
from pydantic import JsonValue
from pydantic_core import from_json

from streamkit.errors import UsageError
from streamkit.testing.api_error import ApiError
from streamkit.testing.request import JsonObject

SCENARIO_HEADER = "x-streamkit-scenario"
"""Request header that chooses the scenario of this one answer."""

TOKENS_PER_SECOND_HEADER = "x-streamkit-tokens-per-second"
"""Request header that sets the pace of this one answer; 0 means as fast as possible."""

BACKGROUND_STREAM_SECONDS_HEADER = "x-streamkit-background-stream-seconds"
"""Request header that says how long this one background response can be streamed."""

FAULTS_HEADER = "x-streamkit-faults"
"""Request header that says what goes wrong with this one answer, as ``parse_faults`` reads it."""

FieldTypes: TypeAlias = Mapping[str, tuple[type[object], ...]]
"""The types that fields of a body may have."""

_HIDDEN = "(hidden)"
_SECRET_HEADERS = ("authorization", "api-key", "cookie", "proxy-authorization", "x-api-key")


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that the server received, for a test to look at.

    Attributes:
        number: how many requests the server had then received, with this one.
        method: such as ``"POST"``.
        path: such as ``"/v1/responses"``, with the query if there was one.
        headers: by name, in any case; keys and cookies are hidden.
        body: the parsed JSON, or None where there was none.
    """

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    body: JsonValue


async def record(request: web.Request, *, number: int) -> RecordedRequest:
    """Read a request to its end and record it, without its secrets."""
    headers = request.headers.copy()
    for name in _SECRET_HEADERS:
        if name in headers:
            headers[name] = _HIDDEN
    body: JsonValue = None
    with suppress(ValueError):
        body = from_json(await request.read(), allow_inf_nan=False)
    return RecordedRequest(number, request.method, request.path_qs, headers, body)


async def read_body(request: web.Request, types: FieldTypes, *, required: Sequence[str]) -> JsonObject:
    """Read the body of a request; a field that is null counts as absent.

    Raises:
        ApiError: it is not JSON, lacks what is required, or has a field of the wrong type.
    """
    try:
        body: JsonValue = from_json(await request.read(), allow_inf_nan=False)
    except ValueError as error:
        raise ApiError(f"We could not parse the JSON body of your request: {error}.") from None
    if not isinstance(body, dict):
        raise ApiError("The body of your request is not a JSON object.")
    _check(body, types, required)
    return body


def _check(body: JsonObject, types: FieldTypes, required: Sequence[str]) -> None:
    for name in required:
        if body.get(name) is None:
            raise ApiError(f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name)
    for name, kinds in types.items():
        if not isinstance(body.get(name), (*kinds, NoneType)):
            raise ApiError(f"Invalid type for '{name}'.", code="invalid_type", param=name)


def header_number(request: web.Request, name: str, default: float) -> float:
    """The number in a header of that name, or else the default.

    Raises:
        UsageError: it is no number from 0 on.
    """
    asked = request.headers.get(name)
    if asked is None:
        return default
    try:
        return checked_number(name, float(asked))
    except ValueError:
        raise UsageError(f"{name} is not a number: {asked!r}") from None


def checked_number(name: str, number: float) -> float:
    """The number, if it is one that can be worked with.

    Raises:
        UsageError: it is negative, infinite or not a number.
    """
    if number < 0 or not math.isfinite(number):
        raise UsageError(f"{name} must be a number from 0 on, not {number}")
    return number


def starting_after(request: web.Request) -> int:
    """The sequence number behind which a stream is asked for; -1 for the whole of it.

    Raises:
        ApiError: the query says something else.
    """
    asked = request.query.get("starting_after", "-1")
    try:
        return max(int(asked), -1)
    except ValueError:
        raise ApiError("Invalid type for 'starting_after'.", code="invalid_type", param="starting_after") from None

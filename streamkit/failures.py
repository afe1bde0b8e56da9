"""The many forms in which servers report an error, all read into one ``ServerError``.

The forms are listed in the documentation's error guide: nested and flat ``error`` events, ``response.failed``, JSON
bodies of HTTP errors, event streams sent with an error status, and web pages of proxies.
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import ValidationError

from streamkit.codec import decode
from streamkit.errors import ServerError
from streamkit.events import ErrorEvent
from streamkit.response import ErrorDetail
from streamkit.sse import Decoder, Frame

_TRY_AGAIN = re.compile(r"try again in\s*(\d+(?:\.\d+)?)\s*(ms|s|seconds?|m|minutes?)\b", re.IGNORECASE)
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_SHOWN_CHARACTERS = 300


def from_detail(
    detail: ErrorDetail | None, *, also: ErrorDetail | None = None, request_id: str | None = None
) -> ServerError:
    """Return the error that ``detail`` describes, with what only ``also`` knows (an ``error`` event sent before it)."""
    first, second = detail or ErrorDetail(), also or ErrorDetail()
    message = first.message or second.message or "the server reported an error without a message"
    code = first.code if first.code is not None else second.code
    return ServerError(
        message,
        code=None if code is None else str(code),
        type=first.type or second.type,
        param=first.param or second.param,
        request_id=request_id,
        retry_after=retry_after(first.headers or second.headers or {}) or _seconds_in(message),
    )


def from_body(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> ServerError:
    """Return the error of an HTTP answer that is not a success; ``now`` (Unix time) dates a ``Retry-After``."""
    detail = _detail_in(body)
    code = detail.code if detail else None
    return ServerError(
        (detail and detail.message) or _describe(status, headers, body),
        code=None if code is None else str(code),
        type=detail.type if detail else None,
        param=detail.param if detail else None,
        status=status,
        request_id=request_id(headers),
        retry_after=retry_after(headers, now=now),
        should_retry={"true": True, "false": False}.get(headers.get("x-should-retry", "").lower()),
    )


def detail_in_json(body: bytes) -> ErrorDetail | None:
    """Return the error object in a JSON body, or ``None`` where there is none."""
    event = decode(Frame(data=body.strip()))
    return event.detail if isinstance(event, ErrorEvent) else None


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the server's id for a request, by the names that OpenAI, Azure and OpenRouter give it."""
    names = ("x-request-id", "apim-request-id", "x-generation-id")
    return next((headers[name] for name in names if headers.get(name)), None)


def retry_after(headers: Mapping[str, Any], *, now: float | None = None) -> float | None:
    """Return the seconds to wait by the headers: ``retry-after-ms``, else ``retry-after`` in seconds or as a date."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or now is None or not isinstance(value, str):
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, str | int | float) else -1.0
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _seconds_in(message: str) -> float | None:
    # OpenAI's rate limit errors inside a stream say it only in words.
    found = _TRY_AGAIN.search(message)
    if found is None:
        return None
    amount, unit = found.groups()
    return float(amount) * _UNIT_SECONDS["ms" if unit.lower() == "ms" else unit[0].lower()]


def _detail_in(body: bytes) -> ErrorDetail | None:
    found = detail_in_json(body)
    if found is not None:
        return found
    decoder = Decoder()
    frames = [*decoder.feed(body), decoder.flush()]
    events = [decode(frame) for frame in frames if frame is not None]
    return next((event.detail for event in events if isinstance(event, ErrorEvent)), _other_json(body))


def _other_json(body: bytes) -> ErrorDetail | None:
    # FastAPI servers say {"detail": …}, others a bare {"message": …}.
    event = decode(Frame(event="error", data=body.strip()))
    if not isinstance(event, ErrorEvent):
        return None
    extra = event.__pydantic_extra__ or {}
    message = event.message or extra.get("detail")
    try:
        return ErrorDetail(message=None if message is None else str(message), code=event.code)
    except ValidationError:
        return None


def shown(body: bytes) -> str:
    """Return the beginning of a body as one short line of text."""
    return " ".join(body[: _SHOWN_CHARACTERS * 4].decode("utf-8", "replace").split())[:_SHOWN_CHARACTERS]


def _describe(status: int, headers: Mapping[str, str], body: bytes) -> str:
    if 300 <= status < 400:
        target = headers.get("location", "an unnamed place")
        return f"the server redirects to {target}; redirects are not followed, so set base_url to the final address"
    kind = headers.get("content-type", "no content type")
    return f"HTTP {status} ({kind}): {shown(body)}" if body.strip() else f"HTTP {status} with an empty body"

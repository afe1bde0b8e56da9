"""The many forms in which servers report an error, all read into one ``ServerError``.

There are nested and flat ``error`` events, ``response.failed``, JSON bodies of HTTP errors, event streams sent with an
error status, and web pages of proxies.
"""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from pydantic_core import to_json

from streamkit.codec import decode
from streamkit.errors import ServerError
from streamkit.events import ErrorEvent
from streamkit.response import ErrorDetail
from streamkit.sse import Decoder, Frame

_UNIT_SECONDS = {
    **dict.fromkeys(["ms", "millisecond"], 0.001),
    **dict.fromkeys(["s", "sec", "second"], 1.0),
    **dict.fromkeys(["m", "min", "minute"], 60.0),
    **dict.fromkeys(["h", "hour"], 3600.0),
    **dict.fromkeys(["d", "day"], 86400.0),
}
_DURATION = re.compile(rf"([0-9]+(?:\.[0-9]+)?)\s*({'|'.join(_UNIT_SECONDS)})s?(?![a-z])", re.IGNORECASE)
_WAIT = re.compile(rf"(?:try again in|retry after)\s+((?:{_DURATION.pattern}\s*)+)", re.IGNORECASE)
_SHOWN_CHARACTERS = 300


def from_detail(
    detail: ErrorDetail | None, *, also: ErrorDetail | None = None, request_id: str | None = None
) -> ServerError:
    """Return the error that ``detail`` describes, with what only ``also`` knows (an ``error`` event sent before it)."""
    known = _joined(detail or ErrorDetail(), also or ErrorDetail())
    message = known.message or "the server reported an error without a message"
    return _error(message, known, request_id=request_id)


def from_body(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> ServerError:
    """Return the error of an HTTP answer that is not a success; ``now`` (Unix time) dates a ``Retry-After``."""
    known = _detail_in(body) or ErrorDetail()
    message = known.message or _describe(status, headers, body)
    wait = retry_after(headers, now=now)
    again = {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())
    return _error(message, known, request_id=request_id(headers), retry_after=wait, status=status, should_retry=again)


def _error(
    message: str,
    known: ErrorDetail,
    *,
    request_id: str | None,
    retry_after: float | None = None,
    status: int | None = None,
    should_retry: bool | None = None,
) -> ServerError:
    return ServerError(
        message,
        code=None if known.code is None else str(known.code),
        type=known.type,
        param=known.param,
        status=status,
        request_id=request_id,
        retry_after=_wait_told_in(known) if retry_after is None else retry_after,
        should_retry=should_retry,
    )


def _joined(first: ErrorDetail, second: ErrorDetail) -> ErrorDetail:
    missing = [name for name in ErrorDetail.model_fields if getattr(first, name) in (None, "")]
    return first.model_copy(update={name: getattr(second, name) for name in missing})


def detail_in_json(body: bytes) -> ErrorDetail | None:
    """Return the error object in a JSON body, or ``None`` where there is none."""
    event = decode(Frame(data=body.strip()))
    return event.detail if isinstance(event, ErrorEvent) else None


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the server's id for a request, by the names that OpenAI, Azure and OpenRouter give it."""
    names = ("x-request-id", "apim-request-id", "x-generation-id")
    return next((headers[name] for name in names if headers.get(name)), None)


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return the seconds to wait by the headers: ``retry-after-ms``, else ``retry-after`` in seconds or as a date."""
    seconds = _seconds_in(headers)
    return _seconds_until(headers.get("retry-after", ""), now) if seconds is None else seconds


def _seconds_in(headers: Mapping[str, str]) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms", ""))
    return _number(headers.get("retry-after", "")) if milliseconds is None else milliseconds / 1000


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _seconds_until(date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    # Dates in headers are GMT, also where a server does not say so.
    return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)


def _wait_told_in(known: ErrorDetail) -> float | None:
    # Inside a stream the headers may stand in the error object; OpenAI's own rate limits say it only in words.
    headers = {name.lower(): value for name, value in (known.headers or {}).items()}
    seconds = _seconds_in(headers)
    found = _WAIT.search(known.message or "")
    if seconds is not None or found is None:
        return seconds
    durations = _DURATION.findall(found[1])
    return _number(str(sum(float(amount) * _UNIT_SECONDS[unit.lower()] for amount, unit in durations)))


def _detail_in(body: bytes) -> ErrorDetail | None:
    found = detail_in_json(body)
    if found is not None:
        return found
    decoder = Decoder()
    frames = [*decoder.feed(body), decoder.flush()]
    events = [decode(frame) for frame in frames if frame is not None]
    return next((event.detail for event in events if isinstance(event, ErrorEvent)), _other_json(body))


def _other_json(body: bytes) -> ErrorDetail | None:
    # FastAPI says {"detail": …}, problem documents have a title besides, other servers say a bare {"message": …}.
    event = decode(Frame(event="error", data=body.strip()))
    if not isinstance(event, ErrorEvent):
        return None
    others = (event.error or event).model_extra or {}
    told = event.detail.message or others.get("detail") or others.get("title")
    if told is None or isinstance(told, str):
        return event.detail.model_copy(update={"message": told})
    return event.detail.model_copy(update={"message": shown(to_json(told))})


def shown(body: bytes) -> str:
    """Return the beginning of a body as one short line of text."""
    return " ".join(body[: _SHOWN_CHARACTERS * 4].decode("utf-8", "replace").split())[:_SHOWN_CHARACTERS]


def _describe(status: int, headers: Mapping[str, str], body: bytes) -> str:
    if 300 <= status < 400:
        target = headers.get("location", "an unnamed place")
        return f"the server redirects to {target}; redirects are not followed, so set base_url to the final address"
    kind = headers.get("content-type", "no content type")
    return f"HTTP {status} ({kind}): {shown(body)}" if body.strip() else f"HTTP {status} with an empty body"

"""Errors as servers report them, in every form, read into one."""

import json
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from streamkit.errors import ServerError
from streamkit.failures import detail_in_json, from_body, from_detail, request_id, retry_after, shown
from streamkit.response import ErrorDetail

NOW = 1_800_000_000.0
JSON = {"content-type": "application/json"}


def facts(error: ServerError) -> dict[str, Any]:
    names = ("message", "code", "type", "param", "status", "request_id", "retry_after")
    return {name: value for name in names if (value := getattr(error, name)) is not None}


DETAIL = ErrorDetail(code="rate_limit_exceeded", message="Slow down.", type="tokens", param="input")

# The error of response.failed, that of an error event before it, and what comes of both.
DETAILS: dict[str, tuple[ErrorDetail | None, ErrorDetail | None, dict[str, Any]]] = {
    "one that says everything": (
        DETAIL,
        None,
        {"message": "Slow down.", "code": "rate_limit_exceeded", "type": "tokens", "param": "input"},
    ),
    "two that complement one another": (
        ErrorDetail(code="server_error", message="Sorry."),
        ErrorDetail(code="other", message="Oh.", type="server_error", param="model"),
        {"message": "Sorry.", "code": "server_error", "type": "server_error", "param": "model"},
    ),
    "only the one before": (None, ErrorDetail(message="Oh."), {"message": "Oh."}),
    "an empty message": (ErrorDetail(message=""), ErrorDetail(message="Oh."), {"message": "Oh."}),
    "nothing": (None, None, {"message": "the server reported an error without a message"}),
    "a code only": (
        ErrorDetail(code="c"),
        None,
        {"message": "the server reported an error without a message", "code": "c"},
    ),
    "a number as code": (ErrorDetail(code=429, message="m"), None, {"message": "m", "code": "429"}),
    "zero as code": (ErrorDetail(code=0, message="m"), ErrorDetail(code=1), {"message": "m", "code": "0"}),
    "a wait in its headers": (
        ErrorDetail(message="m", headers={"Retry-After": "20", "x-ratelimit-reset-requests": "1s"}),
        None,
        {"message": "m", "retry_after": 20.0},
    ),
    "a wait in its headers, in milliseconds": (
        ErrorDetail(message="try again in 9s", headers={"retry-after-ms": "1500", "retry-after": "2"}),
        None,
        {"message": "try again in 9s", "retry_after": 1.5},
    ),
    "no wait at all, by its headers": (
        ErrorDetail(message="try again in 9s", headers={"retry-after": "0"}),
        None,
        {"message": "try again in 9s", "retry_after": 0.0},
    ),
    "a wait in the headers of the one before": (
        ErrorDetail(message="m"),
        ErrorDetail(headers={"retry-after": "3"}),
        {"message": "m", "retry_after": 3.0},
    ),
}


@pytest.mark.parametrize(("detail", "also", "expected"), DETAILS.values(), ids=DETAILS.keys())
def test_the_errors_of_a_stream_become_one(
    detail: ErrorDetail | None, also: ErrorDetail | None, expected: dict[str, Any]
) -> None:
    error = from_detail(detail, also=also, request_id="req_1")
    assert facts(error) == {"request_id": "req_1", **expected}
    assert type(error) is ServerError


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached for gpt-5. Please try again in 6.57s. Visit the page.", 6.57),
        ("Please try again in 864ms.", 0.864),
        ("Please try again in 20 seconds", 20),
        ("Please try again in 1 second.", 1),
        ("Please try again in 2 minutes.", 120),
        ("Please try again in 6m0s.", 360),
        ("Please try again in 1h2m3.5s.", 3723.5),
        ("PLEASE TRY AGAIN IN 2 S", 2),
        ("Please retry after 6 seconds.", 6),
        ("try again in 1 day", 86400),
        ("try again in 2 hours 5 minutes and be patient", 7500),
        ("try again in 7.s", None),
        ("try again in 5", None),
        ("try again in 5 moons", None),
        ("try again in 5mice", None),
        ("try again later", None),
        (f"try again in {'9' * 400}s", None),
        ("", None),
    ],
)
def test_a_wait_told_in_words_is_understood(message: str, seconds: float | None) -> None:
    error = from_detail(ErrorDetail(message=message))
    assert error.retry_after == (None if seconds is None else pytest.approx(seconds))


# Status, headers, body, and what the error says besides the status.
BODIES: dict[str, tuple[int, dict[str, str], JsonValue | bytes, dict[str, Any]]] = {
    "OpenAI's": (
        400,
        {**JSON, "x-request-id": "req_1"},
        {
            "error": {
                "message": "No such model.",
                "type": "invalid_request_error",
                "param": "model",
                "code": "model_not_found",
            }
        },
        {
            "message": "No such model.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
            "request_id": "req_1",
        },
    ),
    "Azure's": (
        429,
        {**JSON, "apim-request-id": "a1", "retry-after": "6"},
        {"error": {"code": "429", "message": "Please retry after 9 seconds."}},
        {"message": "Please retry after 9 seconds.", "code": "429", "request_id": "a1", "retry_after": 6.0},
    ),
    "a wait only in words": (
        429,
        JSON,
        {"error": {"message": "Please try again in 2s."}},
        {"message": "Please try again in 2s.", "retry_after": 2.0},
    ),
    "OpenRouter's, with a number as code": (
        402,
        {**JSON, "x-generation-id": "gen-1"},
        {"error": {"message": "No credits.", "code": 402}, "user_id": "u"},
        {"message": "No credits.", "code": "402", "request_id": "gen-1"},
    ),
    "llama.cpp's": (
        500,
        JSON,
        {"error": {"code": 500, "message": "parse error", "type": "server_error"}},
        {"message": "parse error", "code": "500", "type": "server_error"},
    ),
    "vLLM's": (
        400,
        JSON,
        {"object": "error", "message": "Bad.", "type": "BadRequestError", "param": None, "code": 400},
        {"message": "Bad.", "type": "BadRequestError", "code": "400"},
    ),
    "flat, with the error's own type": (
        400,
        JSON,
        {"message": "Bad.", "type": "BadRequestError", "code": 400},
        {"message": "Bad.", "type": "BadRequestError", "code": "400"},
    ),
    "an error event's": (
        529,
        JSON,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Busy."}},
        {"message": "Busy.", "type": "overloaded_error"},
    ),
    "a string as error": (404, JSON, {"error": "model 'x' not found"}, {"message": "model 'x' not found"}),
    "FastAPI's": (422, JSON, {"detail": "Unexpected fields"}, {"message": "Unexpected fields"}),
    "FastAPI's, with a list": (
        422,
        JSON,
        {"detail": [{"loc": ["body"], "msg": "Field required"}]},
        {"message": '[{"loc":["body"],"msg":"Field required"}]'},
    ),
    "a problem document": (
        503,
        {"content-type": "application/problem+json"},
        {"type": "about:blank", "title": "Unavailable", "status": 503},
        {"message": "Unavailable", "type": "about:blank"},
    ),
    "a problem document with a detail": (
        503,
        JSON,
        {"title": "Unavailable", "detail": "Down until noon."},
        {"message": "Down until noon."},
    ),
    "a bare message": (401, JSON, {"message": "No key.", "code": "denied"}, {"message": "No key.", "code": "denied"}),
    "JSON by another name": (
        400,
        {"content-type": "application/octet-stream"},
        {"error": {"message": "Bad."}},
        {"message": "Bad."},
    ),
    "JSON with space around it": (400, JSON, b'\n {"error":{"message":"Bad."}}\n', {"message": "Bad."}),
    "an event stream": (
        500,
        {"content-type": "text/event-stream"},
        b': hi\n\ndata: {"type":"keepalive"}\n\nevent: error\ndata: {"error":{"message":"Bad."}}\n\ndata: [DONE]\n\n',
        {"message": "Bad."},
    ),
    "an event stream without its last blank line": (
        500,
        {"content-type": "text/event-stream"},
        b'data: {"error":{"message":"Bad."}}',
        {"message": "Bad."},
    ),
    "a web page": (
        502,
        {"content-type": "text/html"},
        b"<html>\n  <h1>Bad  gateway</h1>\n</html>",
        {"message": "HTTP 502 (text/html): <html> <h1>Bad gateway</h1> </html>"},
    ),
    "a long web page": (
        502,
        {"content-type": "text/html"},
        b"x" * 5000,
        {"message": "HTTP 502 (text/html): " + "x" * 300},
    ),
    "JSON that says nothing": (
        500,
        JSON,
        {"ok": False},
        {"message": 'HTTP 500 (application/json): {"ok": false}'},
    ),
    "JSON that is no object": (500, JSON, [1], {"message": "HTTP 500 (application/json): [1]"}),
    "nothing": (503, {}, b" \n", {"message": "HTTP 503 with an empty body"}),
    "text without a content type": (503, {}, b"busy", {"message": "HTTP 503 (no content type): busy"}),
    "a redirect": (
        308,
        {"location": "https://example.org/v1"},
        b"",
        {
            "message": "the server redirects to https://example.org/v1; redirects are not followed, so set base_url to "
            "the final address"
        },
    ),
    "a redirect to nowhere": (
        302,
        {},
        b"",
        {
            "message": "the server redirects to an unnamed place; redirects are not followed, so set base_url to the "
            "final address"
        },
    ),
}


@pytest.mark.parametrize(("status", "headers", "body", "expected"), BODIES.values(), ids=BODIES.keys())
def test_the_body_of_a_refusal_is_read(
    status: int, headers: dict[str, str], body: JsonValue | bytes, expected: dict[str, Any]
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert facts(from_body(status, headers, raw, now=NOW)) == {"status": status, **expected}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after": "-7"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0),
        ({"retry-after": formatdate(NOW + 30, usegmt=True).removesuffix(" GMT")}, 30),
        ({"retry-after": formatdate(NOW + 30)}, 30),
        ({"retry-after": "Mon, 31 Feb 2028 00:00:00 GMT"}, None),
    ],
)
def test_the_headers_say_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=NOW) == seconds


@given(st.text() | st.dates().map(str) | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [+-]?\w+"))
def test_no_header_raises(value: str) -> None:
    for name in ("retry-after", "retry-after-ms"):
        seconds = retry_after({name: value}, now=NOW)
        assert seconds is None or 0 <= seconds < float("inf")


@given(st.integers(300, 599), st.binary() | st.text().map(lambda text: json.dumps({"error": text}).encode()))
def test_no_body_raises(status: int, body: bytes) -> None:
    assert from_body(status, {}, body, now=NOW).status == status


@given(st.text() | st.from_regex(r"(try again in|retry after) ([0-9]+(\.[0-9]+)?\s?(ms|s|m|h|hours?)){1,3}"))
def test_no_message_raises(message: str) -> None:
    seconds = from_detail(ErrorDetail(message=message)).retry_after
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-request-id": "a", "apim-request-id": "b"}, "a"),
        ({"x-request-id": "", "apim-request-id": "b", "x-generation-id": "c"}, "b"),
        ({"x-generation-id": "c"}, "c"),
    ],
)
def test_the_request_id_has_several_names(headers: dict[str, str], expected: str | None) -> None:
    assert request_id(headers) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":"Bad."}}', "Bad."),
        (b' {"error":"Bad."} ', "Bad."),
        (b'{"id":"resp_1","object":"response","status":"failed","error":{"message":"Bad."}}', "Bad."),
    ],
)
def test_an_error_stands_in_json(body: bytes, message: str) -> None:
    detail = detail_in_json(body)
    assert detail is not None
    assert detail.message == message


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"<html>", b'{"id":"resp_1","error":null}', b'{"detail":"x"}'])
def test_no_error_stands_in_other_bodies(body: bytes) -> None:
    assert detail_in_json(body) is None


def test_a_body_is_shown_as_one_short_line() -> None:
    assert shown(b" a\r\n\tb \xff\n") == "a b \ufffd"
    assert len(shown("é".encode() * 5000)) == 300

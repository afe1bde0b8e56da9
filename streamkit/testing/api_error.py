"""Refusals in the words and the shape of the API."""

from collections.abc import Mapping

from aiohttp import web
from pydantic import JsonValue
from pydantic_core import to_json

from streamkit.testing.answers import Answer
from streamkit.testing.request import JsonObject


class ApiError(Exception):
    """A refusal; whoever answers the request sends ``answer()``."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        type: str = "invalid_request_error",  # noqa: A002 - the wire's own word
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers: Mapping[str, str] = headers or {}
        self.body: JsonObject = {"error": {"message": message, "type": type, "param": param, "code": code}}

    def answer(self) -> Answer:
        """The refusal as an answer."""
        return json_answer(self.body, status=self.status, headers=self.headers)


def json_answer(body: JsonValue, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer whose body is JSON."""
    return Answer(status, {"Content-Type": "application/json", **(headers or {})}, to_json(body))


def too_old(seconds: float) -> ApiError:
    """The refusal to stream a background response, so many seconds after it was created."""
    minutes = f"{seconds / 60:g} minutes"
    return ApiError(f"This response can no longer be streamed because it is more than {minutes} old.")


def in_api_words(error: web.HTTPException, request: web.Request) -> ApiError:
    """A refusal of the router, which answers in plain text, as the API would put it."""
    place = f"{request.method} {request.path}"
    if isinstance(error, web.HTTPMethodNotAllowed):
        headers = {"Allow": error.headers["Allow"]}
        return ApiError(f"Not allowed to {place}.", status=405, code="method_not_supported", headers=headers)
    if error.status == web.HTTPNotFound.status_code:
        return ApiError(f"Invalid URL ({place})", status=404)
    return ApiError(f"{error.reason} ({place})", status=error.status)

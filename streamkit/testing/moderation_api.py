"""The moderation endpoint of the local server."""

from aiohttp import web
from pydantic import JsonValue

from streamkit.testing.answers import Answer
from streamkit.testing.api_error import json_answer
from streamkit.testing.endpoint import Route
from streamkit.testing.ids import random_id
from streamkit.testing.incoming import read_body
from streamkit.testing.moderator import MODERATION_MODEL, Moderator, joined_parts
from streamkit.testing.request import objects


class ModerationApi:
    """The endpoint that says which texts are flagged."""

    def __init__(self, moderator: Moderator) -> None:
        self._moderator = moderator

    def routes(self) -> list[Route]:
        """Where the endpoints are."""
        return [("POST", "/v1/moderations", self._moderate)]

    async def _moderate(self, request: web.Request) -> Answer:
        body = await read_body(request, {"model": (str,), "input": (str, list)}, required=("input",))
        results: list[JsonValue] = [self._moderator.result(text) for text in _texts(body["input"])]
        model = body.get("model") or MODERATION_MODEL
        return json_answer({"id": random_id("modr", separator="-"), "model": model, "results": results})


def _texts(given: JsonValue) -> list[str]:
    """The texts that have a result each: parts, which may be images too, are one text together."""
    if objects(given) or not isinstance(given, list):
        return [joined_parts(given)]
    return [text for text in given if isinstance(text, str)]

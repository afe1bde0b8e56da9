"""The chat completions endpoint of the local server: the same scenarios, told in the API's older way."""

from aiohttp import web

from streamkit.testing.answers import EVENT_STREAM, Answer
from streamkit.testing.api_error import ApiError, json_answer
from streamkit.testing.chat_completion import ChatStream, foreign_item, whole_completion
from streamkit.testing.chat_request import CHAT_FIELDS, as_response_request
from streamkit.testing.checks import check_moderation, check_tool_choice
from streamkit.testing.endings import error_body, final_response
from streamkit.testing.endpoint import Route
from streamkit.testing.incoming import read_body
from streamkit.testing.player import Player
from streamkit.testing.request import JsonObject, section
from streamkit.testing.sending import paced


class ChatApi:
    """The endpoint that answers with chat completions."""

    def __init__(self, player: Player) -> None:
        self._player = player

    def routes(self) -> list[Route]:
        """Where the endpoints are."""
        return [("POST", "/v1/chat/completions", self._complete)]

    async def _complete(self, request: web.Request) -> Answer:
        body = await read_body(request, CHAT_FIELDS, required=("model", "messages"))
        asked = as_response_request(body)
        check_tool_choice(asked)
        check_moderation(asked)
        pace = self._player.pace(request)
        events = self._player.events(request, asked)
        _check_can_be_told(events)
        if body.get("stream") is not True:
            return _whole_answer(events[-1])
        stream = ChatStream(include_usage=section(body, "stream_options").get("include_usage") is True)
        return Answer(headers=EVENT_STREAM, body=paced(events, pace, encode=stream.frames))


def _check_can_be_told(events: list[JsonObject]) -> None:
    item_type = foreign_item(events)
    if item_type is not None:
        raise ApiError(
            f"This answer contains an item of type '{item_type}', which is only supported in v1/responses and not in "
            "v1/chat/completions.",
            param="model",
        )


def _whole_answer(last: JsonObject) -> Answer:
    """The completion, or the error that took its place."""
    response = final_response(last)
    if response is None or response["status"] == "failed":
        return json_answer(error_body(last), status=500)
    return json_answer(whole_completion(response))

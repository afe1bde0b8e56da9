"""The endpoints of the local server for responses and models: what each request is answered with."""

import asyncio
from collections.abc import Iterator

from aiohttp import web

from streamkit.testing.answers import EVENT_STREAM, Answer
from streamkit.testing.api_error import ApiError, json_answer, too_old
from streamkit.testing.background import Generation
from streamkit.testing.checks import check_request
from streamkit.testing.endings import error_body, final_response
from streamkit.testing.endpoint import Route
from streamkit.testing.incoming import (
    BACKGROUND_STREAM_SECONDS_HEADER,
    FieldTypes,
    header_number,
    read_body,
    starting_after,
)
from streamkit.testing.player import MODEL_PREFIX, Player
from streamkit.testing.request import JsonObject, input_items
from streamkit.testing.scenarios import SCENARIOS
from streamkit.testing.sending import Pace, paced
from streamkit.testing.store import ResponseStore, Stored, StoredResponse

_FIELDS: FieldTypes = {
    "model": (str,),
    "input": (str, list),
    "stream": (bool,),
    "background": (bool,),
    "tools": (list,),
    "metadata": (dict,),
    "moderation": (dict,),
}


class Api:
    """The endpoints, and what they share: the remembered responses, and those that are being made.

    Args:
        player: makes the events of the responses.
        background_stream_seconds: how long a background response can be streamed.
    """

    def __init__(self, player: Player, *, background_stream_seconds: float) -> None:
        self._player = player
        self._background_stream_seconds = background_stream_seconds
        self._store = ResponseStore()
        self._making: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        """Where the endpoints are."""
        return [
            ("POST", "/v1/responses", self._create),
            ("GET", "/v1/responses/{id}", self._retrieve),
            ("DELETE", "/v1/responses/{id}", self._delete),
            ("POST", "/v1/responses/{id}/cancel", self._cancel),
            ("GET", "/v1/responses/{id}/input_items", self._list_input_items),
            ("GET", "/v1/models", self._list_models),
            ("GET", "/v1/models/{id}", self._retrieve_model),
        ]

    async def close(self) -> None:
        """Stop making the background responses that are not finished."""
        making = list(self._making)
        for task in making:
            task.cancel()
        await asyncio.gather(*making, return_exceptions=True)

    async def _create(self, request: web.Request) -> Answer:
        body = await read_body(request, _FIELDS, required=("model",))
        check_request(body, self._previous(body))
        pace = self._player.pace(request)
        events = self._player.events(request, body)
        if body.get("background") is True:
            return self._begin(request, body, events, pace)
        if body.get("stream") is True:
            return Answer(headers=EVENT_STREAM, body=paced(self._storing(events, body), pace))
        return _whole_answer(list(self._storing(events, body))[-1])

    def _begin(self, request: web.Request, body: JsonObject, events: list[JsonObject], pace: Pace) -> Answer:
        """Begin a background response, and answer with its stream or with how it is now."""
        streams = body.get("stream") is True
        seconds = header_number(request, BACKGROUND_STREAM_SECONDS_HEADER, self._background_stream_seconds)
        generation = Generation(
            events,
            input_items(body),
            streamable_seconds=seconds if streams else None,
            clock=asyncio.get_running_loop().time,
        )
        self._store.add(generation)
        making = generation.start(pace, sleep=asyncio.sleep)
        self._making.add(making)
        making.add_done_callback(self._making.discard)
        if streams:
            return Answer(headers=EVENT_STREAM, body=generation.stream())
        return json_answer(generation.response)

    def _previous(self, body: JsonObject) -> Stored | None:
        previous_id = body.get("previous_response_id")
        previous = self._store.get(str(previous_id))
        if previous is None and previous_id is not None:
            raise ApiError(
                f"Previous response with id '{previous_id}' not found.",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        return previous

    def _storing(self, events: list[JsonObject], body: JsonObject) -> Iterator[JsonObject]:
        """Pass the events on; the response is stored as soon as its end is about to be told, and not before."""
        for event in events:
            response = final_response(event)
            if response is not None and body.get("store") is not False:
                self._store.add(StoredResponse(response, input_items(body)))
            yield event

    def _stored(self, request: web.Request) -> Stored:
        response_id = request.match_info["id"]
        stored = self._store.get(response_id)
        if stored is None:
            raise ApiError(f"Response with id '{response_id}' not found.", status=404, param="id")
        return stored

    async def _retrieve(self, request: web.Request) -> Answer:
        stored = self._stored(request)
        if not wants_stream(request):
            return json_answer(stored.response)
        if not isinstance(stored, Generation):
            raise ApiError("Only a background response can be streamed again.", param="stream")
        if stored.streamable_seconds is None:
            raise ApiError("This response was not created with stream=true, so it cannot be streamed.", param="stream")
        if stored.age >= stored.streamable_seconds:
            raise too_old(stored.streamable_seconds)
        return Answer(headers=EVENT_STREAM, body=stored.stream(after=starting_after(request)))

    async def _delete(self, request: web.Request) -> Answer:
        stored = self._stored(request)
        if isinstance(stored, Generation):
            stored.cancel()
        response_id = str(stored.response["id"])
        self._store.delete(response_id)
        return json_answer({"id": response_id, "object": "response", "deleted": True})

    async def _cancel(self, request: web.Request) -> Answer:
        stored = self._stored(request)
        if not isinstance(stored, Generation):
            raise ApiError("Only a background response can be cancelled; close the connection to stop any other.")
        stored.cancel()
        return json_answer(stored.response)

    async def _list_input_items(self, request: web.Request) -> Answer:
        items = [{"id": f"item_{index}", **item} for index, item in enumerate(self._stored(request).input)]
        if request.query.get("order") != "asc":
            items.reverse()
        return json_answer(_page(items))

    async def _list_models(self, _request: web.Request) -> Answer:
        return json_answer(_page([_model(f"{MODEL_PREFIX}{name}") for name in SCENARIOS]))

    async def _retrieve_model(self, request: web.Request) -> Answer:
        model = request.match_info["id"]
        if model.removeprefix(MODEL_PREFIX) not in SCENARIOS:
            raise ApiError(f"The model '{model}' does not exist.", status=404, code="model_not_found", param="model")
        return json_answer(_model(model))


def wants_stream(request: web.Request) -> bool:
    """Whether the query asks for the events of a response instead of the response."""
    return request.query.get("stream") == "true"


def _page(items: list[JsonObject]) -> JsonObject:
    first, last = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    return {"object": "list", "data": list(items), "first_id": first, "last_id": last, "has_more": False}


def _model(model_id: str) -> JsonObject:
    return {"id": model_id, "object": "model", "created": 1_767_225_600, "owned_by": "streamkit"}


def _whole_answer(last: JsonObject) -> Answer:
    """What a request without ``stream`` gets: the response, or the error that took its place."""
    response = final_response(last)
    if response is not None:
        return json_answer(response)
    return json_answer(error_body(last), status=500)

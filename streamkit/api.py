"""The APIs that a server may speak: where each is asked, how a request is written, and how the answer is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic_core import PydanticSerializationError, to_json

from streamkit.chat import ChatDecoder, StrictChatDecoder, chat_request
from streamkit.codec import Translator
from streamkit.context import ApiName
from streamkit.errors import UsageError


def json_body(request: Mapping[str, object]) -> bytes:
    """Return a request as JSON; models may stand in it, whose fields that are ``None`` are left out.

    Raises:
        UsageError: a value cannot be written as JSON.
    """
    try:
        return to_json(request, exclude_none=True)
    except PydanticSerializationError as error:
        raise UsageError(f"the request cannot be written as JSON: {error}") from error


def _responses_request(request: Mapping[str, object]) -> Mapping[str, object]:
    if request.get("stream", True) is not True:
        raise UsageError("streamkit always streams: leave out stream=False")
    return {**request, "stream": True}


@dataclass(frozen=True, kw_only=True, slots=True)
class Api:
    """One of the APIs; requests to each are given in the parameters of the Responses API.

    Attributes:
        name: what the caller names it.
        path: where a response is requested, below the base URL.
        translate: makes the parameters of this API of those of the Responses API.
        translator: makes events of the frames of one connection; ``None`` where each frame is an event.
        strict_translator: the same, and accepts no ``InvalidEvent``.
        keeps_responses: whether a further request can refer to an earlier response, instead of sending it whole.
    """

    name: ApiName
    path: str
    translate: Callable[[Mapping[str, object]], Mapping[str, object]]
    translator: Callable[[], Translator] | None = None
    strict_translator: Callable[[], Translator] | None = None
    keeps_responses: bool

    def body(self, request: Mapping[str, object]) -> bytes:
        """Return the body of a streaming request.

        Raises:
            UsageError: this API has no counterpart for a parameter, or a value cannot be written as JSON.
        """
        return json_body(self.translate(request))


RESPONSES = Api(name="responses", path="responses", translate=_responses_request, keeps_responses=True)
CHAT = Api(
    name="chat",
    path="chat/completions",
    translate=chat_request,
    translator=ChatDecoder,
    strict_translator=StrictChatDecoder,
    keeps_responses=False,
)
_APIS: dict[object, Api] = {api.name: api for api in (RESPONSES, CHAT)}


def api_named(name: ApiName) -> Api:
    """Return the API of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in _APIS:
        names = " or ".join(map(repr, _APIS))
        raise UsageError(f"api must be {names}, not {name!r}")
    return _APIS[name]


def api_at(address: str) -> Api:
    """Return the API that is asked at an address; that of Responses where the address does not tell."""
    path = address.partition("?")[0]
    return CHAT if path.endswith(f"/{CHAT.path}") else RESPONSES

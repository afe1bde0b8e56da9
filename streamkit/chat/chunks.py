"""What a stream of Chat Completions is made of, as it comes: a chunk, its choices, their deltas and pieces of calls.

Fields that carry the answer must have their shape. All others are let go where a server gives them an odd one, so that
no metadata costs a chunk its text.
"""

# Models are frozen, so that a narrower `type` is sound; pyright cannot see that from `model_config`.
# pyright: reportIncompatibleVariableOverride=false

from typing import Annotated, Final, Literal, TypeVar

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, JsonValue, ValidationError
from pydantic_core import CoreSchema, core_schema

from streamkit.codec import decode, in_one_line
from streamkit.events import Event, InvalidEvent, UnknownEvent
from streamkit.items import Json, JsonObject, ListOf, Logprob, Model
from streamkit.response import ErrorDetail, InputTokensDetails, ModerationResult, OutputTokensDetails
from streamkit.sse import Frame

T = TypeVar("T")

CHUNK: Final = "chat.completion.chunk"
WHOLE: Final = "chat.completion"
# Against traffic analysis, by its two names; not for handlers.
_PADDING = ("obfuscation", "p")


class _OddAsNone:
    """Marks a field whose values of another shape count as ``None``; validated in Rust."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Fall back to ``None`` where the annotated type refuses a value."""
        return core_schema.with_default_schema(handler(source), default=None, on_error="default")


Loose = Annotated[T | None, _OddAsNone()]
LooseText = Annotated[str | None, Field(coerce_numbers_to_str=True), _OddAsNone()]


def _told(error: JsonValue) -> JsonValue:
    """Return an error, or ``None`` for one that says nothing."""
    says = any(error.values()) if isinstance(error, dict) else error
    return error if says else None


class ChatUsage(Model):
    """The tokens that a completion cost."""

    prompt_tokens: Loose[int] = None
    prompt_tokens_details: Loose[InputTokensDetails] = None
    completion_tokens: Loose[int] = None
    completion_tokens_details: Loose[OutputTokensDetails] = None
    total_tokens: Loose[int] = None


class ChatFunction(Model):
    """A piece of a function call: the name comes once, or in each piece, the arguments in pieces or as one object."""

    name: str | None = None
    arguments: Json = None


class ChatCustom(Model):
    """A piece of a custom tool's call."""

    name: str | None = None
    input: str | None = None


class ChatToolCall(Model):
    """A piece of a tool call; ``index`` says of which, where the server sends it and does not use it twice."""

    index: int | None = None
    id: LooseText = None
    type: Literal["function", "custom"] | str | None = None
    function: ChatFunction | None = None
    custom: ChatCustom | None = None


class ChatAudio(Model):
    """A piece of spoken output: base64 in ``data``, and what is said."""

    id: LooseText = None
    data: str | None = None
    transcript: str | None = None
    expires_at: Loose[int] = None


class ChatDelta(Model):
    """What a chunk adds to the answer. Reasoning has three spellings, and some servers use two of them at once."""

    role: LooseText = None
    content: str | list[Json] | None = None
    refusal: str | None = None
    reasoning_content: Loose[str] = None
    reasoning: Loose[str] = None
    reasoning_details: Loose[list[JsonObject]] = None
    # A factory, because pydantic copies a default list deeply, which would be a quarter of the cost of a chunk.
    tool_calls: ListOf[ChatToolCall] = Field(default_factory=list[ChatToolCall])
    function_call: ChatFunction | None = None
    audio: ChatAudio | None = None
    annotations: Loose[list[JsonObject]] = None


class ChatLogprobs(Model):
    """The log probabilities of the tokens of a delta."""

    content: ListOf[Logprob] = []
    refusal: ListOf[Logprob] = []


class ChatChoice(Model):
    """One of the answers to a request; there is only one, unless the request asks for more with ``n``.

    A server that does not stream puts the whole answer into ``message``.
    """

    index: int | None = None
    delta: ChatDelta | None = None
    message: Loose[ChatDelta] = None
    finish_reason: Loose[Literal["stop", "length", "tool_calls", "content_filter", "function_call"] | str] = None
    logprobs: Loose[ChatLogprobs] = None
    usage: Loose[ChatUsage] = None


class ChatModerationResult(ModerationResult):
    """The scores of one moderation, or in ``results`` those of several, or an error."""

    results: ListOf[ModerationResult] = []


class ChatModeration(Model):
    """The moderation of the input and of the output, which comes in a chunk of its own."""

    input: ChatModerationResult | None = None
    output: ChatModerationResult | None = None


class ChatGroq(Model):
    """What Groq adds to a chunk, the usage among it."""

    usage: Loose[ChatUsage] = None


class ChatChunk(Event):
    """A chunk as the server sent it, or a whole completion; chunks have no ``type`` on the wire."""

    type: Literal["chat.completion.chunk"] = CHUNK
    id: LooseText = None
    object: LooseText = None
    created: Loose[float] = None
    model: LooseText = None
    choices: ListOf[ChatChoice] = []
    usage: Loose[ChatUsage] = None
    service_tier: LooseText = None
    moderation: Loose[ChatModeration] = None
    x_groq: Loose[ChatGroq] = None
    error: Annotated[ErrorDetail | None, BeforeValidator(_told)] = None


def read_frame(frame: Frame) -> Event:
    """Return the chunk in a frame, or what ``codec.decode`` makes of a frame that holds none; never raises."""
    try:
        chunk = ChatChunk.model_validate_json(frame.data)
    except ValidationError:
        return _read_slowly(frame)
    if chunk.object != CHUNK and "choices" not in chunk.model_fields_set:
        return decode(frame)
    extra = chunk.__pydantic_extra__
    if extra:
        for name in _PADDING:
            extra.pop(name, None)
    return chunk


def _read_slowly(frame: Frame) -> Event:
    # What the codec reads as JSON, and Rust does not, are halves of surrogate pairs.
    event = decode(frame)
    if not isinstance(event, UnknownEvent) or not _is_chunk(event.data):
        return event
    try:
        return ChatChunk.model_validate({**event.data, "type": CHUNK})
    except ValidationError as error:
        return InvalidEvent(type=CHUNK, raw=frame.data, error=in_one_line(error), data=event.data)


def _is_chunk(data: JsonObject) -> bool:
    return data.get("object") == CHUNK or "choices" in data

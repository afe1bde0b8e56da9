"""The response as a whole: its output, its state, what it used and why it stopped."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, JsonValue, model_validator

from streamkit.items import (
    ContentPart,
    FunctionCall,
    Json,
    JsonObject,
    ListOf,
    Message,
    Model,
    OutputItem,
    OutputText,
    Refusal,
)

ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
IncompleteReason = Literal["max_output_tokens", "max_messages", "content_filter", "steered"]
ServiceTier = Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"]


class InputTokensDetails(Model):
    """How much of the input came from, or went into, the prompt cache."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_tokens_details: JsonObject | None = None


class OutputTokensDetails(Model):
    """How much of the output was reasoning."""

    reasoning_tokens: int | None = None


class Usage(Model):
    """The tokens that a response cost."""

    input_tokens: int | None = None
    input_tokens_details: InputTokensDetails | None = None
    output_tokens: int | None = None
    output_tokens_details: OutputTokensDetails | None = None
    total_tokens: int | None = None


def _as_text(value: JsonValue) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def _as_code(value: JsonValue) -> str | int | None:
    return value if isinstance(value, int) else _as_text(value)


def _as_headers(value: JsonValue) -> dict[str, str] | None:
    if not isinstance(value, dict):
        return None
    return {name: str(header) for name, header in value.items() if header is not None}


# An error is told, however oddly a server writes it: no value makes these fail.
ErrorText = Annotated[str | None, BeforeValidator(_as_text)]
ErrorCode = Annotated[str | int | None, BeforeValidator(_as_code)]
_ErrorHeaders = Annotated[dict[str, str] | None, BeforeValidator(_as_headers)]


class ErrorDetail(Model):
    """What went wrong, as far as the server says; where it sends no object, what it sends is the message."""

    code: ErrorCode = None
    message: ErrorText = None
    param: ErrorText = None
    type: ErrorText = None
    headers: _ErrorHeaders = None
    misalignment: Json = None

    @model_validator(mode="before")
    @classmethod
    def _message_only(cls, data: "JsonValue | ErrorDetail") -> "JsonValue | ErrorDetail":
        return data if isinstance(data, (dict, ErrorDetail)) else {"message": data}


class IncompleteDetails(Model):
    """Why a response stopped before its end."""

    reason: IncompleteReason | str | None = None


class ModerationResult(Model):
    """The scores of a moderation, or the error that kept it from scoring; ``type`` says which."""

    type: Literal["moderation_result", "error"] | str | None = None
    flagged: bool | None = None
    categories: dict[str, bool] | None = None
    category_scores: dict[str, float] | None = None
    category_applied_input_types: dict[str, list[str]] | None = None
    model: str | None = None
    code: str | None = None
    message: str | None = None


class Moderation(Model):
    """The moderation of the input and of the output, which arrives with the terminal event."""

    input: ModerationResult | None = None
    output: ModerationResult | None = None


class Response(Model):
    """A response of the model, finished or as far as it has come."""

    id: str | None = None
    object: Literal["response"] | str | None = None
    created_at: float | None = None
    completed_at: float | None = None
    status: ResponseStatus | str | None = None
    model: str | None = None
    output: ListOf[OutputItem] = []
    usage: Usage | None = None
    error: ErrorDetail | None = None
    incomplete_details: IncompleteDetails | None = None
    moderation: Moderation | None = None
    previous_response_id: str | None = None
    metadata: JsonObject | None = None

    # What follows repeats the request. It stays as it was sent: nobody reads it often enough to be worth models, and
    # no server's way of writing it should spoil the answer.
    access_programs: Json = None
    background: bool | None = None
    conversation: Json = None
    image: Json = None
    input_transformations: Json = None
    instructions: Json = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    parallel_tool_calls: bool | None = None
    prompt: Json = None
    prompt_cache_diagnostics: Json = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Json = None
    prompt_cache_retention: Literal["in_memory", "24h"] | str | None = None
    reasoning: JsonObject | None = None
    safety_identifier: str | None = None
    service_tier: ServiceTier | str | None = None
    store: bool | None = None
    temperature: float | None = None
    text: JsonObject | None = None
    tool_choice: Json = None
    tool_usage: Json = None
    tools: Json = None
    top_logprobs: int | None = None
    top_p: float | None = None
    truncation: Literal["auto", "disabled"] | str | None = None
    user: str | None = None

    @property
    def output_text(self) -> str:
        """The text of all messages, joined."""
        return text_of(self.output)

    @property
    def refusal(self) -> str | None:
        """The model's refusal, or None where it did not refuse."""
        refusals = [part.refusal for part in _message_parts(self.output) if isinstance(part, Refusal)]
        return "".join(refusals) if refusals else None

    @property
    def function_calls(self) -> list[FunctionCall]:
        """The calls of the caller's functions, in the order of the output."""
        return [item for item in self.output if isinstance(item, FunctionCall)]


def text_of(output: Iterable[OutputItem]) -> str:
    """Return the text of all messages in an output, joined."""
    return "".join([part.text for part in _message_parts(output) if isinstance(part, OutputText)])


def _message_parts(output: Iterable[OutputItem]) -> Iterator[ContentPart]:
    for item in output:
        if isinstance(item, Message):
            yield from item.content

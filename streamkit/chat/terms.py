"""What stands in a chunk, said in the terms of Responses: texts, usage, moderation."""

from collections.abc import Iterator

from streamkit.chat.chunks import ChatChunk, ChatDelta, ChatModeration, ChatModerationResult, ChatToolCall, ChatUsage
from streamkit.chat.text import REASONING, REFUSAL, TEXT, Channel
from streamkit.items import Json, JsonObject
from streamkit.response import Moderation, ModerationResult, Usage


def texts_in(delta: ChatDelta) -> Iterator[tuple[Channel, str]]:
    """Yield the pieces of text that a delta brings, each with its kind; none is empty."""
    reasoning = delta.reasoning_content or delta.reasoning
    if reasoning:
        yield REASONING, reasoning
    elif delta.reasoning_details:
        yield from _texts_in_details(delta.reasoning_details)
    if isinstance(delta.content, str):
        if delta.content:
            yield TEXT, delta.content
    elif delta.content:
        yield from _texts_in_parts(delta.content)
    if delta.refusal:
        yield REFUSAL, delta.refusal


def _texts_in_details(details: list[JsonObject]) -> Iterator[tuple[Channel, str]]:
    for detail in details:
        # What is encrypted is for the server alone.
        text = detail.get("text") or detail.get("summary")
        if isinstance(text, str) and text:
            yield REASONING, text


def _texts_in_parts(parts: list[Json]) -> Iterator[tuple[Channel, str]]:
    for part in parts:
        # Mistral's reasoning models send their thoughts as parts of the content, which have parts themselves.
        thinking = part.get("thinking") if isinstance(part, dict) else None
        channel, text = (TEXT, _text_of(part)) if thinking is None else (REASONING, _text_of(thinking))
        if text:
            yield channel, text


def _text_of(part: Json) -> str:
    if isinstance(part, list):
        return "".join(map(_text_of, part))
    text = part.get("text") if isinstance(part, dict) else part
    return text if isinstance(text, str) else ""


def calls_in(delta: ChatDelta) -> list[ChatToolCall]:
    """Return the pieces of calls that a delta brings; the function call of older servers is the call at index 0."""
    if delta.function_call is None:
        return delta.tool_calls
    return [*delta.tool_calls, ChatToolCall(index=0, function=delta.function_call)]


def annotations_in(delta: ChatDelta) -> Iterator[JsonObject]:
    """Yield the annotations that a delta brings; their fields are nested under their type."""
    for annotation in delta.annotations or ():
        nested = annotation.get(str(annotation.get("type")))
        yield {"type": annotation.get("type"), **nested} if isinstance(nested, dict) else annotation


def usage_in(chunk: ChatChunk) -> ChatUsage | None:
    """Return the usage that a chunk tells; Groq has its own place for it, Moonshot puts it into the choice.

    One without any field tells nothing, and is none.
    """
    of_groq = None if chunk.x_groq is None else chunk.x_groq.usage
    told = (chunk.usage, of_groq, *(choice.usage for choice in chunk.choices))
    return next((usage for usage in told if usage is not None and usage.model_fields_set), None)


def responses_usage(usage: ChatUsage) -> Usage:
    """Return the same usage by the names of Responses, with what else the server put there."""
    named = {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": usage.prompt_tokens_details,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": usage.completion_tokens_details,
        "total_tokens": usage.total_tokens,
    }
    return Usage.model_validate({**(usage.model_extra or {}), **named})


def responses_moderation(moderation: ChatModeration) -> Moderation:
    """Return the same moderation with one result for the input and one for the output."""
    return Moderation(input=_one_result(moderation.input), output=_one_result(moderation.output))


def _one_result(result: ChatModerationResult | None) -> ModerationResult | None:
    if result is None or not result.results:
        return result
    return next((each for each in result.results if each.flagged), result.results[0])

"""Tells a scripted response as a chat completion: its events as chunks, or all of it at once."""

from collections.abc import Mapping

from pydantic import JsonValue
from pydantic_core import to_json

from streamkit.sse import Frame, encode
from streamkit.testing.chat_request import ARGUMENT_FIELDS
from streamkit.testing.endings import error_body, final_response
from streamkit.testing.request import JsonObject, objects, section
from streamkit.testing.tools import CALL_TYPES

_KINDS: Mapping[JsonValue, str] = {call_type: kind for kind, call_type in CALL_TYPES.items()}
_KNOWN_ITEMS = frozenset({"message", "reasoning", *CALL_TYPES.values()})
_DELTA_FIELDS: Mapping[JsonValue, str] = {
    "response.output_text.delta": "content",
    "response.reasoning_summary_text.delta": "reasoning_content",
    "response.reasoning_text.delta": "reasoning_content",
    "response.refusal.delta": "refusal",
}
_ARGUMENT_DELTAS: Mapping[JsonValue, str] = {
    "response.custom_tool_call_input.delta": "custom",
    "response.function_call_arguments.delta": "function",
}
_FINISH_REASONS: Mapping[JsonValue, str] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_BETWEEN_SUMMARY_PARTS = "\n\n"
_DONE = encode(Frame(data=b"[DONE]"))


def foreign_item(events: list[JsonObject]) -> str | None:
    """The type of the first item that chat completions cannot tell, such as a web search."""
    added = (section(event, "item")["type"] for event in events if event["type"] == "response.output_item.added")
    return next((str(item_type) for item_type in added if item_type not in _KNOWN_ITEMS), None)


class ChatStream:
    """The stream of one chat completion, made from the events of a response, in their order.

    Args:
        include_usage: whether the request wants a chunk with the usage; all others then say that they have none.
    """

    def __init__(self, *, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._common: JsonObject = {}
        self._calls: dict[JsonValue, int] = {}
        self._failed = False

    def frames(self, event: JsonObject) -> bytes:
        """The frames that tell an event; none for events that say nothing new here."""
        if event["type"] in ("error", "response.failed"):
            return self._failure(event)
        response = final_response(event)
        if response is not None:
            return b"".join(map(_frame, self._last_chunks(response))) + _DONE
        delta = self._delta(event)
        if delta is None:
            return b""
        padding: JsonObject = {"obfuscation": event["obfuscation"]} if "obfuscation" in event else {}
        return _frame(self._chunk(delta) | padding)

    def _delta(self, event: JsonObject) -> JsonObject | None:
        name = event["type"]
        if name == "response.created":
            self._common = _common(section(event, "response"), kind="chat.completion.chunk")
            return {"role": "assistant", "content": "", "refusal": None}
        if name == "response.output_item.added":
            return self._call_delta(event)
        if name == "response.reasoning_summary_part.added" and event["summary_index"] != 0:
            return {"reasoning_content": _BETWEEN_SUMMARY_PARTS}
        if name in _ARGUMENT_DELTAS:
            kind = _ARGUMENT_DELTAS[name]
            call: JsonObject = {"index": self._calls[event["output_index"]]}
            return {"tool_calls": [{**call, kind: {ARGUMENT_FIELDS[kind]: event["delta"]}}]}
        return {_DELTA_FIELDS[name]: event["delta"]} if name in _DELTA_FIELDS else None

    def _call_delta(self, event: JsonObject) -> JsonObject | None:
        item = section(event, "item")
        if item["type"] not in _KINDS:
            return None
        index = self._calls.setdefault(event["output_index"], len(self._calls))
        return {"tool_calls": [{"index": index, **_tool_call(item)}]}

    def _chunk(self, delta: JsonObject, finish_reason: str | None = None) -> JsonObject:
        choice: JsonObject = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._with_choices(choice)

    def _with_choices(self, *choices: JsonObject, **fields: JsonValue) -> JsonObject:
        no_usage: JsonObject = {"usage": None} if self._include_usage else {}
        return {**self._common, "choices": [*choices], **no_usage, **fields}

    def _last_chunks(self, response: JsonObject) -> list[JsonObject]:
        chunks = [self._chunk({}, _finish_reason(response))]
        if self._include_usage:
            chunks.append(self._with_choices(usage=_usage(response)))
        if response.get("moderation"):
            chunks.append(self._with_choices(moderation=_moderation(response)))
        return chunks

    def _failure(self, event: JsonObject) -> bytes:
        """The error, told once, though a response tells it twice."""
        already_told, self._failed = self._failed, True
        return b"" if already_told else _frame(error_body(event))


def whole_completion(response: JsonObject) -> JsonObject:
    """The finished response as a chat completion that was not streamed."""
    choice: JsonObject = {
        "index": 0,
        "message": _message(response),
        "logprobs": None,
        "finish_reason": _finish_reason(response),
    }
    moderation: JsonObject = {"moderation": _moderation(response)} if response.get("moderation") else {}
    common = _common(response, kind="chat.completion")
    return {**common, "choices": [choice], "usage": _usage(response), **moderation}


def _frame(chunk: JsonObject) -> bytes:
    return encode(Frame(data=to_json(chunk)))


def _common(response: JsonObject, *, kind: str) -> JsonObject:
    return {
        "id": f"chatcmpl-{str(response['id']).removeprefix('resp_')}",
        "object": kind,
        "created": response["created_at"],
        "model": response["model"],
        "service_tier": response["service_tier"],
        "system_fingerprint": None,
    }


def _message(response: JsonObject) -> JsonObject:
    items = objects(response["output"])
    parts = [part for item in items if item["type"] == "message" for part in objects(item["content"])]
    thoughts = [part for item in items if item["type"] == "reasoning" for part in objects(item["summary"])]
    calls: list[JsonValue] = [_tool_call(item) for item in items if item["type"] in _KINDS]
    message: JsonObject = {
        "role": "assistant",
        "content": _joined(parts, "text"),
        "refusal": _joined(parts, "refusal"),
        "annotations": [],
    }
    if thoughts:
        message["reasoning_content"] = _joined(thoughts, "text", between=_BETWEEN_SUMMARY_PARTS)
    if calls:
        message["tool_calls"] = calls
    return message


def _joined(parts: list[JsonObject], field: str, *, between: str = "") -> str | None:
    texts = [str(part[field]) for part in parts if field in part]
    return between.join(texts) if texts else None


def _tool_call(item: JsonObject) -> JsonObject:
    kind = _KINDS[item["type"]]
    argument = ARGUMENT_FIELDS[kind]
    return {"id": item["call_id"], "type": kind, kind: {"name": item["name"], argument: item[argument]}}


def _finish_reason(response: JsonObject) -> str:
    reason = section(response, "incomplete_details").get("reason")
    called = any(item["type"] in _KINDS for item in objects(response["output"]))
    return _FINISH_REASONS.get(reason, "tool_calls" if called else "stop")


def _usage(response: JsonObject) -> JsonObject:
    usage = section(response, "usage")
    read, written = section(usage, "input_tokens_details"), section(usage, "output_tokens_details")
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
        "prompt_tokens_details": {"cached_tokens": read["cached_tokens"], "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": written["reasoning_tokens"],
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _moderation(response: JsonObject) -> JsonObject:
    verdicts = section(response, "moderation")
    return {name: _moderation_results(section(verdicts, name)) for name in verdicts}


def _moderation_results(verdict: JsonObject) -> JsonObject:
    return {"type": "moderation_results", "model": verdict["model"], "results": [verdict]}

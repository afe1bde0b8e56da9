"""Reads the request for a chat completion as the request for a response that asks for the same.

So that every scenario serves both: what it sees is always a request of the Responses API.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from streamkit.testing.api_error import ApiError
from streamkit.testing.incoming import FieldTypes
from streamkit.testing.request import JsonObject, content_text, objects, section
from streamkit.testing.tools import CALL_TYPES

CHAT_FIELDS: FieldTypes = {
    "model": (str,),
    "messages": (list,),
    "stream": (bool,),
    "stream_options": (dict,),
    "tools": (list,),
    "metadata": (dict,),
    "moderation": (dict,),
    "response_format": (dict,),
    "n": (int,),
}
"""The fields of a request for a chat completion whose types are checked."""

ARGUMENT_FIELDS: Mapping[str, str] = {"function": "arguments", "custom": "input"}
"""What a call gives to its tool is called like this, in chat completions and in responses."""

_SHARED = (
    "metadata",
    "model",
    "moderation",
    "parallel_tool_calls",
    "prompt_cache_key",
    "safety_identifier",
    "service_tier",
    "stream_options",
    "temperature",
    "top_p",
    "user",
)
_ONLY_IN_RESPONSES = (
    "background",
    "conversation",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "previous_response_id",
    "reasoning",
    "text",
    "truncation",
)
_SPEAKERS = ("developer", "system", "user", "assistant")


def as_response_request(body: JsonObject) -> JsonObject:
    """The same request in the words of the Responses API.

    Raises:
        ApiError: it has a parameter that only the other API knows, no message, or a message or tool that is malformed.
    """
    _check_parameters(body)
    conversation = _Conversation()
    for index, message in enumerate(objects(body["messages"])):
        conversation.add(message, place=f"messages[{index}]")
    conversation.check_calls_are_answered()
    return {
        **{name: body[name] for name in _SHARED if name in body},
        "input": [*conversation.items],
        "max_output_tokens": body.get("max_completion_tokens") or body.get("max_tokens"),
        "reasoning": {"effort": body.get("reasoning_effort"), "summary": None},
        "text": {"format": _text_format(section(body, "response_format")), "verbosity": body.get("verbosity")},
        "tool_choice": _tool_choice(body.get("tool_choice")),
        "tools": [_tool(tool, place=f"tools[{index}]") for index, tool in enumerate(objects(body.get("tools")))],
        "store": False,
    }


class _Conversation:
    """The messages so far as items, and the calls that still have no output."""

    def __init__(self) -> None:
        self.items: list[JsonObject] = []
        self._open_calls: dict[str, str] = {}

    def add(self, message: JsonObject, *, place: str) -> None:
        if message.get("role") == "tool":
            self._add_output(message, place)
        else:
            self.check_calls_are_answered()
            self._add_message(message, place)

    def check_calls_are_answered(self) -> None:
        if self._open_calls:
            raise ApiError(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                "'tool_call_id'. The following tool_call_ids did not have response messages: "
                f"{', '.join(self._open_calls)}",
                param="messages",
            )

    def _add_message(self, message: JsonObject, place: str) -> None:
        role, text = message.get("role"), content_text(message.get("content"))
        if role not in _SPEAKERS:
            supported = ", ".join(f"'{name}'" for name in (*_SPEAKERS, "tool"))
            raise _invalid_value(role, supported, f"{place}.role")
        # A message that only calls tools says nothing itself.
        if text or role != "assistant":
            self.items.append({"type": "message", "role": role, "content": text})
        for index, call in enumerate(objects(message.get("tool_calls"))):
            self._add_call(call, f"{place}.tool_calls[{index}]")

    def _add_call(self, call: JsonObject, place: str) -> None:
        kind, details = _described(call, place)
        call_id, argument = str(call.get("id")), ARGUMENT_FIELDS[kind]
        self._open_calls[call_id] = CALL_TYPES[kind]
        self.items.append(
            {
                "type": CALL_TYPES[kind],
                "call_id": call_id,
                "name": details.get("name"),
                argument: details.get(argument),
            }
        )

    def _add_output(self, message: JsonObject, place: str) -> None:
        call_id = str(message.get("tool_call_id"))
        call_type = self._open_calls.pop(call_id, None)
        if call_type is None:
            raise ApiError(
                "Invalid parameter: messages with role 'tool' must be a response to a preceding message with "
                "'tool_calls'.",
                param=f"{place}.role",
            )
        output = content_text(message.get("content"))
        self.items.append({"type": f"{call_type}_output", "call_id": call_id, "output": output})


def _check_parameters(body: JsonObject) -> None:
    for name in _ONLY_IN_RESPONSES:
        if name in body:
            raise ApiError(f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)
    messages = objects(body["messages"])
    if not messages:
        raise ApiError("Invalid 'messages': expected at least one message.", code="empty_array", param="messages")
    if messages != body["messages"]:
        raise ApiError("Invalid type for 'messages': expected objects.", code="invalid_type", param="messages")
    if body.get("n") not in (None, 1):
        raise ApiError("This server answers with one choice only: 'n' must be 1.", param="n")
    if body.get("stream_options") is not None and body.get("stream") is not True:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise ApiError(message, param="stream_options")


def _tool(tool: JsonObject, *, place: str) -> JsonObject:
    kind, details = _described(tool, place)
    return {"type": kind, **details}


def _described(value: JsonObject, place: str) -> tuple[str, JsonObject]:
    """The type of a tool or of a call, and the object of that name that describes it."""
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in CALL_TYPES:
        raise _invalid_value(kind, "'function' and 'custom'", f"{place}.type")
    details = value.get(kind)
    if not isinstance(details, dict):
        param = f"{place}.{kind}"
        raise ApiError(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)
    return kind, details


def _tool_choice(choice: JsonValue) -> JsonValue:
    if not isinstance(choice, dict):
        return choice
    if choice.get("type") == "allowed_tools":
        allowed = section(choice, "allowed_tools")
        tools: list[JsonValue] = [_tool(tool, place="tool_choice") for tool in objects(allowed.get("tools"))]
        return {"type": "allowed_tools", **allowed, "tools": tools}
    return _tool(choice, place="tool_choice")


def _text_format(response_format: JsonObject) -> JsonObject:
    kind = response_format.get("type", "text")
    return {"type": kind, **section(response_format, "json_schema")}


def _invalid_value(value: JsonValue, supported: str, param: str) -> ApiError:
    message = f"Invalid value: '{value}'. Supported values are: {supported}."
    return ApiError(message, code="invalid_value", param=param)

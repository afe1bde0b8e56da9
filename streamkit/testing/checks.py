"""Refuses requests for a response whose parts contradict each other, as the API does."""

from streamkit.testing.api_error import ApiError
from streamkit.testing.request import JsonObject, input_items, section
from streamkit.testing.store import Stored
from streamkit.testing.tools import CALL_TYPES, chosen_names, offered_names


def check_request(body: JsonObject, previous: Stored | None) -> None:
    """Check what a request says about tools, and about the response that it continues.

    Raises:
        ApiError: a call is left without an output, an output or an approval belongs to nothing, ``tool_choice`` names a
            tool that is not offered, or the moderation has no model.
    """
    items = input_items(body)
    known = items if previous is None else [*previous.output, *items]
    for call_type in CALL_TYPES.values():
        _check_outputs(call_type, known, items)
    _check_approvals(known, items)
    check_tool_choice(body)
    check_moderation(body)


def check_tool_choice(body: JsonObject) -> None:
    """Check that the tools which the model is to call are among those offered.

    Raises:
        ApiError: one is not.
    """
    for name in chosen_names(body):
        if name not in offered_names(body):
            raise ApiError(f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
    if body.get("tool_choice") == "required" and not body.get("tools"):
        raise ApiError("Tool choice 'required' must be specified with 'tools' parameter.", param="tool_choice")


def check_moderation(body: JsonObject) -> None:
    """Check that a moderation, where one is asked for, says with which model.

    Raises:
        ApiError: it does not.
    """
    if body.get("moderation") is not None and not isinstance(section(body, "moderation").get("model"), str):
        param = "moderation.model"
        raise ApiError(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)


def _check_outputs(call_type: str, known: list[JsonObject], given: list[JsonObject]) -> None:
    words = call_type.replace("_", " ")
    calls, outputs = _call_ids(known, call_type), _call_ids(given, f"{call_type}_output")
    for call_id in sorted(calls - outputs):
        raise ApiError(f"No tool output found for {words} {call_id}.", param="input")
    for call_id in sorted(outputs - calls):
        raise ApiError(f"No tool call found for {words} output with call_id {call_id}.", param="input")


def _call_ids(items: list[JsonObject], type_name: str) -> set[str]:
    return {str(item.get("call_id")) for item in items if item.get("type") == type_name}


def _check_approvals(known: list[JsonObject], given: list[JsonObject]) -> None:
    asked = {str(item.get("id")) for item in known if item.get("type") == "mcp_approval_request"}
    for item in given:
        request_id = str(item.get("approval_request_id"))
        if item.get("type") == "mcp_approval_response" and request_id not in asked:
            raise ApiError(f"No approval request found with id '{request_id}'.", param="input")

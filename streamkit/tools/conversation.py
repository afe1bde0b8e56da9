"""What a conversation with tools goes on with: the calls that a response leaves open, and the request that follows."""

from collections.abc import Mapping, Sequence
from typing import cast

from streamkit.chat.messages import messages_from
from streamkit.items import (
    ApplyPatchCall,
    ComputerCall,
    CustomToolCall,
    FunctionCall,
    JsonObject,
    LocalShellCall,
    McpApprovalRequest,
    OutputItem,
    Reasoning,
    ShellCall,
)
from streamkit.response import Response

OpenCall = FunctionCall | CustomToolCall | McpApprovalRequest
"""What can be answered without knowing more than tools and approvals."""

_FOR_THE_CALLER = (ComputerCall, LocalShellCall, ShellCall, ApplyPatchCall)


def open_calls(response: Response) -> list[OpenCall]:
    """Return the calls that a response waits for answers to, in order, each id once.

    It returns none where the response waits for something else as well: then it is for the caller to go on.
    """
    answered = {_answered_by(item) for item in response.output}
    calls: dict[str, OpenCall] = {}
    for item in response.output:
        if isinstance(item, OpenCall):
            identifier = id_of(item)
            if identifier and identifier not in answered and can_be_answered(item):
                calls.setdefault(identifier, item)
        elif isinstance(item, _FOR_THE_CALLER) and item.call_id not in answered:
            return []
    return list(calls.values())


def id_of(call: OpenCall) -> str | None:
    """Return what the answer to a call must name."""
    return call.id if isinstance(call, McpApprovalRequest) else call.call_id


def can_be_answered(call: OpenCall) -> bool:
    """Tell whether a call was written to its end, and has an id that an answer can name."""
    # Calls that a program of the model's makes stay in progress until they are answered.
    return call.status != "incomplete" and bool(id_of(call))


def arguments_of(call: OpenCall) -> str:
    """Return what a call is made with: JSON, or the free text for a custom tool."""
    return call.input if isinstance(call, CustomToolCall) else call.arguments


def answer_to(call: FunctionCall | CustomToolCall, output: str) -> JsonObject:
    """Return the input item that answers a call."""
    answer: JsonObject = {"type": f"{call.type}_output", "call_id": call.call_id, "output": output}
    if call.caller is not None:
        answer["caller"] = call.caller.model_dump(mode="json", exclude_none=True)
    return answer


def approval_of(request: McpApprovalRequest, refusal: str | None) -> JsonObject:
    """Return the input item that approves a call of an MCP tool, or refuses it for a reason."""
    answer: JsonObject = {
        "type": "mcp_approval_response",
        "approval_request_id": request.id,
        "approve": refusal is None,
    }
    return answer if refusal is None else answer | {"reason": refusal}


def next_request(
    request: Mapping[str, object], response: Response, answers: Sequence[JsonObject], *, whole: bool
) -> dict[str, object]:
    """Return the request that gives a model the answers to its calls.

    Args:
        request: the request that led to the response.
        response: the response, completed.
        answers: the answers to its calls, as input items.
        whole: send all of the conversation again, for a server that keeps no responses; else name the response.
    """
    following = dict(request)
    if "model" not in request and "prompt" not in request:
        # Who takes a response up needs not know what it was asked with.
        following["model"] = response.model
    if "tool_choice" in request:
        following["tool_choice"] = _unforced(request["tool_choice"])
    if whole:
        return following | _longer(request, [*_repeatable(response), *answers])
    following["input"] = [*answers]
    # A conversation at the server has taken the response up already, and excludes the other way of naming it.
    if request.get("conversation") is None:
        following["previous_response_id"] = response.id
    return following


def _unforced(choice: object) -> object:
    """Return a choice of tools that leaves it to the model whether to call any: else it would call for ever."""
    if choice is None or choice == "none":
        return choice
    if isinstance(choice, Mapping):
        named = cast("Mapping[str, object]", choice)
        if named.get("type") == "allowed_tools":
            return {**named, "mode": "auto"}
    return "auto"


def _longer(request: Mapping[str, object], items: Sequence[object]) -> dict[str, object]:
    """Return the input with items behind it, in the form in which a chat was given it."""
    if "messages" in request:
        return {"messages": [*_items(request["messages"]), *messages_from(items)]}
    return {"input": [*_items(request.get("input")), *items]}


def _items(given: object) -> Sequence[object]:
    if given is None:
        return []
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return cast("Sequence[object]", given)


def _repeatable(response: Response) -> list[object]:
    """Return the output as input: reasoning can be given back only where its encrypted form came with it."""
    return [item for item in response.output if not (isinstance(item, Reasoning) and item.encrypted_content is None)]


def _answered_by(item: OutputItem) -> str | None:
    """Return the id of the call that an item answers, where the server has answered it itself."""
    if not item.type.endswith("_output"):
        return None
    call_id: object = getattr(item, "call_id", None)
    return call_id if isinstance(call_id, str) else None

"""The scenarios in which tools are called: first a response with the calls, then one that answers from the outputs."""

from streamkit.testing.request import JsonObject, Request, objects, section
from streamkit.testing.schemas import requested_json
from streamkit.testing.script import Script
from streamkit.testing.tools import ToolCall, approval_responses, calls_allowed, tool_outputs, wanted_calls

_ROLL: JsonObject = {
    "name": "roll",
    "description": "Roll dice, such as 2d6+1.",
    "input_schema": {
        "type": "object",
        "properties": {"expression": {"type": "string"}},
        "required": ["expression"],
    },
    "annotations": None,
}
_DICE: JsonObject = {"expression": "2d6+1"}


def function_call(script: Script) -> None:
    """A call of the request's first tool (or of ``get_weather``), and text once its output is there."""
    if _answered(script):
        return
    calls = wanted_calls(script.request, "function", "custom") or [ToolCall("get_weather", {"location": "Paris"})]
    _call(script, calls[0])


def parallel_function_calls(script: Script) -> None:
    """Two or more calls in one response, and text once their outputs are there."""
    if _answered(script):
        return
    calls = wanted_calls(script.request, "function", "custom") or [
        ToolCall("get_weather", {"location": "Paris"}),
        ToolCall("get_weather", {"location": "Tokyo"}),
    ]
    calls = calls if len(calls) > 1 else calls * 2
    one_at_a_time = script.request.get("parallel_tool_calls") is False
    _call(script, *(calls[:1] if one_at_a_time else calls))


def custom_tool_call(script: Script) -> None:
    """A call of the request's first custom tool (or of ``run_query``), and text once its output is there."""
    if _answered(script):
        return
    calls = wanted_calls(script.request, "custom") or [ToolCall("run_query", "SELECT name FROM rivers LIMIT 3;")]
    _call(script, calls[0])


def mcp(script: Script) -> None:
    """The tools of a remote MCP server are listed, one is called (maybe once approved), and text gives its answer."""
    if not calls_allowed(script.request):
        return _answer_without_tools(script)
    server = _mcp_server(script.request)
    label = str(server.get("server_label", "dice"))
    approvals = approval_responses(script.request)
    if approvals:
        return _roll_if_approved(script, label, approvals[-1])
    script.mcp_list_tools(label, [_ROLL])
    if _needs_approval(server):
        return script.mcp_approval_request(label, "roll", _DICE).complete()
    script.mcp_call(label, "roll", _DICE, "9")
    return _answer(script, "The dice show 4 and 4; with 1 added that makes 9.")


def _call(script: Script, *calls: ToolCall) -> None:
    for name, argument in calls:
        if isinstance(argument, str):
            script.custom_tool_call(name, argument)
        else:
            script.function_call(name, argument)
    script.complete()


def _answered(script: Script) -> bool:
    """Answer where nothing is left to call: from the outputs of earlier calls, or because none is allowed."""
    outputs = tool_outputs(script.request)
    if outputs:
        _answer(script, f"Here is what I found out: {'; '.join(outputs)}")
    elif not calls_allowed(script.request):
        _answer_without_tools(script)
    else:
        return False
    return True


def _answer_without_tools(script: Script) -> None:
    _answer(script, "I was told to call nothing, so this is what I know by heart: it may rain.")


def _answer(script: Script, text: str) -> None:
    script.text(requested_json(script.request) or text).complete()


def _mcp_server(request: Request) -> JsonObject:
    servers = (tool for tool in objects(request.get("tools")) if tool.get("type") == "mcp")
    return next(servers, JsonObject())


def _needs_approval(server: JsonObject) -> bool:
    names = section(section(server, "require_approval"), "always").get("tool_names")
    return server.get("require_approval") == "always" or (isinstance(names, list) and _ROLL["name"] in names)


def _roll_if_approved(script: Script, label: str, approval: JsonObject) -> None:
    if approval.get("approve") is not True:
        return _answer(script, "You did not want the dice to be rolled, so they were not.")
    script.mcp_call(label, "roll", _DICE, "9", approval_request_id=str(approval.get("approval_request_id")))
    return _answer(script, "Thank you. The dice show 4 and 4; with 1 added that makes 9.")

"""What a request says about tools: which the model may call and has to call, and what came of earlier calls."""

from collections.abc import Mapping
from typing import NamedTuple

from streamkit.testing.request import JsonObject, Request, content_text, input_items, objects, prompt, section
from streamkit.testing.schemas import example_of

CALL_TYPES: Mapping[str, str] = {"function": "function_call", "custom": "custom_tool_call"}
"""The item that a call is, by the type of the tool that the caller has to run."""

MOST_CALLS = 3
"""So many tools are called in one response, however many are offered."""

_OUTPUT_TYPES = frozenset(f"{call_type}_output" for call_type in CALL_TYPES.values())


class ToolCall(NamedTuple):
    """A call that a scenario makes: of a function with arguments, or of a custom tool with free text."""

    name: str
    argument: JsonObject | str


def calls_allowed(request: Request) -> bool:
    """Whether the model may call anything at all."""
    return request.get("tool_choice") != "none"


def wanted_calls(request: Request, *kinds: str) -> list[ToolCall]:
    """One call of each tool of these types, as many as ``MOST_CALLS``, with arguments that fit its schema."""
    return [_call(tool, request) for tool in _callable_tools(request) if tool["type"] in kinds][:MOST_CALLS]


def tool_outputs(request: Request) -> list[str]:
    """What the tools called before have answered, unless the model has taken it up already."""
    return [content_text(item.get("output")) for item in _news(request) if str(item.get("type")) in _OUTPUT_TYPES]


def approval_responses(request: Request) -> list[JsonObject]:
    """The answers to the requests for approval, unless the model has taken them up already."""
    return [item for item in _news(request) if item.get("type") == "mcp_approval_response"]


def chosen_names(request: Request) -> list[str]:
    """The caller's tools that ``tool_choice`` names; none where it leaves the choice to the model."""
    choice = section(request, "tool_choice")
    named = [choice, *objects(choice.get("tools"))]
    return [str(tool.get("name")) for tool in named if str(tool.get("type")) in CALL_TYPES]


def offered_names(request: Request) -> list[str]:
    """The names of all tools that have one."""
    return [name for tool in objects(request.get("tools")) if isinstance(name := tool.get("name"), str)]


def _callable_tools(request: Request) -> list[JsonObject]:
    chosen = chosen_names(request)
    tools = [
        tool
        for tool in objects(request.get("tools"))
        if str(tool.get("type")) in CALL_TYPES and isinstance(tool.get("name"), str)
    ]
    return [tool for tool in tools if not chosen or tool["name"] in chosen]


def _call(tool: JsonObject, request: Request) -> ToolCall:
    name = str(tool["name"])
    if tool["type"] == "custom":
        return ToolCall(name, prompt(request).strip() or f"example input of {name}")
    parameters = tool.get("parameters")
    arguments = example_of(parameters) if isinstance(parameters, dict) else {}
    return ToolCall(name, arguments if isinstance(arguments, dict) else {})


def _news(request: Request) -> list[JsonObject]:
    """The items that came after the model's last message."""
    items = input_items(request)
    spoken = [index for index, item in enumerate(items) if item.get("role") == "assistant"]
    return items[spoken[-1] + 1 :] if spoken else items

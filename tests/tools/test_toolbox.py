"""The tools of a conversation: which run here, which do not, and how errors read."""

from typing import Any

import pytest

from streamkit import UsageError
from streamkit.errors import StreamkitError
from streamkit.items import CustomToolCall, FunctionCall, McpApprovalRequest
from streamkit.tools.tool import tool
from streamkit.tools.toolbox import MAX_ERROR_CHARACTERS, Toolbox, ToolOptions, UnknownTool, told


def here(city: str) -> str:
    """Run here."""
    return city


ELSEWHERE = {"type": "function", "name": "elsewhere", "parameters": {}}
TOOLBOX = Toolbox([here, ELSEWHERE, {"type": "web_search"}])


def test_a_request_gets_the_definitions_in_their_order() -> None:
    assert TOOLBOX.into({"model": "m"}) == {
        "model": "m",
        "tools": [tool(here).definition(), ELSEWHERE, {"type": "web_search"}],
    }
    assert Toolbox([]).into({}) == {"tools": []}
    assert Toolbox(None).into({"model": "m"}) == {"model": "m"}


@pytest.mark.parametrize(("tools", "is_local"), [(None, False), ([], False), ([ELSEWHERE], False), ([here], True)])
def test_a_toolbox_knows_whether_anything_runs_here(tools: Any, *, is_local: bool) -> None:
    assert Toolbox(tools).is_local is is_local


@pytest.mark.parametrize(
    ("call", "runs", "is_elsewhere"),
    [
        (FunctionCall(name="here"), True, False),
        (CustomToolCall(name="here"), True, False),
        (FunctionCall(name="here", namespace="other"), False, True),
        (FunctionCall(name="elsewhere"), False, True),
        (FunctionCall(name="nowhere"), False, False),
        (McpApprovalRequest(name="here"), False, False),
    ],
)
def test_calls_are_sorted_by_where_their_tool_runs(call: Any, *, runs: bool, is_elsewhere: bool) -> None:
    assert (TOOLBOX.runs(call), TOOLBOX.is_elsewhere(call)) == (runs, is_elsewhere)


def test_tools_are_found_by_name() -> None:
    assert TOOLBOX.get("here").name == "here"
    with pytest.raises(UnknownTool, match="no tool 'nowhere'; there are: here"):
        TOOLBOX.get("nowhere")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no"), "Error: ValueError: no"),
        (TimeoutError(), "Error: the tool took too long"),
        (TimeoutError("too slow"), "Error: too slow"),
        (StreamkitError("no"), "Error: no"),
        (ValueError("x" * 10_000), f"Error: ValueError: {'x' * (MAX_ERROR_CHARACTERS - 12)}"),
    ],
)
def test_a_model_is_told_of_an_error_in_short(error: Exception, text: str) -> None:
    assert told(error) == text


@pytest.mark.parametrize("tools", ["here", {"type": "web_search"}, here], ids=["text", "definition", "function"])
def test_what_is_no_list_of_tools_is_refused(tools: Any) -> None:
    with pytest.raises(UsageError, match="must be a list"):
        Toolbox(tools)


@pytest.mark.parametrize(
    "options",
    [{"max_rounds": 0}, {"max_parallel": 0}, {"on_error": "log"}, {"on_error": ["tell"]}, {"approve": True}],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ToolOptions(**options)

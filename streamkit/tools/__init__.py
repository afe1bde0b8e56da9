"""Tools that run here: functions that a model may call, and the rounds of a run that calls them."""

from streamkit.tools.tool import CustomTool, Grammar, InvalidArguments, LocalTool, Tool, custom_tool, tool

__all__ = ["CustomTool", "Grammar", "InvalidArguments", "LocalTool", "Tool", "custom_tool", "tool"]

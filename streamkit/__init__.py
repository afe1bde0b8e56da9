"""streamkit: the events of a streamed model response, typed and delivered to your functions.

Each name is imported when it is first used: who needs an exception does not wait for the models of the events, and only
``Client`` loads the HTTP library.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamkit.client import Client
    from streamkit.clocks import Timeouts
    from streamkit.context import Run
    from streamkit.cursor import Retry
    from streamkit.dispatch import CallNext, Dispatcher, Lane, StreamHandler
    from streamkit.dispatch.on import on
    from streamkit.errors import StreamkitError, UsageError
    from streamkit.ledger import Ledger, ToolCall
    from streamkit.limits import Limits
    from streamkit.outcome import (
        Cancelled,
        Closed,
        Completed,
        Disconnected,
        EventsDropped,
        Failed,
        HandlerBlocked,
        HandlerFailed,
        Incomplete,
        Opened,
        Outcome,
        Reconnecting,
        ResponseCancelledError,
        ResponseDisconnectedError,
        ResponseFailedError,
        ResponseIncompleteError,
        Restarted,
        ToolCalled,
        ToolReturned,
        UnfinishedResponse,
    )
    from streamkit.parsed import InvalidOutput, ParsedResponse
    from streamkit.response import Response
    from streamkit.run import StreamRun
    from streamkit.stage import Passage, Stage
    from streamkit.tools import custom_tool, tool
    from streamkit.tools.rounds import TooManyRounds
    from streamkit.verdict import Moderated, Verdict

__version__ = "0.1.0"

__all__ = [
    "CallNext",
    "Cancelled",
    "Client",
    "Closed",
    "Completed",
    "Disconnected",
    "Dispatcher",
    "EventsDropped",
    "Failed",
    "HandlerBlocked",
    "HandlerFailed",
    "Incomplete",
    "InvalidOutput",
    "Lane",
    "Ledger",
    "Limits",
    "Moderated",
    "Opened",
    "Outcome",
    "ParsedResponse",
    "Passage",
    "Reconnecting",
    "Response",
    "ResponseCancelledError",
    "ResponseDisconnectedError",
    "ResponseFailedError",
    "ResponseIncompleteError",
    "Restarted",
    "Retry",
    "Run",
    "Stage",
    "StreamHandler",
    "StreamRun",
    "StreamkitError",
    "Timeouts",
    "TooManyRounds",
    "ToolCall",
    "ToolCalled",
    "ToolReturned",
    "UnfinishedResponse",
    "UsageError",
    "Verdict",
    "custom_tool",
    "on",
    "tool",
]

# What checkers read in the imports above, and a test compares with them.
_MODULES = {
    "CallNext": "streamkit.dispatch",
    "Cancelled": "streamkit.outcome",
    "Client": "streamkit.client",
    "Closed": "streamkit.outcome",
    "Completed": "streamkit.outcome",
    "Disconnected": "streamkit.outcome",
    "Dispatcher": "streamkit.dispatch",
    "EventsDropped": "streamkit.outcome",
    "Failed": "streamkit.outcome",
    "HandlerBlocked": "streamkit.outcome",
    "HandlerFailed": "streamkit.outcome",
    "Incomplete": "streamkit.outcome",
    "InvalidOutput": "streamkit.parsed",
    "Lane": "streamkit.dispatch",
    "Ledger": "streamkit.ledger",
    "Limits": "streamkit.limits",
    "Moderated": "streamkit.verdict",
    "Opened": "streamkit.outcome",
    "Outcome": "streamkit.outcome",
    "ParsedResponse": "streamkit.parsed",
    "Passage": "streamkit.stage",
    "Reconnecting": "streamkit.outcome",
    "Response": "streamkit.response",
    "ResponseCancelledError": "streamkit.outcome",
    "ResponseDisconnectedError": "streamkit.outcome",
    "ResponseFailedError": "streamkit.outcome",
    "ResponseIncompleteError": "streamkit.outcome",
    "Restarted": "streamkit.outcome",
    "Retry": "streamkit.cursor",
    "Run": "streamkit.context",
    "Stage": "streamkit.stage",
    "StreamHandler": "streamkit.dispatch",
    "StreamRun": "streamkit.run",
    "StreamkitError": "streamkit.errors",
    "Timeouts": "streamkit.clocks",
    "TooManyRounds": "streamkit.tools.rounds",
    "ToolCall": "streamkit.ledger",
    "ToolCalled": "streamkit.outcome",
    "ToolReturned": "streamkit.outcome",
    "UnfinishedResponse": "streamkit.outcome",
    "UsageError": "streamkit.errors",
    "Verdict": "streamkit.verdict",
    "custom_tool": "streamkit.tools",
    "on": "streamkit.dispatch.on",
    "tool": "streamkit.tools",
}

# To checkers, this would make every name right.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(module), name)
        return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | _MODULES.keys())

"""streamkit: the events of a streamed model response, typed and delivered to your functions."""

from typing import TYPE_CHECKING

from streamkit.clocks import Timeouts
from streamkit.context import Run
from streamkit.cursor import Retry
from streamkit.dispatch import CallNext, Dispatcher, Lane, StreamHandler, on
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

if TYPE_CHECKING:
    from streamkit.client import Client
else:

    def __getattr__(name: str) -> object:
        # Client alone needs aiohttp, which takes longer to import than all the rest of the package.
        if name == "Client":
            from streamkit.client import Client  # noqa: PLC0415

            return Client
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

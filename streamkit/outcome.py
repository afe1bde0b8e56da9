"""How a run ends, and the notices of its life: values that are routed to handlers like events."""

from collections.abc import Mapping
from dataclasses import dataclass

from streamkit.errors import ServerError, StreamkitError
from streamkit.events import Event
from streamkit.ledger import ToolCall
from streamkit.parsed import InvalidOutput, ParsedResponse
from streamkit.response import Response
from streamkit.verdict import Moderated


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ended:
    response: Response
    """The response: whole if it completed, else as far as it came."""
    ledger: tuple[ToolCall, ...] = ()
    """The calls of tools that were attempted, in the order in which they began; ``Ledger(...)`` stores them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed(_Ended):
    """The server said ``response.completed``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Incomplete(_Ended):
    """The server stopped the response before its end and said ``response.incomplete``."""

    reason: str
    """Why, as the server put it: ``"max_output_tokens"``, ``"content_filter"``, …; ``"unknown"`` if it did not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed(_Ended):
    """The server refused the request or gave up on the response."""

    error: ServerError


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancelled(_Ended):
    """This side stopped the run: ``run.cancel()``, a cancelled task, leaving its block early, a failing handler."""

    cause: BaseException | None = None
    """The exception that stopped it, if it was one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Disconnected(_Ended):
    """The stream could not be read to its end: no connection, a cut, a clock, a limit."""

    error: StreamkitError


Outcome = Completed | Incomplete | Failed | Cancelled | Disconnected
"""Every way a run can end; exactly one of them happens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """The server answered; events may follow."""

    url: str
    status: int | None = None
    headers: Mapping[str, str]
    """Response headers; their names match in any case."""
    request_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconnecting:
    """An attempt failed and another follows: the same response goes on, and no event is delivered twice."""

    attempt: int
    """The number of the attempt that follows, counted from the last event."""
    delay: float
    """Seconds until it is made."""
    cause: StreamkitError
    after: int | None = None
    """The sequence number after which the stream is taken up; ``None`` from its beginning."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Restarted:
    """The response begins anew: discard what was shown of it so far.

    Either ``restart="allowed"`` has requested it again after a cut, or what came before the position given to
    ``client.resume`` is not known here and follows once more.
    """

    cause: StreamkitError


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCalled:
    """The model called a tool that runs here, and it begins to run."""

    call: ToolCall


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolReturned:
    """It is known what the model will be told of a call: the tool's output, or why there is none."""

    call: ToolCall


@dataclass(frozen=True, kw_only=True, slots=True)
class HandlerFailed:
    """A handler raised. The ``on_error`` handlers are asked first: one that returns ``True`` lets the run go on."""

    handler: str
    """The handler's qualified name."""
    event: object
    """What it was handling: an event, a notice or an outcome."""
    error: Exception


@dataclass(frozen=True, kw_only=True, slots=True)
class HandlerBlocked:
    """A handler kept the event loop busy for long, and with it every other run; told once a handler and run.

    Let it wait with ``await``, or register it with ``thread=True``.
    """

    handler: str
    """The handler's qualified name."""
    event: object
    """What it was handling: an event, a notice or an outcome."""
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EventsDropped:
    """A lane, or an iterator, with ``when_full="drop"`` fell behind; told when it has room again, or at the end."""

    lane: str
    """What dropped them: ``"lane 'audit'"``, ``"a lane without a name"``, ``"an iterator over OutputTextDelta"``."""
    events: int
    """How many deltas were dropped since this was last told."""
    characters: int
    """How much text was in them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Closed:
    """The run ended and holds nothing any more; the last thing that handlers see of it."""

    outcome: Outcome


Notice = (
    Opened
    | Reconnecting
    | Restarted
    | HandlerFailed
    | HandlerBlocked
    | EventsDropped
    | Moderated
    | ToolCalled
    | ToolReturned
    | Closed
)
"""What streamkit itself has to say of a run."""

Delivery = Event | Notice | Outcome
"""Everything that can be delivered to a handler."""


class UnfinishedResponse(StreamkitError):
    """Raised for an outcome other than ``Completed``; there is one subclass for each.

    Attributes:
        outcome: how the run ended.
        response: the response as far as it came.
    """

    def __init__(self, message: str, outcome: Outcome) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.response = outcome.response


class ResponseIncompleteError(UnfinishedResponse):
    """The server stopped the response before its end."""


class ResponseFailedError(UnfinishedResponse):
    """The server refused the request or gave up on the response."""


class ResponseCancelledError(UnfinishedResponse):
    """This side stopped the run."""


class ResponseDisconnectedError(UnfinishedResponse):
    """The stream could not be read to its end."""


def finished(outcome: Outcome) -> Response:
    """Return the response of a run that completed.

    Raises:
        UnfinishedResponse: the outcome is another; its subclass says which. The error that caused it is its cause.
        InvalidOutput: the answer does not fit the type that was asked for.
    """
    match outcome:
        case Completed(response=ParsedResponse(parse_error=InvalidOutput() as error)):
            raise error from error.error
        case Completed():
            return outcome.response
        case Incomplete():
            raise ResponseIncompleteError(f"the response is incomplete: {outcome.reason}", outcome)
        case Failed():
            raise ResponseFailedError(str(outcome.error), outcome) from outcome.error
        case Cancelled():
            raise ResponseCancelledError("the run was cancelled before the response ended", outcome) from outcome.cause
        case Disconnected():
            raise ResponseDisconnectedError(str(outcome.error), outcome) from outcome.error

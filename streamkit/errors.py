"""Every error that streamkit raises, in one tree.

::

    StreamkitError
    ├── UsageError                   the program calls streamkit in a way that cannot work
    ├── InvalidEventError            strict mode only: an event of a known type has the wrong shape
    ├── HandlerCancelled             a handler was cancelled by what it waited for, and not with its run
    ├── LaneTimeout                  a lane was not done with its events in time after the end of the response
    ├── NoSuchEvent                  the response completed without the event that was waited for
    ├── InvalidArguments             a model called a tool with arguments that do not fit (in ``streamkit.tools.tool``)
    ├── UnknownTool                  a model called a tool that there is not (in ``streamkit.tools.toolbox``)
    ├── CallNotExecuted              a call of the same id was begun before (in ``streamkit.tools.toolbox``)
    ├── TooManyRounds                a model calls tools in response after response (in ``streamkit.tools.rounds``)
    ├── InvalidOutput                the answer does not fit the type that was asked for (in ``streamkit.parsed``)
    ├── BrokenJson                   a text is no JSON, from some character on (in ``streamkit.partial_json``)
    ├── FrameTooLarge                one event is larger than ``max_event_bytes``
    ├── ResponseTooLarge             a whole response is larger than ``max_response_bytes``
    ├── TransportError               no answer, or the answer stopped: the network's side of a failure
    │   ├── ConnectFailed            no connection: address, port, name or certificate
    │   ├── ConnectionLost           the stream was cut, or ended without saying how the response ended
    │   └── ClockExpired             one of the five clocks ran out
    ├── ServerError                  the server said no: an HTTP status, an ``error`` event, ``response.failed``
    │   └── NotAnEventStream         the server answered with something that is not an event stream
    └── UnfinishedResponse           raised for an outcome that is not ``Completed`` (in ``streamkit.outcome``,
        ├── ResponseIncompleteError  because it carries one)
        ├── ResponseFailedError
        ├── ResponseCancelledError
        └── ResponseDisconnectedError

Handlers' own exceptions are never wrapped: they reach the caller unchanged.
"""


class StreamkitError(Exception):
    """The root of the tree: ``except StreamkitError`` catches whatever streamkit raises itself."""

    @property
    def kind(self) -> str:
        """What happened, in one of few words, for logs and metrics: no message of the server, which may quote input."""
        return type(self).__name__


class UsageError(StreamkitError):
    """The program calls streamkit in a way that cannot work; the message says what to change."""


class InvalidEventError(StreamkitError):
    """In strict mode, an event of a known type does not fit its model.

    Attributes:
        type: the wire name of the event.
        raw: the event's data as received.
    """

    def __init__(self, message: str, *, type: str, raw: bytes) -> None:  # noqa: A002 - the wire's own word
        super().__init__(message)
        self.type = type
        self.raw = raw


class HandlerCancelled(StreamkitError):
    """A handler raised ``CancelledError`` although nobody cancelled its run: something it waited for was cancelled."""

    def __init__(self, handler: str) -> None:
        super().__init__(f"the handler {handler} was cancelled by something it waited for, and not with its run")


class LaneTimeout(StreamkitError):
    """A lane was not done with its events in time after the end of the response; those left are lost.

    Attributes:
        lane: what the lane is called: ``"lane 'audit'"``, or ``"a lane without a name"``.
        events: how many events were left, besides the one that was being handled.
    """

    def __init__(self, lane: str, seconds: float, events: int) -> None:
        super().__init__(
            f"{lane} was not done within drain_timeout={seconds:g} s after the end of the response, "
            f"with {events} more events to handle"
        )
        self.lane = lane
        self.events = events


class NoSuchEvent(StreamkitError):
    """The response completed without the event that was waited for."""


class FrameTooLarge(StreamkitError):
    """One event of the stream is larger than the limit ``max_event_bytes``.

    The stream cannot be read further, for the rest of the event is unknown. Raise the limit if events of this size
    are expected (images come as base64 in one event).

    Attributes:
        limit: the limit in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"an event is larger than max_event_bytes={limit:,}; raise the limit to accept it")
        self.limit = limit


class ResponseTooLarge(StreamkitError):
    """One response has brought more bytes than the limit ``max_response_bytes``.

    Reading stops, so that a server that never ends cannot fill the memory. Raise the limit if responses of this size
    are expected.

    Attributes:
        limit: the limit in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"the response is larger than max_response_bytes={limit:,}; raise the limit to accept it")
        self.limit = limit


class TransportError(StreamkitError):
    """The network's side of a failure: nothing was answered, or the answer stopped."""


class ConnectFailed(TransportError):
    """No connection to the server; the message names the address and what to check.

    Attributes:
        url: the address that was tried.
    """

    def __init__(self, message: str, *, url: str) -> None:
        super().__init__(message)
        self.url = url


class ConnectionLost(TransportError):
    """The stream was cut, or ended without the event that says how the response ended.

    Attributes:
        body_head: the first bytes of the body where no event came at all, else empty.
    """

    def __init__(self, message: str, *, body_head: bytes = b"") -> None:
        super().__init__(message)
        self.body_head = body_head


class ClockExpired(TransportError):
    """One of the clocks in ``Timeouts`` ran out.

    Attributes:
        clock: ``"connect"``, ``"first_event"``, ``"idle"``, ``"progress"`` or ``"total"``.
        seconds: its setting.
    """

    def __init__(self, clock: str, seconds: float) -> None:
        super().__init__(f"{_CLOCKS[clock]} within {seconds:g} s (Timeouts.{clock})")
        self.clock = clock
        self.seconds = seconds

    @property
    def kind(self) -> str:
        """The clock, as ``"timeout.idle"``."""
        return f"timeout.{self.clock}"


_CLOCKS = {
    "connect": "no connection",
    "first_event": "no event",
    "idle": "no byte",
    "progress": "nothing but keepalives",
    "total": "the response did not end",
}


class ServerError(StreamkitError):
    """The server refused the request or gave up on the response, and said so.

    Attributes:
        message: what the server said.
        code: its error code, such as ``"rate_limit_exceeded"``; codes sent as numbers become text.
        type: its error type, such as ``"invalid_request_error"``.
        param: the request parameter it complains about.
        status: the HTTP status, where the refusal was one.
        request_id: the server's id for the request; quote it when asking for help.
        retry_after: seconds to wait before another try, where the server named them.
        should_retry: whether another try is worth it, where the server said so (``x-should-retry``).
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        type: str | None = None,  # noqa: A002 - the wire's own word
        param: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.type = type
        self.param = param
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.should_retry = should_retry

    @property
    def kind(self) -> str:
        """The server's error code, else its type, else the HTTP status."""
        refused = self.status is not None and self.status >= 300
        return self.code or self.type or (str(self.status) if refused else super().kind)

    def __str__(self) -> str:
        facts = {"code": self.code, "param": self.param, "status": self.status, "request_id": self.request_id}
        known = ", ".join(f"{name}={value}" for name, value in facts.items() if value is not None)
        return f"{self.message} ({known})" if known else self.message


class NotAnEventStream(ServerError):
    """The server answered 200 with something that is not an event stream: a web page, or plain JSON.

    Attributes:
        content_type: what the server called it.
        body_head: its first bytes.
    """

    def __init__(
        self,
        message: str,
        *,
        content_type: str | None,
        body_head: bytes,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, status=status, request_id=request_id)
        self.content_type = content_type
        self.body_head = body_head

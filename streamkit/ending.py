"""What outcome a run has, from what the server said last, or did not say."""

from streamkit.errors import ConnectionLost, NotAnEventStream, ServerError, StreamkitError
from streamkit.failures import detail_in_json, from_detail, shown
from streamkit.outcome import Completed, Disconnected, Failed, Incomplete, Opened, Outcome
from streamkit.response import ErrorDetail, Response


def at_terminal_event(
    name: str, response: Response, *, reported: ErrorDetail | None, request_id: str | None
) -> Outcome:
    """Return the outcome for the event that ends a response; ``reported`` is an ``error`` event that came before it."""
    if name == "response.completed":
        return Completed(response=response)
    if name == "response.incomplete":
        details = response.incomplete_details
        return Incomplete(response=response, reason=(details and details.reason) or "unknown")
    return Failed(response=response, error=from_detail(response.error, also=reported, request_id=request_id))


def after_error(error: StreamkitError, response: Response) -> Outcome:
    """Return the outcome where reading stopped at an error: the server's, or the way to it."""
    if isinstance(error, ServerError):
        return Failed(response=response, error=error)
    return Disconnected(response=response, error=error)


def error_at_end_of_bytes(*, events: int, body_head: bytes, opened: Opened) -> StreamkitError:
    """Return what is wrong where the bytes ended without an event that ends the response."""
    if events:
        return ConnectionLost(f"the stream ended after {events} events without saying how the response ended")
    text = body_head.strip()
    content_type = opened.headers.get("content-type")
    if text[:1] in (b"{", b"["):
        detail = detail_in_json(text)
        if detail is not None:
            return from_detail(detail, request_id=opened.request_id)
    elif not text or (content_type or "").lower().startswith("text/event-stream"):
        what = "without sending an event" if text else "without sending a byte"
        return ConnectionLost(f"{opened.url} answered, then closed the stream {what}", body_head=body_head)
    return NotAnEventStream(
        f"{opened.url} answered with {content_type or 'no content type'} instead of an event stream, beginning "
        f"{shown(text)!r}; check that base_url points at an API that streams",
        content_type=content_type,
        body_head=body_head,
        status=opened.status,
        request_id=opened.request_id,
    )

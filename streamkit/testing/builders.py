"""Events made by hand, and runs made of them, so that handlers can be tested without a server.

::

    async def test_it_prints_the_text(capsys):
        outcome = await run_events([text_delta("Hel"), text_delta("lo"), completed("Hello")], show)
        assert capsys.readouterr().out == "Hello"

Every function here returns an event of ``streamkit.events``: where none fits, make one of those classes itself, such as
``WebSearchCallSearching(output_index=0)``. Whole streams, with every event that a server would send, come from
``play("reasoning")`` or a ``Script``; ``run_events`` takes them, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import JsonValue
from pydantic_core import to_json

from streamkit import events as ev
from streamkit.codec import decode
from streamkit.dispatch.on import State
from streamkit.items import FunctionCall, Message, OutputItem, OutputText
from streamkit.outcome import Completed, Outcome, UnfinishedResponse
from streamkit.response import ErrorDetail, IncompleteDetails, Response
from streamkit.run import Handlers, StreamRun
from streamkit.sse import Frame, encode
from streamkit.testing.source import ScriptedSource

RESPONSE_ID = "resp_test"
"""The id of every response that is made here."""


async def run_events(
    events: Iterable[ev.Event | Mapping[str, JsonValue]], *handlers: Handlers[State], state: State | None = None
) -> Outcome:
    """Give events to handlers in the way of a real run, and return how it ended.

    Handlers get these very events, then the outcome and the notices of a run. Without an event that ends the response,
    such as ``completed()``, the outcome is ``Disconnected``.

    Args:
        events: events, or what servers send as JSON, as ``play`` returns it.
        handlers: what ``run.dispatch`` takes.
        state: what ``run.state`` is for them.

    Raises:
        Exception: whatever a handler raised, unchanged.
    """
    listed = [event if isinstance(event, ev.Event) else _decoded(event) for event in events]
    # Each frame carries the number of its event, so that handlers get the event itself and no copy.
    frames = b"".join(encode(Frame(data=b"%d" % number)) for number in range(len(listed)))
    async with StreamRun(ScriptedSource([frames]), decode=lambda frame: listed[int(frame.data)], state=state) as run:
        try:
            return Completed(response=await run.dispatch(*handlers))
        except UnfinishedResponse as error:
            return error.outcome


def created(*, model: str = "test") -> ev.ResponseCreated:
    """Return the event that begins a stream."""
    return ev.ResponseCreated(response=_response("in_progress", [], model=model))


def text_delta(delta: str, *, output_index: int = 0, content_index: int = 0) -> ev.OutputTextDelta:
    """Return a piece of the answer's text."""
    return ev.OutputTextDelta(delta=delta, output_index=output_index, content_index=content_index)


def text_done(text: str, *, output_index: int = 0, content_index: int = 0) -> ev.OutputTextDone:
    """Return the end of a text, with all of it."""
    return ev.OutputTextDone(text=text, output_index=output_index, content_index=content_index)


def refusal_delta(delta: str, *, output_index: int = 0, content_index: int = 0) -> ev.RefusalDelta:
    """Return a piece of a refusal."""
    return ev.RefusalDelta(delta=delta, output_index=output_index, content_index=content_index)


def refusal_done(refusal: str, *, output_index: int = 0, content_index: int = 0) -> ev.RefusalDone:
    """Return the end of a refusal, with all of it."""
    return ev.RefusalDone(refusal=refusal, output_index=output_index, content_index=content_index)


def reasoning_delta(delta: str, *, output_index: int = 0, summary_index: int = 0) -> ev.ReasoningSummaryTextDelta:
    """Return a piece of the reasoning's summary, which is what most servers show of it."""
    return ev.ReasoningSummaryTextDelta(delta=delta, output_index=output_index, summary_index=summary_index)


def arguments_delta(delta: str, *, output_index: int = 0) -> ev.FunctionCallArgumentsDelta:
    """Return a piece of a function call's arguments."""
    return ev.FunctionCallArgumentsDelta(delta=delta, output_index=output_index)


def arguments_done(
    arguments: str | Mapping[str, JsonValue], *, name: str | None = None, output_index: int = 0
) -> ev.FunctionCallArgumentsDone:
    """Return the end of a function call's arguments, with all of them."""
    return ev.FunctionCallArgumentsDone(arguments=_json_text(arguments), name=name, output_index=output_index)


def message(text: str) -> Message:
    """Return a finished message of the model, for ``item_done`` and the end of a response."""
    return Message(id="msg_test", role="assistant", status="completed", content=[OutputText(text=text)])


def function_call(
    name: str, arguments: str | Mapping[str, JsonValue] = "{}", *, call_id: str = "call_test"
) -> FunctionCall:
    """Return a finished call of a function, for ``item_done`` and the end of a response."""
    return FunctionCall(id="fc_test", call_id=call_id, name=name, arguments=_json_text(arguments), status="completed")


def item_added(item: OutputItem, *, output_index: int = 0) -> ev.OutputItemAdded:
    """Return the event that announces an item."""
    return ev.OutputItemAdded(item=item, output_index=output_index)


def item_done(item: OutputItem, *, output_index: int = 0) -> ev.OutputItemDone:
    """Return the event that says that an item is finished."""
    return ev.OutputItemDone(item=item, output_index=output_index)


def completed(*output: OutputItem | str) -> ev.ResponseCompleted:
    """Return the end of a response that is whole, with its items; a text is a message."""
    return ev.ResponseCompleted(response=_response("completed", output))


def incomplete(*output: OutputItem | str, reason: str = "max_output_tokens") -> ev.ResponseIncomplete:
    """Return the end of a response that the server stopped before its end."""
    details = IncompleteDetails(reason=reason)
    return ev.ResponseIncomplete(response=_response("incomplete", output, incomplete_details=details))


def failed(message: str = "the test says so", *, code: str = "server_error") -> ev.ResponseFailed:
    """Return the end of a response that failed."""
    return ev.ResponseFailed(response=_response("failed", [], error=ErrorDetail(code=code, message=message)))


def error(message: str = "the test says so", *, code: str = "server_error") -> ev.ErrorEvent:
    """Return the event with which a server says what went wrong."""
    return ev.ErrorEvent(error=ErrorDetail(code=code, message=message))


def _response(status: str, output: Sequence[OutputItem | str], **fields: Any) -> Response:
    items = [message(item) if isinstance(item, str) else item for item in output]
    return Response(id=RESPONSE_ID, object="response", status=status, output=items, **fields)


def _json_text(value: str | Mapping[str, JsonValue]) -> str:
    return value if isinstance(value, str) else to_json(value).decode()


def _decoded(event: Mapping[str, JsonValue]) -> ev.Event:
    return decode(Frame(str(event.get("type", "message")), to_json(event)))

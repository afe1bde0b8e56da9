"""The moments of a run that have a name of their own: what each is called for, and what it is given."""

from operator import attrgetter

from streamkit import events as ev
from streamkit import outcome as end
from streamkit.dispatch.selection import Selection
from streamkit.verdict import Moderated

_response = attrgetter("response")

HOOKS: dict[str, Selection] = {
    "on_created": Selection((ev.ResponseCreated,), _response),
    "on_text_delta": Selection((ev.OutputTextDelta,)),
    "on_text_done": Selection((ev.OutputTextDone,)),
    "on_refusal_delta": Selection((ev.RefusalDelta,)),
    "on_refusal_done": Selection((ev.RefusalDone,)),
    "on_reasoning_delta": Selection((ev.ReasoningSummaryTextDelta, ev.ReasoningTextDelta, ev.ReasoningDelta)),
    "on_function_call_arguments_delta": Selection((ev.FunctionCallArgumentsDelta,)),
    "on_function_call_arguments_done": Selection((ev.FunctionCallArgumentsDone,)),
    "on_output_item_added": Selection((ev.OutputItemAdded,)),
    "on_output_item_done": Selection((ev.OutputItemDone,)),
    "on_completed": Selection((end.Completed,), _response),
    "on_incomplete": Selection((end.Incomplete,), _response),
    "on_failed": Selection((end.Failed, end.Disconnected)),
    "on_error": Selection((end.HandlerFailed,)),
    "on_reconnecting": Selection((end.Reconnecting,)),
    "on_restarted": Selection((end.Restarted,)),
    "on_moderated": Selection((Moderated,)),
    "on_tool_call": Selection((end.ToolCalled,), attrgetter("call")),
    "on_tool_result": Selection((end.ToolReturned,), attrgetter("call")),
    "on_close": Selection((end.Closed,), attrgetter("outcome")),
}
"""By the name of the ``StreamHandler`` method; the lifecycle hooks of ``Dispatcher`` are among them."""

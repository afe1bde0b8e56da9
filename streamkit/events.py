"""The events of a stream: one class for each wire name, and base classes as the families that they belong to.

Only what makes an event the event it is, is required. Numbers and ids are optional, because known servers omit them.
"""

# Models are frozen, so that a narrower `type` is sound; pyright cannot see that from `model_config`.
# pyright: reportIncompatibleVariableOverride=false

from collections.abc import Callable, Iterator
from typing import Literal, cast

from pydantic import ConfigDict, Field

from streamkit.items import (
    Annotation,
    ContentPart,
    Json,
    JsonObject,
    ListOf,
    Logprob,
    Model,
    OutputItem,
    ShellOutput,
)
from streamkit.response import ErrorCode, ErrorDetail, ErrorText, Response

# Of a list that is given as the default, pydantic would make a deep copy for each delta.
_no_logprobs = cast("Callable[[], list[Logprob]]", list)


class Event(Model):
    """Base of all events; register for it to see everything."""

    type: str
    sequence_number: int | None = None
    synthetic: bool = Field(default=False, exclude=True, repr=False)
    """Made up by streamkit from the finished response, because the server no longer streams it."""
    stream_id: str | None = None
    """The lane of a WebSocket connection that carries several streams."""


class ResponseEvent(Event):
    """An event that carries the response as far as it has come."""

    response: Response


class TerminalEvent(ResponseEvent):
    """The end of a response, as the server tells it; nothing of that response follows."""


class ItemEvent(Event):
    """An event of one output item. Where the server sends an index, that identifies the item, and not its id."""

    output_index: int | None = None
    item_id: str | None = None


class PartEvent(ItemEvent):
    """An event of one content part of an item."""

    content_index: int | None = None


class SummaryEvent(ItemEvent):
    """An event of one part of a reasoning's summary."""

    summary_index: int | None = None


class CommandEvent(ItemEvent):
    """An event of one command of a shell call."""

    command_index: int | None = None


class ToolProgressEvent(ItemEvent):
    """A tool that the server runs has gone one step further."""


class DeltaEvent(Event):
    """A piece of growing text. These are most of a stream, so that fields without a use, as padding, are left out.

    In a class statement this base comes last: pydantic takes its configuration from the last base.
    """

    model_config = ConfigDict(extra="ignore")

    delta: str
    merged: int = Field(default=1, exclude=True, repr=False)
    """How many deltas of the wire this one is made of; more than one where a slow reader had them merged."""


class ResponseCreated(ResponseEvent):
    """Sent first: the response exists and has its id."""

    type: Literal["response.created"] = "response.created"


class ResponseQueued(ResponseEvent):
    """Sent when a background response waits for its turn."""

    type: Literal["response.queued"] = "response.queued"


class ResponseInProgress(ResponseEvent):
    """Sent when the model starts, and by some servers again after a resumption."""

    type: Literal["response.in_progress"] = "response.in_progress"


class ResponseCompleted(TerminalEvent):
    """Sent last, when the response is whole."""

    type: Literal["response.completed"] = "response.completed"


class ResponseIncomplete(TerminalEvent):
    """Sent last, when the response stopped before its end; ``response.incomplete_details`` says why."""

    type: Literal["response.incomplete"] = "response.incomplete"


class ResponseFailed(TerminalEvent):
    """Sent last, when the response failed; ``response.error`` says why."""

    type: Literal["response.failed"] = "response.failed"


class ErrorEvent(Event):
    """Sent when something went wrong, often before a `ResponseFailed` that tells the same.

    Servers nest the error in ``error`` or spread its fields over the event: read `detail`, which knows both.
    """

    type: Literal["error"] = "error"
    error: ErrorDetail | None = None
    code: ErrorCode = None
    message: ErrorText = None
    param: ErrorText = None
    status: ErrorCode = None

    @property
    def detail(self) -> ErrorDetail:
        """The error, with each field that is not nested taken from the event itself."""
        nested = self.error or ErrorDetail()
        flat = {"code": self.code, "message": self.message, "param": self.param}
        return nested.model_copy(update={name: flat[name] for name in flat if getattr(nested, name) is None})


class OutputItemAdded(ItemEvent):
    """Sent when the model starts an item, which is still empty."""

    type: Literal["response.output_item.added"] = "response.output_item.added"
    item: OutputItem | None


class OutputItemDone(ItemEvent):
    """Sent when an item is finished, with everything in it."""

    type: Literal["response.output_item.done"] = "response.output_item.done"
    item: OutputItem | None


class ContentPartAdded(PartEvent):
    """Sent when the model starts a part of an item."""

    type: Literal["response.content_part.added"] = "response.content_part.added"
    part: ContentPart


class ContentPartDone(PartEvent):
    """Sent when a part is finished."""

    type: Literal["response.content_part.done"] = "response.content_part.done"
    part: ContentPart


class OutputTextDelta(PartEvent, DeltaEvent):
    """Sent for each piece of the answer's text."""

    type: Literal["response.output_text.delta"] = "response.output_text.delta"
    logprobs: ListOf[Logprob] = Field(default_factory=_no_logprobs)


class OutputTextDone(PartEvent):
    """Sent when a text is finished, with all of it."""

    type: Literal["response.output_text.done"] = "response.output_text.done"
    text: str
    logprobs: ListOf[Logprob] = []


class OutputTextAnnotationAdded(PartEvent):
    """Sent when the text is given a citation or another annotation."""

    type: Literal["response.output_text.annotation.added"] = "response.output_text.annotation.added"
    annotation: Annotation | None = None
    annotation_index: int | None = None


class RefusalDelta(PartEvent, DeltaEvent):
    """Sent for each piece of a refusal."""

    type: Literal["response.refusal.delta"] = "response.refusal.delta"


class RefusalDone(PartEvent):
    """Sent when a refusal is finished, with all of it."""

    type: Literal["response.refusal.done"] = "response.refusal.done"
    refusal: str


class ReasoningTextDelta(PartEvent, DeltaEvent):
    """Sent for each piece of the reasoning itself."""

    type: Literal["response.reasoning_text.delta"] = "response.reasoning_text.delta"


class ReasoningTextDone(PartEvent):
    """Sent when a text of the reasoning is finished, with all of it."""

    type: Literal["response.reasoning_text.done"] = "response.reasoning_text.done"
    text: str


class ReasoningDelta(PartEvent, DeltaEvent):
    """What Open Responses servers send in place of `ReasoningTextDelta`."""

    type: Literal["response.reasoning.delta"] = "response.reasoning.delta"


class ReasoningDone(PartEvent):
    """What Open Responses servers send in place of `ReasoningTextDone`."""

    type: Literal["response.reasoning.done"] = "response.reasoning.done"
    text: str


class ReasoningPartAdded(PartEvent):
    """What vLLM sends in place of `ContentPartAdded` when a part of the reasoning starts."""

    type: Literal["response.reasoning_part.added"] = "response.reasoning_part.added"
    part: ContentPart


class ReasoningPartDone(PartEvent):
    """What vLLM sends in place of `ContentPartDone` when a part of the reasoning is finished."""

    type: Literal["response.reasoning_part.done"] = "response.reasoning_part.done"
    part: ContentPart


class ReasoningSummaryPartAdded(SummaryEvent):
    """Sent when a part of a reasoning's summary starts."""

    type: Literal["response.reasoning_summary_part.added"] = "response.reasoning_summary_part.added"
    part: ContentPart


class ReasoningSummaryPartDone(SummaryEvent):
    """Sent when a part of a reasoning's summary is finished; ``status`` is set only where it was cut short."""

    type: Literal["response.reasoning_summary_part.done"] = "response.reasoning_summary_part.done"
    part: ContentPart
    status: Literal["incomplete"] | str | None = None


class ReasoningSummaryTextDelta(SummaryEvent, DeltaEvent):
    """Sent for each piece of a reasoning's summary."""

    type: Literal["response.reasoning_summary_text.delta"] = "response.reasoning_summary_text.delta"


class ReasoningSummaryTextDone(SummaryEvent):
    """Sent when the text of a part of a summary is finished, with all of it."""

    type: Literal["response.reasoning_summary_text.done"] = "response.reasoning_summary_text.done"
    text: str


class AudioDelta(DeltaEvent):
    """Sent for each piece of spoken output, in base64."""

    type: Literal["response.audio.delta"] = "response.audio.delta"


class AudioDone(Event):
    """Sent when the spoken output is finished."""

    type: Literal["response.audio.done"] = "response.audio.done"


class AudioTranscriptDelta(DeltaEvent):
    """Sent for each piece of the transcript of spoken output."""

    type: Literal["response.audio.transcript.delta"] = "response.audio.transcript.delta"


class AudioTranscriptDone(Event):
    """Sent when the transcript is finished."""

    type: Literal["response.audio.transcript.done"] = "response.audio.transcript.done"


class FunctionCallArgumentsDelta(ItemEvent, DeltaEvent):
    """Sent for each piece of a function call's arguments, which are JSON; the name came with `OutputItemAdded`."""

    type: Literal["response.function_call_arguments.delta"] = "response.function_call_arguments.delta"


class FunctionCallArgumentsDone(ItemEvent):
    """Sent when a function call's arguments are finished, by some servers without any delta before it."""

    type: Literal["response.function_call_arguments.done"] = "response.function_call_arguments.done"
    arguments: str
    name: str | None = None


class CustomToolCallInputDelta(ItemEvent, DeltaEvent):
    """Sent for each piece of a custom tool's input."""

    type: Literal["response.custom_tool_call_input.delta"] = "response.custom_tool_call_input.delta"


class CustomToolCallInputDone(ItemEvent):
    """Sent when a custom tool's input is finished, with all of it."""

    type: Literal["response.custom_tool_call_input.done"] = "response.custom_tool_call_input.done"
    input: str


class FileSearchCallInProgress(ToolProgressEvent):
    """Sent when a file search starts."""

    type: Literal["response.file_search_call.in_progress"] = "response.file_search_call.in_progress"


class FileSearchCallSearching(ToolProgressEvent):
    """Sent when files are being searched."""

    type: Literal["response.file_search_call.searching"] = "response.file_search_call.searching"


class FileSearchCallCompleted(ToolProgressEvent):
    """Sent when a file search has its results."""

    type: Literal["response.file_search_call.completed"] = "response.file_search_call.completed"


class WebSearchCallInProgress(ToolProgressEvent):
    """Sent when a web search starts."""

    type: Literal["response.web_search_call.in_progress"] = "response.web_search_call.in_progress"


class WebSearchCallSearching(ToolProgressEvent):
    """Sent when the web is being searched."""

    type: Literal["response.web_search_call.searching"] = "response.web_search_call.searching"


class WebSearchCallCompleted(ToolProgressEvent):
    """Sent when a web search has its results; some servers omit it."""

    type: Literal["response.web_search_call.completed"] = "response.web_search_call.completed"


class CodeInterpreterCallInProgress(ToolProgressEvent):
    """Sent when a call of the code interpreter starts."""

    type: Literal["response.code_interpreter_call.in_progress"] = "response.code_interpreter_call.in_progress"


class CodeInterpreterCallCodeDelta(ItemEvent, DeltaEvent):
    """Sent for each piece of the code to run."""

    type: Literal["response.code_interpreter_call_code.delta"] = "response.code_interpreter_call_code.delta"


class CodeInterpreterCallCodeDone(ItemEvent):
    """Sent when the code to run is finished, with all of it."""

    type: Literal["response.code_interpreter_call_code.done"] = "response.code_interpreter_call_code.done"
    code: str


class CodeInterpreterCallInterpreting(ToolProgressEvent):
    """Sent when the code is being run."""

    type: Literal["response.code_interpreter_call.interpreting"] = "response.code_interpreter_call.interpreting"


class CodeInterpreterCallCompleted(ToolProgressEvent):
    """Sent when the code has run."""

    type: Literal["response.code_interpreter_call.completed"] = "response.code_interpreter_call.completed"


class ImageGenerationCallInProgress(ToolProgressEvent):
    """Sent when the making of an image starts."""

    type: Literal["response.image_generation_call.in_progress"] = "response.image_generation_call.in_progress"


class ImageGenerationCallGenerating(ToolProgressEvent):
    """Sent when an image is being made."""

    type: Literal["response.image_generation_call.generating"] = "response.image_generation_call.generating"


class ImageGenerationCallPartialImage(ItemEvent):
    """Sent for each preview of the image, in base64."""

    type: Literal["response.image_generation_call.partial_image"] = "response.image_generation_call.partial_image"
    partial_image_b64: str
    partial_image_index: int | None = None
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None


class ImageGenerationCallCompleted(ToolProgressEvent):
    """Sent when the image is finished; it comes with `OutputItemDone`. Some servers omit it."""

    type: Literal["response.image_generation_call.completed"] = "response.image_generation_call.completed"


class McpListToolsInProgress(ToolProgressEvent):
    """Sent when an MCP server is being asked for its tools."""

    type: Literal["response.mcp_list_tools.in_progress"] = "response.mcp_list_tools.in_progress"


class McpListToolsCompleted(ToolProgressEvent):
    """Sent when an MCP server has listed its tools."""

    type: Literal["response.mcp_list_tools.completed"] = "response.mcp_list_tools.completed"


class McpListToolsFailed(ToolProgressEvent):
    """Sent when an MCP server did not list its tools."""

    type: Literal["response.mcp_list_tools.failed"] = "response.mcp_list_tools.failed"


class McpCallInProgress(ToolProgressEvent):
    """Sent when a call of an MCP tool starts."""

    type: Literal["response.mcp_call.in_progress"] = "response.mcp_call.in_progress"


class McpCallArgumentsDelta(ItemEvent, DeltaEvent):
    """Sent for each piece of an MCP tool's arguments, which are JSON."""

    type: Literal["response.mcp_call_arguments.delta"] = "response.mcp_call_arguments.delta"


class McpCallArgumentsDone(ItemEvent):
    """Sent when an MCP tool's arguments are finished, with all of them."""

    type: Literal["response.mcp_call_arguments.done"] = "response.mcp_call_arguments.done"
    arguments: str


class McpCallCompleted(ToolProgressEvent):
    """Sent when an MCP tool has answered; the answer comes with `OutputItemDone`."""

    type: Literal["response.mcp_call.completed"] = "response.mcp_call.completed"


class McpCallFailed(ToolProgressEvent):
    """Sent when an MCP tool failed; the error comes with `OutputItemDone`."""

    type: Literal["response.mcp_call.failed"] = "response.mcp_call.failed"


class ShellCallCommandAdded(CommandEvent):
    """Sent when the model starts a shell command."""

    type: Literal["response.shell_call_command.added"] = "response.shell_call_command.added"
    command: str


class ShellCallCommandDelta(CommandEvent, DeltaEvent):
    """Sent for each piece of a shell command."""

    type: Literal["response.shell_call_command.delta"] = "response.shell_call_command.delta"


class ShellCallCommandDone(CommandEvent):
    """Sent when a shell command is finished, with all of it."""

    type: Literal["response.shell_call_command.done"] = "response.shell_call_command.done"
    command: str


class ShellOutputDelta(Model):
    """A piece of what a command printed."""

    stdout: str | None = None
    stderr: str | None = None


class ShellCallOutputContentDelta(CommandEvent):
    """Sent for each piece of a command's output: the one delta that is not a text."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["response.shell_call_output_content.delta"] = "response.shell_call_output_content.delta"
    delta: ShellOutputDelta


class ShellCallOutputContentDone(CommandEvent):
    """Sent when commands have ended, with all that they printed."""

    type: Literal["response.shell_call_output_content.done"] = "response.shell_call_output_content.done"
    output: ListOf[ShellOutput]


class ApplyPatchCallOperationDiffDelta(ItemEvent, DeltaEvent):
    """Sent for each piece of a diff."""

    type: Literal["response.apply_patch_call_operation_diff.delta"] = "response.apply_patch_call_operation_diff.delta"


class ApplyPatchCallOperationDiffDone(ItemEvent):
    """Sent when a diff is finished, with all of it."""

    type: Literal["response.apply_patch_call_operation_diff.done"] = "response.apply_patch_call_operation_diff.done"
    diff: str


class CompactionCompacting(ItemEvent):
    """Sent while the conversation is being compacted."""

    type: Literal["response.compaction.compacting"] = "response.compaction.compacting"


class Steer(Model):
    """Input sent to a response that was already running."""

    id: str | None = None
    previous_response_id: str | None = None
    input: Json = None


class SteerEvent(Event):
    """What became of input sent to a running response, over WebSocket."""

    steer: Steer


class SteerAccepted(SteerEvent):
    """Sent when the server has taken the input over; it takes effect with the next `ResponseCreated`."""

    type: Literal["response.steer.accepted"] = "response.steer.accepted"


class SteerPending(SteerEvent):
    """Sent when the input waits for tool outputs: fill in ``required_input`` and send it as a new request."""

    type: Literal["response.steer.pending"] = "response.steer.pending"
    reason: Literal["waiting_for_required_input"] | str | None = None
    required_input: ListOf[JsonObject] = []


class SteerFailed(SteerEvent):
    """Sent when the input was not used; it comes back in ``steer.input``."""

    type: Literal["response.steer.failed"] = "response.steer.failed"
    error: ErrorDetail | None = None


class InjectEvent(Event):
    """What became of items injected into a running response, over WebSocket."""

    response_id: str | None = None


class InjectCreated(InjectEvent):
    """Sent when the items have become part of the response."""

    type: Literal["response.inject.created"] = "response.inject.created"


class InjectFailed(InjectEvent):
    """Sent when the items were not used; they come back in ``input``."""

    type: Literal["response.inject.failed"] = "response.inject.failed"
    input: ListOf[JsonObject] = []
    error: ErrorDetail | None = None


class Keepalive(Event):
    """Sent now and then while the model is silent; it means that the connection lives, and no more."""

    type: Literal["keepalive"] = "keepalive"


class CodexRateLimits(Event):
    """Sent by the Codex backend, before anything else: what is left of the plan's limits."""

    type: Literal["codex.rate_limits"] = "codex.rate_limits"
    plan_type: str | None = None
    rate_limits: JsonObject | None = None


class CodexResponseMetadata(Event):
    """Sent by the Codex backend, before anything else: headers of the response."""

    type: Literal["codex.response.metadata"] = "codex.response.metadata"
    headers: JsonObject | None = None


def _wire_names(family: type[Event]) -> Iterator[tuple[str, type[Event]]]:
    for event in family.__subclasses__():
        name = event.model_fields["type"].default
        if isinstance(name, str):
            yield name, event
        yield from _wire_names(event)


# Collected before the classes below, which are made here and have no name on the wire.
EVENTS: dict[str, type[Event]] = dict(_wire_names(Event))
"""The class of each event, by its wire name."""

TERMINAL_TYPES: frozenset[str] = frozenset(name for name, event in EVENTS.items() if issubclass(event, TerminalEvent))
"""The wire names that end a response. ``error`` is not one of them: a ``response.failed`` may follow it."""
TEXT_DELTA: str = next(name for name, event in EVENTS.items() if event is OutputTextDelta)
"""The wire name of the delta that the answer's text comes in; it is most of a stream."""


class UnknownEvent(Event):
    """An event of a type that has no model, with all that it carries in ``data``."""

    data: JsonObject


class InvalidEvent(Event):
    """A frame that could not become the event it claims to be; ``error`` says why, in one line.

    ``type`` is the claimed wire name, or empty. ``data`` is what the frame held, where that was JSON.
    """

    raw: bytes
    error: str
    data: Json = None


class DoneSentinel(Event):
    """The ``[DONE]`` that some servers send last; it ends nothing that a `TerminalEvent` has not ended."""

    type: Literal["[DONE]"] = "[DONE]"

"""Events folded into the response so far.

Where a text belongs is a row of a table. State is keyed by output index and content, summary or command index; item ids
are used only where a server sends no output index, for some servers change them on every event. Nothing raises: what
does not fit is recorded as an anomaly, and placeholders stand in for what was never announced.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, ClassVar, cast

from pydantic import ValidationError

from streamkit import events as ev
from streamkit.growing import GrowingItem, Path, make_item
from streamkit.items import OutputItem
from streamkit.response import Response, text_of

MAX_ANOMALIES = 100
"""Anomalies kept in full; the rest are only counted."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something in the stream that the protocol does not foresee, and that the accumulator put up with."""

    kind: str
    """What it was, such as ``"late"``: a delta for what a done event had closed."""
    event: str
    """The wire name of the event."""
    sequence_number: int | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a kind of text stands in the response: ``before``, then the event's second index, then ``after``."""

    item_type: str
    before: Path
    index: str | None = None
    after: Path = ()
    part_type: str | None = None

    def path(self, event: ev.Event, item: GrowingItem) -> Path:
        if self.index is None:
            return self.before
        index: int | None = getattr(event, self.index)
        if index is None:
            index = (item.indexes(self.before) or [0])[-1]
        return (*self.before, index, *self.after)

    def key(self) -> Callable[[Mapping[str, Any]], object]:
        return itemgetter("output_index") if self.index is None else itemgetter("output_index", self.index)


_OUTPUT_TEXT = _Place("message", ("content",), "content_index", ("text",), "output_text")
_REFUSAL = _Place("message", ("content",), "content_index", ("refusal",), "refusal")
_REASONING_TEXT = _Place("reasoning", ("content",), "content_index", ("text",), "reasoning_text")
_SUMMARY_TEXT = _Place("reasoning", ("summary",), "summary_index", ("text",), "summary_text")
_FUNCTION_ARGUMENTS = _Place("function_call", ("arguments",))
_MCP_ARGUMENTS = _Place("mcp_call", ("arguments",))
_CUSTOM_INPUT = _Place("custom_tool_call", ("input",))
_CODE = _Place("code_interpreter_call", ("code",))
_PATCH = _Place("apply_patch_call", ("operation", "diff"))
_COMMAND = _Place("shell_call", ("action", "commands"), "command_index")

_DELTAS: dict[type[ev.Event], _Place] = {
    ev.OutputTextDelta: _OUTPUT_TEXT,
    ev.RefusalDelta: _REFUSAL,
    ev.ReasoningTextDelta: _REASONING_TEXT,
    ev.ReasoningDelta: _REASONING_TEXT,
    ev.ReasoningSummaryTextDelta: _SUMMARY_TEXT,
    ev.FunctionCallArgumentsDelta: _FUNCTION_ARGUMENTS,
    ev.McpCallArgumentsDelta: _MCP_ARGUMENTS,
    ev.CustomToolCallInputDelta: _CUSTOM_INPUT,
    ev.CodeInterpreterCallCodeDelta: _CODE,
    ev.ApplyPatchCallOperationDiffDelta: _PATCH,
    ev.ShellCallCommandDelta: _COMMAND,
}
_DELTA_KEYS = {model: place.key() for model, place in _DELTAS.items()}

# The done event of each text: where it belongs, and the field that carries it whole.
_DONE_TEXTS: dict[type[ev.Event], tuple[_Place, str]] = {
    ev.OutputTextDone: (_OUTPUT_TEXT, "text"),
    ev.RefusalDone: (_REFUSAL, "refusal"),
    ev.ReasoningTextDone: (_REASONING_TEXT, "text"),
    ev.ReasoningDone: (_REASONING_TEXT, "text"),
    ev.ReasoningSummaryTextDone: (_SUMMARY_TEXT, "text"),
    ev.FunctionCallArgumentsDone: (_FUNCTION_ARGUMENTS, "arguments"),
    ev.McpCallArgumentsDone: (_MCP_ARGUMENTS, "arguments"),
    ev.CustomToolCallInputDone: (_CUSTOM_INPUT, "input"),
    ev.CodeInterpreterCallCodeDone: (_CODE, "code"),
    ev.ApplyPatchCallOperationDiffDone: (_PATCH, "diff"),
    ev.ShellCallCommandDone: (_COMMAND, "command"),
}

_PartAdded = ev.ContentPartAdded | ev.ReasoningPartAdded | ev.ReasoningSummaryPartAdded
_PartDone = ev.ContentPartDone | ev.ReasoningPartDone | ev.ReasoningSummaryPartDone
_TOOL_PROGRESS = {name: model for name, model in ev.EVENTS.items() if issubclass(model, ev.ToolProgressEvent)}

# The type of the item that an event belongs to; with a content part, the part's type tells.
_ITEM_TYPES: dict[type[ev.Event], str] = {
    ev.OutputTextAnnotationAdded: "message",
    ev.ReasoningSummaryPartAdded: "reasoning",
    ev.ReasoningSummaryPartDone: "reasoning",
    ev.ShellCallCommandAdded: "shell_call",
    ev.ShellCallOutputContentDelta: "shell_call_output",
    ev.ShellCallOutputContentDone: "shell_call_output",
    **{model: place.item_type for model, (place, _) in _DONE_TEXTS.items()},
    **{model: name.split(".")[1] for name, model in _TOOL_PROGRESS.items()},
}
_REASONING_PARTS = {"reasoning_text", "summary_text"}


class Accumulator:
    """Builds the response from its events. Feed it every event once, in order; it never raises.

    The cost of an event does not grow with the length of the response: text is kept in pieces and joined on read.
    """

    __slots__ = (
        "_anomalies",
        "_ended",
        "_index_of_id",
        "_items",
        "_last_at",
        "_last_key",
        "_last_model",
        "_last_pieces",
        "_open_texts",
        "_response",
        "_stage",
        "anomaly_count",
        "has_text",
    )

    def __init__(self) -> None:
        self._response: Response | None = None
        self._ended = False
        self._stage: type[ev.Event] | None = None
        self.has_text = False
        self._items: dict[int, GrowingItem] = {}
        self._index_of_id: dict[str, int] = {}
        # From (model, key) to the pieces its deltas append to: a shortcut past finding item and path anew for each.
        # Any event that is not a delta may change where pieces are, so it empties this.
        self._open_texts: dict[tuple[type[ev.Event], object], list[str]] = {}
        # The one of them that the last delta was of, as the next one mostly is; no model where there is none.
        self._last_model: type[ev.Event] | None = None
        self._last_key = _DELTA_KEYS[ev.OutputTextDelta]
        self._last_at: object = None
        self._last_pieces: list[str] = []
        self._anomalies: tuple[Anomaly, ...] = ()
        self.anomaly_count = 0

    @property
    def anomalies(self) -> tuple[Anomaly, ...]:
        """What did not fit, the first ``MAX_ANOMALIES`` of it; ``anomaly_count`` counts all."""
        return self._anomalies

    @property
    def text(self) -> str:
        """The text of the answer so far: all ``output_text`` parts of all messages."""
        return text_of(self._response.output if self._response is not None and self._ended else self._output())

    @property
    def response_id(self) -> str | None:
        """The response's id, once the server has named it."""
        return None if self._response is None else self._response.id

    def snapshot(self) -> Response:
        """Return the response as it stands: the server's own once it ended, before that what the events add up to."""
        response = self._response or Response()
        if self._ended:
            return response
        return response.model_copy(update={"output": self._output()})

    @property
    def ended(self) -> bool:
        """Whether the server has said how the response ended."""
        return self._ended

    @property
    def stage(self) -> type[ev.Event] | None:
        """The class of the last event that carried the whole response."""
        return self._stage

    def item(self, index: int) -> GrowingItem | None:
        """Return the output item at an index, as far as it has grown."""
        return self._items.get(index)

    def skip_to_end(self, event: ev.TerminalEvent) -> None:
        """Fold a terminal event that carries the output, in place of all that came before it and was not looked at."""
        self._items.clear()
        self._index_of_id.clear()
        for index, item in enumerate(event.response.output):
            self._keep(index, GrowingItem(item, done=True))
        self.add(event)

    def item_of(self, event: ev.ItemEvent) -> OutputItem | None:
        """Return the item that an event belongs to, as the server last sent it whole; ``None`` where it never did."""
        index = event.output_index
        if index is None:
            index = self._index_of_id.get(event.item_id or "")
        item = None if index is None else self._items.get(index)
        return None if item is None else item.base

    def add(self, event: ev.Event) -> bool:
        """Fold one event into the response; true where that was no more than a text that goes on."""
        model = type(event)
        if model is self._last_model:
            # Not as attributes: of a model, fields cost as much as all the rest.
            fields, key = event.__dict__, self._last_key
            if key(fields) == self._last_at:
                self._last_pieces.append(fields["delta"])
                return True
        if model in _DELTAS:
            return self._add_delta(cast("ev.DeltaEvent", event))
        fold = self._FOLDS.get(model)
        if fold is not None:
            self._open_texts.clear()
            self._last_model = None
            if self._ended:
                self._note("late", event)
            else:
                fold(self, event)
        return False

    def _output(self) -> list[OutputItem]:
        return [item.build() for _, item in sorted(self._items.items())]

    def _note(self, kind: str, event: ev.Event) -> None:
        self.anomaly_count += 1
        if len(self._anomalies) < MAX_ANOMALIES:
            self._anomalies += (Anomaly(kind, event.type, event.sequence_number),)

    def _add_delta(self, event: ev.DeltaEvent) -> bool:
        model, fields = type(event), event.__dict__
        key = _DELTA_KEYS[model]
        at = key(fields)
        pieces = self._open_texts.get((model, at))
        if pieces is None:
            self._begin_text(event, _DELTAS[model], at)
            return False
        self._last_model, self._last_key, self._last_at, self._last_pieces = model, key, at, pieces
        pieces.append(fields["delta"])
        return True

    def _begin_text(self, event: ev.DeltaEvent, place: _Place, at: object) -> None:
        item = None if self._ended else self._open_item(event, place.item_type)
        if item is None:
            self._note("late", event)
            return
        path = place.path(event, item)
        self._announce_part(event, item, place, path)
        pieces = self._grow(event, item, path, event.delta)
        if pieces is not None and getattr(event, "output_index", None) is not None:
            self._open_texts[type(event), at] = pieces

    def _grow(self, event: ev.Event, item: GrowingItem, path: Path, text: str) -> list[str] | None:
        """Append to the text at a path and return its pieces; ``None`` where a done event had closed it."""
        pieces = item.pieces(path)
        if pieces is None:
            self._note("late", event)
        else:
            pieces.append(text)
            self.has_text = self.has_text or isinstance(event, ev.OutputTextDelta)
        return pieces

    def _announce_part(self, event: ev.Event, item: GrowingItem, place: _Place, path: Path) -> None:
        """Lay a placeholder where a text's part was never announced."""
        if place.part_type is not None and path[1] not in item.indexes(place.before):
            self._note("part_not_announced", event)
            item.put(path[:2], {"type": place.part_type})

    def _open_item(self, event: ev.Event, item_type: str) -> GrowingItem | None:
        """Return the item that an event belongs to, be it announced or not; ``None`` where it is done."""
        index: int | None = getattr(event, "output_index", None)
        item_id: str | None = getattr(event, "item_id", None)
        if index is None:
            index = self._find(item_id, item_type)
        if index not in self._items:
            self._note("item_not_announced", event)
            self._keep(index, GrowingItem(make_item({"type": item_type, "id": item_id, "status": "in_progress"})))
        item = self._items[index]
        return None if item.done else item

    def _find(self, item_id: str | None, item_type: str) -> int:
        """Return the index of the item that an event without an index belongs to, or one for a new item."""
        if item_id in self._index_of_id:
            return self._index_of_id[item_id]
        for index, item in sorted(self._items.items(), reverse=True):
            if item.base.type == item_type and not item.done:
                return index
        return max(self._items, default=-1) + 1

    def _keep(self, index: int, item: GrowingItem) -> None:
        self._items[index] = item
        if item.base.id:
            self._index_of_id.setdefault(item.base.id, index)

    def _start(self, event: ev.ResponseEvent) -> None:
        self._response = event.response
        self._stage = type(event)
        if event.response.output:
            # A snapshot that already has output is the server's word on all that came before it.
            self._items.clear()
            self._index_of_id.clear()
            for index, item in enumerate(event.response.output):
                self._keep(index, GrowingItem(item))

    def _end(self, event: ev.ResponseEvent) -> None:
        self._conclude(event.response, event)

    def _conclude(self, response: Response, event: ev.Event) -> None:
        if not response.output:
            response = response.model_copy(update={"output": self._output()})
        elif self._items and response.output_text != self.text:
            self._note("text_differs", event)
        self._response = response
        self._ended = True

    def _add_item(self, event: ev.OutputItemAdded) -> None:
        index = max(self._items, default=-1) + 1 if event.output_index is None else event.output_index
        if event.item is None:
            self._note("empty", event)
        elif index in self._items:
            self._note("repeated", event)
        else:
            self._keep(index, GrowingItem(event.item))

    def _finish_item(self, event: ev.OutputItemDone) -> None:
        if event.item is None:
            self._note("empty", event)
            return
        index = event.output_index
        if index is None:
            index = self._find(event.item.id, event.item.type)
        if index not in self._items:
            self._note("item_not_announced", event)
        self._keep(index, GrowingItem(event.item, done=True))

    def _change_item(self, event: ev.Event) -> None:
        item = self._open_item(event, _ITEM_TYPES.get(type(event)) or _item_type_of(cast("_PartAdded", event)))
        if item is None:
            self._note("late", event)
        else:
            self._CHANGES[type(event)](self, item, event)

    def _add_part(self, item: GrowingItem, event: _PartAdded) -> None:
        listed, index = _part_position(event)
        used = item.indexes((listed,))
        if index is None:
            index = max(used, default=-1) + 1
        if index in used:
            self._note("repeated", event)
        else:
            item.put((listed, index), event.part)

    def _finish_part(self, item: GrowingItem, event: _PartDone) -> None:
        listed, index = _part_position(event)
        if index is None:
            index = max(item.indexes((listed,)), default=0)
        item.finish((listed, index), event.part)

    def _finish_text(self, item: GrowingItem, event: ev.Event) -> None:
        place, field = _DONE_TEXTS[type(event)]
        path = place.path(event, item)
        self._announce_part(event, item, place, path)
        item.finish(path, getattr(event, field))

    def _add_annotation(self, item: GrowingItem, event: ev.OutputTextAnnotationAdded) -> None:
        if event.annotation is None:
            self._note("empty", event)
            return
        path = _OUTPUT_TEXT.path(event, item)
        self._announce_part(event, item, _OUTPUT_TEXT, path)
        annotations = (*path[:2], "annotations")
        index = event.annotation_index
        if index is None:
            index = max(item.indexes(annotations), default=-1) + 1
        item.put((*annotations, index), event.annotation)

    def _add_command(self, item: GrowingItem, event: ev.ShellCallCommandAdded) -> None:
        item.put(_COMMAND.path(event, item), event.command)

    def _add_shell_output(self, item: GrowingItem, event: ev.ShellCallOutputContentDelta) -> None:
        for channel, text in (("stdout", event.delta.stdout), ("stderr", event.delta.stderr)):
            if text:
                self._grow(event, item, ("output", event.command_index or 0, channel), text)

    def _finish_shell_output(self, item: GrowingItem, event: ev.ShellCallOutputContentDone) -> None:
        for index, output in enumerate(event.output, event.command_index or 0):
            item.finish(("output", index), output)

    def _set_status(self, item: GrowingItem, event: ev.ToolProgressEvent) -> None:
        item.progress = event.type.rpartition(".")[2]
        item.put(("status",), item.progress)

    def _salvage(self, event: ev.InvalidEvent) -> None:
        """Keep what an invalid whole-response event still says: the end of a run must not hang on one field."""
        self._note("invalid", event)
        data = event.data.get("response") if isinstance(event.data, dict) else None
        response = _salvaged_response(data) if isinstance(data, dict) else self._response
        if event.type in ev.TERMINAL_TYPES:
            self._conclude(response or Response(), event)
        elif self._response is None:
            self._response = response

    # What an event does to its item.
    _CHANGES: ClassVar[dict[type[ev.Event], Callable[[Any, GrowingItem, Any], None]]] = {
        ev.ContentPartAdded: _add_part,
        ev.ReasoningPartAdded: _add_part,
        ev.ReasoningSummaryPartAdded: _add_part,
        ev.ContentPartDone: _finish_part,
        ev.ReasoningPartDone: _finish_part,
        ev.ReasoningSummaryPartDone: _finish_part,
        ev.OutputTextAnnotationAdded: _add_annotation,
        ev.ShellCallCommandAdded: _add_command,
        ev.ShellCallOutputContentDelta: _add_shell_output,
        ev.ShellCallOutputContentDone: _finish_shell_output,
        **dict.fromkeys(_DONE_TEXTS, _finish_text),
        **dict.fromkeys(_TOOL_PROGRESS.values(), _set_status),
    }
    # What an event does to the response.
    _FOLDS: ClassVar[dict[type[ev.Event], Callable[[Any, Any], None]]] = {
        ev.ResponseCreated: _start,
        ev.ResponseQueued: _start,
        ev.ResponseInProgress: _start,
        ev.ResponseCompleted: _end,
        ev.ResponseIncomplete: _end,
        ev.ResponseFailed: _end,
        ev.OutputItemAdded: _add_item,
        ev.OutputItemDone: _finish_item,
        ev.InvalidEvent: _salvage,
        **dict.fromkeys(_CHANGES, _change_item),
    }


def _item_type_of(event: _PartAdded | _PartDone) -> str:
    return "reasoning" if event.part.type in _REASONING_PARTS else "message"


def _part_position(event: _PartAdded | _PartDone) -> tuple[str, int | None]:
    if isinstance(event, ev.SummaryEvent):
        return "summary", event.summary_index
    return "content", event.content_index


def _salvaged_response(data: dict[str, Any]) -> Response:
    try:
        return Response.model_validate(data)
    except ValidationError as error:
        broken = {entry["loc"][0] for entry in error.errors()}
        return Response.model_validate({name: value for name, value in data.items() if name not in broken})

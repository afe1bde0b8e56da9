"""The events that a finished response implies and that were never received.

When a background response can no longer be streamed, its end can still be fetched whole. What was not seen of it is
made up here, in an order a server might have sent it in, each text in one delta, so that handlers miss nothing. These
events are marked ``synthetic``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from streamkit import events as ev
from streamkit.accumulator import Accumulator
from streamkit.growing import GrowingItem, Path, look_up
from streamkit.items import ContentPart, Message, OutputItem, OutputText, Reasoning
from streamkit.response import Response

_TERMINAL: dict[str | None, type[ev.TerminalEvent]] = {
    "completed": ev.ResponseCompleted,
    "incomplete": ev.ResponseIncomplete,
    "failed": ev.ResponseFailed,
}


@dataclass(frozen=True, slots=True)
class _Text:
    """A text of an item: where it stands, and the events that carry it."""

    path: Path
    delta: type[ev.Event]
    done: type[ev.Event]
    field: str


# What an item shows of its work, before and after its text, and the text.
_WORK: dict[str, tuple[tuple[str, ...], _Text | None, tuple[str, ...]]] = {
    "function_call": (
        (),
        _Text(("arguments",), ev.FunctionCallArgumentsDelta, ev.FunctionCallArgumentsDone, "arguments"),
        (),
    ),
    "custom_tool_call": (
        (),
        _Text(("input",), ev.CustomToolCallInputDelta, ev.CustomToolCallInputDone, "input"),
        (),
    ),
    "apply_patch_call": (
        (),
        _Text(("operation", "diff"), ev.ApplyPatchCallOperationDiffDelta, ev.ApplyPatchCallOperationDiffDone, "diff"),
        (),
    ),
    "mcp_call": (
        ("in_progress",),
        _Text(("arguments",), ev.McpCallArgumentsDelta, ev.McpCallArgumentsDone, "arguments"),
        ("completed",),
    ),
    "code_interpreter_call": (
        ("in_progress",),
        _Text(("code",), ev.CodeInterpreterCallCodeDelta, ev.CodeInterpreterCallCodeDone, "code"),
        ("interpreting", "completed"),
    ),
    "web_search_call": (("in_progress", "searching", "completed"), None, ()),
    "file_search_call": (("in_progress", "searching", "completed"), None, ()),
    "image_generation_call": (("in_progress", "generating", "completed"), None, ()),
    "mcp_list_tools": (("in_progress", "completed"), None, ()),
}

# What of the response, and of an item, is not there yet when it is announced.
_NOT_YET: dict[str, dict[str, object]] = {
    "response": {
        "status": "in_progress",
        "output": [],
        "usage": None,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "moderation": None,
    },
    "message": {"content": []},
    "reasoning": {"summary": [], "content": [], "encrypted_content": None},
    "function_call": {"arguments": ""},
    "custom_tool_call": {"input": ""},
    "mcp_call": {"arguments": "", "output": None, "error": None},
    "mcp_list_tools": {"tools": [], "error": None},
    "code_interpreter_call": {"code": None, "outputs": None},
    "image_generation_call": {"result": None},
    "web_search_call": {},
    "file_search_call": {"results": None},
}


def missing_events(response: Response, seen: Accumulator, position: int | None) -> list[ev.Event]:
    """Return the events that lead from what was seen to a finished response, the terminal one last.

    They are numbered on from ``position``, the last number received. A cancelled response has no terminal event.
    """
    events = list(_of_beginning(response, seen))
    for index, item in enumerate(response.output):
        events += _of_item(item, index, seen.item(index))
    terminal = _TERMINAL.get(response.status)
    if terminal is not None:
        events.append(terminal.model_validate({"response": response}))
    numbers = range(position + 1, position + 1 + len(events)) if position is not None else [None] * len(events)
    return [
        event.model_copy(update={"synthetic": True, "sequence_number": number})
        for event, number in zip(events, numbers, strict=True)
    ]


def _of_beginning(response: Response, seen: Accumulator) -> Iterator[ev.Event]:
    begun = response.model_copy(update=_NOT_YET["response"])
    if seen.stage is None:
        yield ev.ResponseCreated(response=begun)
    if seen.stage is not ev.ResponseInProgress:
        yield ev.ResponseInProgress(response=begun)


def _of_item(item: OutputItem, index: int, growing: GrowingItem | None) -> Iterator[ev.Event]:
    if growing is None:
        announced = _as_announced(item)
        yield ev.OutputItemAdded(output_index=index, item=announced)
        growing = GrowingItem(announced)
    if growing.done:
        return
    place: dict[str, object] = {"output_index": index, "item_id": item.id}
    if isinstance(item, Message | Reasoning):
        yield from _of_parts(item, place, growing)
    else:
        yield from _of_work(item, place, growing)
    yield ev.OutputItemDone(output_index=index, item=item)


def _as_announced(item: OutputItem) -> OutputItem:
    changes = dict(_NOT_YET.get(item.type, {}))
    if item.status is not None:
        changes["status"] = "in_progress"
    return item.model_copy(update=changes)


def _of_work(item: OutputItem, place: dict[str, object], growing: GrowingItem) -> Iterator[ev.Event]:
    before, text, after = _WORK.get(item.type, ((), None, ()))
    if getattr(item, "error", None):
        after = ("failed",)
    if growing.progress in before:
        before = before[before.index(growing.progress) + 1 :]
    elif growing.progress in after:
        before, after = (), after[after.index(growing.progress) + 1 :]
    yield from (_progress(item, step, place) for step in before)
    if text is not None:
        yield from _of_text(item, text, place, growing)
    yield from (_progress(item, step, place) for step in after)


def _progress(item: OutputItem, step: str, place: dict[str, object]) -> ev.Event:
    return ev.EVENTS[f"response.{item.type}.{step}"].model_validate(place)


def _of_text(item: OutputItem, text: _Text, place: dict[str, object], growing: GrowingItem) -> Iterator[ev.Event]:
    """Yield what is missing of a text: the rest in one delta, if what was seen begins it, and its done event."""
    if growing.is_closed(text.path):
        return
    whole, begun = look_up(item, text.path), growing.text(text.path)
    if not isinstance(whole, str):
        return
    if whole.startswith(begun) and whole != begun:
        yield text.delta.model_validate({**place, "delta": whole[len(begun) :]})
    yield text.done.model_validate({**place, text.field: whole})


_PARTS: dict[str, tuple[str, type[ev.Event], type[ev.Event]]] = {
    "output_text": ("text", ev.OutputTextDelta, ev.OutputTextDone),
    "refusal": ("refusal", ev.RefusalDelta, ev.RefusalDone),
    "reasoning_text": ("text", ev.ReasoningTextDelta, ev.ReasoningTextDone),
    "summary_text": ("text", ev.ReasoningSummaryTextDelta, ev.ReasoningSummaryTextDone),
}
_PART_EVENTS: dict[str, tuple[str, type[ev.Event], type[ev.Event]]] = {
    "summary": ("summary_index", ev.ReasoningSummaryPartAdded, ev.ReasoningSummaryPartDone),
    "content": ("content_index", ev.ContentPartAdded, ev.ContentPartDone),
}


def _of_parts(item: Message | Reasoning, place: dict[str, object], growing: GrowingItem) -> Iterator[ev.Event]:
    for listed, (index_name, added, done) in _PART_EVENTS.items():
        for index, part in enumerate(getattr(item, listed, ())):
            if growing.is_closed((listed, index)):
                continue
            part_place = {**place, index_name: index}
            if index not in growing.indexes((listed,)):
                yield added.model_validate({**part_place, "part": _empty(part)})
            yield from _of_part(item, (listed, index), part_place, growing)
            yield done.model_validate({**part_place, "part": part})


def _of_part(
    item: Message | Reasoning, path: tuple[str, int], place: dict[str, object], growing: GrowingItem
) -> Iterator[ev.Event]:
    part = getattr(item, path[0])[path[1]]
    shape = _PARTS.get(part.type)
    if shape is None:
        return
    field, delta, done = shape
    text = list(_of_text(item, _Text((*path, field), delta, done, field), place, growing))
    yield from text[:-1]
    if isinstance(part, OutputText):
        known = growing.indexes((*path, "annotations"))
        for index, annotation in enumerate(part.annotations):
            if index not in known:
                yield ev.OutputTextAnnotationAdded.model_validate(
                    {**place, "annotation": annotation, "annotation_index": index}
                )
    yield from text[-1:]


def _empty(part: ContentPart) -> ContentPart:
    shape = _PARTS.get(part.type)
    changes: dict[str, object] = {} if shape is None else {shape[0]: ""}
    return part.model_copy(update={**changes, "annotations": []} if isinstance(part, OutputText) else changes)

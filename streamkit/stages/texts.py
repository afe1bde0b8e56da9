"""Where the texts of an event stand: found in it for a check, and put back as they may pass."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar, cast

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from streamkit import events as ev
from streamkit.growing import GrowingItem, Path, look_up
from streamkit.items import ContentPart, Message, OutputItem, Reasoning, UnknownItem, UnknownPart
from streamkit.verdict import Channel

Bare = TypeVar("Bare", bound=BaseModel)
ItemName = int | str | None
"""The output index of an item, or its id where the server sends no index."""


class Place(NamedTuple):
    """Where a text stands in the response."""

    channel: Channel
    item: ItemName
    path: Path
    """Within the item. It ends at the part, or is empty, where what has no model is read as one text."""

    @property
    def part_index(self) -> int | None:
        """The index of the part or the command, where the item may have several."""
        return next((step for step in self.path if isinstance(step, int)), None)


class Text(NamedTuple):
    """A text in an event: all of it, or the piece that the event adds."""

    place: Place
    text: str
    by_id: Place | None = None
    """Its place by the id of its item, should the server have sent no indexes before."""


Replaced = list[tuple[Text, str]]
"""Texts of an event, each with what passes of it."""


class _Field(NamedTuple):
    """The field of an event that is a text: ``before``, an index and ``after`` are its path in the item."""

    name: str
    channel: Channel
    before: Path
    index_name: str | None = None
    after: Path = ()


def _growing(
    delta: type[ev.Event], done: type[ev.Event], name: str, channel: Channel, before: Path, *more: Any
) -> dict[type[ev.Event], _Field]:
    return {delta: _Field("delta", channel, before, *more), done: _Field(name, channel, before, *more)}


_CONTENT = ("content",), "content_index"
_COMMANDS: Path = ("action", "commands")
_FIELDS: dict[type[ev.Event], _Field] = {
    **_growing(ev.OutputTextDelta, ev.OutputTextDone, "text", "text", *_CONTENT, ("text",)),
    **_growing(ev.RefusalDelta, ev.RefusalDone, "refusal", "refusal", *_CONTENT, ("refusal",)),
    **_growing(ev.ReasoningTextDelta, ev.ReasoningTextDone, "text", "reasoning", *_CONTENT, ("text",)),
    **_growing(ev.ReasoningDelta, ev.ReasoningDone, "text", "reasoning", *_CONTENT, ("text",)),
    **_growing(
        ev.ReasoningSummaryTextDelta,
        ev.ReasoningSummaryTextDone,
        *("text", "reasoning", ("summary",), "summary_index", ("text",)),
    ),
    **_growing(ev.FunctionCallArgumentsDelta, ev.FunctionCallArgumentsDone, "arguments", "arguments", ("arguments",)),
    **_growing(ev.McpCallArgumentsDelta, ev.McpCallArgumentsDone, "arguments", "arguments", ("arguments",)),
    **_growing(ev.CustomToolCallInputDelta, ev.CustomToolCallInputDone, "input", "arguments", ("input",)),
    **_growing(ev.CodeInterpreterCallCodeDelta, ev.CodeInterpreterCallCodeDone, "code", "arguments", ("code",)),
    **_growing(
        ev.ApplyPatchCallOperationDiffDelta,
        ev.ApplyPatchCallOperationDiffDone,
        *("diff", "arguments", ("operation", "diff")),
    ),
    **_growing(ev.ShellCallCommandDelta, ev.ShellCallCommandDone, "command", "arguments", _COMMANDS, "command_index"),
    ev.ShellCallCommandAdded: _Field("command", "arguments", _COMMANDS, "command_index"),
    ev.AudioTranscriptDelta: _Field("delta", "text", ("transcript",)),
}
# The field of a part that is its text.
_PARTS: dict[str, tuple[str, Channel]] = {
    "output_text": ("text", "text"),
    "refusal": ("refusal", "refusal"),
    "reasoning_text": ("text", "reasoning"),
    "summary_text": ("text", "reasoning"),
}
# The texts of items that have no parts.
_ITEMS: dict[str, Path] = {
    "function_call": ("arguments",),
    "mcp_call": ("arguments",),
    "mcp_approval_request": ("arguments",),
    "custom_tool_call": ("input",),
    "code_interpreter_call": ("code",),
    "program": ("code",),
    "apply_patch_call": ("operation", "diff"),
}
# What the model writes into other items: not text by text, but read as one, and left out where it is flagged.
_WRITTEN: dict[str, tuple[Path, ...]] = {
    "computer_call": (("action",), ("actions",)),
    "file_search_call": (("queries",),),
    "image_generation_call": (("revised_prompt",),),
    "local_shell_call": (("action",),),
    "tool_search_call": (("arguments",),),
    "web_search_call": tuple(("action", name) for name in ("query", "queries", "pattern", "url")),
}
_PartEvent = (
    ev.ContentPartAdded
    | ev.ContentPartDone
    | ev.ReasoningPartAdded
    | ev.ReasoningPartDone
    | ev.ReasoningSummaryPartAdded
    | ev.ReasoningSummaryPartDone
)
_ADDED = (
    ev.OutputItemAdded
    | ev.ContentPartAdded
    | ev.ReasoningPartAdded
    | ev.ReasoningSummaryPartAdded
    | ev.ShellCallCommandAdded
)


_DONE: tuple[type[ev.Event], ...] = (
    *(event for event in _FIELDS if event.__name__.endswith("Done")),
    *(ev.ContentPartDone, ev.ReasoningPartDone, ev.ReasoningSummaryPartDone),
    *(ev.AudioTranscriptDone, ev.OutputItemDone, ev.TerminalEvent),
)


def adds_text(event: ev.Event) -> bool:
    """Tell whether the texts of an event are added to those before it, and not repeated as a whole."""
    return isinstance(event, ev.DeltaEvent | _ADDED)


def ends_text(event: ev.Event) -> bool:
    """Tell whether nothing is added, behind an event, to the texts of its item, or to any where it names none."""
    return isinstance(event, _DONE) or (isinstance(event, ev.InvalidEvent) and event.type in ev.TERMINAL_TYPES)


def texts_of(event: ev.Event) -> list[Text]:
    """Return the texts of an event, in order, and none that is empty."""
    field = _FIELDS.get(type(event))
    if field is not None:
        text: str = getattr(event, field.name)
        return [Text(Place(field.channel, item_of(event), _path(event, field)), text)]
    read = _READERS.get(type(event))
    return [] if read is None else [text for text in read(event) if text.text]


def with_texts(event: ev.Event, replaced: Replaced) -> ev.Event:
    """Return a copy of an event with its texts replaced, without what else might tell what they were."""
    field = _FIELDS.get(type(event))
    if field is not None:
        changes: dict[str, object] = {field.name: replaced[0][1]}
        if isinstance(event, ev.OutputTextDelta | ev.OutputTextDone):
            changes["logprobs"] = []
        return bare_copy(event, changes)
    return _WRITERS[type(event)](event, replaced)


def bare_copy(model: Bare, changes: Mapping[str, object]) -> Bare:
    """Return a copy of a model with other values, and without fields that the server has added of its own.

    They may tell anything, such as the whole text once more.
    """
    fields = type(model).model_fields
    known = {name: getattr(model, name) for name in model.model_fields_set if name in fields}
    return type(model).model_validate({**known, **changes})


def item_of(event: ev.Event) -> ItemName:
    """Return what names the item that an event belongs to; ``None`` where it belongs to none."""
    if not isinstance(event, ev.ItemEvent):
        return None
    if event.output_index is not None:
        return event.output_index
    item = event.item if isinstance(event, ev.OutputItemAdded | ev.OutputItemDone) else None
    return event.item_id if item is None else item.id


def _path(event: ev.Event, field: _Field) -> Path:
    if field.index_name is None:
        return field.before
    return (*field.before, getattr(event, field.index_name) or 0, *field.after)


def _of_item(item: OutputItem, name: ItemName) -> Iterator[Text]:
    for channel, path, text in _item_texts(item):
        yield Text(Place(channel, name, path), text, Place(channel, item.id, path))


def _item_texts(item: OutputItem) -> Iterator[tuple[Channel, Path, str]]:
    if isinstance(item, UnknownItem):
        yield "text", (), _strings(item.model_extra)
    elif isinstance(item, Message | Reasoning):
        # What is called so in another item is a field without a model, of whatever shape.
        for listed in ("content", "summary") if isinstance(item, Reasoning) else ("content",):
            parts: list[ContentPart] = getattr(item, listed)
            for index, part in enumerate(parts):
                yield _part_text(part, (listed, index))
    elif item.type == "shell_call":
        commands = cast("list[str]", look_up(item, _COMMANDS) or [])
        for index, command in enumerate(commands):
            yield "arguments", (*_COMMANDS, index), command
    elif item.type in _ITEMS:
        path = _ITEMS[item.type]
        yield "arguments", path, cast("str | None", look_up(item, path)) or ""
    for path in _WRITTEN.get(item.type, ()):
        yield "arguments", path, _strings(to_jsonable_python(look_up(item, path)))


def _part_text(part: ContentPart, path: Path) -> tuple[Channel, Path, str]:
    if isinstance(part, UnknownPart):
        return "text", path, _strings(part.model_extra)
    field, channel = _PARTS[part.type]
    return channel, (*path, field), getattr(part, field)


def _with_texts(item: OutputItem, replaced: Replaced) -> OutputItem:
    if isinstance(item, UnknownItem):
        return UnknownItem(type=item.type, id=item.id, status=item.status)
    growing = GrowingItem(item)
    for text, passed in replaced:
        path = text.place.path
        if isinstance(item, Message | Reasoning):
            growing.put(path[:2], _bare_part(cast("ContentPart", look_up(item, path[:2])), passed))
        else:
            growing.put(path, None if item.type in _WRITTEN else passed)
    return bare_copy(growing.build(), {})


def _bare_part(part: ContentPart, text: str) -> ContentPart:
    """Return a part with another text, and without the annotations and tokens that belonged to its own."""
    if isinstance(part, UnknownPart):
        return UnknownPart(type=part.type)
    return type(part).model_validate({_PARTS[part.type][0]: text})


def _strings(value: object) -> str:
    """Return all texts in some JSON, one a line, but not what names its types."""
    return "\n".join(_leaves(value))


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in cast("dict[str, object]", value).items():
            if name != "type":
                yield from _leaves(member)
    elif isinstance(value, list):
        for element in cast("list[object]", value):
            yield from _leaves(element)


def _read_part(event: _PartEvent) -> Iterator[Text]:
    if isinstance(event, ev.SummaryEvent):
        path: Path = ("summary", event.summary_index or 0)
    else:
        path = ("content", event.content_index or 0)
    channel, path, text = _part_text(event.part, path)
    yield Text(Place(channel, item_of(event), path), text)


def _write_part(event: _PartEvent, replaced: Replaced) -> ev.Event:
    return bare_copy(event, {"part": _bare_part(event.part, replaced[0][1])})


def _read_item(event: ev.OutputItemAdded | ev.OutputItemDone) -> Iterable[Text]:
    return () if event.item is None else _of_item(event.item, item_of(event))


def _write_item(event: ev.OutputItemAdded | ev.OutputItemDone, replaced: Replaced) -> ev.Event:
    assert event.item is not None
    return bare_copy(event, {"item": _with_texts(event.item, replaced)})


def _read_response(event: ev.ResponseEvent) -> Iterator[Text]:
    for index, item in enumerate(event.response.output):
        yield from _of_item(item, index)


def _write_response(event: ev.ResponseEvent, replaced: Replaced) -> ev.Event:
    of_items: dict[ItemName, Replaced] = {}
    for text, passed in replaced:
        of_items.setdefault(text.place.item, []).append((text, passed))
    output = [
        _with_texts(item, of_items[index]) if index in of_items else item
        for index, item in enumerate(event.response.output)
    ]
    return bare_copy(event, {"response": bare_copy(event.response, {"output": output})})


def _read_unknown(event: ev.UnknownEvent) -> Iterator[Text]:
    yield Text(Place("text", None, ()), _strings(event.data))


def _write_unknown(event: ev.UnknownEvent, _: Replaced) -> ev.Event:
    return event.model_copy(update={"data": {}})


def _read_invalid(event: ev.InvalidEvent) -> Iterator[Text]:
    text = event.raw.decode("utf-8", "replace") if event.data is None else _strings(event.data)
    yield Text(Place("text", None, ()), text)


def _write_invalid(event: ev.InvalidEvent, _: Replaced) -> ev.Event:
    return event.model_copy(update={"raw": b"", "data": None})


_PART_EVENTS: tuple[type[ev.Event], ...] = _PartEvent.__args__
_ITEM_EVENTS: tuple[type[ev.Event], ...] = (ev.OutputItemAdded, ev.OutputItemDone)
_RESPONSE_EVENTS = tuple(event for event in ev.EVENTS.values() if issubclass(event, ev.ResponseEvent))
_READERS: dict[type[ev.Event], Callable[[Any], Iterable[Text]]] = {
    **dict.fromkeys(_PART_EVENTS, _read_part),
    **dict.fromkeys(_ITEM_EVENTS, _read_item),
    **dict.fromkeys(_RESPONSE_EVENTS, _read_response),
    ev.UnknownEvent: _read_unknown,
    ev.InvalidEvent: _read_invalid,
}
_WRITERS: dict[type[ev.Event], Callable[[Any, Replaced], ev.Event]] = {
    **dict.fromkeys(_PART_EVENTS, _write_part),
    **dict.fromkeys(_ITEM_EVENTS, _write_item),
    **dict.fromkeys(_RESPONSE_EVENTS, _write_response),
    ev.UnknownEvent: _write_unknown,
    ev.InvalidEvent: _write_invalid,
}

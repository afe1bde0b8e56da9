"""Tool calls while they are written, and which of them a piece belongs to."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from streamkit import events as ev
from streamkit.chat.chunks import ChatToolCall
from streamkit.chat.outbox import Outbox
from streamkit.items import CustomToolCall, FunctionCall


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of call: its item, the field that grows, and the events that carry it."""

    id_prefix: str
    item: type[FunctionCall | CustomToolCall]
    field: str
    delta: type[ev.Event]
    done: type[ev.Event]


_FUNCTION = _Kind("fc", FunctionCall, "arguments", ev.FunctionCallArgumentsDelta, ev.FunctionCallArgumentsDone)
_CUSTOM = _Kind("ctc", CustomToolCall, "input", ev.CustomToolCallInputDelta, ev.CustomToolCallInputDone)


def name_in(piece: ChatToolCall) -> str:
    """Return the name that a piece of a call tells, empty where it tells none."""
    told = piece.function or piece.custom
    return (told and told.name) or ""


def _text_in(piece: ChatToolCall) -> str:
    if piece.custom is not None:
        return piece.custom.input or ""
    arguments = piece.function.arguments if piece.function else None
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else to_json(arguments).decode()


class CallItem:
    """A call while it is written. It is announced as soon as its name, or something of its text, is known.

    Attributes:
        index: its place in the output.
        call_id: the id by which it is answered, once the server has told it.
        name: its name, once the server has told it.
    """

    def __init__(self, outbox: Outbox, index: int, response_id: str, piece: ChatToolCall) -> None:
        self.index = index
        self.call_id = ""
        self.name = ""
        self._outbox = outbox
        self._kind = _CUSTOM if piece.type == "custom" or piece.custom is not None else _FUNCTION
        self._key = f"{response_id}_{index}"
        self._place: dict[str, Any] = {"output_index": index, "item_id": f"{self._kind.id_prefix}_{self._key}"}
        self._announced = False
        self._pieces: list[str] = []

    def write(self, piece: ChatToolCall) -> None:
        """Write a piece; of several ids or names, the first stays."""
        self.call_id = self.call_id or piece.id or ""
        self.name = self.name or name_in(piece)
        text = _text_in(piece)
        if text or self.name:
            self._announce()
        if text:
            self._pieces.append(text)
            self._outbox.add(self._kind.delta, delta=text, **self._place)

    def close(self, status: str) -> FunctionCall | CustomToolCall:
        """End the call and return it whole."""
        self._announce()
        text = "".join(self._pieces)
        self._outbox.add(self._kind.done, **{self._kind.field: text}, **self._place)
        item = self._item(status, text)
        self._outbox.add(ev.OutputItemDone, output_index=self.index, item=item)
        return item

    def _announce(self) -> None:
        if not self._announced:
            self._announced = True
            self._outbox.add(ev.OutputItemAdded, output_index=self.index, item=self._item("in_progress", ""))

    def _item(self, status: str, text: str) -> FunctionCall | CustomToolCall:
        # A call that the server gave no id still needs one, for its answer to refer to.
        call_id = self.call_id or f"call_{self._key}"
        facts: dict[str, Any] = {"call_id": call_id, "name": self.name or None, self._kind.field: text}
        return self._kind.item(id=self._place["item_id"], status=status, **facts)


class Calls:
    """The calls of a response; all stay open to its end, for servers may send pieces of several in turns."""

    def __init__(self) -> None:
        self._by_index: dict[int, CallItem] = {}
        self._by_id: dict[str, CallItem] = {}
        self._all: list[CallItem] = []

    def __iter__(self) -> Iterator[CallItem]:
        return iter(self._all)

    def find(self, piece: ChatToolCall) -> CallItem | None:
        """Return the call that a piece continues, ``None`` where it begins one.

        The index decides, but some servers use one index for all calls: a name under another id, or another name,
        begins a call. An id alone does not, for others send a new id with every piece. Without an index the id decides
        where it is known, and else a piece with a name begins a call.
        """
        if piece.index is not None:
            call = self._by_index.get(piece.index)
            return None if call is None or _begins_another(piece, call) else call
        if piece.id in self._by_id:
            return self._by_id[piece.id]
        return self._all[-1] if self._all and not name_in(piece) else None

    def add(self, piece: ChatToolCall, call: CallItem) -> None:
        """Note a call that a piece begins."""
        self._all.append(call)
        if piece.index is not None:
            self._by_index[piece.index] = call
        if piece.id:
            self._by_id[piece.id] = call


def _begins_another(piece: ChatToolCall, call: CallItem) -> bool:
    name = name_in(piece)
    if not name:
        return False
    if piece.id and call.call_id:
        return piece.id != call.call_id
    return bool(call.name) and name != call.name

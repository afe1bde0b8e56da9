"""The arguments of function calls while they grow: what each piece changes, by path, for those who asked for it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from inspect import isawaitable
from typing import Literal, TypedDict
from weakref import WeakKeyDictionary

from pydantic import JsonValue

from streamkit.context import Run
from streamkit.dispatch.handler import Handler, only_where
from streamkit.dispatch.lane import Lane
from streamkit.dispatch.options import ErrorPolicy, ensure_whole, options_from, policy_for
from streamkit.dispatch.selection import Selection
from streamkit.errors import UsageError
from streamkit.events import (
    FunctionCallArgumentsDelta,
    FunctionCallArgumentsDone,
    OutputItemAdded,
    OutputItemDone,
    ResponseCreated,
)
from streamkit.items import FunctionCall
from streamkit.outcome import Restarted
from streamkit.partial_json import Change, GrowingJson, JsonPath, PathPattern

_EVENTS = (
    *(ResponseCreated, Restarted),
    *(OutputItemAdded, FunctionCallArgumentsDelta, FunctionCallArgumentsDone, OutputItemDone),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentsChange:
    """What a piece of a call's arguments did to one value in them.

    Every value starts and finishes once; between the two a string grows.
    """

    call_id: str | None
    name: str
    """The name of the function."""
    path: JsonPath
    """Where the value stands; as text it is ``$.items[2].name``."""
    kind: Literal["started", "grew", "finished"]
    text: str = ""
    """Where a string grew: what was added to it."""
    value: JsonValue = None
    """Where a value finished: the value. Do not alter it."""


class ArgumentsOptions(TypedDict, total=False):
    """The keyword arguments of ``on_arguments(...)`` that it shares with ``on(...)``."""

    lane: Lane
    thread: bool
    where: Callable[[ArgumentsChange], bool]
    """Only changes for which this returns true."""
    on_error: ErrorPolicy


@dataclass(frozen=True, slots=True)
class ArgumentsSelection(Selection):
    """The changes of a function's arguments that a function is called for."""

    tool: str = ""
    pattern: PathPattern | None = None

    def fit(self, handler: Handler) -> Handler:
        """Return the handler that calls the same function with each change that is selected.

        Raises:
            UsageError: the function does not go with the options.
        """
        options, where = self.options, self.options.where
        if where is not None:
            handler = only_where(handler, lambda change, _: where(change), f"where={where}")
        handler = self._for_changes(handler)
        return handler.with_options(lane=options.lane, on_error=policy_for(options.on_error))

    def _for_changes(self, handler: Handler) -> Handler:
        # A run knows nothing of this: what is followed in it goes when the run does.
        followed: WeakKeyDictionary[Run[object], _Calls] = WeakKeyDictionary()

        async def call(event: object, run: Run[object]) -> None:
            calls = followed.get(run) or followed.setdefault(run, _Calls(self.tool))
            for change in calls.changes(event):
                if self.pattern is None or self.pattern.matches(change.path):
                    result = handler.call(change, run) if handler.takes_run else handler.call(change)
                    if isawaitable(result):
                        await result

        place = () if self.pattern is None else (f"path={str(self.pattern)!r}",)
        conditions = (f"tool={self.tool!r}", *place, *handler.conditions)
        return replace(handler, call=call, takes_run=True, conditions=conditions)


def select_arguments(tool: object, path: str | None, options: Mapping[str, object]) -> ArgumentsSelection:
    """Return the selection of changes in the arguments of one function's calls.

    Raises:
        UsageError: the tool is not named by a text, the path is none, there is no such option, or its lane may drop
            deltas.
    """
    if not isinstance(tool, str):
        raise UsageError(f'name the tool whose arguments are wanted: on_arguments("get_weather"), not {tool!r}')
    if extra := options.keys() - ArgumentsOptions.__annotations__.keys():
        raise UsageError(f"on_arguments(...) has no option {', '.join(map(repr, sorted(extra)))}")
    pattern, chosen = None if path is None else PathPattern.parse(path), options_from(options)
    ensure_whole(chosen.lane, "what on_arguments(...) tells")
    return ArgumentsSelection(_EVENTS, options=chosen, tool=tool, pattern=pattern)


@dataclass(slots=True)
class _Call:
    """A call whose arguments are being followed."""

    call_id: str | None
    json: GrowingJson = field(default_factory=GrowingJson)
    pieces: list[str] = field(default_factory=list[str])
    is_finished: bool = False

    def feed(self, piece: str) -> list[Change]:
        if self.is_finished or not piece:
            return []
        self.pieces.append(piece)
        return self.json.feed(piece)

    def finish(self, whole: str) -> list[Change]:
        """Take what of the whole arguments did not come in pieces, which is all of it from some servers."""
        came = "".join(self.pieces)
        changes = self.feed(whole[len(came) :]) if whole.startswith(came) else []
        self.is_finished = True
        self.json, self.pieces = GrowingJson(), []
        return changes


class _Calls:
    """The calls of one function in the response that a run is streaming."""

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._calls: dict[object, _Call] = {}

    def changes(self, event: object) -> Iterable[ArgumentsChange]:
        """Return what an event changes in the arguments of the function's calls."""
        match event:
            case OutputItemAdded(item=FunctionCall() as item) if item.name == self._tool:
                key = _key(event.output_index, item.id)
                call = self._calls[key] = _Call(item.call_id)
                return self._told(call, call.feed(item.arguments))
            case FunctionCallArgumentsDelta():
                found = self._calls.get(_key(event.output_index, event.item_id))
                return () if found is None else self._told(found, found.feed(event.delta))
            case FunctionCallArgumentsDone():
                found = self._calls.get(_key(event.output_index, event.item_id))
                return () if found is None else self._told(found, found.finish(event.arguments))
            case OutputItemDone(item=FunctionCall() as item) if item.name == self._tool:
                # Some servers announce no item, and send it only whole.
                call = self._calls.setdefault(_key(event.output_index, item.id), _Call(item.call_id))
                return self._told(call, call.finish(item.arguments))
            case ResponseCreated() | Restarted():
                self._calls = {}
            case _:
                pass
        return ()

    def _told(self, call: _Call, changes: list[Change]) -> list[ArgumentsChange]:
        return [
            ArgumentsChange(
                call_id=call.call_id,
                name=self._tool,
                path=change.path,
                kind=change.kind,
                text=change.text,
                value=change.value,
            )
            for change in changes
        ]


def _key(output_index: int | None, item_id: str | None) -> object:
    """Return what joins the events of an item: its index, for some servers change ids from event to event."""
    return item_id if output_index is None else output_index

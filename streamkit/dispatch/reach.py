"""Handlers that can never be called, and settings that never matter: found by what is asked for, before any run."""

from collections.abc import Iterator

from streamkit.dispatch.hooks import HOOKS
from streamkit.dispatch.table import Branch, Registration, Table
from streamkit.events import EVENTS, Event, ItemEvent
from streamkit.items import Item

_ITEMS = {str(model.model_fields["type"].default): model for model in Item.__subclasses__()}
_NAMED = frozenset(name for name, model in _ITEMS.items() if "name" in model.model_fields)

# By the second word of a wire name, where that does not begin with the type of the item.
_OTHER_SUBJECTS = {
    "output_item": frozenset(_ITEMS),
    "content_part": frozenset({"message", "reasoning"}),
    "output_text": frozenset({"message"}),
    "refusal": frozenset({"message"}),
}

_NAMES: dict[type, str] = {
    **{selection.classes[0]: name for name, selection in HOOKS.items() if len(selection.classes) == 1},
    **{model: name for name, model in EVENTS.items()},
}


def name_of_class(model: type) -> str:
    """Return the wire name of an event, the hook for a moment of a run, else the name of the class."""
    return _NAMES.get(model, model.__name__)


def warnings_about(branch: Branch) -> tuple[str, ...]:
    """Return what in a dispatcher can never have an effect, a sentence for each, in the order of registration."""
    return tuple(_warnings(branch))


def _warnings(branch: Branch) -> Iterator[str]:
    if not _has_events(branch):
        for layer in branch.middleware:
            yield f"middleware {layer.name} is never called: its dispatcher has no handler of events"
    for entry in branch.entries:
        if isinstance(entry, Branch):
            yield from _warnings(entry)
        else:
            yield from _unmet_filters(entry)
            yield from _idle_lane(entry)
            yield from _unmet_key(entry)


def _has_events(branch: Branch) -> bool:
    return any(
        _has_events(entry) if isinstance(entry, Branch) else any(issubclass(model, Event) for model in entry.classes)
        for entry in branch.entries
    )


def _unmet_filters(entry: Registration) -> Iterator[str]:
    filters = [text for text in entry.handler.conditions if text.startswith(("tool=", "item_type="))]
    possible = [_item_types(model) for model in EVENTS.values() if issubclass(model, entry.classes)]
    if not filters or any(_is_met(filters, types) for types in possible):
        return
    names, filtered = _listed(entry), " and ".join(filters)
    types = ", ".join(repr(name) for name in sorted(frozenset[str]().union(*possible)))
    belong = f"belongs to items of type {types}, which {filtered} never fits" if types else "belongs to no output item"
    yield f"{entry.handler.name} is never called with {filtered}: {names} {belong}"


def _is_met(filters: list[str], types: frozenset[str]) -> bool:
    """Tell whether all filters can let an event pass whose item is of one of some types."""
    if any(all(_fits(text, name) for text in filters) for name in types):
        return True
    # A type without a model belongs to items that are announced and finished, and to nothing else.
    asked = {text for text in filters if text.startswith("item_type=")}
    return types == _OTHER_SUBJECTS["output_item"] and bool(asked) and asked.isdisjoint(map(_item_filter, types))


def _fits(text: str, item_type: str) -> bool:
    return item_type in _NAMED if text.startswith("tool=") else text == _item_filter(item_type)


def _item_filter(item_type: str) -> str:
    return f"item_type={item_type!r}"


def _item_types(model: type[Event]) -> frozenset[str]:
    """Return the types that the item of an event can be of; none for an event that belongs to no item."""
    if not issubclass(model, ItemEvent):
        return frozenset()
    subject = str(model.model_fields["type"].default).split(".")[1]
    prefixes = [name for name in _ITEMS if subject.startswith(name)]
    return frozenset({max(prefixes, key=len)}) if prefixes else _OTHER_SUBJECTS[subject]


def _idle_lane(entry: Registration) -> Iterator[str]:
    lane = entry.handler.lane
    if lane is None:
        return
    alone = Table(Branch((), (entry,)))
    if not any(alone[model].lanes for model in entry.classes):
        yield f"{lane.label} has no effect for {entry.handler.name}: {_listed(entry)} is told outside of lanes"


def _unmet_key(entry: Registration) -> Iterator[str]:
    lane, key = entry.handler.lane, entry.handler.lane and entry.handler.lane.key
    events = [model for model in entry.classes if issubclass(model, Event)]
    if lane is None or not isinstance(key, str) or not events:
        return
    models = [*events, *(model for model in EVENTS.values() if issubclass(model, tuple(events)))]
    if not any(key in model.model_fields for model in models):
        yield f"key={key!r} of {lane.label} has no effect for {entry.handler.name}: {_listed(entry)} has no such field"


def _listed(entry: Registration) -> str:
    return ", ".join(name_of_class(model) for model in entry.classes)

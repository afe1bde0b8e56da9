"""A dispatcher explained: which handlers are called for what, in which order, and which ones never are."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple, get_args

from streamkit.dispatch.handler import AnyFunction, Handler, name_of
from streamkit.dispatch.lane import Lane
from streamkit.dispatch.reach import name_of_class, warnings_about
from streamkit.dispatch.table import Branch, Middleware, Registration, Route, Step, Table, handlers_in
from streamkit.events import EVENTS, Event, InvalidEvent, UnknownEvent
from streamkit.outcome import Notice, Outcome

_DELIVERED: tuple[type, ...] = (*EVENTS.values(), UnknownEvent, InvalidEvent, *get_args(Notice), *get_args(Outcome))
_INDENT = "  "


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """What a dispatcher does, as text to read: print it, or look at it in a console.

    Attributes:
        text: the handlers as they are registered, the lanes, and what is called for each event.
        warnings: what can never have an effect, such as a handler that is never called; a sentence for each.
    """

    text: str
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([self.text, *_section("Warnings", self.warnings)])

    __repr__ = __str__


class _Row(NamedTuple):
    """A line of the table of handlers."""

    depth: int
    event: str
    handler: str = ""
    details: str = ""


def explanation_of(branch: Branch) -> Explanation:
    """Explain a dispatcher.

    Raises:
        UsageError: lanes have the same name, and different settings.
    """
    table = Table(branch)
    sections = (
        ("Handlers", _aligned(_rows(branch, 0))),
        ("Lanes", _lanes(branch)),
        ("Called for", _routes(branch, table)),
    )
    lines = [line for title, body in sections for line in _section(title, body)]
    return Explanation("\n".join(lines).lstrip("\n") or "No handlers.", warnings_about(branch))


def _section(title: str, lines: Iterable[str]) -> list[str]:
    body = [_INDENT + line for line in lines]
    return ["", title, *body] if body else []


def _rows(branch: Branch, depth: int) -> Iterator[_Row]:
    for layer in branch.middleware:
        yield _Row(depth, "middleware", layer.name, _policy(layer))
    for entry in branch.entries:
        if isinstance(entry, Branch):
            yield _Row(depth, "included")
            yield from _rows(entry, depth + 1)
        else:
            first, *others = (name_of_class(model) for model in entry.classes)
            yield _Row(depth, first, entry.handler.name, ", ".join(_details(entry.handler)))
            yield from (_Row(depth, other) for other in others)


def _details(handler: Handler) -> Iterator[str]:
    yield from handler.conditions
    if handler.lane is not None:
        yield handler.lane.label
    if handler.is_threaded:
        yield "thread"
    if policy := _policy(handler):
        yield policy


def _policy(called: Handler | Middleware) -> str:
    policy = called.on_error
    if policy is None or policy == "raise":
        return ""
    return f"on_error={policy.name if isinstance(policy, Handler) else repr(policy)}"


def _aligned(rows: Iterable[_Row]) -> list[str]:
    table = [(_INDENT * row.depth + row.event, row.handler, row.details) for row in rows]
    widths = [max((len(row[column]) for row in table), default=0) for column in range(2)]
    return [f"{event:<{widths[0]}}  {name:<{widths[1]}}  {details}".rstrip() for event, name, details in table]


def _lanes(branch: Branch) -> list[str]:
    lanes = dict.fromkeys(handler.lane for handler in handlers_in(branch) if handler.lane is not None)
    return list(dict.fromkeys(f"{lane.label}: {_settings(lane)}" for lane in lanes))


def _settings(lane: Lane) -> str:
    """Return the settings of a lane that are not the default."""
    usual = Lane()
    names = [field.name for field in fields(Lane) if field.name != "name"]
    changed = [name for name in names if getattr(lane, name) != getattr(usual, name)]
    return ", ".join(f"{name}={_shown(getattr(lane, name))}" for name in changed) or "the defaults"


def _shown(value: object) -> str:
    return name_of(value) if callable(value) else repr(value)


def _routes(branch: Branch, table: Table) -> list[str]:
    """Return what is called for each class that is named, and for all others of each family."""
    named = list(dict.fromkeys(model for entry in _registrations(branch) for model in entry.classes))
    groups: dict[tuple[type, ...], list[type]] = {}
    for model in _DELIVERED:
        families = tuple(other for other in named if issubclass(model, other))
        if families:
            groups.setdefault(families, []).append(model)
    ordered = sorted(groups, key=lambda families: _place(families, named))
    lines: list[tuple[str, str]] = []
    for families in ordered:
        first, *others = _calls(table[groups[families][0]])
        lines += [(_label(families, groups[families]), first), *(("", other) for other in others)]
    width = max((len(label) for label, _ in lines), default=0)
    return [f"{label:<{width}}  {calls}" for label, calls in lines]


def _registrations(branch: Branch) -> Iterator[Registration]:
    for entry in branch.entries:
        if isinstance(entry, Branch):
            yield from _registrations(entry)
        else:
            yield entry


def _narrowest(families: tuple[type, ...]) -> list[type]:
    return [model for model in families if not any(issubclass(o, model) for o in families if o is not model)]


def _place(families: tuple[type, ...], named: list[type]) -> tuple[int, int]:
    """Return where to show what some families have in common: events, then families, then notices and outcomes."""
    narrowest = _narrowest(families)[0]
    place = named.index(narrowest)
    if not issubclass(narrowest, Event):
        return 2, place
    return int(narrowest not in _DELIVERED), place


def _label(families: tuple[type, ...], models: list[type]) -> str:
    names = " and ".join(name_of_class(model) for model in _narrowest(families))
    return names if models[0] in families else f"{names} ({len(models)} events)"


def _calls(route: Route) -> list[str]:
    inline = [", ".join(map(_step, route.inline))] if route.inline else []
    return [*inline, *(f"{lane.label}: {', '.join(map(_step, steps))}" for lane, steps, _ in route.lanes if steps)]


def _step(step: Step) -> str:
    if isinstance(step, Handler):
        conditions = f" [{', '.join(step.conditions)}]" if step.conditions else ""
        return _short(step.name, step.function) + conditions
    inner = ", ".join(map(_step, step.steps))
    for layer in reversed(step.middleware):
        inner = f"{_short(layer.name, layer.call)}({inner})"
    return inner


def _short(name: str, function: AnyFunction) -> str:
    """Return a name without the module and the functions that it is defined in."""
    return name.removeprefix(f"{getattr(function, '__module__', None)}.").rpartition("<locals>.")[2]

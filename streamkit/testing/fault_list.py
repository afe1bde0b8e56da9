"""Every kind of fault by its name, and the reading of faults from text."""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydantic import ValidationError

from streamkit.errors import UsageError
from streamkit.testing import faults, refusals
from streamkit.testing.fault import Fault, Only, fault_name
from streamkit.testing.fault_text import Clause, clauses

_KINDS: tuple[type[Fault], ...] = (
    faults.CutAfterBytes,
    faults.CutAfterEvents,
    faults.StallAfterEvents,
    faults.HeartbeatsAfterEvents,
    faults.Drip,
    faults.Drop,
    faults.Duplicate,
    faults.Postpone,
    faults.GarbageAfterEvents,
    faults.Comments,
    faults.Keepalives,
    faults.ByteOrderMark,
    faults.LineEnds,
    faults.NoEventLines,
    faults.DataBeforeEvent,
    faults.MultiLineData,
    faults.DoneMarker,
    faults.SecondTerminal,
    faults.FramesAfterEnd,
    faults.Gzip,
    refusals.HttpError,
    refusals.WrongBody,
    refusals.EmptyStream,
    refusals.Redirect,
    refusals.StreamExpired,
    refusals.NoAnswer,
    refusals.LateAnswer,
)
FAULTS: Mapping[str, type[Fault]] = {fault_name(kind): kind for kind in _KINDS}
"""Every kind of fault by the name it has in text; its docstring says what happens."""

_LIMITS = ("first", "connection")


def parse_faults(text: str) -> list[Fault]:
    """Read faults from text, such as ``cut-after-events=5;how=reset;connection=1, comments``.

    The clauses are separated by commas. A clause names a fault, with the value of its first setting after ``=`` and
    further settings after semicolons; a value with spaces, commas, semicolons or quotes is written as a JSON string.
    The settings are the fault's attributes; headers are set one by one, as in ``headers.retry-after=2``. Each fault
    also takes the limits of ``Only``: ``first`` and ``connection``.

    Raises:
        UsageError: there is no such fault, or a setting is missing, unknown or impossible; the message says which.
    """
    return [_fault(clause) for clause in clauses(text)]


def _fault(clause: Clause) -> Fault:
    kind = FAULTS.get(clause.name)
    if kind is None:
        raise UsageError(_no_such_fault(clause.name))
    settings = _settings(clause, kind)
    limits = {name: settings.pop(name) for name in _LIMITS if name in settings}
    try:
        fault = kind(**settings)
        return Only(fault, **limits) if limits else fault
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(step).replace("_", "-") for step in problem["loc"])
        raise UsageError(f"{clause.name}: {where}: {problem['msg']}") from None


def _settings(clause: Clause, kind: type[Fault]) -> dict[str, Any]:
    if clause.value is not None:
        clause.add(_first_setting(clause, kind), clause.value)
    entries: dict[str, dict[str, str]] = {}
    settings: dict[str, str] = {}
    for key, text in clause.settings.items():
        name, dot, entry = key.partition(".")
        name = name.replace("-", "_")
        if dot:
            entries.setdefault(name, {})[entry] = text
        else:
            settings[name] = text
    return {**entries, **settings}


def _first_setting(clause: Clause, kind: type[Fault]) -> str:
    names = [field.name.replace("_", "-") for field in fields(kind)]
    if not names:
        raise UsageError(f"{clause.name}: takes no value")
    return names[0]


def _no_such_fault(name: str) -> str:
    close = difflib.get_close_matches(name, FAULTS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(FAULTS)}"
    return f"no fault is called {name!r}; {hint}"

"""Faults as text, so that a request header can carry them.

Clauses are separated by commas. A clause is a name, with the value of its first setting after ``=`` if it has one, and
further settings after semicolons; values with spaces, commas, semicolons or quotes are written as JSON strings::

    cut-after-events=5;how=reset, comments;text="are you there?", http-error=429;headers.retry-after=2;first=1
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from streamkit.errors import UsageError

Setting: TypeAlias = str | bytes | float | Mapping[str, str]
"""What the settings of faults are; those that are None are not written."""

_BARE = r'[^\s,;"]+'
_SETTING = re.compile(rf'\s*([A-Za-z][\w.-]*)(?:=("(?:[^"\\]|\\.)*"|{_BARE}))?\s*([,;]|$)', re.ASCII)
_PLAIN = re.compile(r"[!#-+\--:<-~]+")


@dataclass(slots=True)
class Clause:
    """One fault as it is written: its name, the value after it, and the settings by name."""

    name: str
    value: str | None = None
    settings: dict[str, str] = field(default_factory=dict[str, str])

    def __str__(self) -> str:
        head = self.name if self.value is None else f"{self.name}={_written(self.value)}"
        return ";".join([head, *(f"{name}={_written(value)}" for name, value in self.settings.items())])

    def add(self, name: str, value: str | None) -> None:
        """Take one more setting.

        Raises:
            UsageError: it has no value, or there was one of that name before.
        """
        if value is None:
            raise UsageError(f"{self.name}: {name} needs a value, as in {name}=…")
        if name in self.settings:
            raise UsageError(f"{self.name}: {name} is set twice")
        self.settings[name] = value


def clauses(text: str) -> list[Clause]:
    """Read the clauses of a text; an empty text has none.

    Raises:
        UsageError: it does not follow the grammar; the message shows where.
    """
    found: list[Clause] = []
    position, ends = 0, not text.strip()
    continues = False
    while not ends:
        setting = _SETTING.match(text, position)
        if setting is None:
            raise UsageError(f"no fault can be read at {text[position:]!r}; write NAME=VALUE;SETTING=VALUE, NAME, …")
        name, value = setting[1], _read(setting[2])
        if continues:
            found[-1].add(name, value)
        else:
            found.append(Clause(name, value))
        position, continues, ends = setting.end(), setting[3] == ";", not setting[3]
    return found


def as_settings(values: Mapping[str, Setting]) -> dict[str, str]:
    """Write values as the settings of a clause: bytes one character each, a mapping one setting for each entry."""
    settings: dict[str, str] = {}
    for name, value in values.items():
        key = name.replace("_", "-")
        if isinstance(value, Mapping):
            settings.update({f"{key}.{entry}": str(text) for entry, text in value.items()})
        else:
            settings[key] = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return settings


def _written(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else json.dumps(value)


def _read(value: str | None) -> str | None:
    if value is None or not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError as error:
        raise UsageError(f"{value!r} is not a JSON string: {error}") from None

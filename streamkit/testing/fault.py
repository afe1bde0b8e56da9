"""What a fault is: a value that changes an answer, and the occasions on which it does."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from dataclasses import dataclass as standard_dataclass
from typing import Annotated, NamedTuple

from pydantic import ConfigDict, InstanceOf, PositiveInt, StringConstraints
from pydantic.dataclasses import dataclass

from streamkit.testing.answers import Answer
from streamkit.testing.fault_text import Clause, Setting, as_settings

CHECKED = ConfigDict(extra="forbid", allow_inf_nan=False)
"""How the settings of faults are checked, whether they come from a program or from a text."""
Line = Annotated[str, StringConstraints(pattern=r"^[ -~]*$")]
"""Text that fits in a header or in a comment: one line of printable ASCII."""


class Occasion(NamedTuple):
    """Which request it is that a fault may strike, both counted from 1."""

    attempt: int = 1
    """Of the requests with the same idempotency key; without a key, of those to the same path."""
    connection: int = 1
    """Of those that stream the same response, the one that created it being the first; 0 if it streams nothing."""


@standard_dataclass(frozen=True, slots=True)
class Fault(ABC):
    """Something that goes wrong with an answer.

    Faults are frozen dataclasses; a list of them takes effect in its order. ``str`` writes a fault in the form that
    ``parse_faults`` reads.
    """

    @property
    def replaces_answer(self) -> bool:
        """Whether nothing of the answer is left, so that the server need not carry the request out."""
        return False

    @abstractmethod
    def apply(self, answer: Answer) -> Answer:
        """Return what becomes of the answer."""

    def strikes(self, occasion: Occasion) -> bool:
        """Whether the fault happens on this occasion."""
        return True

    def clause(self) -> Clause:
        """The fault as a clause of the text form: settings that have their default value are left out."""
        settings = as_settings(self._chosen())
        first = next((field.name for field in fields(self)), "").replace("_", "-")
        value = settings.pop(first, None)
        return Clause(fault_name(type(self)), value, settings)

    def __str__(self) -> str:
        return str(self.clause())

    def _chosen(self) -> Mapping[str, Setting]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        defaults = {
            field.name: field.default if field.default_factory is MISSING else field.default_factory()
            for field in fields(self)
        }
        return {name: value for name, value in values.items() if value != defaults[name]}


@dataclass(config=CHECKED, frozen=True, slots=True)
class Only(Fault):
    """A fault that does not happen every time.

    Attributes:
        fault: what happens.
        first: only to so many attempts at the same request, the later ones being answered well.
        connection: only to that one of the connections that stream the same response: 1 for the request that creates
            it, 2 for the first that resumes it, and so on.
    """

    fault: InstanceOf[Fault]
    first: PositiveInt | None = None
    connection: PositiveInt | None = None

    @property
    def replaces_answer(self) -> bool:
        """As the fault itself."""
        return self.fault.replaces_answer

    def apply(self, answer: Answer) -> Answer:
        """Do as the fault itself."""
        return self.fault.apply(answer)

    def strikes(self, occasion: Occasion) -> bool:
        """Whether this is one of the occasions it is limited to."""
        in_time = self.first is None or occasion.attempt <= self.first
        return in_time and self.connection in (None, occasion.connection) and self.fault.strikes(occasion)

    def clause(self) -> Clause:
        """The clause of the fault itself, with the limits."""
        clause = self.fault.clause()
        limits = {"first": self.first, "connection": self.connection}
        clause.settings.update({name: str(limit) for name, limit in limits.items() if limit is not None})
        return clause


def apply_faults(faults: Iterable[Fault], answer: Answer) -> Answer:
    """Return what becomes of an answer under several faults, each seeing what the one before it has left."""
    for fault in faults:
        answer = fault.apply(answer)
    return answer


def fault_name(kind: type[Fault]) -> str:
    """What a kind of fault is called in the text form: ``cut-after-events`` for ``CutAfterEvents``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()

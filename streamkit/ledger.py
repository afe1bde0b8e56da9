"""The ledger of a run: which tools were called, when, and what came of it, also where the run broke off."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, overload

from pydantic import ConfigDict, TypeAdapter, ValidationError

from streamkit.errors import UsageError

CallStatus = Literal["running", "succeeded", "failed", "refused", "cancelled"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """A call of one of the caller's tools by a model."""

    call_id: str
    """The model's name for the call."""
    name: str
    """The name of the tool."""
    arguments: str
    """What the model sent: JSON, or free text for a custom tool."""
    round: int = 1
    """In which response of the run the model made the call, counted from 1."""
    started: float | None = None
    """When the tool began to run, as Unix time; ``None`` where it never did."""
    ended: float | None = None
    """When it was known what came of the call, as Unix time."""
    status: CallStatus = "running"
    """``"cancelled"`` tools were stopped while they ran: what they had done by then is done."""
    output: str | None = None
    """What the model is told."""
    error: str | None = None
    """What kind of error the tool failed with: the name of its class."""
    server_label: str | None = None
    """The remote MCP server that a call waits for approval of; ``None`` for tools that run here."""


_CALLS = TypeAdapter(tuple[ToolCall, ...], config=ConfigDict(defer_build=True))


class Ledger(Sequence[ToolCall]):
    """The calls of tools that were attempted, in the order in which they began; each call id is there once.

    A run writes it; pass it to the run that goes on where that one broke off, so that nothing is executed twice.
    """

    def __init__(self, calls: Iterable[ToolCall] = ()) -> None:
        self._calls = {call.call_id: call for call in calls}

    def get(self, call_id: str) -> ToolCall | None:
        """Return what is known of a call; ``None`` where it was never attempted."""
        return self._calls.get(call_id)

    def write(self, call: ToolCall) -> None:
        """Note how a call stands, in place of what was noted before."""
        self._calls[call.call_id] = call

    def to_json(self) -> str:
        """Return the ledger as text, to be kept until another run goes on."""
        return _CALLS.dump_json(tuple(self)).decode()

    @classmethod
    def from_json(cls, text: str) -> "Ledger":
        """Return the ledger that ``to_json`` has written.

        Raises:
            UsageError: the text is something else.
        """
        try:
            return cls(_CALLS.validate_json(text))
        except ValidationError as error:
            raise UsageError(f"this is no ledger: {error}") from error

    @overload
    def __getitem__(self, index: int) -> ToolCall: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ToolCall]: ...
    def __getitem__(self, index: int | slice) -> ToolCall | Sequence[ToolCall]:
        return tuple(self._calls.values())[index]

    def __len__(self) -> int:
        return len(self._calls)

    def __repr__(self) -> str:
        return f"Ledger({list(self._calls.values())!r})"

"""The tools of a conversation: those that run here, what the API is told of all, and the policies for their calls."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from streamkit.errors import StreamkitError, UsageError
from streamkit.items import McpApprovalRequest
from streamkit.ledger import ToolCall
from streamkit.tools.conversation import OpenCall
from streamkit.tools.tool import LocalTool, tool

AnyTool = Callable[..., object] | Mapping[str, object]
"""A tool that runs here: made by ``tool`` or ``custom_tool``, or a plain function; or one as the API defines it."""

Approve = Callable[[ToolCall], Awaitable[bool | str]]
"""Decides whether a call may be executed; a text refuses it and tells the model why."""

ToolErrorPolicy = Literal["tell", "raise"] | Callable[[ToolCall, Exception], str]
"""What comes of an error in a call: the model is told of it; or the run stops and raises it; or a function of the call
and the error returns what the model is told."""

MAX_ERROR_CHARACTERS = 2000
"""Of the message of an error, this much is told to the model."""


class UnknownTool(StreamkitError):
    """A model called a tool that there is not."""

    def __init__(self, name: str, names: Iterable[str]) -> None:
        super().__init__(f"there is no tool {name!r}; there are: {', '.join(names)}")


class CallNotExecuted(StreamkitError):
    """A call is not executed, because one of the same id was begun before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolOptions:
    """How the calls of a run are made.

    Raises:
        UsageError: a number is too small, ``on_error`` is something else than a policy, or ``approve`` no function.
    """

    max_rounds: int = 8
    max_parallel: int = 8
    early: bool = True
    on_error: ToolErrorPolicy = "tell"
    approve: Approve | None = None

    def __post_init__(self) -> None:
        if self.max_rounds < 1 or self.max_parallel < 1:
            raise UsageError("max_rounds and max_parallel_tools must be at least 1")
        if self.on_error not in ("tell", "raise") and not callable(self.on_error):
            raise UsageError(
                f"on_tool_error must be 'tell', 'raise' or a function of the call and its error, not {self.on_error!r}"
            )
        if self.approve is not None and not callable(self.approve):
            raise UsageError(f"approve must be an async function of the call, not {self.approve!r}")


class Toolbox:
    """The tools that a request names, sorted by where they run.

    Args:
        tools: what was given as ``tools``; ``None`` where nothing was.

    Raises:
        UsageError: it is no list, a function cannot be a tool, or two that run here have the same name.
    """

    def __init__(self, tools: Iterable[AnyTool] | None) -> None:
        self._is_given = tools is not None
        self._definitions: list[object] = []
        self._local: dict[str, LocalTool[..., Any]] = {}
        self._elsewhere: set[str] = set()
        for given in _listed(tools):
            if callable(given):
                self._add(cast("LocalTool[..., Any]", given) if isinstance(given, LocalTool) else tool(given))
            else:
                self._definitions.append(given)
                self._elsewhere |= _names_in(given)

    @property
    def is_local(self) -> bool:
        """Whether any of the tools runs here."""
        return bool(self._local)

    def into(self, request: Mapping[str, object]) -> Mapping[str, object]:
        """Return a request with what the API is told of the tools, in their order."""
        return {**request, "tools": [*self._definitions]} if self._is_given else request

    def get(self, name: str) -> LocalTool[..., object]:
        """Return the tool of a name.

        Raises:
            UnknownTool: none that runs here is called so.
        """
        if name not in self._local:
            raise UnknownTool(name, self._local)
        return self._local[name]

    def runs(self, call: OpenCall) -> bool:
        """Tell whether a call is one of a tool that runs here."""
        return not isinstance(call, McpApprovalRequest) and call.namespace is None and call.name in self._local

    def is_elsewhere(self, call: OpenCall) -> bool:
        """Tell whether a call is one of a tool that the caller defined without saying how it runs."""
        if isinstance(call, McpApprovalRequest) or self.runs(call):
            return False
        return call.namespace is not None or call.name in self._elsewhere

    def _add(self, local: LocalTool[..., Any]) -> None:
        if local.name in self._local:
            raise UsageError(f"two tools are called {local.name!r}; give one of them another name")
        self._local[local.name] = local
        self._definitions.append(local.definition())


def _listed(tools: object) -> Iterable[AnyTool]:
    if isinstance(tools, str | Mapping) or not isinstance(tools, Iterable | None):
        raise UsageError(f"tools must be a list of functions and definitions, not {tools!r}")
    return cast("Iterable[AnyTool]", tools or ())


def _names_in(definition: object) -> set[str]:
    if not isinstance(definition, Mapping):
        return set()
    fields = cast("Mapping[str, object]", definition)
    name = fields.get("name")
    return {name} if isinstance(name, str) else set()


def told(error: Exception) -> str:
    """Return an error as a model is told of it: what happened, in short, and nothing of how the program is made."""
    what = str(error)
    if isinstance(error, TimeoutError):
        what = what or "the tool took too long"
    elif not isinstance(error, StreamkitError):
        what = f"{type(error).__name__}: {what}"
    return f"Error: {what[:MAX_ERROR_CHARACTERS]}"

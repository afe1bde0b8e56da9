"""The dispatcher: which functions are called for what, compiled to one dictionary."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeGuard, TypeVar, Unpack, cast, overload

from streamkit.context import Run
from streamkit.dispatch.arguments import ArgumentsChange, ArgumentsOptions
from streamkit.dispatch.explain import Explanation, explanation_of
from streamkit.dispatch.handler import AnyFunction, Handler, Policy, once_per_run
from streamkit.dispatch.hooks import HOOKS
from streamkit.dispatch.middleware import middleware_for
from streamkit.dispatch.on import Decorator, Registrar, State, marks_of
from streamkit.dispatch.options import ErrorPolicy, policy_for
from streamkit.dispatch.partials import PartialOptions, select_partial
from streamkit.dispatch.selection import Selection
from streamkit.dispatch.stream_handler import StreamHandler
from streamkit.dispatch.table import Branch, CallNext, Middleware, Registration, Table
from streamkit.errors import UsageError
from streamkit.events import Event
from streamkit.ledger import ToolCall
from streamkit.outcome import Disconnected, Failed, HandlerFailed, Outcome, Reconnecting, Restarted
from streamkit.partial_model import PartialModel
from streamkit.response import Response
from streamkit.verdict import Moderated

if TYPE_CHECKING:
    from typing_extensions import TypeForm

W = TypeVar("W", bound=Awaitable[None])
F = TypeVar("F", bound=AnyFunction)


class Dispatcher(Generic[State]):
    """Handlers and what they are called for. One dispatcher serves any number of runs, also at the same time.

    Register handlers with the decorators ``on`` and ``once`` and the lifecycle hooks, or include other dispatchers,
    ``StreamHandler`` objects and functions marked with the bare ``on``. Then pass the dispatcher to ``client.run(...)``
    or ``run.dispatch(...)``. A run uses the handlers that were registered when it began to dispatch.

    ``Dispatcher[Chat]`` is for runs whose ``state`` is a ``Chat``: its handlers take ``(event, run: Run[Chat])``, and
    runs are given one: ``client.run(dispatcher, state=Chat(), ...)``.

    Args:
        on_error: what happens when one of its handlers raises and says nothing else itself: ``"raise"``, ``"log"``,
            ``"disable"``, or a function of the ``HandlerFailed`` that returns ``True`` to go on. By default, what the
            dispatcher says that this one is included in, in the end ``"raise"``.

    Raises:
        UsageError: ``on_error`` is something else.
    """

    def __init__(self, *, on_error: ErrorPolicy | None = None) -> None:
        self._entries: list[Registration | Dispatcher[Any]] = []
        self._middleware: list[Middleware] = []
        self._on_error: Policy | None = policy_for(on_error)
        self._changes = 0
        self._compiled: tuple[int, Table] | None = None

    @property
    def on(self) -> Registrar[State]:
        """Register a function: ``@dispatcher.on("response.output_text.delta")``, ``@dispatcher.on(ItemEvent)``."""
        return Registrar(self._register)

    @property
    def once(self) -> Registrar[State]:
        """Register a function for the first event of each run only."""
        return Registrar(self._register_once)

    @property
    def on_created(self) -> Decorator[Response, State]:
        """Register a function ``(response)`` or ``(response, run)``: the response exists and has its id."""
        return self._hook("on_created")

    @property
    def on_completed(self) -> Decorator[Response, State]:
        """Register a function ``(response)`` or ``(response, run)``: the response is whole."""
        return self._hook("on_completed")

    @property
    def on_incomplete(self) -> Decorator[Response, State]:
        """Register a function ``(response)`` or ``(response, run)``: the server stopped the response before its end."""
        return self._hook("on_incomplete")

    @property
    def on_failed(self) -> Decorator[Failed | Disconnected, State]:
        """Register a function ``(outcome)`` or ``(outcome, run)``: the server or the network ended the response."""
        return self._hook("on_failed")

    @property
    def on_error(self) -> Decorator[HandlerFailed, State]:
        """Register a function ``(failure)`` or ``(failure, run)``: a handler raised; return ``True`` to go on."""
        return self._hook("on_error")

    @property
    def on_reconnecting(self) -> Decorator[Reconnecting, State]:
        """Register a function ``(notice)`` or ``(notice, run)``: an attempt failed and another follows."""
        return self._hook("on_reconnecting")

    @property
    def on_restarted(self) -> Decorator[Restarted, State]:
        """Register a function ``(notice)`` or ``(notice, run)``: discard what was shown, the response begins anew."""
        return self._hook("on_restarted")

    @property
    def on_moderated(self) -> Decorator[Moderated, State]:
        """Register a function ``(notice)`` or ``(notice, run)``: a text was flagged, or could not be checked."""
        return self._hook("on_moderated")

    @property
    def on_tool_call(self) -> Decorator[ToolCall, State]:
        """Register a function ``(call)`` or ``(call, run)``: the model called a tool that runs here, and it begins."""
        return self._hook("on_tool_call")

    @property
    def on_tool_result(self) -> Decorator[ToolCall, State]:
        """Register a function ``(call)`` or ``(call, run)``: it is known what the model will be told of a call."""
        return self._hook("on_tool_result")

    def on_arguments(
        self, tool: str, /, *, path: str | None = None, **options: Unpack[ArgumentsOptions]
    ) -> Decorator[ArgumentsChange, State]:
        """Register a function ``(change)`` or ``(change, run)`` for the arguments of a function's calls as they grow.

        The arguments are those of ``on.arguments``, which marks methods of a ``StreamHandler`` for the same.
        """
        return self.on.arguments(tool, path=path, **options)

    @property
    def on_close(self) -> Decorator[Outcome, State]:
        """Register a function ``(outcome)`` or ``(outcome, run)``: the run ended, however it did. It is called last."""
        return self._hook("on_close")

    @overload
    def on_partial(
        self, type_: "TypeForm[object]", /, **options: Unpack[PartialOptions]
    ) -> Decorator[PartialModel, State]: ...
    @overload
    def on_partial(
        self, type_: "TypeForm[object]", /, path: str, **options: Unpack[PartialOptions]
    ) -> Callable[[F], F]: ...
    def on_partial(
        self, type_: "TypeForm[object]", /, path: str | None = None, **options: Unpack[PartialOptions]
    ) -> Decorator[Any, State] | Callable[[F], F]:
        """Register a function for an answer in JSON as it grows: ``@dispatcher.on_partial(Recipe, path="steps[*]")``.

        Without a path the function takes ``(partial)`` or ``(partial, run)``: what has come so far, again and again.
        With a path it takes ``(element)`` or ``(element, run)``: each value there, once, when it is finished, as the
        type that it has in ``type_``. An element that does not fit is left out; the end of the run tells what is wrong.

        Args:
            type_: what was asked for as ``text_format``.
            path: where the elements stand, by their names in the JSON, ``[*]`` for any index. In a type such as
                ``list[Step]`` it begins at the list: ``[*]``.
            options: ``lane``, ``thread`` and ``on_error``, as for ``on``.

        Raises:
            UsageError: an answer cannot be of the type, the type has nothing at the path, or an option is none.
        """
        return Decorator(self._register, select_partial(type_, path, options))

    def middleware(
        self, function: Callable[[Event, Run[State], CallNext], W]
    ) -> Callable[[Event, Run[State], CallNext], W]:
        """Register an ``async`` function ``(event, run, call_next)`` to stand around the handlers of this dispatcher.

        It is called for each event that one of them is registered for, and passes it on with
        ``await call_next(event)``. The first one registered is the outermost. Handlers in a lane are called by their
        lane, and so is the middleware around them. Notices and outcomes go past it.

        Raises:
            UsageError: its signature is another.
        """
        self._middleware.append(middleware_for(function))
        self._changes += 1
        return function

    def include(self, *parts: "AnyDispatcher | StreamHandler | AnyFunction") -> None:
        """Add the handlers of other dispatchers, of ``StreamHandler`` objects, and functions marked with ``on``.

        They come after the handlers registered so far. What is added to an included dispatcher later counts too.

        Raises:
            UsageError: a part is none of these, a function is not marked, a method could never be called, or
                dispatchers would include each other.
        """
        for part in parts:
            if isinstance(part, StreamHandler):
                for function, selection in part.handlers():
                    self._register(function, selection)
            elif is_dispatcher(part):
                self._include_dispatcher(part)
            else:
                self._include_function(cast("AnyFunction", part))

    def off(self, function: AnyFunction) -> None:
        """Remove a function from everything it is registered for here; included dispatchers keep theirs.

        Raises:
            UsageError: it is not registered here.
        """
        kept = [e for e in self._entries if isinstance(e, Dispatcher) or e.handler.function != function]
        if len(kept) == len(self._entries):
            raise UsageError(f"{function!r} is not registered in this dispatcher")
        self._entries = kept
        self._changes += 1

    def copy(self) -> "Dispatcher[State]":
        """Return a dispatcher with the same handlers and middleware, to be changed by itself."""
        other = Dispatcher[State]()
        other._entries, other._middleware, other._on_error = [*self._entries], [*self._middleware], self._on_error
        return other

    def table(self) -> Table:
        """Return the compiled table of handlers.

        Raises:
            UsageError: lanes have the same name, and different settings.
        """
        version = self._version()
        if self._compiled is None or self._compiled[0] != version:
            self._compiled = (version, Table(self.branch()))
        return self._compiled[1]

    def explain(self) -> Explanation:
        """Return, as text to read, which handlers are called for what, in which order, and which ones never are.

        Raises:
            UsageError: lanes have the same name, and different settings.
        """
        return explanation_of(self.branch())

    def branch(self, inherited: Policy | None = None) -> Branch:
        """Return the handlers that are registered now, as a tree of the dispatchers they are registered in.

        Args:
            inherited: what happens when a handler raises, unless it or this dispatcher says something else.
        """
        policy = self._on_error or inherited
        middleware = tuple(replace(layer, on_error=policy) for layer in self._middleware)
        return Branch(middleware, tuple(_entry(entry, policy) for entry in self._entries))

    def _hook(self, name: str) -> Decorator[Any, State]:
        return Decorator(self._register, HOOKS[name])

    def _register(self, function: AnyFunction, selection: Selection) -> None:
        self._add(selection, selection.options.handler_for(function))

    def _register_once(self, function: AnyFunction, selection: Selection) -> None:
        self._add(selection, once_per_run(selection.options.handler_for(function)))

    def _add(self, selection: Selection, handler: Handler) -> None:
        self._entries.append(Registration(selection.classes, selection.fit(handler)))
        self._changes += 1

    def _include_dispatcher(self, other: "AnyDispatcher") -> None:
        if other is self or self in other._included():
            raise UsageError("a dispatcher cannot include itself, directly or through another")
        self._entries.append(other)
        self._changes += 1

    def _include_function(self, function: AnyFunction) -> None:
        marks = marks_of(function)
        if not marks:
            hint = "; pass an instance of it" if isinstance(function, type) else ""
            raise UsageError(
                f"cannot include {function!r}: it is no Dispatcher, no instance of a StreamHandler, "
                f"and no function marked with @on(...){hint}"
            )
        for selection in marks:
            self._register(function, selection)

    def _included(self) -> "Iterator[AnyDispatcher]":
        for entry in self._entries:
            if isinstance(entry, Dispatcher):
                yield entry
                yield from entry._included()

    def _version(self) -> int:
        return self._changes + sum(other._changes for other in self._included())


AnyDispatcher = Dispatcher[Any]
"""A dispatcher for runs of whatever state."""


def _entry(entry: Registration | AnyDispatcher, policy: Policy | None) -> Registration | Branch:
    if isinstance(entry, Dispatcher):
        return entry.branch(policy)
    handler = entry.handler
    return replace(entry, handler=replace(handler, on_error=handler.on_error or policy))


def is_dispatcher(part: object) -> TypeGuard[AnyDispatcher]:
    """Tell whether something is a dispatcher, for runs of whatever state."""
    return isinstance(part, Dispatcher)


def combine(parts: tuple[AnyDispatcher | StreamHandler | AnyFunction, ...]) -> AnyDispatcher:
    """Return one dispatcher for all parts: the only one given, or a new one that includes them."""
    if len(parts) == 1 and is_dispatcher(parts[0]):
        return parts[0]
    dispatcher = AnyDispatcher()
    dispatcher.include(*parts)
    return dispatcher

"""Tools: Python functions that a model may call, with what the API is told of them and how a call reaches them."""

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, ParamSpec, TypeVar, overload

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError, create_model
from pydantic_core import ErrorDetails, PydanticSerializationError, to_json

from streamkit.context import Run
from streamkit.errors import StreamkitError, UsageError
from streamkit.schema import MAX_NAME_LENGTH, JsonObject, adapter_for, strict_schema
from streamkit.tools.signature import Signature

P = ParamSpec("P")
R = TypeVar("R")

MAX_ERRORS = 10
"""Of the faults in one call's arguments, this many are told to the model."""

_NAME = re.compile(rf"[a-zA-Z0-9_-]{{1,{MAX_NAME_LENGTH}}}")
_FIELD = "argument_"
"""Before the names of the fields that hold arguments: a model has attributes that a parameter may be called like."""


class InvalidArguments(StreamkitError):
    """A model called a tool with arguments that do not fit it.

    The message says which argument is wrong and how, in words that the model can read and correct itself by. The cause
    is pydantic's error.

    Attributes:
        tool: the name of the tool.
        arguments: the arguments as they came.
    """

    def __init__(self, message: str, *, tool: str, arguments: str) -> None:
        super().__init__(message)
        self.tool = tool
        self.arguments = arguments


class LocalTool(ABC, Generic[P, R]):
    """A tool that runs here, unlike those that the API runs itself. Calling it calls its function.

    Attributes:
        name: what the model calls it.
        description: what the model is told of it.
        timeout: seconds after which a call of the model's is given up; ``None`` for no end.

    Raises:
        UsageError: the function cannot be a tool; the message says what to change.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
    ) -> None:
        self._function = function
        self._signature = Signature(function)
        self.name = _checked_name(name or self._signature.name)
        self.description = description or self._signature.description
        if timeout is not None and not timeout > 0:
            raise UsageError(f"the timeout of tool {self.name} must be more than 0 seconds, not {timeout!r}")
        self.timeout = timeout

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, as if it were no tool."""
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @abstractmethod
    def definition(self) -> JsonObject:
        """Return what the API is told: one element of the request's ``tools``."""

    @abstractmethod
    def bind(self, arguments: str, run: Run[object]) -> dict[str, object]:
        """Return the function's keyword arguments for what the model sent.

        Raises:
            InvalidArguments: the arguments do not fit.
        """

    async def call(self, arguments: str, run: Run[object]) -> object:
        """Call the function with what the model sent and return its result.

        A coroutine function is awaited. Another function runs in a worker thread, so that it holds nobody up; when the
        call is cancelled or takes too long, nobody waits for the thread any longer, and its result is dropped.

        Raises:
            InvalidArguments: the arguments do not fit; the function was not called.
            TimeoutError: it took longer than ``timeout``.
            Exception: whatever the function raises, unchanged.
        """
        function: Callable[..., object] = self._function
        call = partial(function, **self.bind(arguments, run))
        with anyio.fail_after(self.timeout):
            if self._signature.is_coroutine:
                result = call()
            else:
                result = await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
            return await result if inspect.isawaitable(result) else result

    def render(self, result: object) -> str:
        """Return a result as the model gets it: text as it is, anything else as JSON (``None`` as ``null``).

        Raises:
            UsageError: the result cannot be written as JSON.
        """
        if isinstance(result, str):
            return result
        try:
            return to_json(result).decode()
        except PydanticSerializationError as error:
            message = f"tool {self.name} returned what is not JSON ({error}); return text, a model or plain data"
            raise UsageError(message) from error

    def _introduction(self, type_: str) -> JsonObject:
        introduction: JsonObject = {"type": type_, "name": self.name}
        return introduction if self.description is None else introduction | {"description": self.description}

    def _with_run(self, arguments: dict[str, object], run: Run[object]) -> dict[str, object]:
        return arguments if self._signature.run is None else {**arguments, self._signature.run: run}


class Tool(LocalTool[P, R]):
    """A function that a model calls with named arguments. Made by ``tool``.

    The strict mode of the API makes a model give every argument. So a parameter that has a default may be ``null``, and
    ``null`` stands for the default.

    Attributes:
        parameters: the strict JSON schema of the arguments.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(function, name=name, description=description, timeout=timeout)
        self._arguments: TypeAdapter[BaseModel] = adapter_for(_arguments_model(self.name, self._signature), self.name)
        self.parameters = strict_schema(self._arguments, self.name)

    def definition(self) -> JsonObject:
        """Return what the API is told: one element of the request's ``tools``."""
        definition = self._introduction("function")
        definition |= {"parameters": self.parameters, "strict": True}
        return definition

    def bind(self, arguments: str, run: Run[object]) -> dict[str, object]:
        """Return the function's keyword arguments for the JSON object that the model sent.

        Raises:
            InvalidArguments: it is no JSON object, or does not fit the schema.
        """
        try:
            # Some servers send nothing at all where there is no argument.
            given = self._arguments.validate_json(arguments or "{}")
        except ValidationError as error:
            message = f"the arguments do not fit {self.name}: {_faults_of(error)}"
            raise InvalidArguments(message, tool=self.name, arguments=arguments) from error
        return self._with_run(self._without_defaults(given), run)

    def _without_defaults(self, given: BaseModel) -> dict[str, object]:
        values = ((p, getattr(given, _FIELD + p.name)) for p in self._signature.parameters)
        return {p.name: value for p, value in values if value is not None or p.default is inspect.Parameter.empty}


@dataclass(frozen=True, slots=True)
class Grammar:
    """What the input of a custom tool must look like."""

    syntax: Literal["lark", "regex"]
    definition: str


class CustomTool(LocalTool[P, R]):
    """A function that a model calls with free text. Made by ``custom_tool``.

    Attributes:
        grammar: what the text must look like; ``None`` for any text.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
        grammar: Grammar | None = None,
    ) -> None:
        super().__init__(function, name=name, description=description, timeout=timeout)
        self.grammar = grammar
        parameters = self._signature.parameters
        if len(parameters) != 1 or parameters[0].annotation is not str:
            raise UsageError(f"custom tool {self.name} must take one parameter of type str, and the run if it wants")
        self._parameter = parameters[0].name

    def definition(self) -> JsonObject:
        """Return what the API is told: one element of the request's ``tools``."""
        definition = self._introduction("custom")
        if self.grammar is None:
            return definition
        syntax, text = self.grammar.syntax, self.grammar.definition
        definition["format"] = {"type": "grammar", "syntax": syntax, "definition": text}
        return definition

    def bind(self, arguments: str, run: Run[object]) -> dict[str, object]:
        """Return the function's keyword arguments for the text that the model sent: any text fits."""
        return self._with_run({self._parameter: arguments}, run)


@overload
def tool(
    function: Callable[P, R],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
) -> Tool[P, R]: ...
@overload
def tool(
    *, name: str | None = None, description: str | None = None, timeout: float | None = None
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(
    function: Callable[..., object] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
) -> object:
    """Make a function a tool: ``@tool``, ``@tool(timeout=10)`` or ``tool(service.search)``.

    Name and description are taken from the function and its docstring; the description of a parameter from its
    ``Annotated[..., Field(description=...)]``, from the ``Args:`` section or from ``:param name:``. A parameter
    annotated with ``Run``, or called ``run`` without an annotation, gets the run and is not shown to the model.

    Args:
        function: annotated, sync or async. All parameters can be given by name.
        name: at most 64 letters, digits, ``_`` and ``-``.
        description: in place of the docstring's.
        timeout: seconds after which a call of the model's is given up.

    Raises:
        UsageError: the function cannot be a tool, or the strict mode of the API cannot express a parameter's type.
    """
    make = partial(Tool[..., object], name=name, description=description, timeout=timeout)
    return make if function is None else make(function)


@overload
def custom_tool(
    function: Callable[P, R],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    grammar: Grammar | None = None,
) -> CustomTool[P, R]: ...
@overload
def custom_tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    grammar: Grammar | None = None,
) -> Callable[[Callable[P, R]], CustomTool[P, R]]: ...
def custom_tool(
    function: Callable[..., object] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    grammar: Grammar | None = None,
) -> object:
    """Make a function of one ``str`` a tool that a model calls with free text.

    Args:
        function: sync or async; it may take the run besides the text.
        name: at most 64 letters, digits, ``_`` and ``-``; the function's name if not given.
        description: in place of the docstring's.
        timeout: seconds after which a call of the model's is given up.
        grammar: what the text must look like.

    Raises:
        UsageError: the function cannot be a custom tool.
    """
    make = partial(CustomTool[..., object], name=name, description=description, timeout=timeout, grammar=grammar)
    return make if function is None else make(function)


def _arguments_model(name: str, signature: Signature) -> type[BaseModel]:
    fields: dict[str, Any] = {_FIELD + p.name: _field_of(p, signature.description_of(p)) for p in signature.parameters}
    try:
        return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
    except PydanticUserError as error:
        raise UsageError(f"tool {name}: {error}") from error


def _field_of(parameter: inspect.Parameter, description: str | None) -> tuple[Any, Any]:
    field: dict[str, Any] = {"alias": parameter.name}
    if description is not None:
        field["description"] = description
    if parameter.default is inspect.Parameter.empty:
        return parameter.annotation, Field(**field)
    return parameter.annotation | None, Field(default=None, **field)


def _faults_of(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    told = [": ".join([*_place_of(fault), fault["msg"]]) for fault in faults[:MAX_ERRORS]]
    return "; ".join(told if len(faults) <= MAX_ERRORS else [*told, f"and {len(faults) - MAX_ERRORS} more"])


def _place_of(fault: ErrorDetails) -> list[str]:
    return [".".join(str(step) for step in fault["loc"])] if fault["loc"] else []


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"a tool cannot be called {name!r}: pass a name of at most {MAX_NAME_LENGTH} letters, digits, '_' and '-'"
        )
    return name

"""What a function's signature and docstring say of the arguments that a model is to give."""

import inspect
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, get_args, get_origin

from pydantic.fields import FieldInfo

from streamkit.context import Run
from streamkit.errors import UsageError

_EMPTY = inspect.Parameter.empty
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_ARGUMENTS = re.compile(r"(Args|Arguments|Parameters):")
_SECTION = re.compile(
    r"(Args|Arguments|Parameters|Returns|Yields|Raises|Attributes|Examples?|Notes?|Warnings?|See Also):"
)
_ENTRY = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_FIELD = re.compile(r":(param|type|returns?|rtype|raises?|yields?)\b(?:[^:]*\s(\w+))?\s*:\s*(.*)")


class Signature:
    """The parameters of a function that is to become a tool.

    Attributes:
        name: the function's own name.
        description: what its docstring says before the sections.
        parameters: those that the model fills.
        run: the name of the parameter that gets the run, if there is one.
        is_coroutine: whether it is a coroutine function.

    Raises:
        UsageError: a parameter cannot be given by name, or has no annotation that can be read.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        called = _called(function)
        self.name = _name_of(function)
        self.is_coroutine = inspect.iscoroutinefunction(called)
        self.description, self._described = read_docstring(inspect.getdoc(_documented(function)) or "")
        found = _parameters_of(function, self.name)
        self.run = next((parameter.name for parameter in found if _is_for_run(parameter)), None)
        self.parameters = tuple(parameter for parameter in found if not _is_for_run(parameter))
        for parameter in self.parameters:
            _check(parameter, self.name)

    def description_of(self, parameter: inspect.Parameter) -> str | None:
        """Return what is said of a parameter: in its annotation, else in the docstring."""
        if get_origin(parameter.annotation) is Annotated:
            for metadata in reversed(get_args(parameter.annotation)[1:]):
                if isinstance(metadata, FieldInfo) and metadata.description is not None:
                    return metadata.description
        return self._described.get(parameter.name)


def read_docstring(text: str) -> tuple[str | None, dict[str, str]]:
    """Return the description, and what is said of each parameter.

    That is read from an ``Args:`` section, as Google writes it, and from ``:param name:``, as Sphinx does.
    """
    lines = text.splitlines()
    end = next(
        (index for index, line in enumerate(lines) if _SECTION.fullmatch(line.rstrip()) or _FIELD.match(line)), None
    )
    description = "\n".join(lines[:end]).strip()
    described = dict(_fields(lines)) | dict(_entries(lines))
    return description or None, {name: said for name, said in described.items() if said}


def _entries(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield name and description of what stands below ``Args:``."""
    block: list[str] | None = None
    for line in lines:
        if _ARGUMENTS.fullmatch(line.rstrip()):
            block = []
        elif block is not None and line and not line[0].isspace():
            break
        elif block is not None:
            block.append(line)
    for first, following in _paragraphs(block or []):
        if match := _ENTRY.fullmatch(first):
            yield match[1], " ".join([match[2], *following]).strip()


def _fields(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield name and description of each ``:param name:``."""
    for first, following in _paragraphs(lines):
        match = _FIELD.fullmatch(first)
        if match and match[1] == "param" and match[2]:
            yield match[2], " ".join([match[3], *following]).strip()


def _paragraphs(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each line of the smallest indent, with the deeper lines that continue it."""
    filled = [line for line in lines if line.strip()]
    indent = min((len(line) - len(line.lstrip()) for line in filled), default=0)
    starts = [index for index, line in enumerate(filled) if not line[indent].isspace()]
    for start, end in pairwise([*starts, len(filled)]):
        yield filled[start].strip(), [line.strip() for line in filled[start + 1 : end]]


def _parameters_of(function: Callable[..., object], name: str) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function, eval_str=True).parameters.values())
    except NameError as error:
        message = f"tool {name}: an annotation cannot be read ({error}); import what it names at run time"
        raise UsageError(message) from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"tool {name} must be a function with a signature, not {function!r}") from error


def _check(parameter: inspect.Parameter, name: str) -> None:
    where = f"parameter {parameter} of tool {name}"
    if parameter.kind not in _BY_NAME:
        raise UsageError(f"{where} cannot be given by name; declare one that can for each argument")
    if parameter.annotation is _EMPTY:
        hint = "; make a tool of the method of an instance" if parameter.name in {"self", "cls"} else ""
        raise UsageError(f"{where} needs an annotation{hint}")
    if isinstance(parameter.default, FieldInfo):
        raise UsageError(f"{where} has a Field as its default; write Annotated[..., Field(...)] instead")


def _is_for_run(parameter: inspect.Parameter) -> bool:
    annotation: Any = parameter.annotation
    if annotation is _EMPTY:
        return parameter.name == "run"
    kind: object = get_origin(annotation) or annotation
    return isinstance(kind, type) and issubclass(kind, Run)


def _called(function: Callable[..., object]) -> Callable[..., object]:
    """Return the function that runs when an object is called."""
    if isinstance(function, partial):
        return _called(function.func)
    return function if inspect.isroutine(function) else type(function).__call__


def _documented(function: Callable[..., object]) -> Callable[..., object]:
    return _documented(function.func) if isinstance(function, partial) else function


def _name_of(function: Callable[..., object]) -> str:
    if isinstance(function, partial):
        return _name_of(function.func)
    name: str = getattr(function, "__name__", type(function).__name__)
    return name

"""What can be a handler, and how it is called."""

import asyncio
import functools
import inspect
import queue
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from streamkit import Dispatcher, Run, UsageError
from streamkit.dispatch.handler import Handler, handler_for, once_per_run
from tests.dispatch.support import StillRun

pytestmark = pytest.mark.anyio


def plain(event: object) -> object:
    return event


def with_run(event: object, run: Run) -> object:
    return event, run


async def asynchronous(event: object) -> object:
    await asyncio.sleep(0)
    return event


async def asynchronous_with_run(event: object, run: Run) -> object:
    return event, run


def optional_run(event: object, run: Run | None = None) -> object:
    return event, run


def other_default(event: object, prefix: str = "> ") -> object:
    return event, prefix


def other_parameters_after_run(event: object, run: Run, prefix: str = "> ", *, end: str = "") -> object:
    return event, run, prefix + end


def any_number(*events: object) -> object:
    return events


def more(event: object, *rest: object, **options: object) -> object:
    return event, rest, options


def keyword_only(event: object, *, run: Run | None = None) -> object:
    return event, run


def all_defaults(event: object = None) -> object:
    return event


def prefixed(prefix: str, event: object, run: Run) -> object:
    return prefix, event, run


def awaitable(event: object) -> object:
    return asynchronous(event)


class Callables:
    def method(self, event: object, run: Run) -> object:
        return event, run

    async def __call__(self, event: object) -> object:
        return event

    @classmethod
    def of_class(cls, event: object) -> object:
        return event

    @staticmethod
    def static(event: object, run: Run) -> object:
        return event, run


def decorated(function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)
    def call(*arguments: object) -> object:
        return function(*arguments)

    return call


EVENT = "the event"
RUN = StillRun()


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (plain, EVENT),
        (with_run, (EVENT, RUN)),
        (asynchronous, EVENT),
        (asynchronous_with_run, (EVENT, RUN)),
        (optional_run, (EVENT, RUN)),
        (other_default, (EVENT, "> ")),
        (other_parameters_after_run, (EVENT, RUN, "> ")),
        (any_number, (EVENT,)),
        (more, (EVENT, (), {})),
        (keyword_only, (EVENT, None)),
        (all_defaults, EVENT),
        (awaitable, EVENT),
        (functools.partial(prefixed, "# "), ("# ", EVENT, RUN)),
        (functools.partial(with_run, run=None), (EVENT, None)),
        (functools.partial(functools.partial(prefixed, "# "), run=None), ("# ", EVENT, None)),
        (Callables().method, (EVENT, RUN)),
        (Callables(), EVENT),
        (Callables.of_class, EVENT),
        (Callables.static, (EVENT, RUN)),
        (decorated(with_run), (EVENT, RUN)),
        (decorated(plain), EVENT),
        (lambda event: event, EVENT),
        (lambda event, run: (event, run), (EVENT, RUN)),
        (lambda event, default=EVENT: default, EVENT),
        (str.upper, EVENT.upper()),
        (len, len(EVENT)),
        (print, None),
        (max, max(EVENT)),
        (str, EVENT),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
async def test_a_handler_gets_the_event_and_the_run_if_it_takes_it(function: Any, result: object) -> None:
    handler = handler_for(function)
    assert await handler(EVENT, RUN) == result
    assert handler.function is function


async def test_methods_of_builtin_objects_are_handlers() -> None:
    events: list[object] = []
    waiting: queue.Queue[object] = queue.Queue()
    shared: asyncio.Queue[object] = asyncio.Queue()
    for function in (events.append, waiting.put, shared.put, shared.put_nowait):
        await handler_for(function)(EVENT, RUN)
    assert (events, waiting.get_nowait(), shared.qsize()) == ([EVENT], EVENT, 2)


async def test_mocks_are_handlers() -> None:
    for mock in (Mock(), AsyncMock(), AsyncMock(spec=plain)):
        await handler_for(mock)(EVENT, RUN)
        mock.assert_called_once_with(EVENT)


def nothing() -> None: ...


def three(event: object, run: Run, more: object) -> None: ...


def only_keywords(*, event: object) -> None: ...


def required_keyword(event: object, *, run: Run) -> None: ...


@pytest.mark.parametrize("function", [nothing, three, only_keywords, required_keyword], ids=lambda f: f.__name__)
def test_another_signature_is_a_usage_error_that_names_the_function(function: Any) -> None:
    with pytest.raises(UsageError) as caught:
        Dispatcher().on("response.created")(function)
    signature = f"{__name__}.{function.__name__}{inspect.signature(function)}"
    assert str(caught.value) == f"handler {signature} must take (event) or (event, run)"


def test_a_method_without_its_object_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"Callables.method\(self, .* is a method: mark it with @on\(...\)"):
        handler_for(Callables.method)


def generator(event: object) -> Any:
    yield event


async def asynchronous_generator(event: object) -> Any:
    yield event


@pytest.mark.parametrize(
    "function", [generator, asynchronous_generator, functools.partial(generator)], ids=["sync", "async", "partial"]
)
def test_a_generator_is_a_usage_error_because_calling_it_does_nothing(function: Any) -> None:
    with pytest.raises(UsageError, match=r"generator must not yield"):
        handler_for(function)


@pytest.mark.parametrize("value", [None, "show", 3])
def test_what_cannot_be_called_is_a_usage_error(value: Any) -> None:
    with pytest.raises(UsageError, match="a handler must be a function, not "):
        handler_for(value)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (plain, f"{__name__}.plain"),
        (functools.partial(prefixed, "# "), f"{__name__}.prefixed"),
        (Callables().method, f"{__name__}.Callables.method"),
        (Callables(), f"{__name__}.Callables"),
        (lambda event: None, f"{__name__}.<lambda>"),
        (print, "builtins.print"),
        ([].append, "list.append"),
    ],
)
def test_a_handler_is_named_after_its_function(function: Any, name: str) -> None:
    assert handler_for(function).name == name


@pytest.mark.parametrize("function", [plain, asynchronous], ids=["sync", "async"])
async def test_once_per_run_calls_for_the_first_event_of_each_run(function: Any) -> None:
    handler: Handler = once_per_run(handler_for(function))
    other = StillRun()
    assert [await handler(number, run) for number, run in enumerate((RUN, RUN, other, RUN, other))] == [
        0,
        None,
        2,
        None,
        None,
    ]

"""Coroutines driven step by step, so that the time they keep the loop busy can be told from the time they wait."""

from asyncio import isfuture
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from time import perf_counter
from types import coroutine
from typing import TypeVar

T = TypeVar("T")


def let_go(yielded: object) -> None:
    """Let others await what the first step of a coroutine gave, until ``resume`` has a task wait for it.

    A future is marked when it is awaited, and refuses to be awaited anew until the task that runs has seen that: where
    the step is made in the place of a task, this is not at once.
    """
    if isfuture(yielded):
        yielded._asyncio_future_blocking = False


def resume(started: Coroutine[object, object, T], yielded: object, note_step: Callable[[float], None]) -> Awaitable[T]:
    """Await the rest of a coroutine whose first step has been made, and report the seconds that each step takes.

    Args:
        started: the coroutine.
        yielded: what its first step gave, for the event loop; it was let go.
        note_step: called with the duration of each step.
    """
    if isfuture(yielded):
        yielded._asyncio_future_blocking = True
    return go_through(started, yielded, partial(_timed, note_step))


@coroutine
def go_through(
    started: Coroutine[object, object, T], yielded: object, make: Callable[[Callable[[], object]], object]
) -> Generator[object, object, T]:
    """Await the rest of a coroutine whose first step has been made.

    Args:
        started: the coroutine.
        yielded: what its first step gave, for the event loop.
        make: makes each further step: calls the function that it is given, and returns what that gives.
    """
    while True:
        try:
            sent = yield yielded
        except GeneratorExit:
            make(started.close)
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is meant for the coroutine
            step = partial(started.throw, error)
        else:
            step = partial(started.send, sent)
        try:
            yielded = make(step)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            del step  # An error in it would keep the frame of this, and that the error.


def _timed(note_step: Callable[[float], None], step: Callable[[], object]) -> object:
    began = perf_counter()
    try:
        return step()
    finally:
        note_step(perf_counter() - began)

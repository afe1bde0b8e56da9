"""Coroutines driven step by step, so that the time they keep the loop busy can be told from the time they wait."""

from asyncio import isfuture
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from time import perf_counter
from types import coroutine


def let_go(yielded: object) -> None:
    """Let others await what the first step of a coroutine gave, until ``resume`` has a task wait for it.

    A future is marked when it is awaited, and refuses to be awaited anew until the task that runs has seen that: where
    the step is made in the place of a task, this is not at once.
    """
    if isfuture(yielded):
        yielded._asyncio_future_blocking = False


@coroutine
def resume(
    started: Coroutine[object, object, object], yielded: object, note_step: Callable[[float], None]
) -> Generator[object, object, object]:
    """Await the rest of a coroutine whose first step has been made, and report the seconds that each step takes.

    Args:
        started: the coroutine.
        yielded: what its first step gave, for the event loop; it was let go.
        note_step: called with the duration of each step.
    """
    if isfuture(yielded):
        yielded._asyncio_future_blocking = True
    while True:
        try:
            step = partial(started.send, (yield yielded))
        except GeneratorExit:
            started.close()
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is meant for the coroutine
            step = partial(started.throw, error)
        began = perf_counter()
        try:
            yielded = step()
        except StopIteration as stop:
            return stop.value
        finally:
            note_step(perf_counter() - began)

"""Coroutines driven step by step, so that the time they keep the loop busy can be told from the time they wait."""

from collections.abc import Callable, Coroutine, Generator
from functools import partial
from time import perf_counter
from types import coroutine


@coroutine
def resume(
    started: Coroutine[object, object, object], yielded: object, note_step: Callable[[float], None]
) -> Generator[object, object, object]:
    """Await the rest of a coroutine whose first step has been made, and report the seconds that each step takes.

    Args:
        started: the coroutine.
        yielded: what its first step gave, for the event loop.
        note_step: called with the duration of each step.
    """
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

"""Work done in the place of a task that waits: as that task and in its context, but without waking it up."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Generic, TypeVar

from streamkit.dispatch.stepping import go_through

T = TypeVar("T")


class Place(Generic[T]):
    """The place of a task while it waits: what is done there is done as that task, in a context.

    Whoever asks for the current task gets that one, as ``asyncio.timeout`` and anyio's scopes need it. asyncio provides
    for this under "Task lifetime support" in its chapter on extending it.

    Args:
        task: the task.
        context: the context that it runs in; nobody may be in it while the task waits.
        work: what is done there, with what is given; true where the task can wait on.
        keep: what is done instead where another task is running just now.
    """

    __slots__ = ("_context", "_keep", "_loop", "_task", "_work")

    def __init__(
        self, task: "asyncio.Task[object]", context: Context, *, work: Callable[[T], bool], keep: Callable[[T], None]
    ) -> None:
        self._task = task
        self._loop = task.get_loop()
        self._context = context
        self._work = work
        self._keep = keep

    def take(self, given: T) -> bool:
        """Do the work in the task's place, or keep what is given for the task; true where that can wait on."""
        try:
            asyncio._enter_task(self._loop, self._task)
        except RuntimeError:
            self._keep(given)
            return False
        try:
            return self._context.run(self._work, given)
        finally:
            asyncio._leave_task(self._loop, self._task)


async def within(context: Context, started: Coroutine[object, object, T]) -> T:
    """Await a coroutine so that each of its steps runs in a context, which is free for others while it waits."""
    try:
        yielded = context.run(started.send, None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    return await go_through(started, yielded, context.run)

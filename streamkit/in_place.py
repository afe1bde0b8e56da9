"""Work done in the place of a task that waits: as that task and in its context, but without waking it up."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Generic, Protocol, TypeVar

from streamkit.dispatch.stepping import go_through

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Work(Protocol[T_contra]):
    """What is done in the place of a task with what is given there."""

    def pass_on(self, given: T_contra, /) -> bool:
        """Do it, as that task; true where the task can wait on."""
        ...

    def keep(self, given: T_contra, /) -> None:
        """Keep what is given for the task, for another one is running just now."""


class Place(Generic[T]):
    """The place of a task while it waits: what is done there is done as that task, in a context.

    Whoever asks for the current task gets that one, as ``asyncio.timeout`` and anyio's scopes need it. asyncio provides
    for this under "Task lifetime support" in its chapter on extending it.

    Args:
        task: the task.
        context: the context that it runs in; nobody may be in it while the task waits.
        work: what is done there.
    """

    __slots__ = ("_context", "_loop", "_pass_on", "_task", "_work")

    def __init__(self, task: "asyncio.Task[object]", context: Context, work: Work[T]) -> None:
        self._task = task
        self._loop = task.get_loop()
        self._context = context
        self._work = work
        # Looked up once, and not for whatever is given.
        self._pass_on = work.pass_on

    def take(self, given: T) -> bool:
        """Do the work in the task's place, or keep what is given for the task; true where that can wait on."""
        try:
            asyncio._enter_task(self._loop, self._task)
        except RuntimeError:
            self._work.keep(given)
            return False
        try:
            return self._context.run(self._pass_on, given)
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

"""Checks of texts that run beside the stream, a bounded number at a time."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable

import anyio

from streamkit.errors import UsageError
from streamkit.verdict import Verdict

Check = Callable[[str], Awaitable[Verdict]]
"""Says whether a text may be shown. It may be called again before it has answered."""
Decide = Callable[[Verdict | Exception], None]
"""Takes what a check said, or what it raised."""


class Checks:
    """Runs a check on one text after the other, and tells each answer.

    Args:
        check: the check.
        timeout: seconds that it may take; ``None`` for as long as it likes.
        at_once: how many may run at a time; the others wait, in order.
    """

    def __init__(self, check: Check, *, timeout: float | None, at_once: int) -> None:
        self._check = check
        self._timeout = timeout
        self._at_once = at_once
        self._waiting: deque[tuple[str, Decide]] = deque()
        self._tasks: set[asyncio.Task[Verdict | Exception]] = set()
        self._is_closed = False
        self.unchecked = 0
        """Characters that are being checked, or wait for it."""

    def submit(self, text: str, decide: Decide) -> None:
        """Check a text; ``decide`` is called with the answer."""
        self.unchecked += len(text)
        self._waiting.append((text, decide))
        self._start()

    async def aclose(self) -> None:
        """Cancel what runs, and forget what waits."""
        self._is_closed = True
        self._waiting.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self) -> None:
        while self._waiting and len(self._tasks) < self._at_once:
            text, decide = self._waiting.popleft()
            task = asyncio.create_task(self._answer(text), name="streamkit-check")
            self._tasks.add(task)
            task.add_done_callback(partial(self._tell, text, decide))

    async def _answer(self, text: str) -> Verdict | Exception:
        try:
            with anyio.fail_after(self._timeout):
                return _checked(await _awaitable(self._check(text)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the text was not checked
            return error

    def _tell(self, text: str, decide: Decide, task: asyncio.Task[Verdict | Exception]) -> None:
        self._tasks.discard(task)
        self.unchecked -= len(text)
        if self._is_closed:
            return
        decide(_answer_of(task))
        self._start()


def _answer_of(task: asyncio.Task[Verdict | Exception]) -> Verdict | Exception:
    try:
        return task.result()
    except BaseException as error:  # noqa: BLE001 - nobody else hears of it, and the text would wait for ever
        return RuntimeError(f"the check ended with {error!r}")


def _awaitable(answer: object) -> Awaitable[object]:
    if not isawaitable(answer):
        raise UsageError(f"a check must be an async function: this one returned {type(answer).__name__} at once")
    return answer


def _checked(answer: object) -> Verdict:
    if not isinstance(answer, Verdict):
        raise UsageError(f"a check must return a Verdict, not {type(answer).__name__}: Verdict(flagged=True)")
    return answer

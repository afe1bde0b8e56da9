"""Stages: what stands between decoding and handlers, and may hold, change, split, add or drop events."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import cast

from streamkit.context import Run
from streamkit.errors import UsageError
from streamkit.events import Event
from streamkit.outcome import Notice


class Passage(ABC):
    """A stage at work in one run: events go in, and come out when the stage lets them.

    A run opens a passage for each of its stages, and a new one when its response begins anew. Everything is called in
    the loop of the run. What an event's response or item carries must agree with what was let through before it:
    handlers, iterators, ``run.text`` and ``run.snapshot()`` see nothing but what the last stage has let through.
    """

    @abstractmethod
    def feed(self, event: Event) -> Iterable[Event | Notice]:
        """Take the next event and return what may pass now, in order.

        An exception ends the run, like one of a handler; so does a ``UsageError`` where something else is returned than
        an iterable of events and notices. Both name the stage. Where a terminal event passes, the run ends: if it is
        not the server's own, the connection is closed and what the server still sends is not read.
        """

    def release(self) -> Iterable[Event | Notice]:
        """Return what may pass by now; called after ``wake``."""
        return ()

    def finish(self) -> Iterable[Event | Notice]:
        """Hear that nothing more comes, because the stream broke off, and return what may pass now.

        What may pass only later follows with ``wake`` and ``release``, as long as ``is_holding``.
        """
        return ()

    @property
    def is_holding(self) -> bool:
        """Whether something is held that will be released without another event: the run waits for it.

        Where nothing is, ``wake`` may be heard only with the next event.
        """
        return False

    @property
    def is_full(self) -> bool:
        """Whether so much is held that nothing more must be read from the server until ``wake`` is called."""
        return False

    async def aclose(self) -> None:  # noqa: B027 - most passages have nothing to give up
        """Give up timers and tasks; the run is over, or begins anew. What is still held is lost.

        It is called once more where it was cancelled.
        """


def checked_stages(stages: object) -> tuple["Stage", ...]:
    """Return what was given as stages.

    Raises:
        UsageError: it is not a list of stages.
    """
    if not isinstance(stages, Sequence):
        raise UsageError(f"stages must be a list of stages, not {stages!r}; write stages=[...]")
    checked: list[Stage] = []
    for stage in cast("Sequence[object]", stages):
        if not isinstance(stage, Stage):
            raise UsageError(f"{stage!r} is no stage; pass an instance of one, such as smooth()")
        checked.append(stage)
    return tuple(checked)


class Stage(ABC):
    """Opens a passage for each run: one stage serves any number of runs, also at the same time.

    Pass it to ``client.run(..., stages=[stage])``. Stages come one behind the other, in that order.
    """

    @abstractmethod
    def open(self, run: Run[object], wake: Callable[[], None]) -> Passage:
        """Return the passage for a run, at once: of all that a stage does, only ``aclose`` is ``async``.

        Args:
            run: the run as handlers see it.
            wake: to be called, in the run's loop, whenever something that was held may pass, or there is room again;
                the run then asks ``release``. It may be called at any time and any number of times.
        """

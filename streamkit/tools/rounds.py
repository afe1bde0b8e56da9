"""One response after another, until one calls no tool that runs here: to those who take from it, a single stream."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import reduce

from streamkit.accumulator import Accumulator
from streamkit.alternation import Alternation
from streamkit.context import Run
from streamkit.errors import StreamkitError, UsageError
from streamkit.events import Event, OutputItemDone
from streamkit.items import JsonObject
from streamkit.ledger import ToolCall
from streamkit.outcome import Completed, Notice, Opened, Outcome
from streamkit.response import Response
from streamkit.source import Background, Source
from streamkit.stats import RunStats
from streamkit.stream import AnyStream
from streamkit.tools.calling import Calling
from streamkit.tools.conversation import OpenCall, can_be_answered, next_request, open_calls
from streamkit.tools.toolbox import Toolbox, ToolOptions


class TooManyRounds(StreamkitError):
    """The model still called tools in the last response that ``max_rounds`` allows; those calls were not executed.

    Attributes:
        response: that response.
        ledger: the calls that were executed before.
    """

    def __init__(self, max_rounds: int, response: Response, ledger: tuple[ToolCall, ...]) -> None:
        super().__init__(f"the model calls tools in response {max_rounds} still; raise max_rounds to let it go on")
        self.response = response
        self.ledger = ledger


class ToolLoop:
    """Lets a run go on with a further response whenever one has called tools that run here.

    Args:
        request: what the first response is asked with, as far as it is known.
        ask: makes a source of a request, and the way to look at its response where that goes on in the background.
        toolbox: the tools.
        options: how calls are made.
        ledger: the calls that a run before this one has attempted.
        whole: send all of the conversation with each request, for a server that keeps no responses.
    """

    def __init__(
        self,
        request: Mapping[str, object],
        ask: Callable[[Mapping[str, object]], tuple[Source, Background | None]],
        *,
        toolbox: Toolbox,
        options: ToolOptions,
        ledger: Iterable[ToolCall] = (),
        whole: bool = False,
    ) -> None:
        self._request = request
        self._ask = ask
        self._toolbox = toolbox
        self._options = options
        self._ledger = ledger
        self._whole = whole

    def open(
        self, run: Run[object], first: AnyStream, further: Callable[[Source, Background | None], AnyStream]
    ) -> AnyStream:
        """Return the stream of all responses, of which the first is given."""
        request = self._request
        for call in self._ledger:
            run.ledger.write(call)

        def follow(response: Response, answers: Sequence[JsonObject]) -> AnyStream:
            nonlocal request
            request = next_request(request, response, answers, whole=self._whole)
            return further(*self._ask(request))

        return Rounds(first, run, self._toolbox, self._options, follow)


def tool_loop(
    request: Mapping[str, object],
    ask: Callable[[Mapping[str, object]], tuple[Source, Background | None]],
    toolbox: Toolbox,
    options: ToolOptions,
    *,
    ledger: Iterable[ToolCall] = (),
    whole: bool = False,
) -> ToolLoop | None:
    """Return the ``ToolLoop`` for these arguments of it; ``None`` where no call could be answered.

    Raises:
        UsageError: the ledger has calls, and none could be answered.
    """
    ledger = tuple(ledger)
    if not toolbox.is_local and options.approve is None:
        if ledger:
            raise UsageError("ledger=... is of tools that run here, and there are none: give the same tools again")
        return None
    whole = whole or request.get("store") is False
    return ToolLoop(request, ask, toolbox=toolbox, options=options, ledger=ledger, whole=whole)


class Rounds:
    """Stands in front of the streams of one response after another, and is pulled in their place.

    Args:
        first: the stream of the first response.
        run: the run; its ``round`` and its ``ledger`` are kept here.
        toolbox: the tools.
        options: how calls are made.
        follow: opens the stream that follows a response, with the answers to its calls.

    Attributes:
        ending: how the last response ended; ``None`` as long as any goes on, or another is to follow.
    """

    def __init__(
        self,
        first: AnyStream,
        run: Run[object],
        toolbox: Toolbox,
        options: ToolOptions,
        follow: Callable[[Response, Sequence[JsonObject]], AnyStream],
    ) -> None:
        self.ending: Outcome | None = None
        self._current = first
        self._past: list[RunStats] = []
        self._past_late_frames = 0
        self._opened: Opened | None = None
        self._run = run
        self._options = options
        self._follow = follow
        self._notices: deque[Notice] = deque()
        self._alternation = Alternation()
        self._calling = Calling(toolbox, options, run, tell=self._notices.append, wake=self._alternation.call)
        # Once the current response has ended: those of its calls that another response waits for.
        self._calls: list[OpenCall] | None = None

    @property
    def unwanted(self) -> frozenset[str]:
        """The wire names of deltas that nobody listens to."""
        return self._current.unwanted

    @unwanted.setter
    def unwanted(self, names: frozenset[str], /) -> None:
        """Say anew what nobody listens to."""
        self._current.unwanted = names

    @property
    def accumulator(self) -> Accumulator:
        """The current response as far as it has come."""
        return self._current.accumulator

    @property
    def opened(self) -> Opened | None:
        """What the other side said when it was last asked."""
        return self._current.opened or self._opened

    @property
    def late_frames(self) -> int:
        """How many frames came after the ends of responses."""
        return self._past_late_frames + self._current.late_frames

    @property
    def stats(self) -> RunStats:
        """The figures of all responses so far."""
        return reduce(RunStats.followed_by, [*self._past, self._current.stats])

    def take(self) -> Event | Notice | None:
        """Return the next of what is at hand; ``None`` where a call of ``fill`` is needed."""
        if self._notices:
            return self._notices.popleft()
        if self.ending is not None or self._calls is not None:
            return None
        delivery = self._current.take()
        if isinstance(delivery, OutputItemDone) and self._options.early:
            self._begin_early(delivery)
        self._look_for_end()
        return delivery

    async def fill(self) -> None:
        """Take the next step: of the current response, of the tools that it called, or to the response that follows.

        Raises:
            TooManyRounds: another response would be one too many.
            Exception: what a tool raised, where that is the policy, or what approves calls.
        """
        if self.ending is not None:
            return
        if self._calls is None:
            await self._step()
            self._look_for_end()
        elif self._calling.is_busy:
            await self._current.close()
            await self._alternation.called()
        else:
            await self._go_on(self._calls)
        self._calling.raise_failure()

    def end(self, outcome: Outcome) -> None:
        """End the stream from this side, now, if it has not ended; tools that run are cancelled."""
        if self.ending is None:
            self._end(outcome)
            self._current.end(outcome)
            self._alternation.call()

    async def close(self) -> None:
        """Stop the tools and close what is open, each even if another fails; call it again where it was cancelled."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._current.close)
            stack.push_async_callback(self._alternation.stop)
            stack.push_async_callback(self._calling.close)

    async def cancel_on_server(self) -> None:
        """Tell the server to stop a background response; that it cannot be told is logged."""
        await self._current.cancel_on_server()

    @property
    def _is_last(self) -> bool:
        return self._run.round >= self._options.max_rounds

    def _begin_early(self, event: OutputItemDone) -> None:
        call = event.item
        # Nobody would be told of what the calls of the last round give.
        if self._is_last or not isinstance(call, OpenCall):
            return
        if can_be_answered(call) and self._calling.can_begin(call):
            self._calling.start(call)

    def _look_for_end(self) -> None:
        outcome = self._current.ending
        if outcome is None or self._calls is not None:
            return
        if not isinstance(outcome, Completed):
            self._end(outcome)
            return
        calls = open_calls(outcome.response)
        self._calls = calls if all(map(self._calling.can_answer, calls)) else []
        if not self._is_last:
            for call in self._calls:
                self._calling.start(call)
        if not self._calls and not self._calling.is_busy:
            self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        self._calling.cancel()
        self.ending = replace(outcome, ledger=tuple(self._run.ledger))

    async def _step(self) -> None:
        if self._calling.is_busy or self._alternation.is_stepping:
            await self._alternation.step_or_call(self._current.fill)
        else:
            await self._current.fill()

    async def _go_on(self, calls: Sequence[OpenCall]) -> None:
        self._calling.raise_failure()
        outcome = self._current.ending
        assert outcome is not None
        if not calls:
            self._end(outcome)
            return
        if self._is_last:
            raise TooManyRounds(self._options.max_rounds, outcome.response, tuple(self._run.ledger))
        await self._alternation.stop()
        await self._current.close()
        following = self._follow(outcome.response, self._calling.answers(calls))
        following.unwanted = self._current.unwanted
        self._past.append(self._current.stats)
        self._past_late_frames, self._opened = self.late_frames, self.opened
        self._current, self._calls = following, None
        self._run.round += 1

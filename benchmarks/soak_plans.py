"""What happens to each run of the soak, drawn by chance: what goes wrong, who ends it when, what must come of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from benchmarks.soak_server import UNRELIABLE_HEADER
from benchmarks.soak_witness import Witness
from streamkit import (
    Cancelled,
    Completed,
    Disconnected,
    Failed,
    Incomplete,
    Outcome,
    Run,
    StreamRun,
    Timeouts,
    UnfinishedResponse,
    on,
)
from streamkit.events import Event
from streamkit.testing import (
    ByteOrderMark,
    Comments,
    CutAfterBytes,
    CutAfterEvents,
    DataBeforeEvent,
    DoneMarker,
    Drip,
    Drop,
    Duplicate,
    EmptyStream,
    Fault,
    FramesAfterEnd,
    GarbageAfterEvents,
    Gzip,
    HeartbeatsAfterEvents,
    HowCut,
    HttpError,
    Keepalives,
    LateAnswer,
    LineEnds,
    MultiLineData,
    NoAnswer,
    NoEventLines,
    Only,
    Postpone,
    Redirect,
    SecondTerminal,
    StallAfterEvents,
    StreamExpired,
    WrongBody,
)

Outcomes = frozenset[type[Outcome]]

PATIENT = Timeouts(first_event=30, idle=30, progress=30)
HASTY = Timeouts(first_event=4, idle=4, progress=4)
"""For runs that meet a silence: it is the clocks that end it."""

EARLY_EXITS = 0.3
"""The share of runs that this side ends before their time."""
BACKGROUND_RUNS = 1 / 3
TOKENS = (40, 60, 80, 120, 160)
PACES = (20, 25, 30, 35)
"""Tokens a second."""
_LONGEST_SECONDS = 3.0
_HOW: tuple[HowCut, ...] = ("end", "close", "reset")
_STREAM_SECONDS_HEADER = "x-streamkit-background-stream-seconds"


@dataclass(frozen=True, slots=True)
class Chance:
    """Draws places in a stream of so many deltas."""

    random: Random
    tokens: int

    def event(self) -> int:
        """A number of events that is short of the end."""
        return self.random.randint(1, self.tokens)

    def byte(self) -> int:
        """A number of bytes between the first event and the end."""
        return self.random.randint(3_000, 150 * self.tokens)

    def how(self) -> HowCut:
        """A way to cut a connection."""
        return self.random.choice(_HOW)

    def cut(self) -> Fault:
        """A cut somewhere, between events or inside one."""
        between = CutAfterEvents(self.event(), self.how())
        return self.random.choice([between, CutAfterBytes(self.byte(), self.how())])


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """Something that goes wrong at the other side, and how a run may end that is left alone with it."""

    faults: Callable[[Chance], Sequence[Fault]] = lambda _: ()
    outcomes: Outcomes = frozenset({Completed})
    timeouts: Timeouts = PATIENT
    scenario: str = "long-text"
    intact: bool = True
    """Whether all of the text arrives, and once."""
    restart: Literal["never", "allowed"] = "never"
    headers: Callable[[Chance], Mapping[str, str]] = lambda _: {}


FAILED: Outcomes = frozenset({Failed})
DISCONNECTED: Outcomes = frozenset({Disconnected})
INCOMPLETE: Outcomes = frozenset({Incomplete})
EITHER: Outcomes = frozenset({Completed, Disconnected})


def _first(fault: Fault, times: int = 1) -> Fault:
    return Only(fault, first=times)


def _on(connection: int, fault: Fault) -> Fault:
    return Only(fault, connection=connection)


def _busy(status: int, **headers: str) -> Fault:
    return HttpError(status, headers={name.replace("_", "-"): text for name, text in headers.items()})


EVERYWHERE: Sequence[Trouble] = (
    Trouble(),
    Trouble(scenario="reasoning"),
    Trouble(scenario="parallel-function-calls"),
    Trouble(scenario="web-search"),
    Trouble(scenario="incomplete", outcomes=INCOMPLETE),
    Trouble(scenario="failed", outcomes=FAILED),
    Trouble(scenario="error-nested", outcomes=FAILED),
    Trouble(scenario="error-flat", outcomes=FAILED),
    Trouble(faults=lambda _: [Comments(5), Keepalives(7)]),
    Trouble(faults=lambda _: [ByteOrderMark(), LineEnds("crlf")]),
    Trouble(faults=lambda _: [NoEventLines(), LineEnds("cr")]),
    Trouble(faults=lambda _: [DataBeforeEvent(), DoneMarker()]),
    Trouble(faults=lambda _: [MultiLineData(), Drip(64)]),
    Trouble(faults=lambda chance: [GarbageAfterEvents(chance.event()), FramesAfterEnd(3)]),
    Trouble(faults=lambda _: [SecondTerminal(), Gzip()]),
    Trouble(faults=lambda _: [_first(_busy(429, retry_after="0.2"))]),
    Trouble(faults=lambda _: [_first(_busy(503, retry_after_ms="50"), 2)]),
    Trouble(faults=lambda _: [_first(_busy(400, x_should_retry="true"))]),
    Trouble(faults=lambda _: [_first(NoAnswer("close"), 2)]),
    Trouble(faults=lambda _: [_first(NoAnswer("reset"))]),
    Trouble(faults=lambda _: [_first(EmptyStream())]),
    Trouble(faults=lambda _: [_first(LateAnswer(0.4))]),
    Trouble(faults=lambda _: [_first(LateAnswer())], timeouts=HASTY),
    Trouble(faults=lambda _: [_first(StallAfterEvents(0))], timeouts=HASTY),
    Trouble(faults=lambda _: [_busy(400)], outcomes=FAILED),
    Trouble(faults=lambda _: [_busy(503, x_should_retry="false")], outcomes=FAILED),
    Trouble(faults=lambda _: [WrongBody()], outcomes=FAILED),
    Trouble(faults=lambda _: [Redirect("http://127.0.0.1:9/")], outcomes=FAILED),
)
"""Troubles that end alike whether or not the response goes on in the background."""

FOREGROUND: Sequence[Trouble] = (
    *EVERYWHERE,
    Trouble(faults=lambda chance: [chance.cut()], outcomes=DISCONNECTED),
    Trouble(faults=lambda chance: [chance.cut()], outcomes=DISCONNECTED),
    Trouble(faults=lambda chance: [StallAfterEvents(chance.event())], outcomes=DISCONNECTED, timeouts=HASTY),
    Trouble(faults=lambda chance: [StallAfterEvents(chance.event(), 0.7)]),
    Trouble(faults=lambda chance: [HeartbeatsAfterEvents(chance.event())], outcomes=DISCONNECTED, timeouts=HASTY),
    Trouble(faults=lambda chance: [Drop(chance.event())], intact=False),
    Trouble(faults=lambda chance: [Duplicate(chance.event())], intact=False),
    Trouble(faults=lambda chance: [Postpone(chance.event(), 3)], intact=False),
    Trouble(headers=lambda chance: {UNRELIABLE_HEADER: str(chance.cut())}, outcomes=EITHER, restart="allowed"),
)

BACKGROUND: Sequence[Trouble] = (
    *EVERYWHERE,
    Trouble(faults=lambda chance: [_on(1, chance.cut())]),
    Trouble(faults=lambda chance: [_on(number, chance.cut()) for number in (1, 2, 3, 4)]),
    Trouble(faults=lambda chance: [_on(1, chance.cut()), Keepalives(6), LineEnds("crlf")]),
    Trouble(faults=lambda chance: [_on(1, chance.cut()), _on(2, _busy(503)), _on(3, NoAnswer("reset"))]),
    Trouble(faults=lambda chance: [_on(1, chance.cut()), _on(2, LateAnswer())], timeouts=HASTY),
    Trouble(faults=lambda chance: [_on(1, StallAfterEvents(chance.event()))], timeouts=HASTY),
    Trouble(
        faults=lambda chance: [_on(1, HeartbeatsAfterEvents(chance.event(), kind="keepalive"))],
        timeouts=HASTY,
    ),
    Trouble(faults=lambda chance: [_on(1, chance.cut()), _on(2, StreamExpired())]),
    Trouble(faults=lambda chance: [_on(1, chance.cut()), _on(2, chance.cut()), _on(3, StreamExpired())]),
    Trouble(faults=lambda chance: [_on(1, chance.cut()), _on(2, _busy(404)), _first(_busy(503))]),
    Trouble(faults=lambda chance: [_on(1, chance.cut()), _on(2, WrongBody())]),
    Trouble(faults=lambda chance: [_on(1, chance.cut())], headers=lambda _: {_STREAM_SECONDS_HEADER: "0.3"}),
)
"""What is cut while it goes on in the background is taken up, or else fetched whole when it has ended."""


class HandlerBroke(Exception):
    """Raised by a handler that is told to fail."""


Drive = Callable[[StreamRun, Witness, float], Awaitable[None]]


async def dispatch(run: StreamRun, witness: Witness, _: float) -> None:
    """Deliver everything, to the end."""
    async with run:
        with suppress(UnfinishedResponse):
            await run.dispatch(witness)


async def iterate(run: StreamRun, witness: Witness, _: float) -> None:
    """Loop over all events."""
    async with run:
        with suppress(UnfinishedResponse):
            async for event in run:
                witness.follow(run)
                witness.see(event)


async def cancel_the_task(run: StreamRun, witness: Witness, seconds: float) -> None:
    """Cancel the task that drives."""
    task = asyncio.create_task(dispatch(run, witness, seconds))
    await asyncio.wait([task], timeout=seconds)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def run_out_of_time(run: StreamRun, witness: Witness, seconds: float) -> None:
    """Put the driving under a timeout."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await dispatch(run, witness, seconds)


async def cancel_the_run(run: StreamRun, witness: Witness, seconds: float) -> None:
    """Cancel the run from outside of its task."""
    timer = asyncio.get_running_loop().call_later(seconds, run.cancel)
    await dispatch(run, witness, seconds)
    timer.cancel()


async def cancel_in_a_handler(run: StreamRun, witness: Witness, seconds: float) -> None:
    """Cancel the run from a handler, at the server too."""
    run.state.until = asyncio.get_running_loop().time() + seconds
    async with run:
        with suppress(UnfinishedResponse):
            await run.dispatch(witness, _cancels)


async def fail_in_a_handler(run: StreamRun, witness: Witness, seconds: float) -> None:
    """Raise in a handler."""
    run.state.until = asyncio.get_running_loop().time() + seconds
    with suppress(HandlerBroke, UnfinishedResponse):
        async with run:
            await run.dispatch(_breaks, witness)


async def break_out(run: StreamRun, witness: Witness, seconds: float) -> None:
    """Leave the loop over the events."""
    until = asyncio.get_running_loop().time() + seconds
    async with run:
        with suppress(UnfinishedResponse):
            async for event in run:
                witness.follow(run)
                witness.see(event)
                if asyncio.get_running_loop().time() > until:
                    break


async def only_open(run: StreamRun, _witness: Witness, _: float) -> None:
    """Leave when the server has answered."""
    async with run:
        with suppress(UnfinishedResponse):
            await run.opened()


@on(Event)
async def _cancels(_: Event, run: Run) -> None:
    if asyncio.get_running_loop().time() > run.state.until:
        run.cancel(server=True)


@on(Event)
async def _breaks(_: Event, run: Run) -> None:
    if asyncio.get_running_loop().time() > run.state.until:
        raise HandlerBroke


TO_THE_END: Sequence[Drive] = (dispatch, dispatch, dispatch, iterate)
EARLY: Sequence[Drive] = (
    cancel_the_task,
    run_out_of_time,
    cancel_the_run,
    cancel_in_a_handler,
    fail_in_a_handler,
    break_out,
    only_open,
)
UNHEARD: Sequence[Drive] = (iterate, break_out, only_open)
"""Ways to drive a run that leave nobody to be told of its outcome."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One run of the soak."""

    trouble: Trouble
    faults: Sequence[Fault]
    headers: Mapping[str, str]
    tokens: int
    background: bool
    drive: Drive
    seconds: float
    """After so long this side ends the run, if it is one that it ends."""
    request: Mapping[str, Any]

    def __str__(self) -> str:
        where = "background" if self.background else "foreground"
        return f"{self.drive.__name__}, {where}, {self.trouble.scenario}, {self.headers}"

    @property
    def heard(self) -> bool:
        """Whether there are handlers to be told of the outcome."""
        return self.drive not in UNHEARD

    @property
    def outcomes(self) -> Outcomes:
        """How the run may end."""
        early = self.drive in EARLY
        return self.trouble.outcomes | {Cancelled} if early else self.trouble.outcomes


def draw(random: Random) -> Plan:
    """Draw a plan."""
    background = random.random() < BACKGROUND_RUNS
    trouble = random.choice(BACKGROUND if background else FOREGROUND)
    chance = Chance(random, random.choice(TOKENS))
    faults = trouble.faults(chance)
    return Plan(
        trouble=trouble,
        faults=faults,
        headers={**_headers(random.choice(PACES), faults), **trouble.headers(chance)},
        tokens=chance.tokens,
        background=background,
        drive=random.choice(EARLY if random.random() < EARLY_EXITS else TO_THE_END),
        seconds=random.uniform(0, _LONGEST_SECONDS),
        request=_request(trouble, chance.tokens, background=background),
    )


def _headers(pace: int, faults: Sequence[Fault]) -> Mapping[str, str]:
    paced = {"x-streamkit-tokens-per-second": str(pace)}
    return {**paced, "x-streamkit-faults": ", ".join(map(str, faults))} if faults else paced


def _request(trouble: Trouble, tokens: int, *, background: bool) -> Mapping[str, Any]:
    return {
        "model": f"scenario:{trouble.scenario}",
        "input": "Write.",
        "metadata": {"tokens": str(tokens)},
        # The server remembers only so many responses, and only those in the background are asked for again.
        **({"background": True} if background else {"store": False}),
    }

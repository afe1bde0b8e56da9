"""The clocks of a run, with times that the tests make up."""

import dataclasses
from collections.abc import Callable

import pytest

from streamkit.clocks import GRACE_AFTER_ERROR, LINGER_SECONDS, Clocks, Timeouts
from streamkit.errors import UsageError

TIMEOUTS = Timeouts(connect=1, first_event=50, idle=30, progress=100, total=1000)
Step = Callable[[Clocks], None]


def received(now: float) -> Step:
    return lambda clocks: clocks.received(now)


def waiting(now: float) -> Step:
    return lambda clocks: clocks.waiting(now)


def opening(now: float) -> Step:
    return lambda clocks: clocks.opening(now)


def lingering(now: float) -> Step:
    return lambda clocks: clocks.linger(now)


def progressed(clocks: Clocks) -> None:
    clocks.progressed()


def kept_alive(clocks: Clocks) -> None:
    clocks.kept_alive()


def failing(clocks: Clocks) -> None:
    clocks.expect_end()


def only(clock: str, seconds: float) -> Timeouts:
    return dataclasses.replace(Timeouts(**dict.fromkeys(NAMES)), **{clock: seconds})


NAMES = [field.name for field in dataclasses.fields(Timeouts)]

# The settings, what happened since time 0, and the earliest deadline then.
DEADLINES: dict[str, tuple[Timeouts, list[Step], tuple[float, str, float] | None]] = {
    "at the start, the shortest counts": (TIMEOUTS, [waiting(0)], (30, "idle", 30)),
    "bytes move the idle deadline": (TIMEOUTS, [waiting(0), received(5), waiting(5)], (35, "idle", 30)),
    "bytes without an event are no first event": (
        TIMEOUTS,
        [waiting(0), received(29), waiting(29), received(40), waiting(40)],
        (50, "first_event", 50),
    ),
    "an event stops the clock of the first": (
        TIMEOUTS,
        [waiting(0), received(45), progressed, waiting(45)],
        (75, "idle", 30),
    ),
    "a keepalive is a first event": (only("first_event", 50), [waiting(0), received(1), kept_alive, waiting(1)], None),
    "a keepalive is no progress": (
        only("progress", 100),
        [waiting(0), received(60), kept_alive, waiting(60), received(90), kept_alive, waiting(90)],
        (100, "progress", 100),
    ),
    "an event is progress": (
        only("progress", 100),
        [waiting(0), received(60), progressed, waiting(60)],
        (160, "progress", 100),
    ),
    "behind the end of the response all that follows has one short time": (
        TIMEOUTS,
        [waiting(0), received(5), progressed, lingering(6), waiting(6), received(6.05), waiting(6.05)],
        (6 + LINGER_SECONDS, "total", LINGER_SECONDS),
    ),
    "progress counts from when its bytes came": (
        only("progress", 100),
        [waiting(0), received(60), progressed, waiting(70)],
        (170, "progress", 100),
    ),
    "the time of handlers is not waiting": (
        TIMEOUTS,
        [waiting(0), received(5), progressed, waiting(500)],
        (530, "idle", 30),
    ),
    "the time of handlers does not forgive the waiting before": (
        only("progress", 100),
        [waiting(0), received(60), kept_alive, waiting(80), received(90), kept_alive, waiting(1000)],
        (1030, "progress", 100),
    ),
    "handlers do use up the total": (
        only("total", 1000),
        [waiting(0), received(5), progressed, waiting(900)],
        (1000, "total", 1000),
    ),
    "waiting twice changes nothing": (TIMEOUTS, [waiting(0), received(5), waiting(7), waiting(20)], (37, "idle", 30)),
    "after an error little more is awaited": (
        TIMEOUTS,
        [waiting(0), received(10), progressed, failing, waiting(10)],
        (10 + GRACE_AFTER_ERROR, "idle", GRACE_AFTER_ERROR),
    ),
    "after an error, even without an idle clock": (
        only("total", 1000),
        [waiting(0), received(10), failing, waiting(10)],
        (10 + GRACE_AFTER_ERROR, "idle", GRACE_AFTER_ERROR),
    ),
    "after an error a shorter idle clock stays": (
        only("idle", 1),
        [waiting(0), received(10), failing, waiting(10)],
        (11, "idle", 1),
    ),
    "an attempt anew forgets the error before it": (
        only("idle", 30),
        [waiting(0), received(10), failing, opening(20), waiting(20)],
        (50, "idle", 30),
    ),
    "the time between opening and reading is not waiting for the first event": (
        only("first_event", 50),
        [waiting(0), received(5), waiting(100)],
        (145, "first_event", 50),
    ),
    "all clocks off": (Timeouts(**dict.fromkeys(NAMES)), [waiting(0), received(5), waiting(5)], None),
    "connecting is not this module's to watch": (only("connect", 1), [waiting(0)], None),
}


@pytest.mark.parametrize(("timeouts", "steps", "deadline"), DEADLINES.values(), ids=DEADLINES.keys())
def test_the_next_deadline(timeouts: Timeouts, steps: list[Step], deadline: tuple[float, str, float] | None) -> None:
    clocks = Clocks(timeouts, 0)
    for step in steps:
        step(clocks)
    assert clocks.next_deadline() == deadline


def test_times_are_those_of_the_caller() -> None:
    assert Clocks(only("total", 7), 1e6).next_deadline() == (1e6 + 7, "total", 7)


def test_the_defaults_leave_room_for_models_that_think() -> None:
    assert Timeouts() == Timeouts(connect=10, first_event=300, idle=300, progress=600, total=None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_time_must_be_above_zero(name: str, seconds: float) -> None:
    with pytest.raises(UsageError, match=rf"Timeouts\.{name} must be above zero"):
        only(name, seconds)

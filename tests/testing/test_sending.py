"""Encoding and pacing, with a clock that the test moves."""

import asyncio
import json
from collections.abc import Iterable

import pytest

from streamkit.sse import Decoder, Frame, encode
from streamkit.testing.answers import Cut, Pause, Step
from streamkit.testing.scenarios import play
from streamkit.testing.sending import BATCH_BYTES, Pace, encode_event, paced, perform

pytestmark = pytest.mark.anyio


class FakeTime:
    """A clock that only sleeping moves, each sleep taking ``lateness`` longer than asked for."""

    def __init__(self, lateness: float = 0.0) -> None:
        self.now = 100.0
        self.lateness = lateness

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds + self.lateness


async def sent(
    events: list[dict[str, object]], tokens_per_second: float, time: FakeTime | None = None
) -> list[tuple[float, bytes]]:
    time = time or FakeTime()
    writes, cut = await performed(paced(events, Pace(tokens_per_second, clock=time.clock)), time)
    assert cut is None
    return writes


async def performed(steps: Iterable[Step], time: FakeTime) -> tuple[list[tuple[float, bytes]], Cut | None]:
    writes: list[tuple[float, bytes]] = []

    async def write(data: bytes) -> None:
        writes.append((time.now - 100, data))

    cut = await perform(steps, write=write, sleep=time.sleep)
    return writes, cut


def test_an_event_is_framed_as_the_encoder_frames_it() -> None:
    for event in play("text", {"input": "Fünf → 5\r\n"}):
        encoded = encode_event(event)
        (frame,) = Decoder().feed(encoded)
        assert encoded == encode(frame)
        assert (frame.event, json.loads(frame.data)) == (event["type"], event)


def test_a_name_cannot_smuggle_a_field_into_the_stream() -> None:
    with pytest.raises(Exception, match="line break"):
        encode_event({"type": "vendor\ndata: {}"})


async def test_unpaced_events_share_large_writes() -> None:
    events = play("long-text", {"metadata": {"tokens": "2000"}})
    writes = [data for _, data in await sent(events, 0)]
    frames = Decoder().feed(b"".join(writes))
    assert [json.loads(frame.data) for frame in frames] == events
    largest = max(len(encode_event(event)) for event in events)
    assert all(BATCH_BYTES <= len(data) < BATCH_BYTES + largest for data in writes[:-1])


async def test_deltas_are_spread_and_the_rest_is_not() -> None:
    writes = await sent(play("text", {"input": "Hi"}), 10)
    times = [when for when, _ in writes]
    assert times == pytest.approx([number / 10 for number in range(len(writes))])
    assert [data.count(b"event: ") for _, data in writes[1:-1]] == [1] * (len(writes) - 2)
    assert b"response.completed" in writes[-1][1]


@pytest.mark.parametrize("lateness", [0.0, 0.004, 0.06])
async def test_pace_does_not_drift_when_sleeping_takes_longer(lateness: float) -> None:
    events = play("long-text", {"metadata": {"tokens": "500"}})
    when, _ = (await sent(events, 50, FakeTime(lateness)))[-1]
    assert when == pytest.approx(10.0, abs=lateness + 1e-6)


async def test_nothing_is_written_for_nothing() -> None:
    assert await sent([], 0) == []


async def test_what_stands_between_bytes_parts_them_and_a_cut_ends_them() -> None:
    happened = asyncio.Event()
    happened.set()
    steps: list[Step] = [b"a", b"", b"b", Pause(2), b"c", happened.wait, b"d", Pause(0), Cut("reset"), b"e"]
    assert await performed(steps, FakeTime()) == ([(0, b"ab"), (2, b"c"), (2, b"d")], Cut("reset"))


async def test_what_is_waited_for_comes_first() -> None:
    happened = asyncio.Event()
    task = asyncio.create_task(performed([b"a", happened.wait, b"b"], FakeTime()))
    done, _ = await asyncio.wait([task], timeout=0.01)
    happened.set()
    assert (done, await task) == (set(), ([(0, b"a"), (0, b"b")], None))


def test_frames_of_the_default_name_are_no_special_case() -> None:
    assert encode_event({"type": "message"}) == encode(Frame("message", b'{"type":"message"}'))

"""Laws of lanes: whatever the handlers, delays, limits and cancellations, every event arrives as its lane promises."""

import asyncio
import itertools
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import Cancelled, Dispatcher, Lane, StreamRun
from streamkit.backlog import WhenFull
from streamkit.errors import StreamkitError
from streamkit.events import DeltaEvent, Event, OutputTextDelta
from streamkit.outcome import EventsDropped
from tests.scripted import ADDED, COMPLETED, CREATED, PART, ScriptedSource, frame

ITEMS = 3
SHARED = "shared"


@dataclass
class Listener:
    """A handler in a test: where it runs, how slow it is, and what it saw."""

    lane: Lane | None
    delays: list[int]
    seen: list[Event] = field(default_factory=list)
    is_busy: set[int | None] = field(default_factory=set)

    def register(self, dispatcher: Dispatcher) -> None:
        pauses = itertools.cycle(self.delays)

        async def listen(event: Event) -> None:
            key = getattr(event, "output_index", None)
            assert key not in self.is_busy
            self.is_busy.add(key)
            self.seen.append(event)
            for _ in range(next(pauses)):
                await asyncio.sleep(0)
            self.is_busy.remove(key)

        if self.lane is None:
            dispatcher.on(Event)(listen)
        else:
            dispatcher.on(Event, lane=self.lane)(listen)

    @property
    def when_full(self) -> WhenFull:
        return self.lane.when_full if self.lane else "wait"

    def texts(self) -> list[str]:
        return texts_of(self.seen)

    def numbers(self, index: int | None) -> list[int]:
        """The places in the stream of what it saw of one item."""
        places = [event for event in self.seen if getattr(event, "output_index", None) == index]
        return [event.sequence_number for event in places if event.sequence_number is not None]


def texts_of(events: list[Event]) -> list[str]:
    """The text of each item, as the deltas among the events give it."""
    deltas = [event for event in events if isinstance(event, OutputTextDelta)]
    return ["".join(delta.delta for delta in deltas if delta.output_index == index) for index in range(ITEMS)]


SHARED_LANE = Lane(name=SHARED, max_events=3)

lanes = st.builds(
    Lane,
    max_events=st.integers(1, 6),
    max_bytes=st.sampled_from([1, 3000, 10**6]),
    when_full=st.sampled_from(["wait", "merge", "drop"]),
) | st.builds(
    Lane,
    max_events=st.integers(1, 6),
    when_full=st.sampled_from(["wait", "merge", "drop"]),
    concurrency=st.integers(2, 3),
    key=st.just("output_index"),
)
listeners = st.builds(
    Listener,
    lane=st.none() | lanes | st.just(SHARED_LANE) | st.just(Lane(name=SHARED, max_events=3)),
    delays=st.lists(st.integers(0, 4), min_size=1, max_size=5),
)
pieces = st.lists(st.tuples(st.integers(0, ITEMS - 1), st.text("abc", min_size=1, max_size=3)), max_size=30)
chunkings = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def chunks_of(pieces: list[tuple[int, str]], chunking: list[int]) -> list[bytes]:
    """The stream of these deltas, several events to a chunk."""
    frames = [CREATED, ADDED, PART]
    for number, (index, text) in enumerate(pieces):
        place = {"output_index": index, "content_index": 0, "sequence_number": number}
        frames.append(frame("response.output_text.delta", delta=text, **place))
    frames.append(COMPLETED)
    sizes = itertools.cycle(chunking)
    rest = iter(frames)
    return list(iter(lambda: b"".join(itertools.islice(rest, next(sizes))), b""))


async def stream_to(found: list[Listener], source: ScriptedSource, *, cancel_after: int | None) -> list[EventsDropped]:
    """Run the stream through the listeners; cancel the task that drives after some turns of the loop."""
    dispatcher, dropped = Dispatcher(), list[EventsDropped]()
    dispatcher.on(EventsDropped)(dropped.append)
    for listener in found:
        listener.register(dispatcher)

    async def drive() -> None:
        async with StreamRun(source) as run:
            await run.dispatch(dispatcher)

    driving = asyncio.create_task(drive())
    for _ in range(cancel_after or 0):
        await asyncio.sleep(0)
    if cancel_after is not None:
        driving.cancel()
    await asyncio.wait([driving])
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert source.opened_count == source.closed_count
    if cancel_after is None:
        driving.result()
    return dropped


@settings(max_examples=100, deadline=None)
@given(found=st.lists(listeners, min_size=1, max_size=5), pieces=pieces, chunking=chunkings)
def test_every_lane_sees_its_events_in_order_and_loses_nothing_that_it_does_not_report(
    found: list[Listener], pieces: list[tuple[int, str]], chunking: list[int]
) -> None:
    dropped = asyncio.run(stream_to(found, ScriptedSource(*chunks_of(pieces, chunking)), cancel_after=None))
    text = ["".join(text for index, text in pieces if index == item) for item in range(ITEMS)]
    lost_events, lost_characters = 0, 0
    for listener in found:
        deltas = [event for event in listener.seen if isinstance(event, DeltaEvent)]
        assert len(listener.seen) - len(deltas) == 4, "what is no delta arrives exactly once"
        for index in (None, *range(ITEMS)):
            numbers = listener.numbers(index)
            assert numbers == sorted(set(numbers))
        if listener.when_full == "wait":
            assert [event.merged for event in deltas] == [1] * len(pieces)
        if listener.when_full == "drop":
            lost_events += len(pieces) - len(deltas)
            lost_characters += len("".join(text)) - len("".join(listener.texts()))
        else:
            assert listener.texts() == text
            assert sum(event.merged for event in deltas) == len(pieces)
    assert sum(notice.events for notice in dropped) == lost_events
    assert sum(notice.characters for notice in dropped) == lost_characters


@settings(max_examples=100, deadline=None)
@given(found=st.lists(listeners, min_size=1, max_size=4), pieces=pieces, chunking=chunkings, turns=st.integers(0, 60))
def test_a_cancelled_run_has_delivered_a_beginning_and_leaves_nothing(
    found: list[Listener], pieces: list[tuple[int, str]], chunking: list[int], turns: int
) -> None:
    asyncio.run(stream_to(found, ScriptedSource(*chunks_of(pieces, chunking)), cancel_after=turns))
    text = ["".join(text for index, text in pieces if index == item) for item in range(ITEMS)]
    for listener in found:
        for index in range(ITEMS):
            numbers = listener.numbers(index)
            assert numbers == sorted(set(numbers))
            if listener.when_full != "drop":
                assert text[index].startswith(listener.texts()[index])


@settings(max_examples=50, deadline=None)
@given(found=st.lists(listeners, min_size=1, max_size=4), pieces=pieces, chunking=chunkings, number=st.integers(0, 40))
def test_a_failing_handler_in_a_lane_stops_the_run_with_its_error_and_leaves_nothing(
    found: list[Listener], pieces: list[tuple[int, str]], chunking: list[int], number: int
) -> None:
    error = ValueError("from a lane")

    async def fail(event: Event) -> None:
        if event.sequence_number == number:
            raise error

    async def dispatch_to(source: ScriptedSource) -> BaseException | None:
        dispatcher = Dispatcher()
        dispatcher.on(OutputTextDelta, lane=Lane(max_events=2))(fail)
        for listener in found:
            listener.register(dispatcher)
        outcome = None
        try:
            async with StreamRun(source) as run:
                dispatcher.on_close(lambda closed: setattr(run.state, "closed", closed))
                try:
                    await run.dispatch(dispatcher)
                finally:
                    outcome = await run.outcome()
                    assert run.state.closed is outcome
        except (ValueError, StreamkitError) as raised:
            return raised
        finally:
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert isinstance(outcome, Cancelled) == (outcome is not None and getattr(outcome, "cause", None) is error)
        return None

    raised = asyncio.run(dispatch_to(ScriptedSource(*chunks_of(pieces, chunking))))
    assert raised is (error if number < len(pieces) else None)

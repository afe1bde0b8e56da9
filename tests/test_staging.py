"""What leaves the stages is all there is: events, the response, the end; and nothing is left behind."""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from streamkit import Cancelled, Completed, Disconnected, Failed, Incomplete, Retry, StreamRun, Timeouts
from streamkit.errors import ClockExpired, ConnectFailed, ConnectionLost, ServerError, UsageError
from streamkit.events import DeltaEvent, Event, OutputTextDelta, ResponseIncomplete
from streamkit.outcome import Opened, Reconnecting
from streamkit.response import IncompleteDetails, Response
from streamkit.stage import Passage, Stage
from streamkit.stages.smooth import smooth
from streamkit.staging import StagedStream
from streamkit.stream import EventStream
from tests import virtual_time
from tests.scripted import BEFORE_END, COMPLETED, CREATED, HELLO, ScriptedSource, frame
from tests.test_cancellation import BY, ENOUGH, Driven, Server, in_the_background, plain

pytestmark = pytest.mark.anyio

AT_ONCE = Retry(first_delay=0, poll_every=0)
BLOCKED = ResponseIncomplete(
    response=Response(id="resp_1", status="incomplete", incomplete_details=IncompleteDetails(reason="content_filter"))
)
MARK = Reconnecting(attempt=0, delay=0, cause=ConnectionLost("none"))
"""A notice, to be told from those of the stream."""

Feed = Callable[[Event], Iterable[Any]]
Wake = Callable[[], None]


class Does(Stage, Passage):
    """A stage that makes of each event what a function says."""

    def __init__(self, feed: Feed, *, at_end: Iterable[Any] = ()) -> None:
        self._feed = feed
        self._at_end = at_end
        self.finished = 0
        self.closed = 0

    def open(self, run: object, wake: Wake) -> "Does":
        return self

    def feed(self, event: Event) -> Iterable[Any]:
        return self._feed(event)

    def finish(self) -> Iterable[Any]:
        self.finished += 1
        return self._at_end

    async def aclose(self) -> None:
        self.closed += 1


class Holds(Passage):
    """Holds everything until it is told to let go, or for one turn of the loop."""

    def __init__(self, wake: Wake, *, by_itself: bool) -> None:
        self.held: deque[Event] = deque()
        self.wake = wake
        self.full_at = 1000
        self.closed = 0
        self._by_itself = by_itself
        self._free = 0

    @property
    def is_holding(self) -> bool:
        return bool(self.held)

    @property
    def is_full(self) -> bool:
        return len(self.held) >= self.full_at

    def feed(self, event: Event) -> Iterable[Event]:
        self.held.append(event)
        if self._by_itself:
            asyncio.get_running_loop().call_soon(self.let_go)
        elif self._free:
            self.wake()
        return ()

    def let_go(self, count: int = 1) -> None:
        self._free += count
        self.wake()

    def release(self) -> Iterable[Event]:
        while self._free and self.held:
            self._free -= 1
            yield self.held.popleft()

    async def aclose(self) -> None:
        self.closed += 1
        await asyncio.sleep(0)


class Holding(Stage):
    def __init__(self, *, by_itself: bool = True) -> None:
        self.passages: list[Holds] = []
        self._by_itself = by_itself

    def open(self, run: object, wake: Wake) -> Holds:
        self.passages.append(Holds(wake, by_itself=self._by_itself))
        return self.passages[-1]


def staged(source: Any, *stages: Stage, **options: Any) -> StagedStream:
    return StagedStream(EventStream(source, **options), stages, StreamRun(source))


def upstream_of(stream: StagedStream) -> EventStream:
    return stream._upstream


def tasks_of_streams() -> list[Any]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "streamkit.alternation"]


def name(taken: object) -> str:
    if isinstance(taken, DeltaEvent):
        return taken.delta
    return taken.type.removeprefix("response.") if isinstance(taken, Event) else type(taken).__name__


async def read(stream: StagedStream) -> list[str]:
    """Take everything there is and name it; then close."""
    names: list[str] = []
    while stream.ending is None:
        taken = stream.take()
        if taken is None:
            await stream.fill()
        else:
            names.append(name(taken))
    assert stream.take() is None
    await stream.close()
    assert not tasks_of_streams()
    return names


NAMES = ["Opened", "created", "output_item.added", "content_part.added", "Hel", "lo", "completed"]


def same(event: Event) -> list[Any]:
    return [event]


def no_deltas(event: Event) -> list[Any]:
    return [] if isinstance(event, DeltaEvent) else [event]


def letters(event: Event) -> list[Any]:
    if not isinstance(event, DeltaEvent):
        return [event]
    return [event.model_copy(update={"delta": letter}) for letter in event.delta]


def loud(event: Event) -> list[Any]:
    return [event.model_copy(update={"delta": event.delta.upper()}) if isinstance(event, DeltaEvent) else event]


def marked(event: Event) -> list[Any]:
    return [event, MARK] if isinstance(event, DeltaEvent) else [event]


def blocking(event: Event) -> list[Any]:
    return [event, BLOCKED, event] if isinstance(event, DeltaEvent) else [event]


START = NAMES[:4]


@pytest.mark.parametrize(
    ("stages", "names", "text"),
    [
        ([], NAMES, "Hello"),
        ([Does(same), Does(same)], NAMES, "Hello"),
        ([Does(no_deltas)], [*START, "completed"], "Hello"),
        ([Does(letters)], [*START, *"Hello", "completed"], "Hello"),
        ([Does(loud), Does(letters)], [*START, *"HELLO", "completed"], "Hello"),
        ([Does(marked), Does(letters)], [*START, *"Hel", "Reconnecting", *"lo", "Reconnecting", "completed"], "Hello"),
        ([Does(blocking), Does(letters)], [*START, *"Hel", "incomplete"], "Hel"),
        ([Holding(), Holding()], NAMES, "Hello"),
        ([Holding(), Does(marked)], [*NAMES[:5], "Reconnecting", "lo", "Reconnecting", "completed"], "Hello"),
        ([Does(letters), smooth(by="word"), Holding()], [*START, "Hello", "completed"], "Hello"),
        ([Does(lambda _: ())], ["Opened"], ""),
    ],
)
@pytest.mark.parametrize("steps", [HELLO, [b"".join(HELLO)]])
async def test_what_leaves_the_last_stage_is_what_is_taken(
    steps: list[bytes], stages: list[Stage], names: list[str], text: str
) -> None:
    stream = staged(ScriptedSource(*steps), *stages)
    assert await read(stream) == names
    assert stream.accumulator.text == text
    assert stream.ending is not None
    assert stream.ending.response == stream.accumulator.snapshot()


async def test_what_is_held_is_not_in_the_response_yet() -> None:
    stage = Holding(by_itself=False)
    stream = staged(ScriptedSource(b"".join(BEFORE_END), None), stage)
    await stream.fill()
    assert isinstance(stream.take(), Opened)
    while not stage.passages[0].held:
        await stream.fill()
        assert stream.take() is None
    assert stream.accumulator.text == ""
    assert upstream_of(stream).accumulator.text == "Hello"
    stage.passages[0].let_go(4)
    assert [name(stream.take()) for _ in range(4)] == [*NAMES[1:5]]
    assert stream.accumulator.text == "Hel"
    assert stream.take() is None
    await cancelled(stream)


async def cancelled(stream: StagedStream) -> None:
    stream.end(Cancelled(response=Response()))
    await stream.close()
    assert not tasks_of_streams()


async def until_waiting(stream: StagedStream) -> "asyncio.Task[None]":
    """Take what is at hand and let a task wait for more; return once it does."""
    while True:
        if stream.take() is not None:
            continue
        task = asyncio.create_task(stream.fill())
        for _ in range(5):
            await asyncio.sleep(0)
        if not task.done():
            return task
        await task


async def test_a_stage_can_let_go_while_nothing_arrives_and_what_is_being_read_goes_on() -> None:
    go_on = asyncio.Event()
    source, stage = ScriptedSource(CREATED, go_on, COMPLETED), Holding(by_itself=False)
    stream = staged(source, stage)
    waiting = await until_waiting(stream)
    stage.passages[0].let_go()
    await waiting
    assert name(stream.take()) == "created"
    waiting = await until_waiting(stream)
    go_on.set()
    await waiting
    waiting = await until_waiting(stream)
    stage.passages[0].let_go()
    await waiting
    assert await read(stream) == ["completed"]
    assert (source.opened_count, source.closed_count) == (1, 1)


async def test_a_full_stage_stops_the_reading() -> None:
    source, stage = ScriptedSource(*BEFORE_END, None), Holding(by_itself=False)
    stream = staged(source, stage)
    await stream.fill()
    stage.passages[0].full_at = 2
    waiting = await until_waiting(stream)
    assert len(stage.passages[0].held) == 2
    assert not source.reading.is_set()
    stage.passages[0].let_go()
    await waiting
    assert name(stream.take()) == "created"
    waiting = await until_waiting(stream)
    assert len(stage.passages[0].held) == 2
    waiting.cancel()
    await asyncio.wait([waiting])
    await cancelled(stream)


async def test_a_step_that_ended_unseen_does_not_end_every_wait_for_a_full_stage() -> None:
    go_on = asyncio.Event()
    stage = Holding(by_itself=False)
    stream = staged(ScriptedSource(CREATED, go_on, COMPLETED), stage)
    waiting = await until_waiting(stream)
    stage.passages[0].wake()
    await waiting
    stage.passages[0].full_at = 1
    go_on.set()
    for _ in range(5):
        await asyncio.sleep(0)
    await stream.fill()
    assert stream.take() is None
    waiting = asyncio.create_task(stream.fill())
    await asyncio.sleep(0)
    assert not waiting.done()
    stage.passages[0].full_at = 10
    stage.passages[0].let_go(2)
    await waiting
    assert await read(stream) == ["created", "completed"]


async def test_a_wake_from_within_a_stage_is_heard() -> None:
    class Wakes(Passage):
        def __init__(self, wake: Wake) -> None:
            self.wake = wake
            self.held: list[Event] = []

        def feed(self, event: Event) -> Iterable[Event]:
            self.held.append(event)
            self.wake()
            return ()

        def release(self) -> Iterable[Event]:
            held, self.held = self.held, []
            return held

    class Waking(Stage):
        def open(self, run: object, wake: Wake) -> Passage:
            return Wakes(wake)

    assert await read(staged(ScriptedSource(*HELLO), Waking(), Waking())) == NAMES


@pytest.mark.parametrize("cut", [ConnectionLost("cut"), b""])
async def test_what_is_held_comes_before_a_disconnection(cut: Any) -> None:
    steps = [*BEFORE_END, cut] if isinstance(cut, Exception) else BEFORE_END
    ends = Does(same, at_end=[OutputTextDelta(delta="!", output_index=0, content_index=0)])
    stream = staged(ScriptedSource(*steps), Holding(), ends, Holding())
    assert await read(stream) == [*NAMES[:-1], "!"]
    assert isinstance(stream.ending, Disconnected)
    assert isinstance(stream.ending.error, ConnectionLost)
    assert stream.ending.response.output_text == "Hello!"
    assert ends.finished == 1


async def test_what_comes_at_the_end_ends_the_response_where_it_says_so() -> None:
    stream = staged(ScriptedSource(CREATED), Does(same, at_end=[BLOCKED, BLOCKED]), Does(same))
    assert await read(stream) == ["Opened", "created", "incomplete"]
    assert isinstance(stream.ending, Incomplete)


async def test_who_has_heard_the_end_is_not_told_that_the_stream_broke_off() -> None:
    stages = [Does(same), Does(lambda event: [] if event.type == "response.completed" else [event]), Does(same)]
    stream = staged(ScriptedSource(*HELLO), *stages)
    assert await read(stream) == NAMES[:-1]
    assert [stage.finished for stage in stages] == [0, 0, 1]
    assert isinstance(stream.ending, Completed)


@pytest.mark.parametrize("behind", [[], [Holding()], [Holding(), Does(letters)]])
async def test_a_stage_can_end_the_response(behind: list[Stage]) -> None:
    before = Holding()
    source = ScriptedSource(*BEFORE_END, None)
    stream = staged(source, before, Does(blocking), *behind)
    assert (await read(stream))[-1] == "incomplete"
    assert isinstance(stream.ending, Incomplete)
    assert stream.ending.reason == "content_filter"
    assert isinstance(upstream_of(stream).ending, Cancelled)
    assert source.closed_count == 1


class Returns(Passage):
    """Returns something from one of its methods, for whatever reason it is called."""

    def __init__(self, hook: str, returned: Callable[[], Any]) -> None:
        self.held: list[Event] = []
        self.closed = 0
        setattr(self, hook, Hook(hook, returned))

    @property
    def is_holding(self) -> bool:
        return bool(self.held)

    def feed(self, event: Event) -> Iterable[Event]:
        return [event]

    async def aclose(self) -> None:
        self.closed += 1


class Hook:
    def __init__(self, name: str, returned: Callable[[], Any]) -> None:
        self.__name__ = name
        self._returned = returned

    def __call__(self, *_: object) -> Any:
        return self._returned()


class Returning(Stage):
    def __init__(self, hook: str, returned: Callable[[], Any]) -> None:
        self._passage = Returns(hook, returned)
        self._returned = returned if hook == "open" else lambda: self._passage

    def open(self, run: object, wake: Wake) -> Passage:
        wake()
        passage: Passage = self._returned()
        return passage


async def forgotten(*_: object) -> Iterable[Event]:
    return ()


async def generated() -> Any:
    yield BLOCKED


NOT_EVENTS = [
    (lambda: None, "None"),
    (lambda: BLOCKED, "ResponseIncomplete"),
    (lambda: MARK, "Reconnecting"),
    (lambda: True, "bool"),
    (lambda: "", "str"),
    (lambda: b"", "bytes"),
    (dict, "dict"),
    (forgotten, "a coroutine, as an async function does"),
    (generated, "async_generator"),
]


@pytest.mark.parametrize(("returned", "called"), NOT_EVENTS)
@pytest.mark.parametrize("hook", ["feed", "release", "finish"])
async def test_what_is_no_iterable_of_events_is_refused_by_the_name_of_its_stage(
    hook: str, returned: Callable[[], Any], called: str
) -> None:
    source = ScriptedSource(*BEFORE_END)
    stream = staged(source, Does(same), Returning(hook, returned))
    complaint = f"the stage tests.test_staging.Returning returned {called}: {hook} must return an iterable of events"
    with pytest.raises(UsageError, match=re.escape(complaint)) as raised:
        await read(stream)
    assert not hasattr(raised.value, "__notes__")
    await cancelled(stream)
    assert source.closed_count == source.opened_count


@pytest.mark.parametrize(
    ("returned", "called"), [([None], "None"), (["x"], "str"), ([[BLOCKED]], "list"), ([BLOCKED, {}], "dict")]
)
@pytest.mark.parametrize("hook", ["feed", "release", "finish"])
@pytest.mark.parametrize("as_", [tuple, list, iter, deque])
async def test_what_is_no_event_among_those_of_a_stage_is_refused(
    as_: Any, hook: str, returned: list[Any], called: str
) -> None:
    stream = staged(ScriptedSource(*BEFORE_END), Returning(hook, lambda: as_(returned)), Does(same))
    complaint = f"the stage tests.test_staging.Returning returned {called} among its events: "
    with pytest.raises(UsageError, match=re.escape(complaint)):
        await read(stream)
    await cancelled(stream)


@pytest.mark.parametrize("as_", [tuple, list, iter, deque, lambda events: (event for event in events)])
async def test_a_stage_may_return_any_iterable_of_events_and_notices(as_: Any) -> None:
    stages = [Does(lambda event: as_(marked(event))), Does(lambda event: as_([event]))]
    names = await read(staged(ScriptedSource(*HELLO), *stages))
    assert names == [*START, "Hel", "Reconnecting", "lo", "Reconnecting", "completed"]


class UnmarkedFull(Returns):
    def is_full(self) -> bool:  # type: ignore[override]  # the mistake that is meant
        return False


class UnmarkedHolding(Returns):
    def is_holding(self) -> bool:  # type: ignore[override]  # the mistake that is meant
        return False


@pytest.mark.parametrize(
    ("opened", "complaint"),
    [
        (lambda: None, "None: open must return a Passage"),
        (lambda: Returns, "ABCMeta: open must return a Passage"),
        (forgotten, "a coroutine, as an async function does: open must return a Passage"),
        (lambda: UnmarkedFull("aclose", forgotten), "UnmarkedFull: its is_full must be a @property"),
        (lambda: UnmarkedHolding("aclose", forgotten), "UnmarkedHolding: its is_holding must be a @property"),
    ],
)
async def test_what_is_no_passage_is_refused_by_the_name_of_its_stage(
    opened: Callable[[], Any], complaint: str
) -> None:
    source, first = ScriptedSource(*HELLO), Does(same)
    stream = staged(source, first, Returning("open", opened))
    with pytest.raises(UsageError, match=re.escape(f"the stage tests.test_staging.Returning returned {complaint}")):
        await read(stream)
    await cancelled(stream)
    assert (source.opened_count, first.closed) == (0, 1)


async def test_a_stage_that_closes_without_async_is_told_so() -> None:
    source, first = ScriptedSource(*HELLO), Does(same)
    with pytest.raises(UsageError, match=r"Returning returned None: aclose must be an async function"):
        await read(staged(source, first, Returning("aclose", lambda: None)))
    assert (source.closed_count, first.closed) == (1, 1)


class Background:
    def __init__(self, error: Exception | None = None) -> None:
        self.cancelled: list[str] = []
        self.error = error

    async def retrieve(self, _: str) -> Response:
        raise AssertionError

    async def cancel(self, response_id: str) -> None:
        self.cancelled.append(response_id)
        if self.error is not None:
            raise self.error
        await asyncio.sleep(3600)


async def test_the_server_is_told_where_it_would_go_on(caplog: pytest.LogCaptureFixture) -> None:
    background = Background(ServerError("no", status=500))
    with caplog.at_level(logging.WARNING):
        await read(staged(ScriptedSource(*BEFORE_END, None), Does(blocking), background=background))
    assert background.cancelled == ["resp_1"]
    assert "was not told to cancel response resp_1" in caplog.text


def test_the_server_has_some_time_to_answer(caplog: pytest.LogCaptureFixture) -> None:
    background = Background()
    with caplog.at_level(logging.WARNING):
        virtual_time.run(read(staged(ScriptedSource(*BEFORE_END, None), Does(blocking), background=background)))
    assert background.cancelled == ["resp_1"]
    assert "no answer within 3 s" in caplog.text


async def test_the_server_is_told_nothing_where_it_ended_the_response() -> None:
    background = Background()
    await read(staged(ScriptedSource(*HELLO), Holding(), background=background))
    assert background.cancelled == []


class Twice:
    def __init__(self, *scripts: list[Any]) -> None:
        self.sources = [ScriptedSource(*script) for script in scripts]
        self.opened = 0

    async def open(self, cursor: Any) -> Any:
        self.opened += 1
        return await self.sources[self.opened - 1].open(cursor)


async def test_a_response_that_begins_anew_begins_anew_for_the_stages() -> None:
    source = Twice([*BEFORE_END, ConnectionLost("cut")], HELLO)
    held, counted = Holding(by_itself=False), Does(same)
    stream = staged(source, counted, held, retry=AT_ONCE, restart=True)
    waiting = await until_waiting(stream)
    assert len(held.passages) == 2
    held.passages[0].let_go(1000)
    held.passages[1].let_go(1000)
    await waiting
    assert await read(stream) == NAMES[1:]
    assert stream.accumulator.anomalies == ()
    assert [passage.closed for passage in held.passages] == [1, 1]
    assert counted.closed == 2
    assert stream.stats.restarts == 1


async def test_what_is_held_stays_held_across_a_resumption() -> None:
    created = frame("response.created", sequence_number=0, response={"id": "resp_1", "status": "in_progress"})
    source, stage = Twice([created, ConnectionLost("cut")], [COMPLETED]), Holding(by_itself=False)
    stream = staged(source, stage, retry=AT_ONCE, background=Background())
    waiting = await until_waiting(stream)
    assert [name(event) for event in stage.passages[0].held] == ["created", "completed"]
    stage.passages[0].let_go(2)
    await waiting
    assert await read(stream) == ["created", "completed"]
    assert source.opened == 2


async def test_notices_of_the_source_pass_the_stages_by() -> None:
    source = Twice([ConnectionLost("refused")], HELLO)
    assert await read(staged(source, Holding(), retry=AT_ONCE)) == ["Opened", "Reconnecting", *NAMES]


async def test_an_error_event_that_passed_is_in_the_outcome() -> None:
    error = frame("error", code="rate_limit_exceeded", message="slow down")
    failed = frame("response.failed", response={"id": "resp_1", "status": "failed"})
    stream = staged(ScriptedSource(CREATED, error, failed), Does(same))
    assert await read(stream) == ["Opened", "created", "error", "failed"]
    assert isinstance(stream.ending, Failed)
    assert stream.ending.error.code == "rate_limit_exceeded"
    assert stream.ending.error.request_id == "req_1"


async def test_an_end_from_this_side_is_the_end_at_once() -> None:
    source, stage = ScriptedSource(*BEFORE_END, None), Holding(by_itself=False)
    stream = staged(source, stage)
    waiting = await until_waiting(stream)
    outcome = Cancelled(response=Response())
    stream.end(outcome)
    stream.end(Cancelled(response=Response(id="another")))
    await waiting
    await stream.fill()
    stage.passages[0].let_go(1000)
    assert await read(stream) == []
    assert stream.ending is outcome
    assert upstream_of(stream).ending is outcome
    assert source.closed_count == 1


async def test_reading_can_be_done_before_anybody_waits_for_it() -> None:
    go_on, stage = asyncio.Event(), Holding(by_itself=False)
    stream = staged(ScriptedSource(CREATED, go_on, None), stage)
    waiting = await until_waiting(stream)
    waiting.cancel()
    await asyncio.wait([waiting])
    go_on.set()
    for _ in range(5):
        await asyncio.sleep(0)
    await stream.fill()
    assert tasks_of_streams() == []
    await cancelled(stream)


async def test_a_stage_that_calls_at_once_does_not_keep_the_opening_away() -> None:
    class Eager(Holding):
        def open(self, run: object, wake: Wake) -> Holds:
            passage = super().open(run, wake)
            passage.held.append(BLOCKED)
            passage.full_at = 0
            passage.let_go()
            return passage

    stream = staged(ScriptedSource(*HELLO), Eager())
    while stream.opened is None:
        await stream.fill()
    await stream.fill()
    assert await read(stream) == ["incomplete"]


async def test_what_cannot_be_opened_has_ended_without_anything_taken() -> None:
    stream = staged(ScriptedSource(on_open=ConnectFailed("refused", url="scripted:")), Holding())
    await stream.fill()
    assert stream.opened is None
    assert isinstance(stream.ending, Disconnected)
    await stream.close()


async def test_a_stream_that_never_began_ends_and_closes() -> None:
    source = ScriptedSource(*HELLO)
    stream = staged(source, Holding())
    await cancelled(stream)
    assert source.opened_count == 0


@pytest.mark.parametrize("stages", [[], [Holding(by_itself=False)]])
async def test_only_one_task_at_a_time_waits(stages: list[Stage]) -> None:
    stream = staged(ScriptedSource(CREATED, None), *stages)
    waiting = await until_waiting(stream)
    with pytest.raises(UsageError, match="one task at a time"):
        await stream.fill()
    with pytest.raises(UsageError, match="one task at a time"):
        stream.ensure_free()
    waiting.cancel()
    await asyncio.wait([waiting])
    stream.ensure_free()
    await cancelled(stream)


def fail(*_: object) -> Any:
    raise LookupError("broken")


class Broken(Holds):
    """Raises in one of its methods."""

    def __init__(self, wake: Wake, method: str) -> None:
        super().__init__(wake, by_itself=True)
        setattr(self, method, Hook(method, fail))


class Breaking(Stage):
    def __init__(self, method: str) -> None:
        self._method = method

    def open(self, run: object, wake: Wake) -> Passage:
        if self._method == "open":
            fail()
        return Broken(wake, self._method)


@pytest.mark.parametrize(
    ("method", "where"),
    [("open", "in open"), ("feed", "for response.created"), ("release", "in release"), ("finish", "in finish")],
)
async def test_what_a_stage_raises_reaches_the_caller_with_its_name_and_all_is_closed(method: str, where: str) -> None:
    source, first = ScriptedSource(*BEFORE_END, ConnectionLost("cut")), Does(same)
    stream = staged(source, first, Breaking(method))
    with pytest.raises(LookupError, match="broken") as raised:
        await read(stream)
    assert raised.value.__notes__ == [f"raised by the stage tests.test_staging.Breaking {where}"]
    await cancelled(stream)
    assert source.closed_count == source.opened_count
    assert first.closed == 1


async def test_what_a_generator_raises_is_raised_by_its_stage_and_by_no_other() -> None:
    def feed(event: Event) -> Iterable[Event]:
        yield event
        fail()

    stream = staged(ScriptedSource(*HELLO), smooth(), Does(feed), Holding())
    with pytest.raises(LookupError, match="broken") as raised:
        await read(stream)
    assert raised.value.__notes__ == ["raised by the stage tests.test_staging.Does for response.created"]
    await cancelled(stream)


async def test_a_stage_that_does_not_close_keeps_nothing_else_open() -> None:
    source, stages = ScriptedSource(*HELLO), [Does(same), Breaking("aclose"), Does(same), Breaking("aclose")]
    with pytest.raises(LookupError, match="broken") as raised:
        await read(staged(source, *stages))
    assert raised.value.__notes__ == ["raised by the stage tests.test_staging.Breaking in aclose"]
    assert source.closed_count == 1
    assert [stage.closed for stage in stages if isinstance(stage, Does)] == [1, 1]


async def test_what_a_source_raises_beside_a_stage_reaches_the_caller() -> None:
    go_on = asyncio.Event()
    stream = staged(ScriptedSource(CREATED, go_on, LookupError("broken")), Holding(by_itself=False))
    waiting = await until_waiting(stream)
    go_on.set()
    await waiting
    with pytest.raises(LookupError, match="broken"):
        await (await until_waiting(stream))
    await cancelled(stream)


async def test_what_a_source_raises_after_the_end_is_of_no_interest() -> None:
    go_on = asyncio.Event()
    stream = staged(ScriptedSource(CREATED, go_on, LookupError("broken")), Holding(by_itself=False))
    waiting = await until_waiting(stream)
    waiting.cancel()
    await asyncio.wait([waiting])
    go_on.set()
    for _ in range(5):
        await asyncio.sleep(0)
    await cancelled(stream)


async def test_late_frames_are_those_of_the_source() -> None:
    stream = staged(ScriptedSource(b"".join([*HELLO, CREATED])), Holding())
    await read(stream)
    assert stream.late_frames == 1
    assert stream.stats.events == len(HELLO)


def test_text_that_is_smoothed_flows_to_the_end_at_its_pace() -> None:
    async def main() -> None:
        began = asyncio.get_running_loop().time()
        delta = frame("response.output_text.delta", output_index=0, content_index=0, delta="a b c d e")
        stream = staged(ScriptedSource(*BEFORE_END[:3], delta, COMPLETED), smooth(every=1))
        assert await read(stream) == [*START, "a ", "b ", "c ", "d ", "e", "completed"]
        assert asyncio.get_running_loop().time() - began == pytest.approx(4, abs=0.2)

    virtual_time.run(main())


def test_the_total_clock_runs_while_a_stage_holds_everything() -> None:
    """Also after the end of what the server sends, when no reading is watched any more."""

    async def main() -> None:
        run = StreamRun(ScriptedSource(*HELLO), stages=[Holding(by_itself=False)], timeouts=Timeouts(total=7))
        async with run:
            outcome = await run.outcome()
        assert isinstance(outcome, Disconnected)
        assert isinstance(outcome.error, ClockExpired)
        assert outcome.error.clock == "total"
        assert asyncio.get_running_loop().time() == pytest.approx(7)

    virtual_time.run(main())


@pytest.mark.parametrize(
    ("stages", "complaint"),
    [
        (Does(same), "stages must be a list of stages, not <"),
        ([Holding], "is no stage; pass an instance of one, such as smooth()"),
        ([same], "is no stage"),
    ],
)
def test_what_is_no_stage_is_refused(stages: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        StreamRun(ScriptedSource(), stages=stages)


class Stages:
    """A server, and the stages that stand before what it sends."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.holding = Holding()
        self.driven = Driven(server, stages=[self.holding, Does(same), Holding()])


@pytest.mark.parametrize("cancel", BY)
@pytest.mark.parametrize("server", [plain, in_the_background])
async def test_a_run_with_stages_that_is_cancelled_at_any_suspension_ends_once_and_is_closed(
    server: Callable[[], Server], cancel: Callable[[Driven, int], Any]
) -> None:
    for at in range(1, ENOUGH):
        stages = Stages(server())
        ran_to_its_end = await cancel(stages.driven, at)
        outcome = await stages.driven.check()
        assert all(passage.closed for passage in stages.holding.passages)
        assert not tasks_of_streams()
        if ran_to_its_end:
            assert isinstance(outcome, Completed)
            break
    else:
        raise AssertionError("never ran to its end")


@pytest.mark.parametrize(("returned", "called"), [(lambda: None, "None"), (lambda: BLOCKED, "ResponseIncomplete")])
async def test_a_run_whose_stage_forgets_what_to_return_ends_with_a_usage_error(
    returned: Callable[[], Any], called: str
) -> None:
    run = StreamRun(ScriptedSource(*HELLO), stages=[Returning("feed", returned)])
    async with run:
        with pytest.raises(UsageError, match=f"Returning returned {called}: feed must return"):
            await run.dispatch()
        outcome = await run.outcome()
    assert isinstance(outcome, Cancelled)
    assert isinstance(outcome.cause, UsageError)


async def test_a_run_that_a_stage_blocks_ends_like_any_other() -> None:
    source = ScriptedSource(*BEFORE_END, None)
    run = StreamRun(source, stages=[Does(blocking), Holding()])
    async with run:
        assert isinstance(await run.outcome(), Incomplete)
    assert run.text == "Hel"
    assert source.closed_count == 1

"""Bounded queues: what they hold, what they count, and what becomes of entries when they are full."""

from collections.abc import Callable
from itertools import islice
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.backlog import (
    ENTRY_BYTES,
    Backlog,
    Dropped,
    DroppingBacklog,
    MergingBacklog,
    WaitingBacklog,
    WhenFull,
    open_backlog,
    size_of,
)
from streamkit.errors import ConnectionLost, UsageError
from streamkit.events import (
    AudioDelta,
    DeltaEvent,
    FunctionCallArgumentsDelta,
    ImageGenerationCallPartialImage,
    InvalidEvent,
    Keepalive,
    OutputItemDone,
    OutputTextDelta,
    OutputTextDone,
    ResponseCompleted,
    ShellCallOutputContentDelta,
    ShellOutputDelta,
    UnknownEvent,
    WebSearchCallSearching,
)
from streamkit.items import Logprob, Message, OutputText
from streamkit.merging import joined, part_of
from streamkit.outcome import Closed, Completed, Delivery, Restarted
from streamkit.response import Response

ROOMY = 10**9
LARGE = "x" * 100_000
LONG_ANSWER = Response(output=[Message(content=[OutputText(text=LARGE)])])
WAYS: tuple[WhenFull, ...] = get_args(WhenFull)


def backlog(when_full: WhenFull, max_events: int = 1000, max_bytes: int = ROOMY) -> Backlog:
    return open_backlog(when_full, max_events=max_events, max_bytes=max_bytes)


def text(delta: str, index: int = 0, **fields: Any) -> OutputTextDelta:
    return OutputTextDelta(delta=delta, output_index=index, content_index=0, **fields)


def fed(queue: Backlog, *entries: Delivery) -> Backlog:
    for entry in entries:
        queue.add(entry)
    return queue


def taken(queue: Backlog) -> list[Delivery]:
    return [queue.take() for _ in range(len(queue))]


@pytest.mark.parametrize(
    ("when_full", "kind"), [("wait", WaitingBacklog), ("merge", MergingBacklog), ("drop", DroppingBacklog)]
)
def test_each_way_has_its_backlog(when_full: WhenFull, kind: type[Backlog]) -> None:
    queue = backlog(when_full)
    assert type(queue) is kind
    assert (len(queue), queue.bytes, queue.is_full, queue.must_wait, queue.has_room) == (0, 0, False, False, True)
    assert queue.take_dropped() == Dropped(events=0, characters=0)


def test_other_ways_are_refused() -> None:
    wrong: Any = "block"
    with pytest.raises(UsageError, match="'wait', 'merge', 'drop', not 'block'"):
        backlog(wrong)


@pytest.mark.parametrize("limit", ["max_events", "max_bytes"])
def test_a_backlog_without_room_is_refused(limit: str) -> None:
    with pytest.raises(UsageError, match=f"{limit} must be at least 1, not 0"):
        open_backlog("wait", **{"max_events": 1, "max_bytes": 1, limit: 0})


@pytest.mark.parametrize("when_full", WAYS)
def test_nothing_can_be_taken_from_an_empty_backlog(when_full: WhenFull) -> None:
    with pytest.raises(IndexError):
        backlog(when_full).take()


@pytest.mark.parametrize("when_full", WAYS)
def test_without_pressure_entries_pass_untouched(when_full: WhenFull) -> None:
    entries: list[Delivery] = [
        text("a"),
        text("b"),
        Keepalive(),
        AudioDelta(delta="YQ=="),
        Restarted(cause=ConnectionLost("cut")),
    ]
    queue = fed(backlog(when_full), *entries)
    assert queue.bytes == sum(map(size_of, entries))
    assert all(one is other for one, other in zip(taken(queue), entries, strict=True))
    assert queue.bytes == 0


SEEN_SIZES: dict[str, tuple[Delivery, int]] = {
    "an image": (ImageGenerationCallPartialImage(partial_image_b64=LARGE), 100_000),
    "a text that is done": (OutputTextDone(text=LARGE), 100_000),
    "an item": (OutputItemDone(item=Message(content=[OutputText(text=LARGE), OutputText(text=LARGE)])), 200_000),
    "a response": (ResponseCompleted(response=LONG_ANSWER), 100_000),
    "an unknown event": (UnknownEvent(type="new", data={"a": [{"b": LARGE}], LARGE: None}), 200_000),
    "an invalid event": (InvalidEvent(type="", error="no", raw=LARGE.encode(), data=[LARGE]), 200_000),
    "an unknown field": (Keepalive.model_validate({"padding": LARGE}), 100_000),
    "many small values": (UnknownEvent(type="new", data={"numbers": list(range(1000))}), 10_000),
    "logprobs": (text("a", logprobs=[Logprob(token="a", bytes=[97])] * 1000), 100_000),
}


@pytest.mark.parametrize(("entry", "at_least"), SEEN_SIZES.values(), ids=SEEN_SIZES)
def test_what_is_large_is_seen(entry: Delivery, at_least: int) -> None:
    assert size_of(entry) >= at_least


@pytest.mark.parametrize(("delta", "size"), [("", ENTRY_BYTES), ("abc", ENTRY_BYTES + 3), ("äöü", ENTRY_BYTES + 3)])
def test_a_delta_counts_by_its_characters(delta: str, size: int) -> None:
    assert size_of(text(delta)) == size_of(AudioDelta(delta=delta)) == size


def test_notices_and_outcomes_share_what_they_carry_with_the_run() -> None:
    outcome = Completed(response=LONG_ANSWER)
    assert size_of(outcome) == size_of(Closed(outcome=outcome)) == ENTRY_BYTES


def test_json_may_be_nested_deeper_than_calls() -> None:
    data: Any = LARGE
    for _ in range(10_000):
        data = [data]
    assert size_of(UnknownEvent(type="new", data={"deep": data})) > len(LARGE)


def test_a_waiting_backlog_stops_its_feeder_until_it_is_half_empty() -> None:
    queue = fed(backlog("wait", max_events=4), *map(text, "abcd"))
    assert queue.must_wait
    rooms: list[tuple[bool, bool]] = []
    while len(queue):
        queue.take()
        rooms.append((queue.must_wait, queue.has_room))
    assert rooms == [(False, False), (False, True), (False, True), (False, True)]


@pytest.mark.parametrize("when_full", WAYS)
def test_an_entry_larger_than_the_backlog_is_accepted_by_an_empty_one(when_full: WhenFull) -> None:
    for event in (text(LARGE), OutputTextDone(text=LARGE)):
        queue = fed(backlog(when_full, max_bytes=10), event)
        assert queue.is_full
        assert not queue.has_room
        assert taken(queue) == [event]
        assert queue.has_room


@pytest.mark.parametrize("when_full", ["wait", "merge"])
def test_bytes_that_cannot_be_saved_make_the_feeder_wait(when_full: WhenFull) -> None:
    queue = fed(backlog(when_full, max_events=1, max_bytes=ENTRY_BYTES + 10), text("12345"))
    queue.add(text("67890"))
    assert queue.must_wait


def test_deltas_are_merged_only_under_pressure_and_only_into_the_last_entry() -> None:
    queue = fed(backlog("merge", max_events=2), *map(text, "abcd"))
    assert not queue.must_wait
    assert queue.take() == text("a")
    assert taken(fed(queue, *map(text, "ef"))) == [text("bcd", merged=3), text("ef", merged=2)]


def test_a_merged_delta_counts_as_one_entry_of_all_its_characters() -> None:
    queue = fed(backlog("merge", max_events=1), text("abc"), text("def"), text("g"))
    assert (len(queue), queue.bytes) == (1, ENTRY_BYTES + 7)
    assert taken(queue) == [text("abcdefg", merged=3)]
    assert queue.bytes == 0


NOT_MERGED: dict[str, tuple[Delivery, Delivery]] = {
    "deltas of two parts": (text("a"), text("b", index=1)),
    "deltas of two kinds": (text("a"), FunctionCallArgumentsDelta(delta="b", output_index=0)),
    "audio": (AudioDelta(delta="YQ=="), AudioDelta(delta="YQ==")),
    "a delta after another event": (Keepalive(), text("a")),
    "another event after a delta": (text("a"), Keepalive()),
    "deltas of a command's output": (
        ShellCallOutputContentDelta(delta=ShellOutputDelta(stdout="a")),
        ShellCallOutputContentDelta(delta=ShellOutputDelta(stdout="b")),
    ),
    "a notice after a delta": (text("a"), Restarted(cause=ConnectionLost("cut"))),
    "an outcome after a notice": (Restarted(cause=ConnectionLost("cut")), Completed(response=Response())),
}


@pytest.mark.parametrize(("last", "entry"), NOT_MERGED.values(), ids=NOT_MERGED)
def test_what_cannot_be_merged_is_held_and_the_feeder_waits(last: Delivery, entry: Delivery) -> None:
    queue = fed(backlog("merge", max_events=1), last)
    waits = [queue.must_wait, fed(queue, entry).must_wait]
    assert waits == [False, True]
    assert taken(queue) == [last, entry]


def test_an_entry_that_was_merged_into_is_finished_by_the_next() -> None:
    queue = fed(backlog("merge", max_events=1), text("a"), text("b"), Keepalive(), text("c"))
    assert taken(queue) == [text("ab", merged=2), Keepalive(), text("c")]


def test_merging_a_long_answer_holds_one_entry() -> None:
    queue = backlog("merge", max_events=2)
    event = text("word ")
    for _ in range(100_000):
        queue.add(event)
        assert len(queue) <= 2
    assert [entry.merged for entry in taken(queue) if isinstance(entry, DeltaEvent)] == [1, 99_999]


SEARCH = WebSearchCallSearching()
DROPS: dict[str, tuple[int, list[Delivery], list[Delivery], Dropped]] = {
    "the oldest delta": (2, [text("a"), text("bc"), text("d")], [text("bc"), text("d")], Dropped(1, 1)),
    "as many as it takes": (1, [text("a"), text("bc"), text("d")], [text("d")], Dropped(2, 3)),
    "a delta between others": (2, [SEARCH, text("a"), Keepalive()], [SEARCH, Keepalive()], Dropped(1, 1)),
    "audio too": (1, [AudioDelta(delta="YQ=="), text("a")], [text("a")], Dropped(1, 4)),
    "the new one, where there is no other": (1, [SEARCH, text("abc")], [SEARCH], Dropped(1, 3)),
    "nothing else": (1, [SEARCH, Keepalive(), SEARCH], [SEARCH, Keepalive(), SEARCH], Dropped(0, 0)),
}


@pytest.mark.parametrize(("max_events", "entries", "left", "dropped"), DROPS.values(), ids=DROPS)
def test_what_is_dropped(max_events: int, entries: list[Delivery], left: list[Delivery], dropped: Dropped) -> None:
    queue = fed(backlog("drop", max_events), *entries)
    assert queue.take_dropped() == dropped
    assert queue.take_dropped() == Dropped(0, 0)
    assert taken(queue) == left


def test_deltas_are_dropped_until_the_bytes_fit() -> None:
    queue = fed(backlog("drop", max_bytes=4 * ENTRY_BYTES), text("a"), text("b"))
    queue.add(text("c" * ENTRY_BYTES))
    assert queue.take_dropped() == Dropped(1, 1)
    assert queue.bytes == 3 * ENTRY_BYTES + 1


def test_a_dropping_backlog_waits_only_when_it_is_full_of_what_must_stay() -> None:
    queue = backlog("drop", max_events=2)
    waits = [fed(queue, entry).must_wait for entry in (text("a"), SEARCH, text("b"), Keepalive())]
    assert waits == [False, False, False, True]


def test_what_is_dropped_leaves_nothing_behind_an_entry_that_nobody_takes() -> None:
    queue = fed(backlog("drop", max_events=10), SEARCH)
    event = text("word ")
    for _ in range(10_000):
        queue.add(event)
    held = {name: len(value) for name, value in vars(queue).items() if hasattr(value, "__len__")}
    assert sum(held.values()) == len(queue) == 10
    assert queue.take_dropped() == Dropped(9_991, 5 * 9_991)


MAKERS: list[Callable[[int], Delivery]] = [
    lambda number: text(f"{number},", sequence_number=number),
    lambda number: text(f"{number},", index=1, sequence_number=number, logprobs=[Logprob(token=str(number))]),
    lambda number: FunctionCallArgumentsDelta(delta=f"{number},", item_id="call", sequence_number=number),
    lambda number: AudioDelta(delta=f"{number}", sequence_number=number),
    lambda number: Keepalive(sequence_number=number),
    lambda number: OutputTextDone(text="x" * 3000, sequence_number=number),
    lambda _: Restarted(cause=ConnectionLost("cut")),
]
# Runs of one kind, so that there is something to merge; "None" is the reader taking an entry.
RUNS = st.tuples(st.sampled_from([*MAKERS[:4], *MAKERS, None, None]), st.integers(1, 6))
STEPS = st.lists(RUNS, max_size=20).map(lambda runs: [make for make, count in runs for _ in range(count)])
LIMITS = {"max_events": st.integers(1, 6), "max_bytes": st.sampled_from([1, 2 * ENTRY_BYTES, 8 * ENTRY_BYTES, ROOMY])}


class Transfer:
    """A feeder that obeys, or does not, and a reader that takes when the steps say so; at last it takes everything."""

    def __init__(self, queue: Backlog, steps: list[Callable[[int], Delivery] | None], *, obedient: bool = True) -> None:
        self.queue = queue
        self.fed: list[Delivery] = []
        self.taken: list[Delivery] = []
        for make in steps:
            if make is not None:
                self._feed(make(len(self.fed)), obedient)
            elif len(queue):
                self.taken.append(queue.take())
        self.taken += taken(queue)
        assert queue.bytes == 0

    def _feed(self, entry: Delivery, obedient: bool) -> None:
        while obedient and self.queue.must_wait:
            self._make_room()
        self.fed.append(entry)
        self.queue.add(entry)
        if obedient:
            assert len(self.queue) <= self.queue.max_events + isinstance(self.queue, MergingBacklog)
            assert self.queue.bytes < self.queue.max_bytes + size_of(entry)

    def _make_room(self) -> None:
        while not self.queue.has_room:
            self.taken.append(self.queue.take())
        assert not self.queue.must_wait


@given(steps=STEPS, obedient=st.booleans(), **LIMITS)
@settings(max_examples=100)
def test_waiting_changes_nothing(steps: Any, obedient: bool, max_events: int, max_bytes: int) -> None:
    transfer = Transfer(backlog("wait", max_events, max_bytes), steps, obedient=obedient)
    assert list(map(id, transfer.taken)) == list(map(id, transfer.fed))


@given(steps=STEPS, obedient=st.booleans(), **LIMITS)
@settings(max_examples=200)
def test_merging_joins_neighbours_of_one_part_and_loses_nothing(
    steps: Any, obedient: bool, max_events: int, max_bytes: int
) -> None:
    transfer = Transfer(backlog("merge", max_events, max_bytes), steps, obedient=obedient)
    rest = iter(transfer.fed)
    for entry in transfer.taken:
        if isinstance(entry, DeltaEvent) and entry.merged > 1:
            run = [event for event in islice(rest, entry.merged) if isinstance(event, DeltaEvent)]
            assert len({part_of(event) for event in run}) == 1
            assert entry == joined(run)
        else:
            assert entry is next(rest)
    assert next(rest, None) is None


@given(steps=STEPS, obedient=st.booleans(), **LIMITS)
@settings(max_examples=200)
def test_dropping_loses_only_deltas_and_counts_them(
    steps: Any, obedient: bool, max_events: int, max_bytes: int
) -> None:
    transfer = Transfer(backlog("drop", max_events, max_bytes), steps, obedient=obedient)
    left = set(map(id, transfer.taken))
    assert list(map(id, transfer.taken)) == [id(entry) for entry in transfer.fed if id(entry) in left]
    lost = [entry for entry in transfer.fed if id(entry) not in left]
    deltas = [entry.delta for entry in lost if isinstance(entry, DeltaEvent)]
    assert len(deltas) == len(lost)
    assert transfer.queue.take_dropped() == Dropped(len(deltas), len("".join(deltas)))


class PlainDropping:
    """What a dropping backlog does, done the slow way."""

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self.entries: list[Delivery] = []
        self._limits = (max_events, max_bytes)

    def add(self, entry: Delivery) -> None:
        self.entries.append(entry)
        while (delta := self._oldest_delta()) is not None and self._is_too_much():
            del self.entries[delta]

    def _oldest_delta(self) -> int | None:
        return next((at for at, entry in enumerate(self.entries) if isinstance(entry, DeltaEvent)), None)

    def _is_too_much(self) -> bool:
        max_events, max_bytes = self._limits
        total = sum(map(size_of, self.entries))
        return len(self.entries) > max_events or (len(self.entries) > 1 and total > max_bytes)


@given(steps=STEPS, **LIMITS)
@settings(max_examples=100)
def test_the_oldest_deltas_are_dropped_first(steps: Any, max_events: int, max_bytes: int) -> None:
    queue, plain = backlog("drop", max_events, max_bytes), PlainDropping(max_events, max_bytes)
    for number, make in enumerate(steps):
        if make is not None:
            entry = make(number)
            queue.add(entry)
            plain.add(entry)
        elif plain.entries:
            assert queue.take() is plain.entries.pop(0)
        assert (len(queue), queue.bytes) == (len(plain.entries), sum(map(size_of, plain.entries)))
    assert list(map(id, taken(queue))) == list(map(id, plain.entries))

"""Moderation: nothing flagged passes anywhere, everything else passes in order, and a stream always ends well."""

import asyncio
import json
import random
from collections import Counter
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamkit import events as ev
from streamkit.errors import UsageError
from streamkit.events import Event
from streamkit.items import Message, OutputText
from streamkit.response import IncompleteDetails
from streamkit.stages import moderation
from streamkit.stages.moderation import CHANNELS, Moderate, OnFlag, openai_moderation
from streamkit.stages.texts import texts_of
from streamkit.testing.builders import (
    arguments_delta,
    arguments_done,
    completed,
    created,
    function_call,
    item_added,
    item_done,
    reasoning_delta,
    refusal_delta,
    refusal_done,
    text_delta,
)
from streamkit.verdict import Channel, Verdict
from tests import virtual_time
from tests.stages.moderated import Driver, forbidding, leaked, message_stream, moderated
from tests.strategies import STREAMS, damaged_streams, events_of

pytestmark = pytest.mark.anyio

LETTERS = "abcd "


def deltas_of(driver: Driver) -> str:
    return "".join(event.delta for event in driver.events if isinstance(event, ev.OutputTextDelta))


def types_of(driver: Driver) -> list[str]:
    return [type(delivery).__name__ for delivery in driver.passed]


def windows(text: str, size: int, overlap: int) -> list[tuple[int, int]]:
    return [(max(at - overlap, 0), min(at + size, len(text))) for at in range(0, len(text), size)]


@given(
    st.lists(st.text(LETTERS, max_size=9), max_size=12),
    st.tuples(st.integers(1, 15), st.integers(0, 6)),
    st.lists(st.text("abcd", min_size=1, max_size=3), max_size=3),
    st.sampled_from(get_args(OnFlag)),
    st.integers(0, 99),
)
@settings(max_examples=150)
def test_no_flagged_window_passes_and_all_else_passes_in_order(deltas, cut, words, on_flag, seed):
    """Checks answer in any order; nothing but the text, and where it is cut, decides what passes."""

    chance = random.Random(seed)

    async def check(text: str) -> Verdict:
        await asyncio.sleep(chance.random())
        return Verdict(flagged=any(word in text for word in words))

    size, overlap = cut
    stage = Moderate(check, window=size, overlap=overlap, every=None, on_flag=on_flag, replacement="#")
    driver = virtual_time.run(moderated(stage, message_stream(*deltas)))
    text = "".join(deltas)
    flagged = [(a, b) for a, b in windows(text, size, overlap) if any(word in text[a:b] for word in words)]
    removed = {at for a, b in flagged for at in range(a, b)}
    terminal = driver.events[-1]
    assert isinstance(terminal, ev.TerminalEvent)
    if on_flag == "annotate" or not flagged:
        expected = text
        assert driver.events == message_stream(*deltas)
    elif on_flag == "replace":
        expected = "".join(a if at not in removed else "" if at - 1 in removed else "#" for at, a in enumerate(text))
    else:
        expected = text[: min(removed)]
        assert isinstance(terminal, ev.ResponseIncomplete)
    assert deltas_of(driver) == expected
    repeats = [event.text for event in driver.events if isinstance(event, ev.OutputTextDone)]
    repeats += [event.part.text for event in driver.events if isinstance(event, ev.ContentPartDone)]  # type: ignore[union-attr]
    repeats += [item.content[0].text for item in terminal.response.output if item.content]  # type: ignore[union-attr]
    assert set(repeats) == {expected}
    assert terminal.response == driver.accumulated().snapshot()
    assert [(n.start, n.end) for n in driver.notices][: len(flagged)] == flagged[: len(driver.notices)]
    assert bool(driver.notices) == bool(flagged)
    if on_flag != "annotate" and all(len(word) <= overlap + 1 for word in words):
        assert not any(word in expected.replace("#", " ") for word in words)


@given(damaged_streams(), st.sampled_from(["block", "replace"]))
@settings(max_examples=30, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
def test_nothing_flagged_passes_of_a_damaged_stream(stream, on_flag):
    """Whatever a server sends, no text with the forbidden letter passes, and nothing is held in the end."""
    stage = Moderate(forbidding("e"), window=7, overlap=2, on_flag=on_flag, replacement="#")
    driver = virtual_time.run(moderated(stage, events_of(stream)))
    assert not any("e" in text.text for event in driver.events for text in texts_of(event))
    assert not driver.passage.is_holding
    if on_flag == "block" and driver.notices:
        assert isinstance(driver.events[-1], ev.ResponseIncomplete)


@pytest.mark.parametrize("on_flag", get_args(OnFlag))
@pytest.mark.parametrize("name", STREAMS)
async def test_what_no_check_flags_passes_unchanged(name: str, on_flag: OnFlag) -> None:
    events = events_of(STREAMS[name])
    driver = await moderated(Moderate(forbidding("\0"), window=20, on_flag=on_flag), events)
    assert driver.passed == events


@pytest.mark.parametrize("name", STREAMS)
async def test_a_blocked_stream_is_one_that_a_server_could_have_sent(name: str) -> None:
    """Every text is flagged: what remains announces, closes and ends."""

    async def check(_: str) -> Verdict:
        return Verdict(flagged=True)

    driver = await moderated(Moderate(check), events_of(STREAMS[name]))
    accumulated = driver.accumulated()
    assert accumulated.anomaly_count == 0
    if driver.notices:
        assert isinstance(driver.events[-1], ev.TerminalEvent)
        assert accumulated.snapshot().incomplete_details == IncompleteDetails(reason="content_filter")
        assert not any(item.status == "in_progress" for item in accumulated.snapshot().output)
    assert not any(getattr(event, "delta", None) for event in driver.events if isinstance(event, ev.OutputTextDelta))


async def test_the_order_of_a_block() -> None:
    driver = await moderated(Moderate(forbidding("bad"), window=4, overlap=2), message_stream("good ", "day, ", "bad"))
    assert types_of(driver) == [
        *("ResponseCreated", "OutputItemAdded", "ContentPartAdded", "OutputTextDelta", "OutputTextDelta"),
        *("Moderated", "OutputTextDone", "ContentPartDone", "OutputItemDone", "ResponseIncomplete"),
    ]
    assert deltas_of(driver) == "good day, "
    item = driver.events[-2]
    assert isinstance(item, ev.OutputItemDone)
    assert item.item is not None
    assert item.item.status == "incomplete"
    (notice,) = driver.notices
    assert (notice.reason, notice.action, notice.channel, notice.output_index, notice.part_index) == (
        *("flagged", "block", "text"),
        *(0, 0),
    )
    assert (notice.start, notice.end) == (10, 13)
    assert notice.verdict == Verdict(flagged=True, categories=("word",))


async def test_after_a_block_nothing_passes() -> None:
    driver = Driver(Moderate(forbidding("bad"), window=3))
    await driver.feed(*message_stream("bad", "text"))
    before = list(driver.passed)
    await driver.feed(text_delta("more"), completed("more"))
    await driver.finish()
    assert driver.passed == before
    assert not driver.passage.is_holding


def call_stream(arguments: str, *, cut: int = 5) -> list[Event]:
    call = function_call("search", arguments)
    begun = call.model_copy(update={"arguments": "", "status": "in_progress"})
    pieces = [arguments[at : at + cut] for at in range(0, len(arguments), cut)]
    return [
        *(created(), item_added(begun), *map(arguments_delta, pieces)),
        *(arguments_done(arguments), item_done(call), completed(call)),
    ]


async def test_a_blocked_call_is_never_finished() -> None:
    """Its item is closed as incomplete, but no event says that its arguments are whole."""
    driver = await moderated(Moderate(forbidding("bad"), window=5, overlap=3), call_stream('{"query": "bad things"}'))
    assert not any(isinstance(event, ev.FunctionCallArgumentsDone) for event in driver.events)
    (call,) = driver.accumulated().snapshot().function_calls
    assert (call.status, call.arguments) == ("incomplete", '{"query')


REFUSED = ev.ContentPartAdded.model_validate(
    {"output_index": 0, "content_index": 0, "part": {"type": "refusal", "refusal": ""}}
)
CHANNEL_STREAMS: dict[Channel, list[Event]] = {
    "text": message_stream("so ", "ba", "d"),
    "refusal": [created(), refusal_delta("so ba"), refusal_delta("d"), refusal_done("so bad"), completed()],
    "reasoning": [created(), reasoning_delta("so ba"), reasoning_delta("d"), completed()],
    "arguments": call_stream('{"so": "bad"}'),
}


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("on_flag", ["block", "replace"])
async def test_each_channel_is_moderated_where_it_is_asked_for(channel: Channel, on_flag: OnFlag) -> None:
    events = CHANNEL_STREAMS[channel]
    strict = await moderated(Moderate(forbidding("bad"), channels=[channel], on_flag=on_flag), events)
    assert [notice.channel for notice in strict.notices] == [channel]
    assert leaked(strict, "bad") == []
    others = [other for other in CHANNELS if other != channel]
    lax = await moderated(Moderate(forbidding("bad"), channels=others, on_flag=on_flag), events)
    assert lax.passed == events


@pytest.mark.parametrize("on_flag", ["block", "replace"])
async def test_a_done_event_is_checked_where_it_differs_from_the_deltas(on_flag: OnFlag) -> None:
    driver = await moderated(Moderate(forbidding("bad"), on_flag=on_flag), message_stream("good", text="so bad"))
    assert deltas_of(driver) == "good"
    assert leaked(driver, "bad") == []
    assert driver.notices[0].end == len("so bad")


async def test_a_terminal_response_is_told_by_ids_where_the_server_sends_no_index() -> None:
    """Each text is checked once, though every event repeats it."""
    asked: list[str] = []

    async def check(text: str) -> Verdict:
        asked.append(text)
        return Verdict(flagged=False)

    message = Message(id="msg_1", content=[OutputText(text="Hello")])
    delta = ev.OutputTextDelta(delta="Hello", item_id="msg_1", content_index=0)
    events = [created(), delta, ev.OutputItemDone(item=message), completed(message)]
    driver = await moderated(Moderate(check), events)
    assert driver.passed == events
    assert asked == ["Hello"]


class Slow:
    """A check whose answers are given by the test."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answers: list[asyncio.Future[Verdict]] = []

    async def __call__(self, text: str) -> Verdict:
        self.asked.append(text)
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        return await answer

    def answer(self, number: int, result: Verdict | BaseException | None = None) -> None:
        """Let the check of this number end: with a verdict, by default a good one, or by raising."""
        if isinstance(result, BaseException):
            self._answers[number].set_exception(result)
        else:
            self._answers[number].set_result(result or Verdict(flagged=False))


async def test_checks_overlap_and_their_texts_pass_in_order() -> None:
    check = Slow()
    driver = Driver(Moderate(check, window=4, overlap=2, every=None))
    await driver.feed(*message_stream("0123", "4567", "89"))
    assert check.asked == ["0123", "234567", "6789"]
    assert deltas_of(driver) == ""
    check.answer(2)
    check.answer(1)
    await driver.wait()
    assert deltas_of(driver) == ""
    check.answer(0)
    await driver.finish()
    assert driver.passed == message_stream("0123", "4567", "89")


async def test_the_overlap_is_held_until_the_window_behind_it_has_passed() -> None:
    check = Slow()
    driver = Driver(Moderate(check, window=4, overlap=2, every=None))
    await driver.feed(*map(text_delta, "01234567"))
    check.answer(0)
    await driver.wait()
    assert deltas_of(driver) == "01"
    check.answer(1)
    await driver.wait()
    assert deltas_of(driver) == "012345"
    await driver.passage.aclose()


async def test_a_text_that_begins_ends_the_one_before_it_though_the_server_does_not_say_so() -> None:
    driver = Driver(Moderate(forbidding(), every=None))
    reasoning = [reasoning_delta("Hm", output_index=0), reasoning_delta(".", output_index=0)]
    await driver.feed(*reasoning, text_delta("So", output_index=1))
    await asyncio.sleep(0)
    await driver.wait()
    assert driver.passed == reasoning
    await driver.passage.aclose()


async def test_calls_may_be_written_side_by_side() -> None:
    """Neither ends the other: a word that grows in turns with another call is seen whole."""
    events = [
        arguments_delta(letter, output_index=index) for letter in "so bad" for index in (0, 1) if index or letter != "o"
    ]
    driver = await moderated(Moderate(forbidding("so bad"), window=2, overlap=5, on_flag="replace"), events)
    assert {notice.output_index for notice in driver.notices} == {1}
    passed = Counter[int]()
    for event in driver.events:
        assert isinstance(event, ev.FunctionCallArgumentsDelta)
        assert event.output_index is not None
        passed[event.output_index] += event.delta != "[removed]"
    assert passed == {0: 5, 1: 0}


async def test_events_without_text_wait_for_the_text_before_them() -> None:
    check = Slow()
    driver = Driver(Moderate(check, window=2, overlap=0))
    searching = ev.WebSearchCallSearching(output_index=1)
    await driver.feed(created(), text_delta("ab"), ev.Keepalive(), searching)
    assert driver.passed == [created()]
    check.answer(0)
    await driver.finish()
    assert driver.passed == [created(), text_delta("ab"), ev.Keepalive(), searching]


def test_a_window_that_does_not_fill_is_checked_after_a_while() -> None:
    async def stalling() -> tuple[str, float]:
        driver = Driver(Moderate(forbidding(), window=100, overlap=3, every=2.5))
        await driver.feed(created(), *map(text_delta, "Hello"))
        while not deltas_of(driver):
            await driver.wait()
        shown = deltas_of(driver), asyncio.get_running_loop().time()
        await driver.passage.aclose()
        return shown

    assert virtual_time.run(stalling()) == ("He", 2.5)


def test_the_clock_of_a_window_begins_with_its_text() -> None:
    async def stalling() -> list[float]:
        loop = asyncio.get_running_loop()
        asked: list[float] = []

        async def check(_: str) -> Verdict:
            asked.append(loop.time())
            return Verdict(flagged=False)

        driver = Driver(Moderate(check, window=4, overlap=0, every=1))
        await driver.feed(text_delta("ab"))
        await asyncio.sleep(0.75)
        await driver.feed(text_delta("cd"), text_delta("e"))
        await asyncio.sleep(5)
        await driver.passage.aclose()
        return asked

    assert virtual_time.run(stalling()) == [0.75, 1.75]


FAILURES: dict[str, BaseException] = {
    "raises": ValueError("broken"),
    "times out": TimeoutError("too slow"),
    "is cancelled": asyncio.CancelledError(),
    "raises what is no Exception": BaseException("odd"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_check_that_fails_is_taken_for_a_flag(failure: str) -> None:
    check = Slow()
    driver = Driver(Moderate(check))
    await driver.feed(*message_stream("Hello"))
    check.answer(0, FAILURES[failure])
    await driver.finish()
    (notice,) = driver.notices
    assert (notice.reason, notice.action, notice.verdict.flagged) == ("check_failed", "block", True)
    assert notice.error is not None
    assert deltas_of(driver) == ""


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_check_that_fails_lets_the_text_pass_where_that_was_asked_for(failure: str) -> None:
    check = Slow()
    driver = Driver(Moderate(check, on_error="open"))
    await driver.feed(*message_stream("Hello"))
    check.answer(0, FAILURES[failure])
    await driver.finish()
    (notice,) = driver.notices
    assert (notice.reason, notice.action, notice.verdict.flagged) == ("check_failed", "annotate", False)
    assert driver.events == message_stream("Hello")


def test_a_check_has_a_limited_time() -> None:
    async def never(_: str) -> Verdict:
        await asyncio.Event().wait()
        raise AssertionError

    async def stalled() -> tuple[Driver, float]:
        driver = await moderated(Moderate(never, timeout=7), message_stream("Hello"))
        return driver, asyncio.get_running_loop().time()

    driver, seconds = virtual_time.run(stalled())
    assert seconds == 7
    assert isinstance(driver.notices[0].error, TimeoutError)


@pytest.mark.parametrize("on_error", ["closed", "open"])
async def test_a_check_that_answers_with_something_else_ends_the_run(on_error: Any) -> None:
    async def check(_: str) -> bool:
        return False

    driver = Driver(Moderate(check, on_error=on_error))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"a check must return a Verdict, not bool: Verdict\(flagged=True\)"):
        await driver.feed(*message_stream("Hello"))
        await driver.finish()
    await driver.passage.aclose()


@pytest.mark.parametrize("on_error", ["closed", "open"])
async def test_a_check_that_is_not_async_ends_the_run(on_error: Any) -> None:
    driver = Driver(Moderate(lambda _: Verdict(flagged=False), on_error=on_error))  # type: ignore[arg-type,return-value]
    with pytest.raises(UsageError, match=r"a check must be an async function: this one returned Verdict"):
        await driver.feed(*message_stream("Hello"))
        await driver.finish()
    await driver.passage.aclose()


@pytest.mark.parametrize("on_flag", ["block", "replace"])
async def test_a_stream_that_breaks_off_gives_what_is_held(on_flag: OnFlag) -> None:
    events = message_stream("Hello ", "wor")[:5]
    driver = await moderated(Moderate(forbidding("bad"), on_flag=on_flag), events)
    assert driver.passed == events
    flagged = await moderated(Moderate(forbidding("wor"), window=6, overlap=0, on_flag=on_flag), events)
    assert deltas_of(flagged) == ("Hello " if on_flag == "block" else "Hello [removed]")


async def test_only_so_many_checks_run_at_a_time() -> None:
    check = Slow()
    driver = Driver(Moderate(check, window=1, overlap=0, max_checks=3))
    await driver.feed(*map(text_delta, "abcdef"))
    assert check.asked == ["a", "b", "c"]
    check.answer(1)
    await asyncio.sleep(0)
    await driver.wait()
    await asyncio.sleep(0)
    assert check.asked == ["a", "b", "c", "d"]
    await driver.passage.aclose()


async def test_nothing_more_is_taken_while_too_much_is_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moderation, "MAX_UNCHECKED_CHARACTERS", 10)
    check = Slow()
    driver = Driver(Moderate(check, window=4, overlap=0))
    await driver.feed(text_delta("01234567"))
    assert not driver.passage.is_full
    await driver.feed(text_delta("89ab"))
    assert driver.passage.is_full
    check.answer(0)
    await driver.wait()
    assert not driver.passage.is_full
    await driver.passage.aclose()


async def test_a_text_that_does_not_go_on_does_not_hold_everything_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moderation, "MAX_HELD_EVENTS", 3)
    driver = Driver(Moderate(forbidding(), every=None))
    events = [arguments_delta("{"), *[ev.Keepalive()] * 3]
    await driver.feed(*events)
    await driver.wait()
    assert driver.passed == events
    await driver.passage.aclose()


async def test_closing_cancels_checks_and_timers() -> None:
    check = Slow()
    driver = Driver(Moderate(check, window=2))
    await driver.feed(text_delta("abc"))
    await driver.passage.aclose()
    assert not driver.passage.is_holding
    assert "streamkit-check" not in {task.get_name() for task in asyncio.all_tasks()}
    assert driver.passage.feed(text_delta("d")) == ()


async def test_a_notice_does_not_hold_the_text() -> None:
    driver = await moderated(Moderate(forbidding("secret")), message_stream("a secret word"))
    assert "secret" not in repr(driver.notices)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window must be a whole number, at least 1, not 0"),
        ({"overlap": -1}, "overlap must be a whole number, at least 0, not -1"),
        ({"window": "200"}, "window must be a whole number, at least 1, not '200'"),
        ({"overlap": 1.5}, "overlap must be a whole number, at least 0, not 1.5"),
        ({"max_checks": 0}, "max_checks must be a whole number, at least 1, not 0"),
        ({"every": 0}, "every must be a number of seconds above 0, or None; not 0"),
        ({"every": "1"}, "every must be a number of seconds above 0, or None; not '1'"),
        ({"timeout": -1.0}, "timeout must be a number of seconds above 0, or None; not -1.0"),
        ({"on_flag": "drop"}, "on_flag must be of 'block', 'replace', 'annotate', not 'drop'"),
        ({"replacement": None}, "replacement must be a text, not None"),
        ({"on_error": "shut"}, "on_error must be of 'closed', 'open', not 'shut'"),
        ({"channels": ["audio"]}, "channels must be of 'text', 'refusal', 'reasoning', 'arguments', not 'audio'"),
    ],
)
def test_an_argument_out_of_its_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=rf"^Moderate: {message}$"):
        Moderate(forbidding(), **options)


def test_a_check_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^Moderate: check must be an async function of a text, not 'bad'$"):
        Moderate("bad")  # type: ignore[arg-type]


class Endpoint:
    """A client whose server answers the moderation of anything with the same."""

    def __init__(self, answer: object) -> None:
        self._answer = json.dumps(answer).encode()
        self.requests: list[tuple[str, dict[str, object]]] = []

    async def post_json(self, path: str, body: dict[str, object]) -> bytes:
        self.requests.append((path, body))
        return self._answer


async def test_the_moderation_endpoint_is_a_check() -> None:
    result = {"flagged": True, "categories": {"hate": True, "violence": False}, "category_scores": {"hate": 0.75}}
    endpoint = Endpoint({"id": "modr_1", "model": "omni-moderation-latest", "results": [result]})
    verdict = await openai_moderation(endpoint)("some text")
    assert verdict == Verdict(flagged=True, categories=("hate",), scores={"hate": 0.75})
    assert endpoint.requests == [("moderations", {"model": "omni-moderation-latest", "input": "some text"})]


@pytest.mark.parametrize("answer", [{}, {"results": []}, {"results": [{}]}, [], {"error": {"message": "no"}}])
async def test_an_answer_without_a_verdict_is_a_failed_check(answer: object) -> None:
    driver = await moderated(Moderate(openai_moderation(Endpoint(answer))), message_stream("Hello"))
    assert [notice.reason for notice in driver.notices] == ["check_failed"]

"""Moderation in whole runs: nothing flagged reaches a handler, an iterator, the response, or what is sent on."""

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamkit import (
    Client,
    Closed,
    Completed,
    Dispatcher,
    Incomplete,
    Lane,
    Moderated,
    Outcome,
    ResponseIncompleteError,
    Restarted,
    Retry,
    Run,
    StreamHandler,
    StreamRun,
    Timeouts,
    UsageError,
    Verdict,
)
from streamkit.chat import ChatChunk
from streamkit.errors import ClockExpired, ServerError
from streamkit.events import (
    TERMINAL_TYPES,
    Event,
    FunctionCallArgumentsDone,
    OutputTextDelta,
    ResponseCompleted,
    TerminalEvent,
)
from streamkit.stages.moderation import CHANNELS, Moderate, OnFlag, openai_moderation
from streamkit.stages.smooth import smooth
from streamkit.testing import (
    CutAfterBytes,
    CutAfterEvents,
    HttpError,
    LateAnswer,
    LocalServer,
    Pause,
    RecordedRequest,
    Scenario,
    Script,
    ScriptedSource,
    StreamExpired,
    encode_event,
)
from streamkit.testing.fault import Fault
from streamkit.tools.tool import tool
from streamkit.verdict import Channel
from tests import virtual_time
from tests.stages.moderated import forbidding
from tests.strategies import Stream, stream_of

pytestmark = pytest.mark.anyio

WORD = "poppycock"
PROMPT = f"Well, {WORD} it is"
ASKED = {"model": "omni-moderation-latest"}
AT_ONCE = Retry(first_delay=0, poll_every=0)


@dataclass
class Seen:
    """Handlers that write down whatever a run shows them, in every way that it does."""

    events: list[Event] = field(default_factory=list)
    notices: list[Moderated] = field(default_factory=list)
    closed: list[Outcome] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    def handlers(self) -> Dispatcher:
        dispatcher = Dispatcher()
        dispatcher.on(Event)(self.note)
        dispatcher.on(Event, lane=Lane(name="all", max_events=2))(self.show_later)
        dispatcher.on(OutputTextDelta, lane=Lane(name="text", when_full="merge"))(self.show_later)
        dispatcher.on_moderated(self.note_verdict)
        dispatcher.on(Closed)(lambda notice: self.closed.append(notice.outcome))
        return dispatcher

    def note(self, event: Event, run: Run) -> None:
        self.events.append(event)
        self.shown += [event.model_dump_json(), run.text, run.snapshot().model_dump_json()]

    async def show_later(self, event: Event) -> None:
        await asyncio.sleep(0)
        self.shown.append(event.model_dump_json())

    def note_verdict(self, notice: Moderated) -> None:
        self.notices.append(notice)
        self.shown.append(repr(notice))

    def text(self) -> str:
        return "".join(event.delta for event in self.events if isinstance(event, OutputTextDelta))


# Laws

FIRST = 0x4E00
"""Each character of a text comes once in a stream, beginning with this one, and so is known wherever it is shown."""


def characters(text: str) -> str:
    return "".join(letter for letter in text if ord(letter) >= FIRST)


def item_of(kind: Channel, number: int, deltas: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any], Stream]:
    """An item that has a text of that kind: when it is added, when it is done, and the events between."""
    text = "".join(deltas)
    if kind == "arguments":
        call = {"type": "function_call", "id": f"i{number}", "call_id": f"c{number}", "name": "f"}
        pieces: Stream = [{"type": "function_call_arguments.delta", "delta": delta} for delta in deltas]
        done = {"type": "function_call_arguments.done", "arguments": text}
        return {**call, "arguments": ""}, {**call, "arguments": text}, [*pieces, done]
    part_events, events, index, part, field_name, parts = {
        "text": ("content_part", "output_text", "content_index", "output_text", "text", "content"),
        "refusal": ("content_part", "refusal", "content_index", "refusal", "refusal", "content"),
        "reasoning": (
            *("reasoning_summary_part", "reasoning_summary_text", "summary_index", "summary_text", "text", "summary"),
        ),
    }[kind]
    whole = {"type": part, field_name: text}
    place = {index: 0}
    between: Stream = [
        {"type": f"{part_events}.added", "part": {**whole, field_name: ""}, **place},
        *({"type": f"{events}.delta", "delta": delta, "logprobs": [{"token": delta}], **place} for delta in deltas),
        {"type": f"{events}.done", field_name: text, **place},
        {"type": f"{part_events}.done", "part": whole, **place},
    ]
    item: dict[str, Any] = {"type": "reasoning" if kind == "reasoning" else "message", "id": f"i{number}", parts: []}
    return item, {**item, parts: [whole]}, between


@st.composite
def responses(draw: st.DrawFn) -> tuple[Stream, list[str]]:
    """The events of a response, and the texts in it."""
    lengths = draw(st.lists(st.tuples(st.sampled_from(CHANNELS), st.lists(st.integers(0, 9), max_size=8)), max_size=4))
    position, items, texts = FIRST, [], []
    for number, (kind, pieces) in enumerate(lengths):
        ends = [position + sum(pieces[:count]) for count in range(len(pieces) + 1)]
        deltas = ["".join(map(chr, range(start, end))) for start, end in pairwise(ends)]
        items.append(item_of(kind, number, deltas))
        texts.append("".join(deltas))
        position = ends[-1]
    return stream_of(*items), texts


@dataclass
class WordList:
    """A check that flags what contains one of some words, after a random time, and remembers what it flagged."""

    words: Sequence[str]
    chance: random.Random
    flagged: set[str] = field(default_factory=set)

    async def __call__(self, text: str) -> Verdict:
        is_flagged = any(word in text for word in self.words)
        if is_flagged:
            self.flagged.update(text)
        await asyncio.sleep(self.chance.random())
        return Verdict(flagged=is_flagged)


def scripted(stream: Stream, chance: random.Random) -> ScriptedSource:
    """The stream in random chunks, with random waits between them."""
    data, at = b"".join(map(encode_event, stream)), 0
    steps: list[bytes | Pause] = []
    while at < len(data):
        size = chance.randint(1, 600)
        steps += [data[at : at + size], Pause(chance.choice([0, 0, 0.2, 0.7]))]
        at += size
    return ScriptedSource(steps)


async def dispatched(run: StreamRun, seen: Seen) -> None:
    await run.dispatch(seen.handlers())


async def iterated(run: StreamRun, seen: Seen) -> None:
    run.on(Closed)(lambda notice: seen.closed.append(notice.outcome))
    async for delivery in run.events(Event, Moderated):
        if isinstance(delivery, Moderated):
            seen.note_verdict(delivery)
        else:
            seen.note(delivery, run)


@given(
    responses(),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60), st.integers(1, 7)), max_size=3),
    st.tuples(st.integers(1, 15), st.integers(0, 6), st.sampled_from([None, 0.5])),
    st.tuples(st.sampled_from(get_args(OnFlag)), st.sampled_from([dispatched, iterated])),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_character_of_a_flagged_window_is_shown_and_all_others_are_in_order(response, places, cut, ways, seed):
    """Whatever the deltas, the chunks, the waits and the windows; words are as long as windows see whole."""
    stream, texts = response
    size, overlap, every = cut
    on_flag, drive = ways
    filled = [text for text in texts if text]
    words = (
        [
            text[start % len(text) :][: min(length, overlap + 1)]
            for index, start, length in places
            for text in filled[index % len(filled) :][:1]
        ]
        if filled
        else []
    )
    chance = random.Random(seed)
    check = WordList(words, chance)
    stage = Moderate(check, window=size, overlap=overlap, every=every, on_flag=on_flag, replacement="#")
    seen = Seen()

    async def whole_run() -> Outcome:
        async with StreamRun(scripted(stream, chance), stages=[stage]) as run:
            with suppress(ResponseIncompleteError):
                await drive(run, seen)
            return await run.outcome()

    outcome = virtual_time.run(whole_run())
    everything = "".join(texts)
    assert bool(check.flagged) == bool(words)
    # What stands behind a block may never be asked for.
    assert on_flag == "block" or check.flagged >= set("".join(words))
    removed = set[str]() if on_flag == "annotate" else check.flagged
    if on_flag == "block" and removed:
        expected = everything[: everything.index(min(removed))]
        assert isinstance(outcome, Incomplete)
        assert outcome.reason == "content_filter"
    else:
        expected = "".join(letter for letter in everything if letter not in removed)
        assert isinstance(outcome, Completed)
    assert not any(removed.intersection(shown) for shown in seen.shown)
    deltas = [getattr(event, "delta", "") for event in seen.events]
    assert characters("".join(deltas)) == expected
    assert characters(seen.events[-1].model_dump_json()) == expected
    assert characters(outcome.response.model_dump_json()) == expected
    assert [event.type in TERMINAL_TYPES for event in seen.events].count(True) == 1
    assert seen.closed == [outcome]
    assert bool(seen.notices) == bool(words)


# Over a socket


async def answered(
    scenario: str | Scenario = "text", *, faults: Any = (), request: dict[str, Any] | None = None, **options: Any
) -> tuple[Seen, Outcome]:
    """Run a request whose answer is moderated, and return what its handlers saw and how it ended."""
    seen = Seen()
    async with (
        LocalServer(scenario=scenario, moderation_words=[WORD], faults=faults) as server,
        Client(base_url=server.url, retry=AT_ONCE) as client,
        client.stream(
            model="m", input=PROMPT, stages=[Moderate(openai_moderation(client), **options)], **(request or {})
        ) as run,
    ):
        run.on(Event)(seen.note)
        run.on(Moderated)(seen.note_verdict)
        run.on(Closed)(lambda notice: seen.closed.append(notice.outcome))
        outcome = await run.outcome()
    assert seen.closed == [outcome]
    seen.shown.append(outcome.response.model_dump_json())
    return seen, outcome


def shows(seen: Seen, word: str = WORD) -> bool:
    return any(word in shown for shown in seen.shown)


@pytest.mark.parametrize(
    ("on_flag", "outcome", "text"),
    [
        ("block", Incomplete, ""),
        ("replace", Completed, "[removed] arrives as an event of its own, just as it would from a model."),
        ("annotate", Completed, f"You said: “{PROMPT}” I am a scripted answer"),
    ],
)
async def test_the_moderation_endpoint_decides(on_flag: OnFlag, outcome: type[Outcome], text: str) -> None:
    seen, ended = await answered(on_flag=on_flag, window=100)
    assert isinstance(ended, outcome)
    assert seen.text().startswith(text)
    assert ended.response.output_text == seen.text()
    assert shows(seen) == (on_flag == "annotate")
    assert {(notice.reason, notice.action, notice.verdict.categories) for notice in seen.notices} == {
        ("flagged", on_flag, ("harassment",))
    }


async def test_the_endpoint_is_asked_for_each_window() -> None:
    async with LocalServer() as server, Client(base_url=server.url) as client:
        stage = Moderate(openai_moderation(client, "mine"), window=40, overlap=0, every=None)
        response = await client.run(model="m", input="Hi", stages=[stage])
        bodies: list[Any] = [request.body for request in server.requests if request.path == "/v1/moderations"]
    assert {body["model"] for body in bodies} == {"mine"}
    # Several are on their way at once.
    assert sorted(body["input"] for body in bodies) == sorted(
        response.output_text[at : at + 40] for at in range(0, len(response.output_text), 40)
    )


def only_moderation(fault: Fault) -> Any:
    def faults(request: RecordedRequest) -> list[Fault]:
        return [fault] if request.path == "/v1/moderations" else []

    return faults


@pytest.mark.parametrize(("on_error", "outcome"), [("closed", Incomplete), ("open", Completed)])
@pytest.mark.parametrize("fault", [HttpError(503), LateAnswer(), CutAfterBytes(10)], ids=["503", "late", "cut"])
async def test_an_endpoint_that_fails_is_a_failed_check(fault: Fault, on_error: Any, outcome: type[Outcome]) -> None:
    seen, ended = await answered(faults=only_moderation(fault), on_error=on_error, timeout=0.1)
    assert isinstance(ended, outcome)
    assert {notice.reason for notice in seen.notices} == {"check_failed"}
    assert all(notice.error is not None for notice in seen.notices)
    assert shows(seen) == (on_error == "open")


def spoken(script: Script) -> None:
    script.text(PROMPT).complete()


def refused(script: Script) -> None:
    script.refusal(PROMPT).complete()


def reasoned(script: Script) -> None:
    script.reasoning(PROMPT).text("Yes.").complete()


def called(script: Script) -> None:
    script.function_call("search", {"query": PROMPT}).complete()


def without_deltas(script: Script) -> None:
    """As servers answer that send nothing before it is finished."""
    script.text(PROMPT).complete()
    events = [event for event in script.events if not str(event["type"]).endswith(".delta")]
    script.events[:] = [{**event, "sequence_number": number} for number, event in enumerate(events)]


@pytest.mark.parametrize("on_flag", ["block", "replace"])
@pytest.mark.parametrize(
    ("scenario", "channel"),
    [(spoken, "text"), (refused, "refusal"), (reasoned, "reasoning"), (called, "arguments"), (without_deltas, "text")],
)
async def test_whatever_the_model_writes_is_moderated(scenario: Scenario, channel: Channel, on_flag: OnFlag) -> None:
    seen, ended = await answered(scenario, on_flag=on_flag)
    assert {notice.channel for notice in seen.notices} == {channel}
    assert not shows(seen)
    assert isinstance(ended, Incomplete) == (on_flag == "block")
    if on_flag == "block":
        assert not any(isinstance(event, FunctionCallArgumentsDone) for event in seen.events)
        assert [item.status for item in ended.response.output if item.type != "reasoning"] in ([], ["incomplete"])


async def test_a_blocked_response_raises_and_is_told_to_the_hooks() -> None:
    hooks: list[str] = []

    class Watch(StreamHandler):
        async def on_moderated(self, notice: Moderated) -> None:
            hooks.append(f"moderated {notice.channel}")

        async def on_incomplete(self, response: object) -> None:
            hooks.append("incomplete")

        async def on_close(self, outcome: Outcome) -> None:
            hooks.append(f"closed {type(outcome).__name__}")

    async with LocalServer(moderation_words=[WORD]) as server, Client(base_url=server.url) as client:
        with pytest.raises(ResponseIncompleteError, match="content_filter"):
            await client.run(Watch(), model="m", input=PROMPT, stages=[Moderate(openai_moderation(client))])
    assert hooks == ["moderated text", "incomplete", "closed Incomplete"]


@pytest.mark.parametrize("early", [True, False])
async def test_a_blocked_call_is_not_executed(early: bool) -> None:
    executed: list[str] = []

    @tool
    def search(query: str) -> str:
        executed.append(query)
        return "nothing"

    _, outcome = await answered(called, request={"tools": [search], "early": early})
    assert isinstance(outcome, Incomplete)
    assert (executed, outcome.ledger) == ([], ())


@pytest.mark.parametrize("on_flag", ["block", "replace"])
async def test_chat_completions_are_moderated_too(on_flag: OnFlag) -> None:
    """Raw chunks, which tell their texts before they are checked, come to nobody."""
    seen, outcome = await answered(on_flag=on_flag, request={"api": "chat"})
    assert not any(isinstance(event, ChatChunk) for event in seen.events)
    assert isinstance(outcome, Incomplete if on_flag == "block" else Completed)
    assert {notice.channel for notice in seen.notices} == {"text"}
    assert not shows(seen)


async def test_nothing_more_is_read_after_a_block() -> None:
    """The server would go on for minutes."""
    async with (
        LocalServer(scenario="long-text", tokens_per_second=100) as server,
        Client(base_url=server.url) as client,
        client.stream(model="m", input="Hi", stages=[Moderate(forbidding("river"), window=20)]) as run,
    ):
        outcome = await run.outcome()
    assert isinstance(outcome, Incomplete)
    assert not run.stats.events > 100


@pytest.mark.parametrize(("background", "told"), [(True, 1), (False, 0)])
async def test_a_blocked_background_response_is_cancelled_at_the_server(background: bool, told: int) -> None:
    local = LocalServer(scenario="long-text", tokens_per_second=100)
    async with local as server, Client(base_url=server.url) as client:
        stage = Moderate(forbidding("river"), window=20)
        async with client.stream(model="m", input="Hi", background=background, stages=[stage]) as run:
            assert isinstance(await run.outcome(), Incomplete)
        cancels = [request.path for request in server.requests if request.path.endswith("/cancel")]
    assert cancels == [f"/v1/responses/{run.response_id}/cancel"] * told


@pytest.mark.parametrize("scenario", ["text", "function-call"])
async def test_slow_handlers_and_slow_checks_do_not_keep_each_other_waiting(scenario: str) -> None:
    """What is read while a handler waits may end the response, when checks are still to be waited for."""

    async def check(_: str) -> Verdict:
        await asyncio.sleep(0.005)
        return Verdict(flagged=False)

    async def look(_: Event) -> None:
        await asyncio.sleep(0.001)

    async def get_weather(location: str) -> str:
        await asyncio.sleep(0.005)
        return f"It is raining in {location}"

    stages = [Moderate(check, window=5, overlap=3, max_checks=2)]
    dispatcher = Dispatcher()
    dispatcher.on(Event)(look)
    async with LocalServer(scenario=scenario, tokens_per_second=2000) as server, Client(base_url=server.url) as client:
        response = await client.run(dispatcher, model="m", input="Hi", stages=stages, tools=[get_weather])
    assert response.output_text


async def test_a_response_that_begins_anew_is_moderated_anew() -> None:
    seen: list[str] = []
    async with (
        LocalServer(scenario=spoken, faults=cut_first) as server,
        Client(base_url=server.url, retry=AT_ONCE) as client,
        client.stream(model="m", restart="allowed", stages=[Moderate(forbidding(WORD), on_flag="replace")]) as run,
    ):
        run.on(Restarted)(lambda _: seen.clear())
        run.on(OutputTextDelta)(lambda event: seen.append(event.delta))
        outcome = await run.outcome()
    assert isinstance(outcome, Completed)
    assert run.stats.restarts == 1
    assert "".join(seen) == outcome.response.output_text == "[removed]"


def cut_first(request: RecordedRequest) -> list[Fault]:
    return [CutAfterEvents(8)] if request.number == 1 else []


async def test_a_recording_holds_what_the_server_sent_and_is_moderated_when_it_is_replayed(tmp_path: Any) -> None:
    path = tmp_path / "blocked.sse.jsonl"
    async with LocalServer(scenario=spoken) as server, Client(base_url=server.url) as client:
        stages = [Moderate(forbidding(WORD))]
        async with client.stream(model="m", input=PROMPT, record=path, stages=stages) as run:
            assert isinstance(await run.outcome(), Incomplete)
        async with client.replay(path, stages=stages) as run:
            assert isinstance(await run.outcome(), Incomplete)
            assert WORD not in run.snapshot().model_dump_json()
    assert WORD in "".join(json.loads(line).get("text", "") for line in path.read_text("utf-8").splitlines())


async def test_a_check_that_is_no_check_ends_the_run() -> None:
    async def check(_: str) -> bool:
        return False

    async with LocalServer() as server, Client(base_url=server.url) as client:
        with pytest.raises(UsageError, match="a check must return a Verdict, not bool"):
            await client.run(model="m", input="Hi", stages=[Moderate(check)])  # type: ignore[arg-type]


# What the server itself flags


async def deliveries(client: Client, **request: Any) -> Iterator[Event | Moderated]:
    """What an iteration over a run gets."""
    async with client.stream(model="m", **request) as run:
        return iter([delivery async for delivery in run.events(Event, Moderated)])


@pytest.mark.parametrize("stages", [[], [smooth()], [Moderate(forbidding())]], ids=["bare", "smooth", "moderated"])
async def test_the_servers_own_verdict_comes_once_before_the_end(stages: Any) -> None:
    seen = Seen()
    async with LocalServer(moderation_words=[WORD]) as server, Client(base_url=server.url) as client:
        response = await client.run(seen.handlers(), model="m", input=PROMPT, moderation=ASKED, stages=stages)
        iterated = list(await deliveries(client, input=PROMPT, moderation=ASKED, stages=stages))
    (notice,) = seen.notices
    assert (notice.reason, notice.action, notice.verdict.categories) == ("server", "annotate", ("harassment",))
    assert notice.channel is None
    assert response.output_text == seen.text()
    assert [type(delivery) for delivery in iterated if isinstance(delivery, Moderated | TerminalEvent)] == [
        *(Moderated, ResponseCompleted)
    ]


@pytest.mark.parametrize(
    "request_", [{"input": "Hi", "moderation": ASKED}, {"input": PROMPT}], ids=["clean", "unasked"]
)
async def test_without_a_verdict_of_the_server_there_is_no_notice(request_: dict[str, Any]) -> None:
    async with LocalServer(moderation_words=[WORD]) as server, Client(base_url=server.url) as client:
        assert not [notice for notice in await deliveries(client, **request_) if isinstance(notice, Moderated)]


async def test_the_servers_verdict_comes_where_the_stream_was_cut_and_its_response_fetched() -> None:
    def faults(request: RecordedRequest) -> list[Fault]:
        return (
            [CutAfterEvents(4)] if request.number == 1 else [StreamExpired()] if "stream=true" in request.path else []
        )

    seen = Seen()
    local = LocalServer(moderation_words=[WORD], faults=faults)
    async with local as server, Client(base_url=server.url, retry=AT_ONCE) as client:
        await client.run(seen.handlers(), model="m", input=PROMPT, moderation=ASKED, background=True)
    assert [notice.reason for notice in seen.notices] == ["server"]


async def test_whoever_cancels_on_the_servers_verdict_sees_no_end() -> None:
    names: list[str] = []
    async with (
        LocalServer(moderation_words=[WORD]) as server,
        Client(base_url=server.url) as client,
        client.stream(model="m", input=PROMPT, moderation=ASKED) as run,
    ):
        run.on(TerminalEvent)(lambda event: names.append(event.type))
        run.on(Moderated)(lambda _: run.cancel())
        outcome = await run.outcome()
    assert names == []
    assert type(outcome).__name__ == "Cancelled"


# Requests in JSON to other endpoints


async def test_a_client_posts_json_below_its_base_address() -> None:
    async with LocalServer() as server, Client(base_url=server.url) as client:
        answer = json.loads(await client.post_json("moderations", {"input": "Hi"}))
        (request,) = server.requests
    assert answer["results"][0]["flagged"] is False
    assert (request.method, request.path, request.body) == ("POST", "/v1/moderations", {"input": "Hi"})
    assert request.headers["accept"] == "application/json"


async def test_a_refused_post_says_what_the_server_said() -> None:
    async with LocalServer() as server, Client(base_url=server.url) as client:
        with pytest.raises(ServerError, match="Missing required parameter: 'input'") as raised:
            await client.post_json("moderations", {})
    assert raised.value.status == 400


async def test_a_post_takes_no_longer_than_a_first_event_may() -> None:
    timeouts = Timeouts(first_event=0.05)
    async with LocalServer(faults=[LateAnswer()]) as server, Client(base_url=server.url, timeouts=timeouts) as client:
        with pytest.raises(ClockExpired) as raised:
            await client.post_json("moderations", {"input": "Hi"})
    assert raised.value.clock == "first_event"


async def test_the_answer_to_a_post_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.sources.http.JSON_BODY_BYTES", 100)
    async with LocalServer() as server, Client(base_url=server.url) as client:
        with pytest.raises(ServerError, match="answered with more than 100 bytes"):
            await client.post_json("moderations", {"input": "Hi"})

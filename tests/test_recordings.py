"""Real streams of real servers: through the codec and the accumulator, and over real sockets through the client."""

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from streamkit import Client, Closed, Dispatcher, Outcome, StreamRun, UnfinishedResponse
from streamkit import events as ev
from streamkit.accumulator import Accumulator
from streamkit.codec import decode
from streamkit.cursor import Retry
from streamkit.outcome import Completed, Disconnected, Failed, Incomplete
from streamkit.response import Response
from streamkit.sse import Decoder
from tests.paths import needs_shared_data
from tests.recordings import Recording, recordings
from tests.wire_server import WireServer, answer

pytestmark = [pytest.mark.anyio, needs_shared_data]

RECORDINGS = recordings()
EVENT_STREAMS = [recording for recording in RECORDINGS if recording.status.startswith("200")]
WITH_TERMINAL_EVENT = [
    recording for recording in EVENT_STREAMS if any(isinstance(event, ev.TerminalEvent) for event in recording.events)
]

# Where the output that the events add up to is not that of the terminal event, and why.
DIFFERENT_OUTPUT = {
    "litellm-up-disconnect": "a failed response repeats no output; what was streamed before it is kept",
    "openai-node__responsestream-test-ts-snap-stream-reasoning-works-1__8680": (
        "its owner cut the done items, so that nothing says that their status is completed"
    ),
}
# Where the stream is odd, and what the accumulator says of it.
ODD = {"litellm-llama-responses": [("part_not_announced", "response.reasoning_text.delta")]}


def each(chosen: list[Recording]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("recording", chosen, ids=lambda recording: recording.name)


def fold(events: list[ev.Event], *, leave_out: tuple[type[ev.Event], ...] = ()) -> Accumulator:
    accumulator = Accumulator()
    for event in events:
        if not isinstance(event, leave_out):
            accumulator.add(event)
    return accumulator


def terminal_response(recording: Recording) -> Response:
    (event,) = (event for event in recording.events if isinstance(event, ev.TerminalEvent))
    return event.response


def comparable(response: Response) -> list[dict[str, Any]]:
    """The output without what a server encrypts anew each time that it writes it."""
    items = [item.model_dump(exclude_none=True) for item in response.output]
    return [{name: value for name, value in item.items() if name != "encrypted_content"} for item in items]


# What deltas and the done events of texts build, by the type of the item; nothing else comes before a done item.
GROWN: dict[str, Callable[[Any], object]] = {
    "message": lambda item: [getattr(part, "text", None) or getattr(part, "refusal", None) for part in item.content],
    "reasoning": lambda item: [part.text for part in (*item.summary, *item.content)],
    "function_call": lambda item: item.arguments,
    "mcp_call": lambda item: item.arguments,
    "custom_tool_call": lambda item: item.input,
    "code_interpreter_call": lambda item: item.code,
    "apply_patch_call": lambda item: item.operation.diff,
    "shell_call": lambda item: item.action.commands,
    "shell_call_output": lambda item: [(output.stdout, output.stderr) for output in item.output],
}


def grown(response: Response) -> list[object]:
    return [GROWN[item.type](item) for item in response.output if item.type in GROWN]


def test_there_are_recordings() -> None:
    assert len(RECORDINGS) > 165
    assert len(WITH_TERMINAL_EVENT) > 155


@each(EVENT_STREAMS)
def test_every_event_is_known_and_valid(recording: Recording) -> None:
    odd = [event for event in recording.events if isinstance(event, ev.InvalidEvent | ev.UnknownEvent)]
    assert recording.events
    assert odd == []
    assert b"obfuscation" not in b"".join(event.model_dump_json().encode() for event in recording.events)


@each(EVENT_STREAMS)
@pytest.mark.parametrize("size", [1, 7])
def test_cutting_it_anywhere_changes_nothing(recording: Recording, size: int) -> None:
    decoder, body = Decoder(), recording.body[:60_000]
    frames = [frame for start in range(0, len(body), size) for frame in decoder.feed(body[start : start + size])]
    assert frames == Decoder().feed(body)


@each(WITH_TERMINAL_EVENT)
def test_the_result_is_the_terminal_response(recording: Recording) -> None:
    accumulator, response = fold(recording.events), terminal_response(recording)
    found = [(anomaly.kind, anomaly.event) for anomaly in accumulator.anomalies]
    assert found == ODD.get(recording.name, [])
    assert accumulator.text == accumulator.snapshot().output_text
    if recording.name != "litellm-up-disconnect":
        assert accumulator.snapshot() == response


@each(WITH_TERMINAL_EVENT)
def test_without_its_terminal_event_it_adds_up_to_the_same_output(recording: Recording) -> None:
    accumulator, response = fold(recording.events, leave_out=(ev.TerminalEvent,)), terminal_response(recording)
    same = comparable(accumulator.snapshot()) == comparable(response)
    assert same == (recording.name not in DIFFERENT_OUTPUT)
    if recording.name != "litellm-up-disconnect":
        assert accumulator.text == response.output_text


@each(WITH_TERMINAL_EVENT)
def test_without_done_items_the_texts_are_the_same(recording: Recording) -> None:
    whole = fold(recording.events).snapshot()
    accumulator = fold(recording.events, leave_out=(ev.TerminalEvent, ev.OutputItemDone))
    assert grown(accumulator.snapshot()) == grown(whole)


@each(EVENT_STREAMS)
def test_text_only_grows_and_is_that_of_the_snapshot(recording: Recording) -> None:
    accumulator, shown = Accumulator(), ""
    for event in recording.events:
        accumulator.add(event)
        if not isinstance(event, ev.DeltaEvent):
            text = accumulator.text
            assert text == accumulator.snapshot().output_text
            assert text.startswith(shown)
            shown = text


def with_crlf(body: bytes) -> bytes:
    return body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def without_event_lines(body: bytes) -> bytes:
    return re.sub(rb"(?m)^event:.*\n", b"", body)


VARIANTS: dict[str, Callable[[bytes], bytes]] = {
    "whole": lambda body: body,
    "in chunks of 7 bytes": lambda body: body,
    "CRLF": with_crlf,
    "without event lines": without_event_lines,
}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def server(anyio_backend: str) -> AsyncIterator[WireServer]:
    async with WireServer() as server:
        yield server


@pytest.fixture(scope="module")
async def client(server: WireServer) -> AsyncIterator[Client]:
    async with Client(base_url=server.base_url, retry=Retry(first_delay=0)) as client:
        yield client


class Listener(Dispatcher):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[ev.Event] = []
        self.outcomes: list[Outcome] = []
        self.closed: list[Closed] = []
        self.on(ev.Event)(self.events.append)
        self.on(Completed, Incomplete, Failed, Disconnected)(self.outcomes.append)
        self.on(Closed)(self.closed.append)


async def listen(run: StreamRun) -> Listener:
    listener = Listener()
    try:
        outcome: Outcome = Completed(response=await run.dispatch(listener))
    except UnfinishedResponse as error:
        outcome = error.outcome
    assert listener.outcomes == [outcome]
    assert listener.closed == [Closed(outcome=outcome)]
    return listener


def expected_outcome(events: list[ev.Event]) -> type[Outcome]:
    last = next((event for event in events if isinstance(event, ev.TerminalEvent)), None)
    if last is None:
        return Failed if any(isinstance(event, ev.ErrorEvent) for event in events) else Disconnected
    return {"response.completed": Completed, "response.incomplete": Incomplete, "response.failed": Failed}[last.type]


def up_to_the_end(events: list[ev.Event]) -> list[ev.Event]:
    ends = [number for number, event in enumerate(events, 1) if isinstance(event, ev.TerminalEvent)]
    return events[: min(ends, default=len(events))]


@each(EVENT_STREAMS)
@pytest.mark.parametrize("variant", VARIANTS)
async def test_over_a_socket_nothing_is_lost(
    recording: Recording, variant: str, server: WireServer, client: Client
) -> None:
    body = VARIANTS[variant](recording.body)
    server.answer = answer(body, chunk_size=7 if "7" in variant else None)
    async with client.stream(model="m", input="Hi") as run:
        listener = await listen(run)
        expected = up_to_the_end(recording.events)
        assert listener.events == expected
        (outcome,) = listener.outcomes
        assert type(outcome) is expected_outcome(recording.events)
        assert outcome.response == fold(expected).snapshot()
        late = recording.events[len(expected) :]
        assert run.late_frames == sum(not isinstance(event, ev.DoneSentinel) for event in late)


@each([recording for recording in EVENT_STREAMS if expected_outcome(recording.events) is Completed][::10])
async def test_a_stream_that_is_cut_is_a_disconnection(
    recording: Recording, server: WireServer, client: Client
) -> None:
    half = recording.body[: recording.body.index(b"\n\n", len(recording.body) // 2) + 2]
    server.answer = answer(half, cut=True)
    async with client.stream(model="m", input="Hi") as run:
        listener = await listen(run)
    (outcome,) = listener.outcomes
    assert isinstance(outcome, Disconnected)
    assert listener.events == [decode(frame) for frame in Decoder().feed(half)]


# The captured answers that are no success, and what their error says.
REFUSALS = {
    "llamacpp-badjson.http": (500, "500", "[json.exception.parse_error.101] parse error"),
    "transformers-serve-422.http": (422, None, "Unexpected fields in the request: {'bogus'}"),
}


@each([recording for recording in RECORDINGS if recording not in EVENT_STREAMS])
async def test_a_refusal_over_a_socket_is_a_failure(recording: Recording, server: WireServer, client: Client) -> None:
    status, code, message = REFUSALS[recording.name]
    server.answer = answer(recording.body, status=recording.status, headers=recording.headers)
    async with client.stream(model="m", input="Hi") as run:
        listener = await listen(run)
    (outcome,) = listener.outcomes
    assert isinstance(outcome, Failed)
    assert (outcome.error.status, outcome.error.code) == (status, code)
    assert outcome.error.message.startswith(message)
    assert outcome.error.request_id == recording.headers.get("x-request-id")

"""Background responses: made without readers, streamed to several, resumed, cancelled, expired."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from streamkit.testing import CutAfterEvents, LocalServer, Script, encode_event, play
from streamkit.testing.answers import Step
from streamkit.testing.background import Generation
from streamkit.testing.scenarios import SCENARIOS
from streamkit.testing.sending import Pace
from tests.testing.clients import both, events_in, official_client, posted
from tests.testing.laws import LAWS

pytestmark = pytest.mark.anyio

REQUEST: dict[str, Any] = {"model": "gpt-5", "input": "Hi", "background": True}
STREAM: dict[str, Any] = {**REQUEST, "stream": True}
SLOW = {"x-streamkit-tokens-per-second": "0.001"}
LIVELY = {"x-streamkit-tokens-per-second": "500"}


class Ticking:
    """Time that passes only when the test says so; whoever sleeps waits for ``tick``."""

    def __init__(self) -> None:
        self.now = 0.0
        self._ticks = asyncio.Semaphore(0)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await self._ticks.acquire()
        self.now += seconds

    async def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self._ticks.release()
            for _ in range(3):
                await asyncio.sleep(0)


def generation(time: Ticking, events: list[dict[str, Any]], seconds: float | None = 60) -> Generation:
    return Generation(events, [], streamable_seconds=seconds, clock=time.clock)


def available(steps: Iterator[Step]) -> list[bytes]:
    """The frames that there are without waiting."""
    return [
        step for step in itertools.takewhile(lambda step: isinstance(step, bytes), steps) if isinstance(step, bytes)
    ]


class TestGeneration:
    async def test_events_come_one_by_one_whether_or_not_anybody_reads(self) -> None:
        events, time = play("text", REQUEST), Ticking()
        frames = [encode_event(event) for event in events]
        made = generation(time, events)
        assert (made.response["status"], available(made.stream())) == ("queued", frames[:1])
        task = made.start(Pace(1, clock=time.clock), sleep=time.sleep)
        await time.tick(0)
        await asyncio.sleep(0)
        assert (made.response["status"], available(made.stream())) == ("in_progress", frames[:5])
        reader = made.stream()
        for count in range(6, 9):
            await time.tick()
            assert available(made.stream()) == frames[:count]
            assert available(made.stream(after=2)) == frames[3:count]
        assert available(reader) == frames[:8]
        await time.tick(len(events))
        assert (available(reader), available(made.stream(after=4))) == (frames[8:], frames[5:])
        assert (task.done(), made.ended, made.response) == (True, True, events[-1]["response"])

    async def test_the_response_grows(self) -> None:
        events, time = play("text", REQUEST), Ticking()
        made = generation(time, events)
        made.start(Pace(1, clock=time.clock), sleep=time.sleep)
        deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
        await asyncio.sleep(0)
        for count in range(len(deltas)):
            (item,) = made.response["output"]
            assert item["status"] == "in_progress"
            assert item["content"][0]["text"] == "".join(deltas[:count])
            await time.tick()
        assert made.response["output"][0]["content"][0]["text"] == "".join(deltas)
        made.cancel()

    async def test_a_cancelled_response_keeps_what_there_is(self) -> None:
        events, time = play("text", REQUEST), Ticking()
        made = generation(time, events)
        task = made.start(Pace(1, clock=time.clock), sleep=time.sleep)
        await time.tick(3)
        reader = made.stream()
        seen = available(reader)
        made.cancel()
        made.cancel()
        await asyncio.wait([task])
        assert (available(reader), available(made.stream())) == ([], seen)
        assert (made.response["status"], made.response["output"][0]["status"]) == ("cancelled", "incomplete")

    def test_a_response_can_be_cancelled_before_it_is_begun(self) -> None:
        made = generation(Ticking(), play("text", REQUEST))
        made.cancel()
        assert (made.ended, made.response["status"], made.response["output"]) == (True, "cancelled", [])

    async def test_what_has_ended_is_not_cancelled(self) -> None:
        time = Ticking()
        made = generation(time, play("text", REQUEST))
        await made.start(Pace(0, clock=time.clock), sleep=time.sleep)
        made.cancel()
        assert made.response["status"] == "completed"

    @pytest.mark.parametrize(
        ("scenario", "status", "code"),
        [
            ("error-nested", "failed", "rate_limit_exceeded"),
            ("error-flat", "failed", "rate_limit_exceeded"),
            ("failed", "failed", "server_error"),
            (lambda script: script.text("and then"), "failed", None),
        ],
    )
    async def test_a_stream_without_an_end_is_a_failure(self, scenario: Any, status: str, code: str | None) -> None:
        time = Ticking()
        made = generation(time, play(scenario, REQUEST))
        await made.start(Pace(0, clock=time.clock), sleep=time.sleep)
        assert (made.response["status"], made.response["error"]["code"]) == (status, code)

    async def test_a_reader_that_waits_is_told(self) -> None:
        time = Ticking()
        made = generation(time, play("text", REQUEST))
        made.start(Pace(1, clock=time.clock), sleep=time.sleep)
        await asyncio.sleep(0)
        wait = next(step for step in made.stream() if not isinstance(step, bytes))
        waiting = asyncio.ensure_future(wait())  # type: ignore[operator]
        await asyncio.sleep(0)
        assert not waiting.done()
        await time.tick()
        await asyncio.wait_for(waiting, timeout=5)
        made.cancel()

    def test_it_knows_its_age(self) -> None:
        time = Ticking()
        made = generation(time, play("text", REQUEST))
        time.now = 7.0
        assert made.age == 7.0


async def resumed(client: AsyncOpenAI, response_id: str, after: int | None = None, **headers: str) -> list[Any]:
    query = {} if after is None else {"starting_after": after}
    stream = await client.responses.retrieve(response_id, stream=True, extra_headers=headers, **query)
    return [event async for event in stream]


class TestStreaming:
    @pytest.mark.parametrize("name", SCENARIOS)
    async def test_every_scenario_runs_in_the_background(self, name: str) -> None:
        async with LocalServer() as server:
            _, events = await posted(server, {**STREAM, "model": f"scenario:{name}"})
        for law in LAWS:
            law(events)

    async def test_the_official_client_streams_and_replays(self) -> None:
        async with both() as (_, client):
            events = [event async for event in await client.responses.create(**STREAM)]
            assert [event.type for event in events[:3]] == [
                "response.created",
                "response.queued",
                "response.in_progress",
            ]
            response_id = events[0].response.id
            assert await resumed(client, response_id) == events
            for after in range(len(events)):
                assert await resumed(client, response_id, after) == events[after + 1 :]
            assert await resumed(client, response_id, len(events) + 5) == []
            assert await client.responses.retrieve(response_id) == events[-1].response

    async def test_many_readers_follow_one_response(self) -> None:
        async with both() as (_, client):
            stream = await client.responses.create(**STREAM, extra_headers=LIVELY)
            created = await anext(aiter(stream))
            readers = [asyncio.create_task(resumed(client, created.response.id, after)) for after in (None, 0, 3, 9)]
            rest = [event async for event in stream]
            events = [created, *rest]
            assert [await reader for reader in readers] == [events, events[1:], events[4:], events[10:]]

    async def test_a_response_is_made_when_nobody_reads(self) -> None:
        async with both() as (_, client):
            stream = await client.responses.create(**STREAM, extra_headers=LIVELY)
            created = await anext(aiter(stream))
            await stream.close()
            response = await polled(client, created.response.id)
            assert response.status == "completed"
            events = await resumed(client, response.id, 0)
            assert events[-1].response == response

    async def test_cut_at_every_event_and_resumed(self) -> None:
        async with both() as (server, client):
            _, whole = await posted(server, STREAM)
            for count in range(len(whole)):
                faults = {"x-streamkit-faults": f"cut-after-events={count};how=end"}
                first = [event async for event in await client.responses.create(**STREAM, extra_headers=faults)]
                assert len(first) == count
                if first:
                    rest = await resumed(client, first[0].response.id, count - 1)
                    assert [event.sequence_number for event in first + rest] == list(range(len(whole)))
                    assert [event.type for event in first + rest] == [event["type"] for event in whole]
                    assert rest[-1].response.status == "completed"

    async def test_cut_at_random_and_resumed_until_the_end(self) -> None:
        chance = random.Random(7)

        def faults(_: Any) -> list[Any]:
            return [CutAfterEvents(chance.randrange(1, 6), how=chance.choice(["end", "close", "reset"]))]

        async with LocalServer(faults=faults) as server, aiohttp.ClientSession() as session:
            url, body = f"{server.url}/responses", {**STREAM, "model": "scenario:reasoning"}
            events = await read_events(
                session.post(url, json=body, headers=LIVELY | {"x-streamkit-faults": "comments"})
            )
            again: list[Any] = []
            while len(again) < len(events):
                query = {"stream": "true", "starting_after": str(len(again) - 1)}
                again += await read_events(session.get(f"{url}/{events[0]['response']['id']}", params=query))
        assert again == events


async def read_events(request: Any) -> list[dict[str, Any]]:
    received = bytearray()
    async with request as response:
        try:
            while chunk := await response.content.readany():
                received += chunk
        except (aiohttp.ClientError, ConnectionError):
            pass
    return events_in(bytes(received))


async def polled(client: AsyncOpenAI, response_id: str) -> Any:
    async with asyncio.timeout(20):
        while True:
            response = await client.responses.retrieve(response_id)
            if response.status not in {"queued", "in_progress"}:
                return response
            await asyncio.sleep(0.01)


class TestPolling:
    async def test_creating_answers_at_once(self) -> None:
        async with both() as (_, client):
            response = await client.responses.create(**REQUEST, extra_headers=SLOW)
            assert (response.status, response.background, response.output) == ("queued", True, [])
            response = await client.responses.retrieve(response.id)
            assert (response.status, response.output_text) == ("in_progress", "")

    async def test_the_response_is_there_in_the_end(self) -> None:
        async with both() as (_, client):
            response = await client.responses.create(**REQUEST, extra_headers=LIVELY)
            response = await polled(client, response.id)
            assert response.output_text.startswith("You said: “Hi”")

    async def test_a_finished_response_can_be_continued(self) -> None:
        async with both() as (_, client):
            first = await client.responses.create(**REQUEST)
            first = await polled(client, first.id)
            second = await client.responses.create(model="gpt-5", input="And?", previous_response_id=first.id)
            assert second.previous_response_id == first.id


class TestEnding:
    async def test_cancelling_ends_the_streams_that_are_open(self) -> None:
        async with both() as (_, client):
            stream = await client.responses.create(**STREAM, extra_headers=SLOW)
            created = await anext(aiter(stream))
            reader = asyncio.create_task(resumed(client, created.response.id))
            for _ in range(2):
                response = await client.responses.cancel(created.response.id)
                assert response.status == "cancelled"
            events = [created, *[event async for event in stream]]
            assert "response.completed" not in [event.type for event in events]
            assert await reader == events == await resumed(client, created.response.id)
            assert (await client.responses.retrieve(created.response.id)).status == "cancelled"

    async def test_cancelling_what_has_ended_changes_nothing(self) -> None:
        async with both() as (_, client):
            response = await client.responses.create(**REQUEST)
            response = await polled(client, response.id)
            assert await client.responses.cancel(response.id) == response

    async def test_a_deleted_response_is_gone(self) -> None:
        async with both() as (_, client):
            stream = await client.responses.create(**STREAM, extra_headers=SLOW)
            created = await anext(aiter(stream))
            await client.responses.delete(created.response.id)
            assert [event.type async for event in stream][-1] == "response.content_part.added"
            for gone in (
                client.responses.retrieve(created.response.id),
                client.responses.retrieve(created.response.id, stream=True),
                client.responses.cancel(created.response.id),
            ):
                with pytest.raises(openai.NotFoundError):
                    await gone

    async def test_a_stream_of_the_foreground_dies_with_its_connection(self) -> None:
        made: list[str] = []

        def scenario(script: Script) -> None:
            script.text("one two three four").complete()
            made.append(str(script.events[0]["response"]["id"]))  # type: ignore[index]

        async with both(scenario=scenario) as (_, client):
            before = asyncio.all_tasks()
            stream = await client.responses.create(model="gpt-5", stream=True, extra_headers=SLOW)
            await anext(aiter(stream))
            await stream.close()
            await settled(before)
            with pytest.raises(openai.NotFoundError):
                await client.responses.retrieve(made[0])


class TestRefusals:
    @pytest.mark.parametrize(("options", "headers"), [({"background_stream_seconds": 0}, {}), ({}, {"seconds": "0"})])
    async def test_a_stream_expires_and_the_response_does_not(
        self, options: dict[str, Any], headers: dict[str, str]
    ) -> None:
        headers = {f"x-streamkit-background-stream-{name}": text for name, text in headers.items()}
        async with both(**options) as (_, client):
            events = [event async for event in await client.responses.create(**STREAM, extra_headers=headers)]
            response = events[-1].response
            with pytest.raises(
                openai.BadRequestError, match="can no longer be streamed because it is more than"
            ) as caught:
                await resumed(client, response.id, 3)
            assert caught.value.code is None
            assert await client.responses.retrieve(response.id) == response

    async def test_only_what_was_created_as_a_stream_is_streamed(self) -> None:
        async with both() as (_, client):
            response = await client.responses.create(**REQUEST)
            with pytest.raises(openai.BadRequestError, match="not created with stream=true"):
                await resumed(client, response.id)

    async def test_a_place_to_start_from_is_a_number(self) -> None:
        async with both() as (server, client), aiohttp.ClientSession() as session:
            events = [event async for event in await client.responses.create(**STREAM)]
            url = f"{server.url}/responses/{events[0].response.id}?stream=true&starting_after"
            async with session.get(f"{url}=soon") as response:
                assert (response.status, (await response.json())["error"]["param"]) == (400, "starting_after")
            async with session.get(f"{url}=-7") as response:
                assert len(events_in(await response.read())) == len(events)

    async def test_unknown_responses(self) -> None:
        async with both() as (_, client):
            for call in (client.responses.cancel("resp_0"), client.responses.retrieve("resp_0", stream=True)):
                with pytest.raises(openai.NotFoundError):
                    await call

    @pytest.mark.parametrize("seconds", ["-1", "soon", "inf"])
    async def test_a_senseless_time(self, seconds: str) -> None:
        async with LocalServer() as server:
            status, _ = await posted(server, STREAM, **{"x-streamkit-background-stream-seconds": seconds})
        assert status == 400

    async def test_requests_to_resume_are_recorded(self) -> None:
        async with both() as (server, client):
            events = [event async for event in await client.responses.create(**STREAM)]
            await resumed(client, events[0].response.id, 4)
            request = server.requests[-1]
        assert (request.number, request.method, request.body) == (2, "GET", None)
        assert request.path == f"/v1/responses/{events[0].response.id}?starting_after=4&stream=true"


async def settled(before: set[asyncio.Task[Any]]) -> None:
    """Wait until no task is left but those."""
    others = asyncio.all_tasks() - before
    if others:
        await asyncio.wait(others, timeout=20)
    assert asyncio.all_tasks() - before == set()


@asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() - before == set()


async def left_behind(server: LocalServer, *, chunks: int, background: bool) -> str | None:
    """Leave a stream after so many chunks of it; the id of the response, if it goes on without its reader."""
    body = {**STREAM, "model": "scenario:long-text", "background": background}
    async with aiohttp.ClientSession() as session, session.post(f"{server.url}/responses", json=body) as response:
        received = b"".join([await response.content.readany() for _ in range(chunks)])
    return events_in(received)[0]["response"]["id"] if background else None


class TestLeavingNothingBehind:
    async def test_after_a_hundred_disconnects(self) -> None:
        chance = random.Random(11)
        async with no_task_left(), both(tokens_per_second=100) as (server, client):
            before = asyncio.all_tasks()
            leaving = [left_behind(server, chunks=chance.randrange(1, 9), background=n % 3 == 0) for n in range(100)]
            going_on = [response_id for response_id in await asyncio.gather(*leaving) if response_id]
            assert len(asyncio.all_tasks() - before) >= len(going_on) == 34
            for response_id in going_on:
                await client.responses.cancel(response_id)
            await client.close()
            await settled(before)

    async def test_a_server_that_closes_stops_what_it_makes(self) -> None:
        async with no_task_left(), LocalServer() as server, official_client(server) as client:
            await client.responses.create(**REQUEST, extra_headers=SLOW)

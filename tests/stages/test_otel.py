"""Telemetry: what spans and measurements each kind of run leaves behind, read back from the SDK's memory."""

import asyncio
import json
import time
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from streamkit import Client, Retry, Run, StreamRun, Timeouts, UnfinishedResponse, on
from streamkit.events import Event, OutputTextDelta
from streamkit.outcome import Completed
from streamkit.stages.otel import ChunkTelemetry, Telemetry
from streamkit.testing import LocalServer
from tests.raw_server import answering, chunked, head, ok, raw_server
from tests.scripted import ADDED, BEFORE_END, COMPLETED, CREATED, DELTAS, HELLO, PART, ScriptedSource, Step

pytestmark = pytest.mark.anyio

AT_ONCE = Retry(first_delay=0)


class Memory:
    """Providers that keep everything, and what they kept."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meter_provider = MeterProvider([self._metrics], shutdown_on_exit=False)

    def telemetry(self) -> Telemetry:
        return Telemetry(self.tracer_provider, self.meter_provider)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._spans.get_finished_spans()

    @property
    def span(self) -> ReadableSpan:
        (span,) = self.spans
        return span

    @property
    def attributes(self) -> dict[str, Any]:
        return dict(self.span.attributes or {})

    def metrics(self) -> dict[str, Any]:
        data = self._metrics.get_metrics_data()
        if data is None:
            return {}
        return {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}

    def points(self, name: str) -> list[Any]:
        metric = self.metrics().get(name)
        return list(metric.data.data_points) if metric else []

    def everything(self) -> str:
        return "".join(span.to_json() for span in self.spans) + json.dumps(
            [[dict(p.attributes) for p in metric.data.data_points] for metric in self.metrics().values()]
        )


@pytest.fixture
def memory() -> Memory:
    return Memory()


async def outcome_span(memory: Memory, base_url: str, *handlers: Any, **options: Any) -> ReadableSpan:
    """Run a response that does not complete, and return its span."""
    async with Client(base_url=base_url, api_key="sk-secret") as client:
        with pytest.raises(UnfinishedResponse):
            await client.run(memory.telemetry(), *handlers, model="m", input="question", **options)
    return memory.span


async def scripted(memory: Memory, *steps: Step, handlers: tuple[Any, ...] = (), **options: Any) -> None:
    async with StreamRun(ScriptedSource(*steps), **options) as run:
        await run.dispatch(memory.telemetry(), *handlers)


async def test_the_span_of_a_response_that_completed(memory: Memory) -> None:
    runs: list[Run] = []

    @on(Completed)
    def keep(_: Completed, run: Run) -> None:
        runs.append(run)

    async with LocalServer() as server, Client(base_url=server.url, api_key="sk-secret") as client:
        response = await client.run(memory.telemetry(), keep, model="gpt-5", input="question", temperature=0.5)
    stats = runs[0].stats
    usage = response.usage
    assert usage is not None
    assert memory.span.name == "chat gpt-5"
    assert memory.span.kind is SpanKind.CLIENT
    assert memory.span.status.status_code is StatusCode.UNSET
    assert memory.span.events == ()
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.id": response.id,
        "gen_ai.response.model": response.model,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": stats.first_event_after,
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "openai.api.type": "responses",
        "server.address": "127.0.0.1",
        "server.port": int(server_port(runs[0])),
        "streamkit.outcome": "completed",
        "streamkit.attempts": 1,
        "streamkit.request_id": runs[0].request_id,
        "streamkit.time_to_first_text": stats.first_text_after,
    }
    assert memory.attributes.items() >= expected.items()
    assert "error.type" not in memory.attributes


async def test_a_chat_is_told_from_a_response(memory: Memory) -> None:
    async with LocalServer() as server, Client(base_url=server.url) as client:
        await client.run(memory.telemetry(), api="chat", model="gpt-5", input="question")
    assert memory.attributes["openai.api.type"] == "chat_completions"


def server_port(run: Run) -> str:
    assert run.base_url is not None
    return run.base_url.removesuffix("/v1").rpartition(":")[2]


async def test_the_span_begins_and_ends_with_the_run(memory: Memory) -> None:
    before = time.time()
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        await run.dispatch(memory.telemetry())
    after = time.time()
    assert run.stats.began_at is not None
    assert run.stats.ended_after is not None
    assert before <= run.stats.began_at <= after
    span = memory.span
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.start_time == int(run.stats.began_at * 1e9)
    assert (span.end_time - span.start_time) / 1e9 == pytest.approx(run.stats.ended_after, abs=1e-5)


async def test_the_parent_is_the_callers_span_and_no_handler_sees_another_one(memory: Memory) -> None:
    seen: list[object] = []

    @on(Event)
    def look(_: Event) -> None:
        seen.append(trace.get_current_span())

    tracer = memory.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("caller") as caller:
        await scripted(memory, *HELLO, handlers=(look,))
    run_span, caller_span = memory.spans
    assert set(seen) == {caller}
    assert run_span.parent == caller_span.context


async def test_handlers_can_begin_spans_within_the_span_of_the_run(memory: Memory) -> None:
    telemetry = memory.telemetry()
    tracer = memory.tracer_provider.get_tracer("test")

    @on(Completed)
    def work(_: Completed, run: Run) -> None:
        tracer.start_span("work", trace.set_span_in_context(telemetry.span_of(run))).end()

    async with StreamRun(ScriptedSource(*HELLO)) as run:
        await run.dispatch(telemetry, work)
    child, parent = memory.spans
    assert child.parent == parent.context


SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


@pytest.mark.parametrize(
    ("name", "unit", "bounds"),
    [
        ("gen_ai.client.operation.duration", "s", SECONDS),
        ("gen_ai.client.operation.time_to_first_chunk", "s", SECONDS),
        ("streamkit.client.time_to_first_text", "s", SECONDS),
        ("gen_ai.client.token.usage", "{token}", TOKENS),
    ],
)
async def test_measurements_have_the_units_and_bounds_of_the_conventions(
    memory: Memory, name: str, unit: str, bounds: tuple[float, ...]
) -> None:
    async with LocalServer() as server, Client(base_url=server.url) as client:
        await client.run(memory.telemetry(), model="gpt-5", input="question")
        port = int(server.url.removesuffix("/v1").rpartition(":")[2])
    assert memory.metrics()[name].unit == unit
    for point in memory.points(name):
        assert tuple(point.explicit_bounds) == bounds
        assert point.count == 1
        assert (
            point.attributes.items()
            >= {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.request.model": "gpt-5",
                "server.address": "127.0.0.1",
                "server.port": port,
            }.items()
        )
        assert "error.type" not in point.attributes


async def test_tokens_are_counted_by_their_type(memory: Memory) -> None:
    async with LocalServer() as server, Client(base_url=server.url) as client:
        response = await client.run(memory.telemetry(), model="gpt-5", input="question")
    assert response.usage is not None
    counted = {p.attributes["gen_ai.token.type"]: p.sum for p in memory.points("gen_ai.client.token.usage")}
    assert counted == {"input": response.usage.input_tokens, "output": response.usage.output_tokens}


@pytest.mark.parametrize(
    ("scenario", "outcome", "reason", "error"),
    [
        ("incomplete", "incomplete", "length", None),
        ("content-filter", "incomplete", "content_filter", None),
        ("failed", "failed", "error", "server_error"),
        ("error-nested", "failed", "error", "rate_limit_exceeded"),
    ],
)
async def test_how_the_server_ended_it(
    memory: Memory, scenario: str, outcome: str, reason: str, error: str | None
) -> None:
    async with LocalServer(scenario=scenario) as server:
        span = await outcome_span(memory, server.url)
    assert memory.attributes["streamkit.outcome"] == outcome
    assert memory.attributes["gen_ai.response.finish_reasons"] == (reason,)
    assert memory.attributes.get("error.type") == error
    assert span.status.status_code is (StatusCode.ERROR if error else StatusCode.UNSET)
    assert span.status.description is None
    (point,) = memory.points("gen_ai.client.operation.duration")
    assert point.attributes.get("error.type") == error


async def test_a_response_that_calls_functions_says_so(memory: Memory) -> None:
    async with LocalServer(scenario="function-call") as server, Client(base_url=server.url) as client:
        await client.run(memory.telemetry(), model="m", input="question")
    assert memory.attributes["gen_ai.response.finish_reasons"] == ("tool_call",)


async def test_a_request_that_is_refused(memory: Memory) -> None:
    async with LocalServer(api_key="sk-other") as server:
        span = await outcome_span(memory, server.url)
    assert span.name == "chat m"
    assert memory.attributes["error.type"] == "invalid_api_key"
    assert memory.attributes["server.address"] == "127.0.0.1"
    assert not memory.points("gen_ai.client.operation.time_to_first_chunk")


async def test_a_stream_that_is_cut(memory: Memory) -> None:
    async with raw_server(answering(chunked(*BEFORE_END, last=False))) as base_url:
        await outcome_span(memory, base_url)
    assert memory.attributes["streamkit.outcome"] == "disconnected"
    assert memory.attributes["error.type"] == "ConnectionLost"
    assert memory.attributes["gen_ai.response.id"] == "resp_1"


async def test_a_clock_that_ran_out_is_named(memory: Memory) -> None:
    with pytest.raises(UnfinishedResponse):
        await scripted(memory, *BEFORE_END, None, timeouts=Timeouts(idle=0.01))
    assert memory.attributes["error.type"] == "timeout.idle"
    assert memory.span.name == "chat"


async def test_attempts_that_failed_are_events_of_one_span(memory: Memory) -> None:
    answers = [head("503 Unavailable"), head("429 Slow down") + b'{"error": {"code": "slow"}}', ok(b"".join(HELLO))]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(answers.pop(0))(reader, writer)

    async with raw_server(answer) as base_url, Client(base_url=base_url, retry=AT_ONCE) as client:
        await client.run(memory.telemetry(), model="m", input="question")
    assert [(event.name, dict(event.attributes or {})) for event in memory.span.events] == [
        ("streamkit.reconnecting", {"error.type": "503", "attempt": 2, "delay": 0.0}),
        ("streamkit.reconnecting", {"error.type": "slow", "attempt": 3, "delay": 0.0}),
    ]
    assert memory.attributes["streamkit.attempts"] == 3
    assert memory.attributes["streamkit.outcome"] == "completed"


async def test_a_response_that_began_anew(memory: Memory) -> None:
    answers = [chunked(*BEFORE_END, last=False), ok(b"".join(HELLO))]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answering(answers.pop(0))(reader, writer)

    async with raw_server(answer) as base_url, Client(base_url=base_url, retry=AT_ONCE) as client:
        await client.run(memory.telemetry(), model="m", input="question", restart="allowed")
    (event,) = memory.span.events
    assert (event.name, dict(event.attributes or {})) == ("streamkit.restarted", {"error.type": "ConnectionLost"})


async def test_a_run_that_was_stopped_is_no_error(memory: Memory) -> None:
    @on(OutputTextDelta)
    def stop(_: OutputTextDelta, run: Run) -> None:
        run.cancel()

    async with LocalServer() as server:
        span = await outcome_span(memory, server.url, stop)
    assert memory.attributes["streamkit.outcome"] == "cancelled"
    assert memory.attributes["gen_ai.response.finish_reasons"] == ("error",)
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in memory.attributes


async def test_a_task_that_was_cancelled_leaves_an_ended_span(memory: Memory) -> None:
    source = ScriptedSource(*BEFORE_END, None)

    async def drive() -> None:
        async with StreamRun(source) as run:
            await run.dispatch(memory.telemetry())

    task = asyncio.create_task(drive())
    await source.reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert memory.attributes["streamkit.outcome"] == "cancelled"
    assert memory.span.status.status_code is StatusCode.UNSET


async def test_a_handler_that_raised_is_an_error(memory: Memory) -> None:
    @on(OutputTextDelta)
    def fail(event: OutputTextDelta) -> None:
        raise LookupError(event.delta)

    with pytest.raises(LookupError):
        await scripted(memory, *HELLO, handlers=(fail,))
    assert memory.attributes["error.type"] == "LookupError"
    assert memory.span.status.status_code is StatusCode.ERROR


async def test_a_run_that_was_cancelled_before_it_began_leaves_nothing(memory: Memory) -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        run.cancel()
        with pytest.raises(UnfinishedResponse):
            await run.dispatch(memory.telemetry())
    assert memory.spans == ()
    assert memory.metrics() == {}


async def test_one_instance_serves_many_runs_at_once(memory: Memory) -> None:
    telemetry = memory.telemetry()
    async with LocalServer(tokens_per_second=2000) as server, Client(base_url=server.url) as client:
        calls = (client.run(telemetry, model=f"m-{number}", input="question") for number in range(20))
        responses = await asyncio.gather(*calls)
    found = {(span.attributes or {})["gen_ai.response.id"]: span.name for span in memory.spans}
    assert found == {response.id: f"chat m-{number}" for number, response in enumerate(responses)}
    assert sum(point.count for point in memory.points("gen_ai.client.operation.duration")) == 20


async def test_where_no_provider_is_set_up_nothing_happens() -> None:
    async with StreamRun(ScriptedSource(*HELLO)) as run:
        response = await run.dispatch(Telemetry(), ChunkTelemetry())
    assert response.output_text == "Hello"


async def test_who_serves_the_model_can_be_named(memory: Memory) -> None:
    telemetry = Telemetry(memory.tracer_provider, memory.meter_provider, provider_name="groq")
    async with StreamRun(ScriptedSource(*HELLO), base_url="https://api.groq.com/openai/v1") as run:
        await run.dispatch(telemetry)
    assert memory.attributes["gen_ai.provider.name"] == "groq"
    assert (memory.attributes["server.address"], memory.attributes["server.port"]) == ("api.groq.com", 443)


SAID_BY_SERVER = b'{"error": {"message": "sk-secret asked: my secret question", "code": "bad"}}'


async def test_nothing_is_told_of_what_was_said(memory: Memory) -> None:
    async with raw_server(answering(head("400 Bad Request") + SAID_BY_SERVER)) as base_url:
        await outcome_span(memory, base_url, instructions="my secret question")
    async with LocalServer() as server, Client(base_url=server.url, api_key="sk-secret") as client:
        response = await client.run(memory.telemetry(), model="m", input="my secret question")
    told = memory.everything()
    assert "secret" not in told
    assert response.output_text not in told
    assert len(memory.spans) == 2


async def test_the_time_of_each_chunk_of_output_after_the_first(memory: Memory) -> None:
    telemetry = ChunkTelemetry(memory.tracer_provider, memory.meter_provider)
    both = b"".join(DELTAS)
    steps = [CREATED, ADDED, PART, both, both, b": nothing\n\n", DELTAS[0] + COMPLETED]
    async with StreamRun(ScriptedSource(*steps)) as run:
        await run.dispatch(telemetry)
    (point,) = memory.points("gen_ai.client.operation.time_per_output_chunk")
    assert point.count == 2
    assert tuple(point.explicit_bounds) == SECONDS
    assert 0 < point.sum <= (run.stats.last_byte_after or 0)
    assert len(memory.spans) == 1

"""OpenTelemetry: a span and measurements of each run, after the semantic conventions for generative AI.

It needs the extra ``streamkit[otel]``. Where the program sets up no provider, nothing is recorded.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from opentelemetry.metrics import Histogram, MeterProvider, get_meter
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider, get_tracer
from opentelemetry.util.types import AttributeValue

from streamkit.context import Run
from streamkit.dispatch import StreamHandler, on
from streamkit.events import DeltaEvent
from streamkit.outcome import (
    Cancelled,
    Closed,
    Completed,
    Disconnected,
    Failed,
    Incomplete,
    Opened,
    Outcome,
    Reconnecting,
    Restarted,
)
from streamkit.response import InputTokensDetails, OutputTokensDetails, Response, Usage

SECONDS = tuple(0.01 * 2**power for power in range(14))
"""The bucket boundaries of times, as the conventions have them."""
TOKENS = tuple(4**power for power in range(14))
"""The bucket boundaries of token counts, as the conventions have them."""

_API_TYPES = {"responses": "responses", "chat": "chat_completions"}
_DEFAULT_PORTS = {"http": 80, "https": 443}

Facts = dict[str, AttributeValue]
"""Attributes, as spans and measurements take them."""


class Telemetry(StreamHandler):
    """Records a span and measurements of each run; include it before the other handlers.

    ::

        dispatcher.include(Telemetry())
        await client.run(dispatcher, model="gpt-5", input="…")

    One instance serves any number of runs, also at the same time. A run's span begins and ends with the run: it covers
    all attempts, and reconnections are events in it. Its parent is the span that is current where ``run`` or
    ``dispatch`` is called. It is never made current itself, so that there is nothing to detach when a run is cancelled.

    No content is recorded: no prompt, no answer, and no message of the server, which may quote either. Everything is
    recorded once a run; ``ChunkTelemetry`` also measures each chunk.

    Args:
        tracer_provider: where spans go; by default the program's own provider.
        meter_provider: where measurements go; by default the program's own provider.
        provider_name: who serves the model, by the names of the conventions: ``"azure.ai.openai"``, ``"groq"``, …
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        provider_name: str = "openai",
    ) -> None:
        self._provider_name = provider_name
        self._tracer = get_tracer("streamkit", tracer_provider=tracer_provider)
        self._meter = get_meter("streamkit", meter_provider=meter_provider)
        self._spans: WeakKeyDictionary[Run[object], Span] = WeakKeyDictionary()
        self._duration = self._times("gen_ai.client.operation.duration", "From the request to the end.")
        self._first_chunk = self._times("gen_ai.client.operation.time_to_first_chunk", "From the request to an event.")
        self._first_text = self._times("streamkit.client.time_to_first_text", "From the request to the answer's text.")
        self._tokens = self._meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens of the input and of the output.",
            explicit_bucket_boundaries_advisory=TOKENS,
        )

    def span_of(self, run: Run[object]) -> Span:
        """Return the run's span: for attributes of your own, or as the parent of spans that your handlers begin."""
        span = self._spans.get(run)
        if span is None:
            began_at = run.stats.began_at
            span = self._spans[run] = self._tracer.start_span(
                f"chat {run.model}" if run.model else "chat",
                kind=SpanKind.CLIENT,
                attributes=self._request_facts(run)
                | {"gen_ai.request.stream": True, "openai.api.type": _API_TYPES[run.api]},
                start_time=None if began_at is None else _nanoseconds(began_at),
            )
        return span

    @on(Opened)
    def begin(self, _: Opened, run: Run[object]) -> None:
        """Begin the run's span, if no failed attempt has done so."""
        self.span_of(run)

    @on(Reconnecting)
    def note_reconnecting(self, notice: Reconnecting, run: Run[object]) -> None:
        """Add an event to the span: an attempt failed."""
        facts: Facts = {"error.type": notice.cause.kind, "attempt": notice.attempt, "delay": notice.delay}
        self.span_of(run).add_event("streamkit.reconnecting", facts)

    @on(Restarted)
    def note_restarted(self, notice: Restarted, run: Run[object]) -> None:
        """Add an event to the span: the response begins anew."""
        self.span_of(run).add_event("streamkit.restarted", {"error.type": notice.cause.kind})

    @on(Closed)
    def end(self, notice: Closed, run: Run[object]) -> None:
        """End the run's span and record the measurements of the run."""
        stats, outcome = run.stats, notice.outcome
        if stats.began_at is None or stats.ended_after is None:
            return  # It was cancelled before it asked anybody for anything.
        facts = self._measured_facts(run, outcome.response)
        error = _present({"error.type": _error_type(outcome)})
        self._duration.record(stats.ended_after, facts | error)
        _record(self._first_chunk, stats.first_event_after, facts)
        _record(self._first_text, stats.first_text_after, facts)
        usage = outcome.response.usage or Usage()
        _record(self._tokens, usage.input_tokens, facts | {"gen_ai.token.type": "input"})
        _record(self._tokens, usage.output_tokens, facts | {"gen_ai.token.type": "output"})
        self._end_span(self.span_of(run), run, outcome, _nanoseconds(stats.began_at + stats.ended_after))

    def _end_span(self, span: Span, run: Run[object], outcome: Outcome, end_time: int) -> None:
        response = outcome.response
        span.set_attributes(
            _run_facts(run) | _outcome_facts(outcome) | _response_facts(response) | _usage_facts(response)
        )
        if _error_type(outcome) is not None:
            span.set_status(StatusCode.ERROR)
        span.end(end_time)

    def _times(self, name: str, description: str) -> Histogram:
        return self._meter.create_histogram(
            name, unit="s", description=description, explicit_bucket_boundaries_advisory=SECONDS
        )

    def _request_facts(self, run: Run[object]) -> Facts:
        facts: Facts = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": self._provider_name}
        return facts | _present({"gen_ai.request.model": run.model, **_address(run.base_url or "")})

    def _measured_facts(self, run: Run[object], response: Response) -> Facts:
        return self._request_facts(run) | _present({"gen_ai.response.model": response.model})


@dataclass(slots=True)
class _LastChunk:
    arrived_after: float
    facts: Facts


class ChunkTelemetry(Telemetry):
    """Records what ``Telemetry`` does, and ``gen_ai.client.operation.time_per_output_chunk``.

    The conventions want that measured for each chunk, and a mean recorded once would make a wrong distribution. That
    costs about as much again as the event itself, so that it is a class of its own. A chunk is what one read brought,
    and counts where it has output in it; its time is that of its arrival, however long handlers take.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        provider_name: str = "openai",
    ) -> None:
        super().__init__(tracer_provider, meter_provider, provider_name=provider_name)
        self._last: WeakKeyDictionary[Run[object], _LastChunk] = WeakKeyDictionary()
        self._per_chunk = self._times(
            "gen_ai.client.operation.time_per_output_chunk", "From the end of a chunk of output to the end of the next."
        )

    @on(DeltaEvent)
    def measure_chunk(self, _: DeltaEvent, run: Run[object]) -> None:
        """Record the time since the last chunk of output, once a chunk."""
        arrived = run.stats.last_byte_after or 0.0
        last = self._last.get(run)
        if last is None:
            self._last[run] = _LastChunk(arrived, self._measured_facts(run, run.snapshot()))
        elif arrived != last.arrived_after:
            self._per_chunk.record(arrived - last.arrived_after, last.facts)
            last.arrived_after = arrived


def _record(histogram: Histogram, value: float | None, facts: Facts) -> None:
    if value is not None:
        histogram.record(value, facts)


def _present(facts: dict[str, AttributeValue | None]) -> Facts:
    return {name: value for name, value in facts.items() if value is not None}


def _address(url: str) -> dict[str, AttributeValue | None]:
    parts = urlsplit(url)
    return {"server.address": parts.hostname, "server.port": parts.port or _DEFAULT_PORTS.get(parts.scheme)}


def _run_facts(run: Run[object]) -> Facts:
    stats = run.stats
    return {"streamkit.attempts": stats.attempts} | _present(
        {
            "streamkit.request_id": run.request_id,
            "streamkit.time_to_first_text": stats.first_text_after,
            "gen_ai.response.time_to_first_chunk": stats.first_event_after,
        }
    )


def _outcome_facts(outcome: Outcome) -> Facts:
    facts: Facts = {
        "streamkit.outcome": type(outcome).__name__.lower(),
        "gen_ai.response.finish_reasons": [_finish_reason(outcome)],
    }
    return facts | _present({"error.type": _error_type(outcome)})


def _response_facts(response: Response) -> Facts:
    return _present(
        {
            "gen_ai.response.id": response.id,
            "gen_ai.response.model": response.model,
            "gen_ai.request.max_tokens": response.max_output_tokens,
            "gen_ai.request.temperature": response.temperature,
            "gen_ai.request.top_p": response.top_p,
            "openai.response.service_tier": response.service_tier,
        }
    )


def _usage_facts(response: Response) -> Facts:
    usage = response.usage or Usage()
    read = usage.input_tokens_details or InputTokensDetails()
    written = usage.output_tokens_details or OutputTokensDetails()
    return _present(
        {
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.cache_read.input_tokens": read.cached_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.reasoning.output_tokens": written.reasoning_tokens,
        }
    )


def _error_type(outcome: Outcome) -> str | None:
    match outcome:
        case Failed() | Disconnected():
            return outcome.error.kind
        case Cancelled(cause=Exception()):
            return type(outcome.cause).__name__
        case _:
            return None  # Stopping a run, or cancelling its task, is no error.


def _finish_reason(outcome: Outcome) -> str:
    match outcome:
        case Completed():
            return "tool_call" if outcome.response.function_calls else "stop"
        case Incomplete():
            return "length" if outcome.reason == "max_output_tokens" else outcome.reason
        case _:
            return "error"


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)

"""OpenTelemetry: a span and measurements of each run, after the semantic conventions for generative AI.

It needs the extra: ``streamkit[otel]``. Where the program sets up no provider, nothing is recorded.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from opentelemetry.metrics import Histogram, Meter, MeterProvider, get_meter
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, TracerProvider, get_tracer
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
from streamkit.response import Response, Usage

Attributes = Mapping[str, AttributeValue]

SECONDS = tuple(0.01 * 2**power for power in range(14))
"""The bucket boundaries that the conventions ask for where times are measured."""
TOKENS = tuple(4**power for power in range(14))
"""The bucket boundaries that the conventions ask for where tokens are counted."""

_FINISH_REASONS = {"max_output_tokens": "length"}
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Telemetry(StreamHandler):
    """Records a span and measurements of each run; pass it before the other handlers.

    ::

        telemetry = Telemetry()
        await client.run(telemetry, dispatcher, model="gpt-5", input="…")

    One instance serves any number of runs, also at the same time. The span begins when the run did and ends with it; it
    covers all attempts, and reconnections are events in it. Its parent is the span that is current where ``run`` or
    ``dispatch`` is called; it is never made current itself, so that nothing is left to detach when a run is cancelled.

    No content is recorded: no prompt, no answer, no message of the server, which may quote either. All that is done
    is done once a run; ``ChunkTelemetry`` also measures each chunk.

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
        self._tracer: Tracer = get_tracer("streamkit", tracer_provider=tracer_provider)
        self._meter: Meter = get_meter("streamkit", meter_provider=meter_provider)
        self._spans: WeakKeyDictionary[Run, Span] = WeakKeyDictionary()
        self._duration = self._seconds("gen_ai.client.operation.duration", "Duration of a response.")
        self._first_chunk = self._seconds(
            "gen_ai.client.operation.time_to_first_chunk", "Time from the request to the first event."
        )
        self._first_text = self._seconds(
            "streamkit.client.time_to_first_text", "Time from the request to the first text of the answer."
        )
        self._tokens = self._meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Tokens of a response.",
            explicit_bucket_boundaries_advisory=TOKENS,
        )

    @on(Opened)
    def begin(self, _: Opened, run: Run) -> None:
        """Begin the run's span, if no failed attempt has done so."""
        self._span_of(run)

    @on(Reconnecting)
    def note_reconnecting(self, notice: Reconnecting, run: Run) -> None:
        """Add an event for an attempt that failed."""
        facts = {"error.type": notice.cause.kind, "attempt": notice.attempt, "delay": notice.delay}
        self._span_of(run).add_event("streamkit.reconnecting", facts)

    @on(Restarted)
    def note_restarted(self, notice: Restarted, run: Run) -> None:
        """Add an event for a response that begins anew."""
        self._span_of(run).add_event("streamkit.restarted", {"error.type": notice.cause.kind})

    @on(Closed)
    def end(self, notice: Closed, run: Run) -> None:
        """End the run's span and record its measurements."""
        stats, outcome = run.stats, notice.outcome
        if stats.began_at is None or stats.ended_after is None:
            return  # It was cancelled before anything was asked of anybody.
        span = self._span_of(run)
        del self._spans[run]
        self._measure(run, outcome)
        span.set_attributes({**_run_facts(run), **_outcome_facts(outcome), **_response_facts(outcome.response)})
        if _error_type(outcome) is not None:
            span.set_status(StatusCode.ERROR)
        span.end(_nanoseconds(stats.began_at + stats.ended_after))

    def _seconds(self, name: str, description: str) -> Histogram:
        return self._meter.create_histogram(
            name, unit="s", description=description, explicit_bucket_boundaries_advisory=SECONDS
        )

    def _span_of(self, run: Run) -> Span:
        span = self._spans.get(run)
        if span is None:
            began_at = run.stats.began_at
            span = self._spans[run] = self._tracer.start_span(
                f"chat {run.model}" if run.model else "chat",
                kind=SpanKind.CLIENT,
                attributes={**self._request_facts(run), "gen_ai.request.stream": True, "openai.api.type": "responses"},
                start_time=None if began_at is None else _nanoseconds(began_at),
            )
        return span

    def _measure(self, run: Run, outcome: Outcome) -> None:
        stats, response = run.stats, outcome.response
        facts = self._request_facts(run) | _present({"gen_ai.response.model": response.model})
        for histogram, seconds in ((self._first_chunk, stats.first_event_after), (self._first_text, stats.first_text_after)):
            if seconds is not None:
                histogram.record(seconds, facts)
        usage = response.usage or Usage()
        for kind, tokens in (("input", usage.input_tokens), ("output", usage.output_tokens)):
            if tokens is not None:
                self._tokens.record(tokens, facts | {"gen_ai.token.type": kind})
        if stats.ended_after is not None:
            self._duration.record(stats.ended_after, facts | _present({"error.type": _error_type(outcome)}))

    def _request_facts(self, run: Run) -> dict[str, AttributeValue]:
        facts = {"gen_ai.request.model": run.model, **_server(run.base_url)}
        return {"gen_ai.operation.name": "chat", "gen_ai.provider.name": self._provider_name, **_present(facts)}

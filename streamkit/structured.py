"""Structured output: a type is asked for, and the outcome carries the answer as a value of it."""

# To evaluate the annotations would be to make a model of every `ParsedResponse[...]`.
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar, cast

from pydantic import ValidationError

from streamkit.answer import answer_text
from streamkit.errors import UsageError
from streamkit.items import CustomToolCall, FunctionCall
from streamkit.outcome import Completed, Outcome
from streamkit.parsed import InvalidOutput, ParsedResponse
from streamkit.partial_json import GrowingJson
from streamkit.partial_model import PartialModel
from streamkit.response import Response
from streamkit.schema import OutputType

T = TypeVar("T")


def with_format(request: Mapping[str, object], output: OutputType[T] | None) -> Mapping[str, object]:
    """Return a request that asks for an answer of a type, if there is one, beside whatever else it says of the text.

    Raises:
        UsageError: the request asks for another format already.
    """
    if output is None:
        return request
    given: object = request.get("text")
    if given is not None and not isinstance(given, Mapping):
        raise UsageError(f"text must be an object such as {{'verbosity': 'low'}}, not {given!r}")
    text = cast("Mapping[str, object]", given or {})
    if text.get("format") is not None:
        raise UsageError("text_format and text={'format': ...} both say what the answer is to be: give one of them")
    return {**request, "text": {**text, "format": output.format()}}


class Conclusion(Generic[T]):
    """Makes the response of an outcome a ``ParsedResponse``.

    Args:
        output: what the answer is to be; ``None`` where nothing was said of it.
    """

    def __init__(self, output: OutputType[T] | None) -> None:
        self._output = output

    def __call__(self, outcome: Outcome) -> Outcome:
        """Return the outcome with its answer parsed, as far as there is one."""
        return replace(outcome, response=self._concluded(outcome))

    def _concluded(self, outcome: Outcome) -> ParsedResponse[T]:
        response, output = outcome.response, self._output
        text = None if output is None or response.refusal is not None else answer_text(response)
        if output is None or text is None:
            return _parsed(response)
        if not isinstance(outcome, Completed):
            return _parsed(response, partial=_partial(output, text))
        try:
            return _parsed(response, parsed=output.parse(text))
        except ValidationError as error:
            if any(isinstance(item, FunctionCall | CustomToolCall) for item in response.output):
                # Whoever answers the calls gets the answer later; what stands beside them is none.
                return _parsed(response)
            broken = InvalidOutput(output.name, text, error, response)
            return _parsed(response, partial=_partial(output, text), parse_error=broken)


_AS_IT_IS = Conclusion[Any](None)


def conclusion(output: OutputType[T] | None) -> Conclusion[T]:
    """Return what makes the answer of an outcome what it is to be; the same for all where nothing was said of it."""
    return _AS_IT_IS if output is None else Conclusion(output)


def _parsed(
    response: Response,
    *,
    parsed: T | None = None,
    partial: PartialModel | None = None,
    parse_error: InvalidOutput | None = None,
) -> ParsedResponse[T]:
    # What was read from the wire once is not validated again.
    state = response.__getstate__()
    own = {"parsed": parsed, "partial": partial, "parse_error": parse_error}
    # What a server sends under these names gives way.
    extra = {name: value for name, value in (response.model_extra or {}).items() if name not in own}
    made = cast("ParsedResponse[T]", ParsedResponse.__new__(ParsedResponse))
    made.__setstate__({**state, "__dict__": {**state["__dict__"], **own}, "__pydantic_extra__": extra})
    return made


def _partial(output: OutputType[Any], text: str) -> PartialModel | None:
    growing = GrowingJson()
    growing.feed(text)
    return output.partial(growing.value) if text else None

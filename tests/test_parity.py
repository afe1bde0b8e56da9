"""The models against those of the official SDK: each of its events, items, fields and enum values has a place here."""

from collections.abc import Iterator
from typing import Annotated, Literal, get_args, get_origin

import pytest
from openai.types import responses as sdk
from openai.types.beta import BetaResponseInjectCreatedEvent, BetaResponseInjectFailedEvent
from openai.types.responses.response_output_text import Annotation as SdkAnnotation
from openai.types.responses.responses_server_event import ResponsesServerEvent
from pydantic import BaseModel

from streamkit.events import EVENTS, Event
from streamkit.items import Annotation, ContentPart, OutputItem
from streamkit.response import Response, Usage

# Where the SDK's field is not here, and why that is so.
ALLOWED: dict[str, str] = {
    "response.shell_call_command.delta.obfuscation": "padding against eavesdroppers, dropped from every delta",
}
WHOLE_RESPONSE = {"created", "queued", "in_progress", "completed", "incomplete", "failed"}


def literals(annotation: object) -> set[str]:
    """The enum values that an annotation names, without those inside of models."""
    if get_origin(annotation) is Literal:
        return {str(value) for value in get_args(annotation)}
    return {value for part in get_args(annotation) for value in literals(part)}


def models(annotation: object) -> list[type[BaseModel]]:
    """The models that an annotation names, however deep in lists and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models(part)]


def tags(model: type[BaseModel]) -> set[str]:
    field = model.model_fields.get("type")
    return literals(field.annotation) if field else set()


def counterparts(theirs: type[BaseModel], ours: list[type[BaseModel]]) -> list[type[BaseModel]]:
    tag = tags(theirs)
    return [model for model in ours if not tag or not tags(model) or tag <= tags(model)]


def gaps(theirs: type[BaseModel], ours: type[BaseModel], path: str) -> Iterator[str]:
    """What the SDK's model has and ours has not; a field that is kept as plain JSON has everything."""
    for name, field in theirs.model_fields.items():
        here = f"{path}.{name}"
        if name not in ours.model_fields:
            yield here
            continue
        annotation = ours.model_fields[name].annotation
        yield from value_gaps(field.annotation, annotation, here)
        yield from model_gaps(models(field.annotation), models(annotation), here)


def value_gaps(theirs: object, ours: object, path: str) -> Iterator[str]:
    known = literals(ours)
    if known:
        yield from (f"{path} = {value}" for value in sorted(literals(theirs) - known))


def model_gaps(theirs: list[type[BaseModel]], ours: list[type[BaseModel]], path: str) -> Iterator[str]:
    for model in theirs if ours else []:
        matches = counterparts(model, ours)
        if not matches:
            yield f"{path}: {model.__name__}"
        for match in matches[:1]:
            yield from gaps(model, match, path)


def class_name(wire_name: str) -> str:
    """The rule by which event classes are named."""
    name = wire_name.removeprefix("response.")
    if wire_name == "error":
        return "ErrorEvent"
    camel = "".join(word.capitalize() for word in name.replace(".", "_").split("_"))
    return f"Response{camel}" if name in WHOLE_RESPONSE else camel


def by_wire_name(union: object) -> list[tuple[str, type[BaseModel]]]:
    return [(tag, model) for model in models(union) for tag in sorted(tags(model))]


STREAM = by_wire_name(sdk.ResponseStreamEvent)
WEBSOCKET = by_wire_name(ResponsesServerEvent)
INJECT = [(tag, m) for m in (BetaResponseInjectCreatedEvent, BetaResponseInjectFailedEvent) for tag in tags(m)]


def test_the_comparison_is_not_empty() -> None:
    assert len(STREAM) >= 59
    assert len(WEBSOCKET) >= 62
    assert len(INJECT) == 2


@pytest.mark.parametrize(("name", "event"), EVENTS.items())
def test_events_are_named_after_the_wire(name: str, event: type[Event]) -> None:
    assert event.__name__ == class_name(name)


@pytest.mark.parametrize(("name", "theirs"), [*STREAM, *WEBSOCKET, *INJECT])
def test_every_event_of_the_sdk_is_here_with_its_fields(name: str, theirs: type[BaseModel]) -> None:
    assert [gap for gap in gaps(theirs, EVENTS[name], name) if gap not in ALLOWED] == []


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [(sdk.ResponseOutputItem, OutputItem), (SdkAnnotation, Annotation)],
    ids=["items", "annotations"],
)
def test_unions_have_the_same_members(theirs: object, ours: object) -> None:
    assert {tag for tag, _ in by_wire_name(theirs)} == {tag for tag, _ in by_wire_name(ours)}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (sdk.ResponseOutputItem, OutputItem),
        (SdkAnnotation, Annotation),
        (sdk.ResponseOutputText, ContentPart),
        (sdk.ResponseOutputRefusal, ContentPart),
        (sdk.Response, Response),
        (sdk.ResponseUsage, Usage),
    ],
    ids=["items", "annotations", "text", "refusal", "response", "usage"],
)
def test_models_have_the_fields_of_the_sdk(theirs: object, ours: object) -> None:
    assert list(model_gaps(models(theirs), models(ours), "")) == []


def test_the_comparison_sees_a_gap() -> None:
    class TheirPart(BaseModel):
        type: Literal["new"]

    class Theirs(BaseModel):
        status: Literal["a", "b"]
        missing: str | None
        parts: list[Annotated[TheirPart, "note"]]

    class OurPart(BaseModel):
        type: Literal["old"]

    class Ours(BaseModel):
        status: Literal["a"] | None
        parts: list[OurPart]

    assert list(gaps(Theirs, Ours, "x")) == ["x.status = b", "x.missing", "x.parts: TheirPart"]

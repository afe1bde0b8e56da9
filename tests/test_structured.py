"""Structured output from end to end: asked for, parsed, and refused or cut off in every way."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, ValidationError
from typing_extensions import TypedDict

from streamkit import (
    Cancelled,
    Client,
    Completed,
    Disconnected,
    Dispatcher,
    Failed,
    Incomplete,
    InvalidOutput,
    Outcome,
    ParsedResponse,
    Response,
    ResponseCancelledError,
    ResponseIncompleteError,
    StreamRun,
    UsageError,
)
from streamkit.errors import ConnectionLost, ServerError
from streamkit.events import OutputTextDelta
from streamkit.partial_model import PartialModel
from streamkit.schema import output_type
from streamkit.structured import Conclusion, with_format
from streamkit.testing import CutAfterEvents, LocalServer, Script, ScriptedSource, encode_event
from streamkit.tools.tool import tool
from tests.answer.support import added, completed, created, delta, finished, message

pytestmark = pytest.mark.anyio


class Step(BaseModel):
    title: str
    minutes: int


class Recipe(BaseModel):
    name: str
    steps: list[Step]


@dataclass
class Point:
    x: int
    y: int


class Movie(TypedDict):
    name: str
    year: int


TEXT = '{"name": "Soup", "steps": [{"title": "cut", "minutes": 5}, {"title": "cook", "minutes": 20}]}'
RECIPE = Recipe.model_validate_json(TEXT)


def answering(text: str, end: Callable[[Script], None] = Script.complete) -> LocalServer:
    return LocalServer(scenario=lambda script: end(script.text(text)))


async def outcome_of(server: LocalServer) -> Outcome:
    async with (
        server,
        Client(base_url=server.url, retry=None) as client,
        client.stream(text_format=Recipe, model="m", input="x") as run,
    ):
        return await run.outcome()


FORMS: list[tuple[Any, object]] = [
    (Step, Step(title="example title", minutes=1)),
    (Point, Point(1, 1)),
    (Movie, {"name": "Ada", "year": 1}),
    (list[Step], [Step(title="example title", minutes=1)]),
    (int, 1),
    (Step | None, Step(title="example title", minutes=1)),
    (Annotated[int, Field(ge=7)], 7),
]


@pytest.mark.parametrize(("form", "value"), FORMS, ids=[str(form) for form, _ in FORMS])
async def test_every_form_is_asked_for_and_parsed(form: Any, value: object) -> None:
    async with LocalServer(scenario="structured-json") as server, Client(base_url=server.url) as client:
        response = await client.run(text_format=form, text={"verbosity": "low"}, model="m", input="x")
        body: Any = server.requests[0].body
    assert (response.parsed, response.partial, response.parse_error) == (value, None, None)
    assert body["text"] == {"verbosity": "low", "format": output_type(form).format()}


async def test_a_response_without_a_format_has_nothing_parsed() -> None:
    async with answering(TEXT) as server, Client(base_url=server.url) as client:
        response = await client.run(model="m", input="x")
    assert response.output_text == TEXT
    assert (response.parsed, response.partial, response.parse_error) == (None, None, None)


def test_a_format_is_given_once() -> None:
    output = output_type(Step)
    with pytest.raises(UsageError, match="give one of them"):
        with_format({"text": {"format": {"type": "text"}}}, output)
    with pytest.raises(UsageError, match="text must be an object"):
        with_format({"text": "short"}, output)
    assert with_format({"text": None}, output) == {"text": {"format": output.format()}}
    assert with_format({"text": "short"}, None) == {"text": "short"}


def test_a_type_that_no_answer_can_have_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(UsageError, match="additionalProperties"):
        Client(base_url="http://localhost").stream(text_format=dict[str, int], model="m", input="x")


NO_FIT = ["This is no JSON.", TEXT[:-3], '{"name": 1, "steps": []}', ""]


@pytest.mark.parametrize("text", NO_FIT)
async def test_an_answer_that_does_not_fit_is_one_error_that_the_handlers_have_seen(text: str) -> None:
    dispatcher, seen = Dispatcher(), []

    @dispatcher.on_completed
    def keep(response: Response) -> None:
        seen.append(response)

    async with answering(text) as server, Client(base_url=server.url) as client:
        with pytest.raises(InvalidOutput, match=r"^the answer does not fit Recipe: ") as caught:
            await client.run(dispatcher, text_format=Recipe, model="m", input="x")
    assert caught.value.text == text
    assert caught.value.response.output_text == text
    assert caught.value.response.usage is not None, "what was paid for it"
    assert isinstance(caught.value.error, ValidationError)
    assert caught.value.__cause__ is caught.value.error
    assert isinstance(seen[0], ParsedResponse)
    assert seen[0].parse_error is caught.value


@pytest.mark.parametrize("text", NO_FIT)
async def test_an_outcome_tells_of_it_and_raises_nothing(text: str) -> None:
    outcome = await outcome_of(answering(text))
    assert isinstance(outcome, Completed)
    assert isinstance(outcome.response, ParsedResponse)
    assert isinstance(outcome.response.parse_error, InvalidOutput)
    assert outcome.response.parsed is None


async def test_an_iteration_ends_with_the_error() -> None:
    async with (
        answering("This is no JSON.") as server,
        Client(base_url=server.url) as client,
        client.stream(text_format=Recipe, model="m", input="x") as run,
    ):
        with pytest.raises(InvalidOutput):
            assert [partial async for partial in run.partials(Recipe)] == []


def cut(script: Script) -> None:
    script.incomplete("max_output_tokens")


def fail(script: Script) -> None:
    script.fail("server_error", "down")


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (answering(TEXT[:60], cut), Incomplete),
        (answering(TEXT[:60], fail), Failed),
        (LocalServer(scenario=lambda script: script.text(TEXT[:60]), faults=[CutAfterEvents(10**6)]), Disconnected),
    ],
    ids=["incomplete", "failed", "disconnected"],
)
async def test_an_unfinished_answer_is_a_partial_value_and_no_error(server: LocalServer, expected: type) -> None:
    outcome = await outcome_of(server)
    assert type(outcome) is expected
    response = outcome.response
    assert isinstance(response, ParsedResponse)
    assert (response.parsed, response.parse_error) == (None, None)
    assert isinstance(response.partial, PartialModel)
    assert response.partial.name == "Soup"
    assert [step.minutes for step in response.partial.steps] == [5, None]  # type: ignore[attr-defined]


async def test_an_incomplete_answer_raises_what_any_incomplete_response_raises() -> None:
    async with answering(TEXT, cut) as server, Client(base_url=server.url) as client:
        with pytest.raises(ResponseIncompleteError) as caught:
            await client.run(text_format=Recipe, model="m", input="x")
    assert isinstance(caught.value.response, ParsedResponse)
    assert caught.value.response.parsed is None
    assert caught.value.response.partial == output_type(Recipe).partial(RECIPE.model_dump())


async def test_a_cancelled_run_has_what_came_until_then() -> None:
    async with (
        answering(TEXT) as server,
        Client(base_url=server.url) as client,
        client.stream(text_format=Recipe, model="m", input="x") as run,
    ):
        with pytest.raises(ResponseCancelledError):
            async for event in run.events(OutputTextDelta):
                if "Soup" in event.delta:
                    run.cancel()
        outcome = await run.outcome()
    assert isinstance(outcome, Cancelled)
    assert isinstance(outcome.response, ParsedResponse)
    assert outcome.response.partial is not None
    assert outcome.response.partial.name == "Soup"


@pytest.mark.parametrize(
    "outcome",
    [
        Failed(response=Response(), error=ServerError("no")),
        Disconnected(response=Response(), error=ConnectionLost("cut")),
        Cancelled(response=Response()),
        Incomplete(response=Response(output=[message("thinking", phase="commentary")]), reason="steered"),
    ],
)
def test_where_nothing_came_there_is_nothing_partial(outcome: Outcome) -> None:
    response = Conclusion(output_type(Recipe))(outcome).response
    assert isinstance(response, ParsedResponse)
    assert (response.parsed, response.partial, response.parse_error) == (None, None, None)


def test_what_a_server_sends_under_the_names_of_ours_gives_way() -> None:
    sent = Response.model_validate({"id": "resp_1", "parsed": 5, "parse_error": "x", "unknown": 3})
    concluded = Conclusion(None)(Completed(response=sent)).response
    assert isinstance(concluded, ParsedResponse)
    assert (concluded.parsed, concluded.parse_error, concluded.model_extra) == (None, None, {"unknown": 3})


async def test_a_refusal_is_no_error() -> None:
    async with LocalServer(scenario="refusal") as server, Client(base_url=server.url) as client:
        response = await client.run(text_format=Recipe, model="m", input="x")
    assert response.refusal == "I'm sorry, but I can't help with that."
    assert (response.parsed, response.partial, response.parse_error) == (None, None, None)


async def test_a_response_of_calls_alone_is_no_error() -> None:
    async with LocalServer(scenario="function-call") as server, Client(base_url=server.url) as client:
        response = await client.run(text_format=Recipe, model="m", input="x")
    assert response.function_calls
    assert (response.parsed, response.parse_error) == (None, None)


@pytest.mark.parametrize(("text", "parsed"), [("", None), ("\n\n", None), ("Let me see.", None), (TEXT, RECIPE)])
async def test_what_stands_beside_calls_is_parsed_only_where_it_fits(text: str, parsed: object) -> None:
    def scenario(script: Script) -> None:
        script.text(text).function_call("search", {}).complete()

    async with LocalServer(scenario=scenario) as server, Client(base_url=server.url) as client:
        response = await client.run(text_format=Recipe, model="m", input="x")
    assert [call.name for call in response.function_calls] == ["search"]
    assert (response.parsed, response.parse_error) == (parsed, None)


async def test_only_the_final_answer_is_parsed() -> None:
    thinking, answer = message("Let me see.", phase="commentary"), message(TEXT, phase="final_answer")
    events = [
        created(),
        added(message(phase="commentary")),
        delta("Let me see."),
        finished(thinking),
        added(message(phase="final_answer"), 1),
        delta(TEXT[:50], output=1),
        delta(TEXT[50:], output=1),
        finished(answer, 1),
        completed(thinking, answer),
    ]
    source = ScriptedSource([b"".join(map(encode_event, (event.model_dump(mode="json") for event in events)))])
    async with StreamRun(source, conclude=Conclusion(output_type(Recipe))) as run:
        partials = [partial async for partial in run.partials(Recipe)]
        outcome = await run.outcome()
    assert isinstance(outcome.response, ParsedResponse)
    assert outcome.response.parsed == RECIPE
    assert [partial.name for partial in partials] == ["Soup", "Soup"]
    assert partials[-1] == output_type(Recipe).partial(RECIPE.model_dump())


async def test_a_chat_is_asked_for_the_same() -> None:
    async with LocalServer(scenario="structured-json") as server, Client(base_url=server.url) as client:
        response = await client.run(text_format=Step, api="chat", model="m", input="x")
    assert response.parsed == Step(title="example title", minutes=1)


async def test_with_tools_the_last_response_is_parsed_and_elements_begin_anew_with_each() -> None:
    dispatcher, steps = Dispatcher(), list[object]()
    dispatcher.on_partial(Recipe, path="steps[*]")(steps.append)

    @tool
    def get_time() -> str:
        """Return the time."""
        return "noon"

    def answer(script: Script) -> None:
        if "function_call_output" in str(script.request):
            script.text(TEXT).complete()
        else:
            script.text('{"name": "Tea", "steps": [{"title": "wait", "minutes": 3}]}')
            script.function_call("get_time", {}).complete()

    async with LocalServer(scenario=answer) as server, Client(base_url=server.url) as client:
        response = await client.run(dispatcher, text_format=Recipe, tools=[get_time], model="m", input="x")
    assert response.parsed == RECIPE
    assert steps == [Step(title="wait", minutes=3), *RECIPE.steps]


async def test_partial_values_grow_to_the_whole_one() -> None:
    async with (
        answering(TEXT) as server,
        Client(base_url=server.url) as client,
        client.stream(text_format=Recipe, model="m", input="x") as run,
    ):
        partials = [partial async for partial in run.partials(Recipe)]
        response = await run.dispatch()
    assert len(partials) > 10
    assert all(before != after for before, after in pairwise(partials))
    assert partials[-1] == output_type(Recipe).partial(RECIPE.model_dump())
    assert response.parsed == RECIPE


async def test_the_answer_of_a_recording_is_parsed_too(tmp_path: Any) -> None:
    async with answering(TEXT) as server, Client(base_url=server.url) as client:
        await client.run(text_format=Recipe, model="m", input="x", record=tmp_path / "tape")
        async with client.replay(tmp_path / "tape", text_format=Recipe, model="m", input="x") as run:
            assert (await run.dispatch()).parsed == RECIPE


async def test_the_answer_of_a_resumed_response_is_parsed_too() -> None:
    async with answering(TEXT) as server, Client(base_url=server.url) as client:
        whole = await client.run(text_format=Recipe, model="m", input="x", background=True, store=True)
        assert whole.id is not None
        async with client.resume(whole.id, after=5, text_format=Recipe) as run:
            partials = [partial async for partial in run.partials(Recipe)]
            assert (await run.dispatch()).parsed == RECIPE
    assert partials[-1] == output_type(Recipe).partial(RECIPE.model_dump())


async def test_partials_of_a_type_that_no_answer_has_are_refused() -> None:
    async with Client(base_url="http://localhost") as client, client.stream(model="m") as run:
        with pytest.raises(UsageError):
            run.partials(dict[str, int])

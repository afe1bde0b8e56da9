"""Functions as tools: what the API is told, and how a call reaches them."""

import asyncio
import dataclasses
import json
import threading
from collections.abc import Coroutine
from contextvars import ContextVar
from datetime import date
from typing import Annotated, Any, Literal

import anyio
import pytest
from pydantic import BaseModel, Field, ValidationError

from streamkit.context import Run
from streamkit.errors import UsageError
from streamkit.testing.schemas import example_of
from streamkit.tools.tool import MAX_ERRORS, Grammar, InvalidArguments, custom_tool, tool
from tests.dispatch.support import StillRun

pytestmark = pytest.mark.anyio

RUN = StillRun()


class Place(BaseModel):
    city: str
    country: str | None = None


@dataclasses.dataclass
class Forecast:
    place: Place
    on: date


@tool
async def get_weather(
    place: Place, days: Annotated[int, Field(ge=1)] = 3, unit: Literal["c", "f"] | None = None, *, run: Run
) -> str:
    """Look up the weather.

    Args:
        place: where
        days: how many
    """
    assert run is RUN
    return f"{place.city}: {days} days in {unit}"


@tool(name="add-up", description="Add.", timeout=5)
def add(json: int, schema: int, _secret: int = 0) -> int:
    return json + schema + _secret


def test_the_definition_is_an_element_of_the_tools_of_a_request() -> None:
    assert get_weather.definition() == {
        "type": "function",
        "name": "get_weather",
        "description": "Look up the weather.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {
                "place": {
                    "type": "object",
                    "description": "where",
                    "properties": {
                        "city": {"type": "string"},
                        "country": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    },
                    "required": ["city", "country"],
                    "additionalProperties": False,
                },
                "days": {"description": "how many", "anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
                "unit": {"anyOf": [{"type": "string", "enum": ["c", "f"]}, {"type": "null"}]},
            },
            "required": ["place", "days", "unit"],
            "additionalProperties": False,
        },
    }


def test_name_and_description_can_be_given() -> None:
    definition = add.definition()
    assert (definition["name"], definition["description"], add.timeout) == ("add-up", "Add.", 5)
    assert list(add.parameters["properties"]) == ["json", "schema", "_secret"]
    assert repr(add) == "<Tool add-up>"


def test_a_tool_without_a_docstring_has_no_description() -> None:
    assert "description" not in tool(lambda: None, name="nothing").definition()


async def test_a_tool_is_still_its_function() -> None:
    assert add(1, schema=2) == 3
    assert await get_weather(Place(city="Paris"), run=RUN) == "Paris: 3 days in None"


CALLS: dict[str, tuple[dict[str, object], str]] = {
    "all given": ({"place": {"city": "Paris", "country": "FR"}, "days": 1, "unit": "c"}, "Paris: 1 days in c"),
    "null for a default": ({"place": {"city": "Paris"}, "days": None, "unit": None}, "Paris: 3 days in None"),
    "a default left out": ({"place": {"city": "Paris"}}, "Paris: 3 days in None"),
}


@pytest.mark.parametrize(("arguments", "result"), CALLS.values(), ids=CALLS.keys())
async def test_a_call_of_the_model_reaches_the_function(arguments: dict[str, object], result: str) -> None:
    assert await get_weather.call(json.dumps(arguments), RUN) == result


async def test_what_fits_the_schema_can_be_called() -> None:
    assert await add.call(json.dumps(example_of(add.parameters)), RUN)
    assert await get_weather.call(json.dumps(example_of(get_weather.parameters)), RUN)


def test_no_text_at_all_means_no_arguments() -> None:
    assert tool(lambda: None, name="nothing").bind("", RUN) == {}


def test_null_is_passed_where_there_is_no_default() -> None:
    def search(text: str | None) -> None: ...

    assert tool(search).bind('{"text":null}', RUN) == {"text": None}


INVALID: dict[str, tuple[str, str]] = {
    "nothing": ("", "place: Field required"),
    "no JSON": ('{"pl', "Invalid JSON: EOF while parsing"),
    "no object": ("[1]", "Input should be an object"),
    "one wrong, one unknown": (
        '{"place":{"city":1},"town":2}',
        "place.city: Input should be a valid string; town: Extra inputs are not permitted",
    ),
    "out of bounds": ('{"place":{"city":"Paris"},"days":0}', "days: Input should be greater than or equal to 1"),
}


@pytest.mark.parametrize(("arguments", "fault"), INVALID.values(), ids=INVALID.keys())
async def test_wrong_arguments_are_told_so_that_the_model_can_correct_them(arguments: str, fault: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        await get_weather.call(arguments, RUN)
    assert str(caught.value).startswith(f"the arguments do not fit get_weather: {fault}")
    assert (caught.value.tool, caught.value.arguments) == ("get_weather", arguments)
    assert isinstance(caught.value.__cause__, ValidationError)


def test_a_model_is_not_told_of_faults_without_end() -> None:
    with pytest.raises(InvalidArguments, match=r"; and 90 more$") as caught:
        add.bind(json.dumps({f"x{number}": 1 for number in range(100 - 2)}), RUN)
    assert str(caught.value).count(";") == MAX_ERRORS


VISITOR: ContextVar[str] = ContextVar("VISITOR")


async def test_a_plain_function_runs_in_a_thread_and_sees_the_context() -> None:
    VISITOR.set("Ada")

    @tool
    def whereabouts() -> tuple[bool, str]:
        return threading.current_thread() is threading.main_thread(), VISITOR.get()

    assert await whereabouts.call("{}", RUN) == (False, "Ada")


async def test_a_coroutine_function_runs_in_the_loop() -> None:
    @tool
    async def whereabouts() -> object:
        return asyncio.current_task()

    assert await whereabouts.call("{}", RUN) is asyncio.current_task()


async def test_what_a_plain_function_returns_to_be_awaited_is_awaited() -> None:
    async def later() -> str:
        return "result"

    def promise() -> Coroutine[Any, Any, str]:
        return later()

    assert await tool(promise).call("{}", RUN) == "result"


async def test_a_methods_instance_is_there() -> None:
    class Counter:
        count = 0

        async def add(self, number: int) -> int:
            self.count += number
            return self.count

    counting = tool(Counter().add)
    assert [await counting.call('{"number":2}', RUN) for _ in range(2)] == [2, 4]


async def test_what_the_function_raises_comes_out_unchanged() -> None:
    error = KeyError("Paris")

    @tool
    def fail() -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        await fail.call("{}", RUN)
    assert caught.value is error


async def test_a_coroutine_that_takes_too_long_is_cancelled() -> None:
    @tool(timeout=0.01)
    async def wait() -> None:
        await anyio.sleep_forever()

    with pytest.raises(TimeoutError):
        await wait.call("{}", RUN)


async def test_nobody_waits_for_a_thread_that_takes_too_long() -> None:
    go_on = threading.Event()
    try:
        with pytest.raises(TimeoutError):
            await tool(lambda: go_on.wait(30), name="wait", timeout=0.01).call("{}", RUN)
    finally:
        go_on.set()


RENDERED: dict[str, tuple[object, str]] = {
    "text": ("sunny", "sunny"),
    "nothing": (None, "null"),
    "a number": (1.5, "1.5"),
    "a model": (Place(city="Paris"), '{"city":"Paris","country":null}'),
    "a dataclass": (
        Forecast(Place(city="Zürich"), date(2026, 1, 31)),
        '{"place":{"city":"Zürich","country":null},"on":"2026-01-31"}',
    ),
    "plain data": ({"days": [1, {2}]}, '{"days":[1,[2]]}'),
}


@pytest.mark.parametrize(("result", "text"), RENDERED.values(), ids=RENDERED.keys())
def test_a_result_is_rendered_as_text_or_json(result: object, text: str) -> None:
    assert add.render(result) == text


def test_a_result_that_is_no_json_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"tool add-up returned what is not JSON .*; return text, a model or plain data"
    ):
        add.render(object())


def nothing() -> None: ...
def with_a_dict(values: dict[str, int]) -> None: ...
def with_an_exception(error: ValueError) -> None: ...


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a name of none": (lambda: None, {}, "a tool cannot be called '<lambda>': pass a name"),
    "a long name": (nothing, {"name": "a" * 65}, "of at most 64 letters"),
    "no time": (nothing, {"timeout": 0}, "timeout of tool nothing must be more than 0 seconds, not 0"),
    "a type that strict mode lacks": (with_a_dict, {}, "^with_a_dict.values: the strict mode"),
    "a type that JSON lacks": (with_an_exception, {}, "^tool with_an_exception: "),
}


@pytest.mark.parametrize(("function", "options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_a_tool_is_refused(function: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        tool(function, **options)


@custom_tool
async def run_query(text: str, run: Run) -> str:
    """Run a query."""
    assert run is RUN
    return text.upper()


async def test_a_custom_tool_takes_the_text_as_it_is() -> None:
    assert run_query.definition() == {"type": "custom", "name": "run_query", "description": "Run a query."}
    assert await run_query.call('{"select', RUN) == '{"SELECT'
    assert await run_query("x", RUN) == "X"


def test_the_text_for_a_custom_tool_can_follow_a_grammar() -> None:
    @custom_tool(name="letters", grammar=Grammar("regex", "[a-z]+"), timeout=1)
    def spell(text: str) -> str:
        return text

    expected = {"type": "grammar", "syntax": "regex", "definition": "[a-z]+"}
    assert (spell.definition()["format"], spell.timeout) == (expected, 1)


@pytest.mark.parametrize("function", [nothing, with_a_dict, lambda text: text], ids=["none", "dict", "unannotated"])
def test_a_custom_tool_takes_one_text(function: Any) -> None:
    with pytest.raises(UsageError):
        custom_tool(function, name="custom")

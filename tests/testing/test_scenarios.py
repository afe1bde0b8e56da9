"""The named scenarios: every one keeps the laws of a stream, fits the official models, and shows what it promises."""

import base64
import json
import zlib
from collections.abc import Iterable
from typing import Any

import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from streamkit.errors import UsageError
from streamkit.testing.scenarios import SCENARIOS, lookup, play
from tests.testing.laws import LAWS, TERMINAL

OFFICIAL = TypeAdapter[Any](ResponseStreamEvent)

WEATHER = {
    "type": "function",
    "name": "look_up_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}},
        "required": ["city", "days"],
    },
}
TIME = {"type": "function", "name": "tell_time", "parameters": None}
PADDED = {"model": "gpt-5", "input": "Hi", "stream_options": {"include_obfuscation": True}}
ASKED = {"model": "gpt-5", "input": [{"role": "user", "content": "What is the weather?"}], "tools": [WEATHER, TIME]}
ANSWERED = {
    "input": [
        {"role": "user", "content": "What is the weather?"},
        {"type": "function_call", "call_id": "call_1", "name": "look_up_weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "12 degrees and rain"},
    ]
}
REQUESTS = {
    "none": {},
    "in the background": {"background": True},
    "padded": PADDED,
    "with tools": ASKED,
    "with outputs": ANSWERED,
}


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def output(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return events[-1]["response"]["output"]


def message(events: list[dict[str, Any]]) -> str:
    return output(events)[-1]["content"][0]["text"]


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_laws(name: str, request_name: str) -> None:
    for law in LAWS:
        law(play(name, REQUESTS[request_name]))


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_event_fits_the_official_model(name: str) -> None:
    for event in play(name, ASKED):
        if "error" not in event:  # the official model of errors knows only the flat shape
            OFFICIAL.validate_python(event)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_says_what_it_shows(name: str) -> None:
    assert (SCENARIOS[name].__doc__ or "").strip()


@pytest.mark.parametrize(
    ("name", "ending"),
    [(name, "response.completed") for name in SCENARIOS if not name.startswith(("error", "failed", "inc", "content"))]
    + [
        ("incomplete", "response.incomplete"),
        ("content-filter", "response.incomplete"),
        ("failed", "response.failed"),
        ("error-nested", "error"),
        ("error-flat", "error"),
    ],
)
def test_endings(name: str, ending: str) -> None:
    assert types(play(name))[-1] == ending


def test_playing_twice_gives_the_same() -> None:
    assert all(play(name, ASKED) == play(name, ASKED) for name in SCENARIOS)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("txt", "did you mean 'text'"), ("web_search", "did you mean 'web-search'"), ("", "there are: text, long-text")],
)
def test_an_unknown_name_is_answered_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        lookup(name)


def test_a_function_is_a_scenario_too() -> None:
    events = play(lambda script: script.text("Mine.").complete())
    assert message(events) == "Mine."


@pytest.mark.parametrize(
    "given",
    ["Bonjour", [{"role": "user", "content": "Bonjour"}], [{"role": "user", "content": [{"text": "Bonjour"}]}]],
)
def test_text_takes_up_the_prompt(given: object) -> None:
    assert "“Bonjour”" in message(play("text", {"input": given}))


@pytest.mark.parametrize("given", [None, 5, [], [3, "x"], [{"role": "user"}], [{"role": "user", "content": [None]}]])
def test_text_copes_with_any_input(given: object) -> None:
    assert message(play("text", {"input": given})).startswith("Hello!")


def test_text_quotes_no_more_than_the_start_of_a_long_prompt() -> None:
    assert len(message(play("text", {"input": "long " * 1_000}))) < 500


def test_long_text_has_a_few_hundred_words() -> None:
    assert 200 < len(message(play("long-text")).split()) < 600


@pytest.mark.parametrize("counts", [range(1, 400), [5_003, 12_345, 20_000], ["1", "250"]], ids=str)
def test_long_text_has_the_tokens_that_were_asked_for(counts: Iterable[int | str]) -> None:
    for tokens in counts:
        events = play("long-text", {"metadata": {"tokens": tokens}})
        assert types(events).count("response.output_text.delta") == int(tokens)


@pytest.mark.parametrize("tokens", ["0", "-1", "many", "1000001", "", "1.5", True])
def test_long_text_refuses_a_senseless_number_of_tokens(tokens: object) -> None:
    with pytest.raises(UsageError, match=r"metadata\.tokens"):
        play("long-text", {"metadata": {"tokens": tokens}})


def test_reasoning_has_summary_parts_and_then_text() -> None:
    thought, answer = output(play("reasoning"))
    assert (thought["type"], len(thought["summary"]), answer["type"]) == ("reasoning", 2, "message")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"ok": {"type": "boolean"}}}, {"ok": True}),
        (None, {"answer": "forty-two", "confidence": 0.9, "sources": ["a local server"]}),
    ],
)
def test_structured_json_follows_the_format(schema: object, value: object) -> None:
    request = {"text": {"format": {"type": "json_schema", "name": "x", "schema": schema}}}
    assert json.loads(message(play("structured-json", request))) == value


def test_refusal_completes() -> None:
    events = play("refusal")
    assert output(events)[0]["content"] == [{"type": "refusal", "refusal": "I'm sorry, but I can't help with that."}]


def test_web_search_cites_what_its_indexes_point_at() -> None:
    search, answer = output(play("web-search", {"input": "Who reads streams?"}))
    assert search["action"]["query"] == "Who reads streams?"
    (part,) = answer["content"]
    cited = [part["text"][one["start_index"] : one["end_index"]] for one in part["annotations"]]
    assert cited == [f"([{one['title']}]({one['url']}))" for one in part["annotations"]]
    assert len(cited) == 2


def test_mcp_lists_calls_and_answers() -> None:
    listed, call, answer = output(play("mcp", {"tools": [{"type": "mcp", "server_label": "casino"}]}))
    assert (listed["server_label"], call["server_label"], answer["type"]) == ("casino", "casino", "message")
    assert call["name"] in [tool["name"] for tool in listed["tools"]]


@pytest.mark.parametrize(
    ("include", "outputs"),
    [(None, None), (["code_interpreter_call.outputs"], [{"type": "logs", "logs": "3628800\n"}])],
)
def test_code_interpreter_shows_its_outputs_when_asked(include: object, outputs: object) -> None:
    run, _ = output(play("code-interpreter", {"include": include}))
    assert run["outputs"] == outputs
    compile(run["code"], "code", "exec")


def test_images_are_real() -> None:
    events = play("image")
    partial = [event["partial_image_b64"] for event in events if "partial_image_b64" in event]
    images = [*partial, output(events)[0]["result"]]
    assert len(set(images)) == 3
    for image in images:
        data = base64.b64decode(image)
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        body = data[data.index(b"IDAT") + 4 : data.index(b"IEND") - 8]
        assert len(zlib.decompress(body)) == 8 * (1 + 8 * 3)


@pytest.mark.parametrize(("limit", "deltas"), [(None, 16), (5, 5)])
def test_incomplete_stops_at_the_limit(limit: int | None, deltas: int) -> None:
    events = play("incomplete", {"max_output_tokens": limit})
    assert types(events).count("response.output_text.delta") == deltas
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.parametrize("limit", [1, 4, None])
def test_incomplete_json_is_cut_before_its_end(limit: int | None) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    text_format = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
    cut = message(play("incomplete", {"max_output_tokens": limit, "text": text_format}))
    assert '{"city":"Paris"}'.startswith(cut)
    assert cut not in ("", '{"city":"Paris"}')


def test_content_filter_says_so() -> None:
    assert play("content-filter")[-1]["response"]["incomplete_details"] == {"reason": "content_filter"}


def test_failed_tells_one_failure_twice() -> None:
    *_, error, failed = play("failed")
    told = failed["response"]["error"]
    assert {name: error["error"][name] for name in told} == told
    assert failed["response"]["usage"] is None


@pytest.mark.parametrize(("name", "nested"), [("error-nested", True), ("error-flat", False)])
def test_errors_come_in_two_shapes_and_end_the_stream(name: str, nested: bool) -> None:
    events = play(name)
    assert ("error" in events[-1]) is nested
    assert not TERMINAL.intersection(types(events))

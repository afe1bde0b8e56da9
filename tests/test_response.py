"""The response as a whole: what servers leave out or write oddly, and the shortcuts to its contents."""

import pytest
from pydantic import JsonValue

from streamkit.items import FunctionCall, Message, OutputText, Reasoning, ReasoningText, Refusal, UnknownItem
from streamkit.response import ErrorDetail, IncompleteDetails, Response, Usage


def test_nothing_is_required() -> None:
    response = Response.model_validate_json("{}")
    assert response.output == []
    assert (response.id, response.status, response.usage, response.error) == (None, None, None, None)


@pytest.mark.parametrize(
    "data",
    [
        {"output": None},
        {"status": "from the future", "service_tier": "platinum"},
        {"tools": None, "tool_choice": {"type": "function"}},
        {"tools": [{"type": "hologram"}], "tool_choice": "auto"},
        {"tools": {"not": "a list"}, "tool_choice": ["odd"]},
        {"instructions": [{"role": "system", "content": "x"}], "conversation": "conv_1", "prompt": []},
        {"usage": {}, "error": {}, "incomplete_details": {}, "moderation": {}},
        {"usage": {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 0}, "cost": 0.5}},
    ],
)
def test_what_servers_vary_in_does_not_fail(data: dict[str, JsonValue]) -> None:
    Response.model_validate(data)


def test_an_unknown_item_keeps_its_place_in_the_output() -> None:
    response = Response.model_validate({"output": [{"type": "message"}, {"type": "hologram_call", "id": "h"}]})
    assert response.output == [Message(), UnknownItem(type="hologram_call", id="h")]


def test_usage_keeps_the_numbers() -> None:
    usage = Usage.model_validate(
        {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 5},
            "total_tokens": 17,
        }
    )
    assert usage.total_tokens == 17
    assert usage.input_tokens_details is not None
    assert (usage.input_tokens_details.cached_tokens, usage.input_tokens_details.cache_write_tokens) == (4, 2)
    assert usage.output_tokens_details is not None
    assert usage.output_tokens_details.reasoning_tokens == 5


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": "server_error", "message": "no"}, ErrorDetail(code="server_error", message="no")),
        ({"code": 429, "message": None}, ErrorDetail(code=429)),
        ({"code": 4.5}, ErrorDetail(code="4.5")),
        ({"message": 7, "param": ["x"]}, ErrorDetail(message="7", param="['x']")),
        ({"headers": {"retry-after": 2, "x": None}}, ErrorDetail(headers={"retry-after": "2"})),
        ({"headers": "none"}, ErrorDetail()),
        ("out of order", ErrorDetail(message="out of order")),
        (["a", "b"], ErrorDetail(message="['a', 'b']")),
        (ErrorDetail(code="x"), ErrorDetail(code="x")),
    ],
)
def test_an_error_is_told_however_it_is_written(error: object, expected: ErrorDetail) -> None:
    detail = Response.model_validate({"error": error}).error
    assert detail is not None
    assert detail.model_dump(exclude_none=True) == expected.model_dump(exclude_none=True)


def test_the_reason_of_an_incomplete_response_is_open() -> None:
    response = Response.model_validate({"incomplete_details": {"reason": "max_tokens"}})
    assert response.incomplete_details == IncompleteDetails(reason="max_tokens")


def test_a_moderation_may_be_an_error() -> None:
    moderation = Response.model_validate(
        {
            "moderation": {
                "input": {"type": "moderation_result", "flagged": True, "categories": {"violence": True}},
                "output": {"type": "error", "code": "timeout", "message": "late"},
            }
        }
    ).moderation
    assert moderation is not None
    assert moderation.input is not None
    assert moderation.input.flagged is True
    assert moderation.output is not None
    assert moderation.output.code == "timeout"


def test_output_text_joins_the_text_of_messages_only() -> None:
    response = Response(
        output=[
            Reasoning(content=[ReasoningText(text="hm")]),
            Message(content=[OutputText(text="a"), Refusal(refusal="no"), OutputText(text="b")]),
            UnknownItem(type="hologram_call"),
            Message(content=[OutputText(text="c")]),
        ]
    )
    assert response.output_text == "abc"
    assert response.refusal == "no"


def test_output_text_is_computed_even_where_a_server_sends_one() -> None:
    response = Response.model_validate({"output_text": "sent", "output": []})
    assert response.output_text == ""
    assert response.model_extra == {"output_text": "sent"}


def test_without_a_refusal_there_is_none() -> None:
    assert Response(output=[Message(content=[OutputText(text="yes")])]).refusal is None


def test_function_calls_come_in_the_order_of_the_output() -> None:
    first, second = FunctionCall(name="first"), FunctionCall(name="second")
    assert Response(output=[first, Message(), second]).function_calls == [first, second]


def test_a_response_survives_a_round_trip() -> None:
    text = '{"id":"r","output":[{"type":"message","content":[{"type":"output_text","text":"é"}]}],"new":[1]}'
    assert Response.model_validate_json(text).model_dump_json(exclude_unset=True) == text

"""The APIs: how a request to each is written, and which one an address or a name stands for."""

import json
from typing import Any, cast

import pytest

from streamkit.api import CHAT, RESPONSES, Api, api_at, api_named, json_body
from streamkit.chat import ChatDecoder
from streamkit.context import ApiName
from streamkit.errors import InvalidEventError, UsageError
from streamkit.items import Message, OutputText
from tests.chat.support import HEAD, frame

SAID = Message(role="assistant", content=[OutputText(text="Hi")])


@pytest.mark.parametrize("api", [RESPONSES, CHAT], ids=lambda api: api.name)
def test_every_request_streams(api: Api) -> None:
    assert json.loads(api.body({"model": "m", "input": "Hi"}))["stream"] is True
    with pytest.raises(UsageError, match="always streams"):
        api.body({"model": "m", "input": "Hi", "stream": False})


def test_the_same_request_in_the_words_of_each() -> None:
    request: dict[str, Any] = {"input": [SAID], "max_output_tokens": 9}
    said = {"type": "message", "role": "assistant"}
    responses = json.loads(RESPONSES.body(request))
    assert responses["input"][0].items() >= said.items()
    assert responses["max_output_tokens"] == 9
    chat = json.loads(CHAT.body(request))
    assert (chat["messages"], chat["max_completion_tokens"]) == ([{"role": "assistant", "content": "Hi"}], 9)


@pytest.mark.parametrize("api", [RESPONSES, CHAT], ids=lambda api: api.name)
def test_an_api_is_known_by_its_name_and_its_address(api: Api) -> None:
    assert api_named(api.name) is api
    for base in ("https://api.openai.com/v1", "http://127.0.0.1:8000"):
        assert api_at(f"{base}/{api.path}") is api_at(f"{base}/{api.path}?api-version=1") is api


@pytest.mark.parametrize(
    "address", ["", "***", "https://h/v1/responses/resp_1?stream=true", "https://h/v1/completions"]
)
def test_an_address_that_does_not_tell_stands_for_responses(address: str) -> None:
    assert api_at(address) is RESPONSES


def test_no_other_name_is_known() -> None:
    with pytest.raises(UsageError, match="api must be 'responses' or 'chat', not 'completions'"):
        api_named(cast("ApiName", "completions"))


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be written as JSON"):
        json_body({"model": object()})


def test_only_the_strict_translator_refuses_what_fits_no_model() -> None:
    bad = frame({**HEAD, "choices": [{"index": 0, "delta": {"content": 5}}]})
    assert RESPONSES.translator is RESPONSES.strict_translator is None
    assert CHAT.translator is ChatDecoder
    assert CHAT.strict_translator is not None
    assert [event.type for event in ChatDecoder().feed(bad)] == ["chat.completion.chunk"]
    with pytest.raises(InvalidEventError, match=r"delta\.content"):
        CHAT.strict_translator().feed(bad)

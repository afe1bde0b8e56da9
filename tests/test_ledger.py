"""The ledger: each call id once, in order, and as text."""

import pytest

from streamkit import Ledger, ToolCall, UsageError

PARIS = ToolCall(call_id="call_1", name="get_weather", arguments='{"city":"Paris"}', started=1.5)
TOKYO = ToolCall(call_id="call_2", name="get_weather", arguments='{"city":"Tokyo"}', round=2)


def test_a_call_is_noted_once_and_where_it_began() -> None:
    ledger = Ledger([PARIS, TOKYO])
    ended = ToolCall(call_id="call_1", name="get_weather", arguments="{}", status="succeeded", output="20", ended=2.5)
    ledger.write(ended)
    assert list(ledger) == [ended, TOKYO]
    assert (ledger[1], ledger[:1], len(ledger)) == (TOKYO, (ended,), 2)
    assert (ledger.get("call_1"), ledger.get("call_3")) == (ended, None)


def test_a_ledger_survives_as_text() -> None:
    assert list(Ledger.from_json(Ledger([PARIS, TOKYO]).to_json())) == [PARIS, TOKYO]


@pytest.mark.parametrize("text", ["", "{}", '[{"call_id": 7}]', '[{"call_id": "a", "name": "b", "arguments": 1}]'])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no ledger"):
        Ledger.from_json(text)

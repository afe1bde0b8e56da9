"""The script builder: what it writes is a valid stream, and it stops when the stream has ended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.errors import UsageError
from streamkit.testing.script import Script, numbered_ids, tokenise
from tests.testing.laws import LAWS

STEPS = {
    "text": lambda script, text: script.text(text),
    "refusal": lambda script, text: script.refusal(text),
    "reasoning": lambda script, text: script.reasoning(text, text),
    "silent reasoning": lambda script, text: script.reasoning(),
    "function_call": lambda script, text: script.function_call("look_up", {"query": text}),
    "function_call with broken arguments": lambda script, text: script.function_call("look_up", '{"query":'),
    "web_search": lambda script, text: script.web_search(text),
    "mcp_call": lambda script, text: script.mcp_call("label", "tool", {"query": text}, "found"),
    "code_interpreter": lambda script, text: script.code_interpreter(text),
    "image": lambda script, text: script.image("AAAA", partial_images=["AA==", "AAA="]),
}


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(tokenise(text)) == text


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("Hello, world!", ["Hello", ",", " world", "!"]),
        ("a  b\n\nc ", ["a", " ", " b", "\n", "\nc", " "]),
        ('{"city":"Paris"}', ['{"', "city", '":"', "Paris", '"}']),
        ("x" * 30, ["x" * 12, "x" * 12, "x" * 6]),
    ],
)
def test_tokens_are_word_like(text: str, tokens: list[str]) -> None:
    assert tokenise(text) == tokens


@given(steps=st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.text(min_size=1, max_size=30)), max_size=5))
def test_any_sequence_of_items_keeps_the_laws(steps: list[tuple[str, str]]) -> None:
    script = Script()
    for name, text in steps:
        STEPS[name](script, text)
    script.complete()
    for law in LAWS:
        law(script.events)


def test_equal_scripts_give_equal_events() -> None:
    def written() -> Script:
        script = Script({"model": "m", "input": "Hi"})
        script.reasoning("Why?").text("Because.").complete()
        return script

    assert written().events == written().events


def test_ids_come_from_the_source_that_was_given() -> None:
    script = Script(make_id=lambda prefix: f"{prefix}_mine", created_at=7)
    script.text("Hi").complete()
    response = script.events[-1]["response"]
    assert (response["id"], response["output"][0]["id"], response["created_at"]) == ("resp_mine", "msg_mine", 7)


def test_numbered_ids_differ() -> None:
    make_id = numbered_ids()
    assert make_id("msg") == "msg_00000000000000000000000000000001"
    assert make_id("msg") == "msg_00000000000000000000000000000002"


@pytest.mark.parametrize(
    "end",
    [
        lambda script: script.complete(),
        lambda script: script.incomplete("max_output_tokens"),
        lambda script: script.fail("server_error", "no"),
    ],
)
def test_nothing_follows_the_end(end) -> None:
    script = Script()
    end(script)
    before = list(script.events)
    with pytest.raises(UsageError, match="has ended"):
        script.text("one more thing")
    assert script.events == before


def test_the_response_repeats_the_settings_of_the_request() -> None:
    request = {"model": "mine", "temperature": 0.1, "metadata": {"a": "b"}, "instructions": None, "input": "Hi"}
    response = Script(request).events[0]["response"]
    assert {name: response[name] for name in ("model", "temperature", "metadata")} == {
        "model": "mine",
        "temperature": 0.1,
        "metadata": {"a": "b"},
    }
    assert (response["instructions"], response["truncation"]) == (None, "disabled")


def test_usage_counts_the_prompt() -> None:
    script = Script({"input": "Hello, world!"})
    script.text("Hi there.").complete()
    usage = script.events[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (4, 3, 7)


def test_a_cut_message_is_incomplete_as_its_response_is() -> None:
    script = Script()
    script.text("cut o", status="incomplete").incomplete("max_output_tokens")
    response = script.events[-1]["response"]
    assert response["status"] == response["output"][0]["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.parametrize("asked", [True, False, None])
def test_deltas_are_padded_only_when_the_request_says_so(asked: bool | None) -> None:
    script = Script({"stream_options": {"include_obfuscation": asked}})
    script.reasoning("Thinking about it.").text("Here you are.").function_call("f", {"a": 1}).refusal("No.")
    deltas = [event for event in script.events if event["type"].endswith(".delta")]
    padded = [event for event in deltas if "obfuscation" in event]
    assert len(padded) == (sum(event["type"] != "response.refusal.delta" for event in deltas) if asked else 0)
    assert all((len(event["delta"]) + len(event["obfuscation"])) % 16 == 0 for event in padded)


def test_a_made_up_event_takes_its_place_in_the_sequence() -> None:
    script = Script()
    script.event("keepalive").event("vendor:thing", weight=3).complete()
    assert [(event["type"], event["sequence_number"]) for event in script.events[2:]] == [
        ("keepalive", 2),
        ("vendor:thing", 3),
        ("response.completed", 4),
    ]
    assert script.events[3]["weight"] == 3


@pytest.mark.parametrize(
    ("write", "fields"),
    [
        (
            lambda script: script.error("overloaded", "Busy."),
            {"error": {"type": "server_error", "code": "overloaded", "message": "Busy.", "param": None}},
        ),
        (
            lambda script: script.flat_error("overloaded", "Busy."),
            {"code": "overloaded", "message": "Busy.", "param": None},
        ),
    ],
)
def test_errors_have_their_two_shapes(write, fields: dict[str, object]) -> None:
    script = Script()
    write(script)
    assert script.events[-1] == {"type": "error", "sequence_number": 2, **fields}

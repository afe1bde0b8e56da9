"""Where texts stand: whatever carries one is checked, and tells nothing that was removed from it."""

import pytest

from streamkit import events as ev
from streamkit.events import Event
from streamkit.items import Logprob, Message
from streamkit.response import Response
from streamkit.stages.moderation import Moderate, OnFlag
from streamkit.testing.builders import (
    arguments_done,
    completed,
    created,
    item_added,
    item_done,
    refusal_done,
    text_done,
)
from tests.stages.moderated import forbidding, leaked, message_stream, moderated

pytestmark = pytest.mark.anyio

UNKNOWN = ev.UnknownEvent(type="vendor:text", data={"type": "vendor:text", "parts": [{"text": "so bad"}], "n": 1})
INVALID = ev.InvalidEvent(type="response.output_text.delta", raw=b'{"delta": "so bad"', error="not JSON")
INVALID_END = ev.InvalidEvent(
    type="response.completed", raw=b"so bad", error="odd", data={"response": {"output": [], "note": ["so bad"]}}
)
MESSAGE = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "so bad"}]}
CARRIERS: dict[str, Event] = {
    "text done": text_done("so bad"),
    "with tokens": ev.OutputTextDelta(delta="so bad", output_index=0, content_index=0, logprobs=[Logprob(token="bad")]),
    "refusal done": refusal_done("so bad"),
    "arguments done": arguments_done('{"so": "bad"}'),
    "item added": item_added(Message.model_validate(MESSAGE)),
    "item done": item_done(Message.model_validate(MESSAGE)),
    "completed": completed("so bad"),
    "in progress": ev.ResponseInProgress(response=Response.model_validate({"output": [MESSAGE]})),
    "unknown event": UNKNOWN,
    "invalid event": INVALID,
    "invalid end": INVALID_END,
    "transcript": ev.AudioTranscriptDelta(delta="so bad"),
    "fields of the server's own": ev.OutputItemDone.model_validate(
        {"item": {**MESSAGE, "output_text": "so bad"}, "output_index": 0, "whole": "so bad"}
    ),
    "a call's fields of the server's own": ev.OutputItemDone.model_validate(
        {"item": {"type": "function_call", "arguments": '"bad"', "parsed": "bad"}, "output_index": 0}
    ),
    "a done text's fields of the server's own": ev.OutputTextDone.model_validate(
        {"text": "so bad", "output_index": 0, "content_index": 0, "tokens": ["so", "bad"]}
    ),
    "in progress, with fields of the server's own": ev.ResponseInProgress.model_validate(
        {"response": {"output": [MESSAGE], "output_text": "so bad"}}
    ),
    **{
        name: ev.ContentPartDone.model_validate({"output_index": 0, "content_index": 0, "part": part})
        for name, part in {
            "part done": {"type": "output_text", "text": "so bad", "annotations": [{"type": "x", "quote": "so bad"}]},
            "refusal part": {"type": "refusal", "refusal": "so bad"},
            "unknown part": {"type": "vendor", "words": "so bad"},
        }.items()
    },
    **{
        item["type"]: ev.OutputItemDone.model_validate({"output_index": 0, "item": {"id": "i", **item}})
        for item in [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "so bad"}]},
            {"type": "function_call", "arguments": '{"so": "bad"}'},
            {"type": "mcp_call", "arguments": '{"so": "bad"}'},
            {"type": "mcp_approval_request", "arguments": '{"so": "bad"}'},
            {"type": "custom_tool_call", "input": "so bad"},
            {"type": "code_interpreter_call", "code": "so bad"},
            {"type": "program", "code": "so bad"},
            {"type": "apply_patch_call", "operation": {"type": "update_file", "diff": "so bad"}},
            {"type": "shell_call", "action": {"commands": ["ls", "so bad"]}},
            {"type": "vendor:item", "words": ["so bad"]},
            {"type": "local_shell_call", "action": {"type": "exec", "command": ["echo", "so bad"], "env": {}}},
            {"type": "computer_call", "actions": [{"type": "wait"}, {"type": "type", "text": "so bad"}]},
            {"type": "web_search_call", "action": {"type": "search", "queries": ["so bad"], "sources": []}},
            {"type": "file_search_call", "queries": ["so bad"]},
            {"type": "tool_search_call", "arguments": {"goal": "so bad"}},
            {"type": "image_generation_call", "revised_prompt": "so bad"},
        ]
    },
}


@pytest.mark.parametrize("on_flag", ["block", "replace"])
@pytest.mark.parametrize("name", CARRIERS)
async def test_whatever_carries_a_text_is_checked(name: str, on_flag: OnFlag) -> None:
    """Also where the text was in no delta before."""
    stage = Moderate(forbidding("bad"), on_flag=on_flag)
    events = [created(), CARRIERS[name], *([] if "completed" in CARRIERS[name].type else [completed()])]
    driver = await moderated(stage, events)
    assert leaked(driver, "bad") == []
    # What a response has so far is left out of it unread.
    assert bool(driver.notices) == (not name.startswith("in progress"))
    assert sum(event.type in ev.TERMINAL_TYPES for event in driver.events) == 1
    blocked = driver.notices and on_flag == "block"
    assert len(driver.events) == (2 if blocked else len(events))


async def test_annotations_of_a_changed_text_are_left_out() -> None:
    """They tell positions in, and may quote, a text that is not there any more."""
    citation = {"type": "url_citation", "url": "https://example.org", "title": "so bad", "start_index": 0}
    annotation = ev.OutputTextAnnotationAdded.model_validate(
        {"output_index": 0, "content_index": 0, "annotation": citation}
    )
    stream = message_stream("so bad", " indeed")
    events = [*stream[:5], annotation, *stream[5:]]
    assert annotation in (await moderated(Moderate(forbidding("worse")), events)).passed
    driver = await moderated(Moderate(forbidding("bad"), on_flag="replace"), events)
    assert leaked(driver, "bad") == []


async def test_a_field_of_the_servers_own_does_not_tell_what_was_removed() -> None:
    end = completed("so bad")
    response = Response.model_validate({**end.response.model_dump(), "output_text": "so bad"})
    driver = await moderated(
        Moderate(forbidding("bad"), on_flag="replace"), [end.model_copy(update={"response": response})]
    )
    assert leaked(driver, "bad") == []
    assert driver.accumulated().text == "[removed]"
    assert driver.accumulated().response_id == response.id


async def test_what_a_response_has_so_far_stays_where_its_channel_is_not_checked() -> None:
    snapshot = CARRIERS["in progress"]
    lax = await moderated(Moderate(forbidding("bad"), channels=["arguments"]), [snapshot])
    assert lax.passed == [snapshot]

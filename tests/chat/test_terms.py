"""Texts, annotations, usage and moderation of chunks, in the terms of Responses."""

from typing import Any

import pytest

from streamkit import events as ev
from streamkit.items import OutputText, Reasoning, ReasoningText, UrlCitation
from tests.chat.support import DONE, USAGE, chunk, decoded, folded

Delta = dict[str, Any]

THOUGHTS: dict[str, list[Delta]] = {
    "DeepSeek's": [{"reasoning_content": "Hm"}, {"reasoning_content": "."}],
    "Groq's": [{"reasoning": "Hm", "channel": "analysis"}, {"reasoning": "."}],
    "both at once": [{"reasoning": "Hm.", "reasoning_content": "Hm."}],
    "with an empty one": [{"reasoning": "Hm.", "reasoning_content": ""}],
    "with details": [{"reasoning": "Hm.", "reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]}],
    "in details": [{"reasoning_details": [{"type": "reasoning.text", "text": "Hm"}, {"text": "."}]}],
    "a summary": [{"reasoning_details": [{"type": "reasoning.summary", "summary": "Hm."}]}],
    "with an encrypted part": [
        {"reasoning": "Hm."},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]},
    ],
    "Mistral's": [
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}, {"type": "reference"}, {"text": 1}]}
            ]
        },
        {"content": [{"type": "thinking", "thinking": "."}]},
    ],
}


@pytest.mark.parametrize("deltas", THOUGHTS.values(), ids=THOUGHTS.keys())
def test_every_spelling_of_reasoning_is_one_text(deltas: list[Delta]) -> None:
    response = folded([*map(chunk, deltas), chunk({"content": "Yes"}), DONE])
    reasoning, message = response.output
    assert isinstance(reasoning, Reasoning)
    assert reasoning.content == [ReasoningText(text="Hm.")]
    assert (message.type, response.output_text) == ("message", "Yes")


def test_parts_without_text_are_left_out() -> None:
    parts = [{"type": "reference", "reference_ids": [1]}, "Yes", {"type": "text", "text": ""}, None]
    events = decoded([chunk({"content": parts}), DONE])
    assert [event.delta for event in events if isinstance(event, ev.OutputTextDelta)] == ["Yes"]


@pytest.mark.parametrize("odd", [{"effort": 1}, 5, ["x"]], ids=repr)
def test_reasoning_of_an_odd_shape_costs_no_text(odd: object) -> None:
    assert folded([chunk({"reasoning": odd, "content": "Yes"}), DONE]).output_text == "Yes"


def test_reasoning_and_text_may_alternate() -> None:
    deltas = [{"reasoning": "A"}, {"content": "b"}, {"reasoning": "C"}, {"content": "d"}]
    response = folded([*map(chunk, deltas), DONE])
    assert [item.type for item in response.output] == ["reasoning", "message", "reasoning", "message"]
    assert response.output_text == "bd"


CITATION = {"url": "https://example.org", "title": "T", "start_index": 0, "end_index": 3}


@pytest.mark.parametrize(
    "annotation",
    [{"type": "url_citation", "url_citation": CITATION}, {"type": "url_citation", **CITATION}],
    ids=["nested", "flat"],
)
def test_annotations_belong_to_the_text(annotation: Delta) -> None:
    frames = [chunk({"content": "Yes"}), chunk({"annotations": [annotation]}), DONE]
    (event,) = (event for event in decoded(frames) if isinstance(event, ev.OutputTextAnnotationAdded))
    assert isinstance(event.annotation, UrlCitation)
    (message,) = folded(frames).output
    assert getattr(message, "content", None) == [OutputText(text="Yes", annotations=[event.annotation])]


USAGES: dict[str, dict[str, Any]] = {
    "a chunk without choices": {"choices": [], "usage": USAGE},
    "the last chunk": {"usage": USAGE},
    "Groq's place": {"x_groq": {"id": "r", "usage": USAGE}},
    "the choice": {"choices": [{"index": 0, "delta": {}, "usage": USAGE}]},
}


@pytest.mark.parametrize("facts", USAGES.values(), ids=USAGES.keys())
def test_usage_is_found_where_servers_put_it(facts: dict[str, Any]) -> None:
    silent = [chunk(usage=None), chunk(usage={})]
    usage = folded([chunk({"content": "x"}), chunk(finish="stop"), chunk(**facts), *silent, DONE]).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (3, 5, 8)


def test_the_last_usage_counts_and_keeps_what_else_it_tells() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 1}, "cost": 0.5}
    more = {**USAGE, **details, "completion_tokens_details": {"reasoning_tokens": 4}, "input_tokens": 99}
    usage = folded([chunk({"content": "x"}, usage=USAGE), chunk(usage=more), DONE]).usage
    assert usage is not None
    assert usage.input_tokens_details is not None
    assert usage.output_tokens_details is not None
    assert (usage.input_tokens, usage.input_tokens_details.cached_tokens) == (3, 2)
    assert usage.output_tokens_details.reasoning_tokens == 4
    assert usage.model_extra == {"cost": 0.5}
    assert usage.input_tokens_details.model_extra == {"audio_tokens": 1}


def scores(*flags: bool) -> dict[str, Any]:
    results = [{"type": "moderation_result", "flagged": flag, "model": "m"} for flag in flags]
    return {"type": "moderation_results", "model": "m", "results": results}


@pytest.mark.parametrize(("flags", "flagged"), [((False,), False), ((False, True), True)])
def test_moderation_is_one_result_to_a_side(flags: tuple[bool, ...], flagged: bool) -> None:
    moderation = {"input": scores(*flags), "output": {"type": "error", "code": "x", "message": "no"}}
    told = folded([chunk({"content": "x"}, "stop"), chunk(choices=[], moderation=moderation), DONE]).moderation
    assert told is not None
    assert told.input is not None
    assert told.output is not None
    assert (told.input.type, told.input.flagged) == ("moderation_result", flagged)
    assert (told.output.type, told.output.code, told.output.message) == ("error", "x", "no")

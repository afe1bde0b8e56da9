"""Moderation by a list of words: what is flagged, and what a response says about it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.errors import UsageError
from streamkit.testing import SCENARIOS, play
from streamkit.testing.moderator import MODERATION_WORDS, Moderator


@pytest.mark.parametrize(
    ("words", "text", "flagged"),
    [
        (MODERATION_WORDS, "What poppycock!", True),
        (MODERATION_WORDS, "POPPYCOCK", True),
        (MODERATION_WORDS, "Good morning.", False),
        (MODERATION_WORDS, "", False),
        (["cat"], "a concatenation", False),
        (["cat"], "cat_food", False),
        (["cat"], "the cat, again", True),
        (["no way", "c++"], "No way!", True),
        (["no way", "c++"], "I write c++ code", True),
        (["no way", "c++"], "I write c code", False),
        (["straße"], "In der STRAßE", True),
        ([], "anything", False),
    ],
)
def test_whole_words_are_flagged(words: list[str], text: str, flagged: bool) -> None:
    assert Moderator(words).result(text)["flagged"] is flagged


@given(st.text(), st.text())
def test_a_word_between_spaces_is_found_in_any_text(before: str, after: str) -> None:
    assert Moderator().result(f"{before} tommyrot {after}")["flagged"] is True


@pytest.mark.parametrize("text", ["tommyrot", "fine"])
def test_a_flag_is_what_the_categories_say(text: str) -> None:
    result = Moderator().result(text)
    categories, scores = result["categories"], result["category_scores"]
    assert result["flagged"] == any(categories.values())
    assert categories.keys() == scores.keys() == result["category_applied_input_types"].keys()
    assert all((score > 0.5) == categories[name] for name, score in scores.items())


@pytest.mark.parametrize(("words", "problem"), [("cat", "list of words"), (["cat", ""], "is empty")])
def test_words_that_are_none_are_refused(words: list[str], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        Moderator(words)


def test_nothing_that_is_scripted_is_flagged() -> None:
    moderator = Moderator()
    for name in SCENARIOS:
        asked = {"moderation": {"model": "omni-moderation-latest"}}
        last = moderator.moderated(play(name, asked), asked)[-1]
        if "response" in last:
            moderation = last["response"]["moderation"]
            assert [moderation[side]["flagged"] for side in ("input", "output")] == [False, False]


@pytest.mark.parametrize(
    ("write", "items"),
    [
        (lambda script: script.text("poppycock"), []),
        (lambda script: script.refusal("poppycock"), []),
        (lambda script: script.function_call("look_up", {"word": "poppycock"}), []),
        (lambda script: script.custom_tool_call("look_up", "poppycock"), []),
        (lambda script: None, [{"role": "user", "content": "poppycock"}]),
        (lambda script: None, [{"role": "user", "content": [{"type": "input_text", "text": "poppycock"}]}]),
        (lambda script: None, [{"type": "function_call_output", "call_id": "call_1", "output": "poppycock"}]),
        (lambda script: None, [{"type": "function_call", "call_id": "call_1", "arguments": '"poppycock"'}]),
    ],
)
def test_every_text_of_the_input_and_of_the_output_counts(write, items: list[dict[str, object]]) -> None:
    def scenario(script):
        write(script)
        script.complete()

    request = {"input": items, "moderation": {"model": "mine"}}
    events = Moderator().moderated(play(scenario, request), request)
    moderation = events[-1]["response"]["moderation"]
    flagged = {side: moderation[side]["flagged"] for side in moderation}
    assert flagged == {"input": bool(items), "output": not items}
    assert {moderation[side]["model"] for side in moderation} == {"mine"}
    assert all(event["response"]["moderation"] is None for event in events[:2])


def test_who_asks_for_none_gets_none() -> None:
    events = play("text", {"input": "poppycock"})
    assert Moderator().moderated(events, {}) is events

"""Verdicts: what OpenAI's moderation says, and what the server found by itself."""

import pytest

from streamkit.response import ModerationResult, Response
from streamkit.verdict import Moderated, Verdict, server_notice, server_verdict, verdict_of

VIOLENT = {"type": "moderation_result", "flagged": True, "categories": {"violence": True, "hate": False}}
HARMLESS = {"type": "moderation_result", "flagged": False, "categories": {"violence": False}}
BROKEN = {"type": "error", "code": "timeout", "message": "too slow"}


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (VIOLENT, Verdict(True, ("violence",))),
        (HARMLESS, Verdict(False)),
        ({**VIOLENT, "category_scores": {"violence": 0.9}}, Verdict(True, ("violence",), {"violence": 0.9})),
        (BROKEN, None),
    ],
)
def test_a_result_is_a_verdict_unless_it_is_an_error(data, verdict) -> None:
    assert verdict_of(ModerationResult.model_validate(data)) == verdict


@pytest.mark.parametrize(
    ("moderation", "verdict"),
    [
        (None, None),
        ({}, None),
        ({"input": BROKEN, "output": BROKEN}, None),
        ({"input": HARMLESS, "output": HARMLESS}, Verdict(False)),
        ({"input": BROKEN, "output": VIOLENT}, Verdict(True, ("violence",))),
        (
            {
                "input": {**VIOLENT, "category_scores": {"violence": 0.9, "hate": 0.1}},
                "output": {**HARMLESS, "category_scores": {"violence": 0.2, "hate": 0.3}},
            },
            Verdict(True, ("violence",), {"violence": 0.9, "hate": 0.3}),
        ),
    ],
)
def test_the_servers_verdict_is_on_input_and_output_together(moderation, verdict) -> None:
    response = Response.model_validate({"moderation": moderation})
    assert server_verdict(response) == verdict
    flagged = verdict is not None and verdict.flagged
    notice = Moderated(verdict=verdict, reason="server", action="annotate") if flagged else None
    assert server_notice(response) == notice

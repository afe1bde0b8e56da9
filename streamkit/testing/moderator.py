"""Moderation by a list of words: what the local server says about a text, in the shape of the API."""

import re
from collections.abc import Sequence

from pydantic import JsonValue

from streamkit.errors import UsageError
from streamkit.testing.endings import final_response
from streamkit.testing.request import JsonObject, Request, content_text, input_items, objects, section

MODERATION_WORDS = ("balderdash", "poppycock", "tommyrot")
"""What is flagged unless told otherwise: words that nobody sends by chance and nobody minds."""

MODERATION_MODEL = "omni-moderation-latest"
"""The model that moderates where a request names none."""

FLAGGED_CATEGORY = "harassment"
"""The category under which a text is flagged; the others never are."""

_CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
_HIGH_SCORE = 0.98
_LOW_SCORE = 0.00002
# Where the items of a request or of a response have text: messages, calls of tools, outputs of tools.
_TEXT_FIELDS = ("content", "arguments", "input", "output")


class Moderator:
    """Flags a text that contains one of some words, whole and in upper or lower case.

    Raises:
        UsageError: the words are a single text, or one of them is empty.
    """

    def __init__(self, words: Sequence[str] = MODERATION_WORDS) -> None:
        if isinstance(words, str):
            raise UsageError(f"moderation_words is a list of words, not one text; write ({words!r},)")
        if not all(words):
            raise UsageError("a word of moderation_words is empty; it would flag everything")
        # Without any word, a pattern that matches nothing.
        listed = "|".join(re.escape(word) for word in words) or "(?!)"
        self._flagged_words = re.compile(rf"(?<!\w)(?:{listed})(?!\w)", re.IGNORECASE)

    def result(self, text: str) -> JsonObject:
        """What the moderation endpoint says about a text."""
        flagged = self._flagged_words.search(text) is not None
        hits = {name: flagged and name == FLAGGED_CATEGORY for name in _CATEGORIES}
        return {
            "flagged": flagged,
            "categories": {**hits},
            "category_scores": {name: _HIGH_SCORE if hit else _LOW_SCORE for name, hit in hits.items()},
            "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
        }

    def moderated(self, events: list[JsonObject], request: Request) -> list[JsonObject]:
        """The events of a response; where the request asks for moderation, its end says what that came to.

        Nothing is blocked, whatever the policy: how the API blocks a stream is not documented.
        """
        response = final_response(events[-1])
        if response is None or request.get("moderation") is None:
            return events
        model = section(request, "moderation")["model"]
        moderation: JsonObject = {
            "input": self._verdict(input_items(request), model),
            "output": self._verdict(objects(response["output"]), model),
        }
        return [*events[:-1], {**events[-1], "response": {**response, "moderation": moderation}}]

    def _verdict(self, items: list[JsonObject], model: JsonValue) -> JsonObject:
        text = "\n".join(joined_parts(item.get(name)) for item in items for name in _TEXT_FIELDS)
        return {"type": "moderation_result", "model": model, **self.result(text)}


def joined_parts(content: JsonValue) -> str:
    """The text of a content, its parts kept apart so that their words do not grow together."""
    parts: list[JsonValue] = [content] if isinstance(content, str) else [[part] for part in objects(content)]
    return "\n".join(content_text(part) for part in parts)

"""What a moderation found: the verdict on a text, and the notice that tells handlers of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from streamkit.response import ModerationResult, Response

Channel = Literal["text", "refusal", "reasoning", "arguments"]
"""What a text is: the answer, a refusal, reasoning or its summary, or what the model writes for a tool."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check says of a text."""

    flagged: bool
    """The text must not be shown."""
    categories: tuple[str, ...] = ()
    """What it is flagged for, such as ``"violence"``."""
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    """How sure the check is, by category, from 0 to 1; empty where it does not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moderated:
    """A text was flagged, or could not be checked. The text itself is not in here: it might be logged."""

    verdict: Verdict
    reason: Literal["flagged", "check_failed", "server"]
    """Whose verdict it is: the check's, nobody's because the check failed (see ``error``), or the server's."""
    action: Literal["block", "replace", "annotate"]
    """What became of the text: it ended the response, it was replaced, or it was left as it is."""
    channel: Channel | None = None
    """None for the verdict of the server, which is on the whole response."""
    output_index: int | None = None
    part_index: int | None = None
    """The index of the content part, summary part or command within the item, where there are several."""
    start: int | None = None
    end: int | None = None
    """The characters that were flagged, counted in the text as the server sent it, from ``start`` up to ``end``."""
    error: Exception | None = None
    """What the check raised."""


def verdict_of(result: ModerationResult) -> Verdict | None:
    """Return the verdict in a result of OpenAI's moderation; ``None`` where it is an error in place of one."""
    if result.flagged is None:
        return None
    categories = result.categories or {}
    named = tuple(sorted(name for name, flagged in categories.items() if flagged))
    return Verdict(result.flagged, named, dict(result.category_scores or {}))


def server_verdict(response: Response) -> Verdict | None:
    """Return what the server's own moderation says of a finished response, its input and its output in one.

    ``None`` where the request did not ask for it with ``moderation={"model": …}``, or where it failed.
    """
    verdicts = list(_server_verdicts(response))
    if not verdicts:
        return None
    scores: dict[str, float] = {}
    for verdict in verdicts:
        scores |= {name: max(score, scores.get(name, 0.0)) for name, score in verdict.scores.items()}
    categories = sorted({name for verdict in verdicts for name in verdict.categories})
    return Verdict(any(verdict.flagged for verdict in verdicts), tuple(categories), scores)


def server_notice(response: Response) -> Moderated | None:
    """Return the notice of what the server's own moderation flagged in a finished response, if anything."""
    verdict = server_verdict(response)
    if verdict is None or not verdict.flagged:
        return None
    return Moderated(verdict=verdict, reason="server", action="annotate")


def _server_verdicts(response: Response) -> Iterator[Verdict]:
    moderation = response.moderation
    for result in (moderation.input, moderation.output) if moderation else ():
        verdict = verdict_of(result) if result else None
        if verdict is not None:
            yield verdict

"""Names that people may have misspelt."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the question for the one of ``names`` that ``name`` may be a misspelling of, or nothing."""
    near = get_close_matches(name, names, n=1, cutoff=0.75)
    return f" (did you mean {near[0]!r}?)" if near else ""

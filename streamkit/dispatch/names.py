"""Names that people may have misspelt."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, names: Iterable[str], *, cutoff: float = 0.75) -> str:
    """Return the question for the one of ``names`` that ``name`` may be a misspelling of, or nothing.

    Args:
        name: what was written.
        names: what there is.
        cutoff: how much of a name must be right, from 0 to 1.
    """
    near = get_close_matches(name, names, n=1, cutoff=cutoff)
    return f" (did you mean {near[0]!r}?)" if near else ""

"""What a lane is set to, and what is refused."""

from typing import Any

import pytest

from streamkit import (
    Lane,
    UsageError,
)
from streamkit.events import Event

pytestmark = pytest.mark.anyio


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no events": ({"max_events": 0}, "max_events must be at least 1, not 0"),
    "no whole number": ({"max_events": "10"}, "max_events must be at least 1, not '10'"),
    "no bytes": ({"max_bytes": -1}, "max_bytes must be at least 1, not -1"),
    "no task": ({"concurrency": 0}, "concurrency must be at least 1, not 0"),
    "unknown way": ({"when_full": "block"}, "when_full must be 'wait', 'merge' or 'drop', not 'block'"),
    "unhashable way": ({"when_full": []}, "when_full must be"),
    "no time": ({"drain_timeout": 0}, "drain_timeout must be above zero, or None"),
    "no number": ({"drain_timeout": float("nan")}, "drain_timeout must be above zero"),
    "number as text": ({"drain_timeout": "5"}, "drain_timeout must be above zero, or None for no limit, not '5'"),
    "no key": ({"concurrency": 2}, "needs a key"),
    "odd key": ({"key": 5}, "key must be a name or a function"),
}


@pytest.mark.parametrize(("settings", "message"), REFUSED.values(), ids=REFUSED)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Lane(**settings)


def test_an_async_key_is_refused() -> None:
    async def key(event: Event) -> int:
        return 1

    with pytest.raises(UsageError, match="not async"):
        Lane(concurrency=2, key=key)

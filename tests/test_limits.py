"""How much a run accepts."""

from dataclasses import fields

import pytest

from streamkit import Limits, UsageError


@pytest.mark.parametrize("name", [field.name for field in fields(Limits) if isinstance(field.default, int)])
def test_a_limit_is_at_least_one(name: str) -> None:
    assert getattr(Limits(**{name: 1}), name) == 1
    for wrong in (0, -1):
        with pytest.raises(UsageError, match=f"{name} must be at least 1, not {wrong}"):
            Limits(**{name: wrong})


def test_a_limit_in_seconds_is_above_zero() -> None:
    assert Limits(max_blocking_seconds=0.001).max_blocking_seconds == 0.001
    for wrong in (0, -1, float("nan")):
        with pytest.raises(UsageError, match="max_blocking_seconds must be above zero"):
            Limits(max_blocking_seconds=wrong)

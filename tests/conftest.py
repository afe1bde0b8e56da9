"""Fixtures that every test may use, and settings of all tests."""

import gc

import pytest
from hypothesis import settings

# How long an example takes says more of the machine than of the code.
settings.register_profile("streamkit", deadline=None)
settings.load_profile("streamkit")

# Nearly all that is made before the tests stays to their end: there is nothing to collect until they begin.
gc.disable()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_collection_finish() -> None:
    """Have collections of garbage, of which many tests ask for one, leave out what all tests need to the end."""
    gc.collect()
    gc.freeze()
    gc.enable()

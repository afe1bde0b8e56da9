"""Fixtures that every test may use, and settings of all tests."""

import pytest
from hypothesis import settings

# How long an example takes says more of the machine than of the code.
settings.register_profile("streamkit", deadline=None)
settings.load_profile("streamkit")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"

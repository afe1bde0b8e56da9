"""What the tests of lanes begin with."""

import pytest

from streamkit import Dispatcher
from tests.dispatch.support import Gate


@pytest.fixture
def dispatcher() -> Dispatcher:
    return Dispatcher()


@pytest.fixture
def gate() -> Gate:
    return Gate()

"""What can be read: whatever has the methods of a source, with no base class."""

from collections.abc import Callable

import pytest

from streamkit.source import Background, Chunks, Source
from streamkit.sources.cassette import Cassette
from streamkit.sources.http import HttpChunks, HttpSource, ResponsesApi
from streamkit.sources.recording import Recording

METHODS: dict[type, set[str]] = {
    Source: {"open"},
    Chunks: {"opened", "__aiter__", "__anext__", "aclose"},
    Background: {"retrieve", "cancel"},
}


@pytest.mark.parametrize(
    ("made", "protocol"),
    [
        (HttpSource, Source),
        (Cassette, Source),
        (Recording, Source),
        (ResponsesApi, Background),
        (Cassette, Background),
        (Recording, Background),
    ],
)
def test_our_own_follow_the_protocols(made: type, protocol: type) -> None:
    for name in METHODS[protocol]:
        method: Callable[..., object] = getattr(made, name)
        assert callable(method)


def test_chunks_over_http_can_be_closed_and_iterated() -> None:
    assert {"__aiter__", "__anext__", "aclose"} <= vars(HttpChunks).keys()

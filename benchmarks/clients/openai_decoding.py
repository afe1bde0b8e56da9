"""openai-python's own way from bytes to typed events, without the HTTP client around it."""

from collections.abc import Sequence
from typing import Any, cast

from openai._models import construct_type
from openai._streaming import SSEDecoder
from openai.types.responses import ResponseStreamEvent


def decode_all(chunks: Sequence[bytes]) -> None:
    """Decode the chunks as its stream class does: into frames, JSON, and events of the union."""
    event_type = cast("Any", ResponseStreamEvent)
    for frame in SSEDecoder().iter_bytes(iter(chunks)):
        construct_type(type_=event_type, value=frame.json())

"""The recorded streams that stand beside the checkout on some machines: each response of each of them, as bytes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from streamkit.codec import decode
from streamkit.events import Event
from streamkit.sse import Decoder
from tests.paths import SHARED_DATA

_CREATED = re.compile(rb'"type"\s*:\s*"response\.created"')


@dataclass(frozen=True)
class Recording:
    """One response as a server sent it."""

    name: str
    body: bytes
    status: str = "200 OK"
    headers: dict[str, str] = field(default_factory=dict)

    @cached_property
    def events(self) -> list[Event]:
        """Its events, by way of the decoder and the codec alone."""
        return [decode(frame) for frame in Decoder().feed(self.body)]


def recordings() -> list[Recording]:
    """Every response of the recordings and captures; none on a machine that lacks them."""
    files = [*SHARED_DATA.glob("recordings/responses/*.sse"), *SHARED_DATA.glob("captures/*.*")]
    return [recording for path in sorted(files) for recording in _responses_in(path)]


def _responses_in(path: Path) -> Iterator[Recording]:
    head, body = b"", path.read_bytes()
    if path.suffix == ".http":
        head, _, body = body.partition(b"\r\n\r\n")
        yield Recording(path.name, body, *_status_and_headers(head.decode()))
        return
    # Some fixtures hold several responses; a run ends with the first, so each is a recording of its own.
    frames = re.finditer(rb"(?:.+\n)+\n", body)
    starts = [0, *(frame.start() for frame in frames if frame.start() and _CREATED.search(frame[0]))]
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(body)], strict=True)):
        yield Recording(f"{path.stem}#{number}" if len(starts) > 1 else path.stem, body[start:end])


def _status_and_headers(head: str) -> tuple[str, dict[str, str]]:
    first, *lines = head.split("\r\n")
    named = (line.partition(": ") for line in lines)
    kept = {name: value for name, _, value in named if name.lower() in {"content-type", "x-request-id"}}
    return first.partition(" ")[2], kept

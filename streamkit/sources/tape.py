"""How a cassette is written: a header, then a line of JSON for whatever happened, and reading such a file again."""

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, JsonValue, NonNegativeFloat, model_validator
from pydantic_core import from_json, to_json

from streamkit.errors import (
    ClockExpired,
    ConnectFailed,
    ConnectionLost,
    NotAnEventStream,
    ServerError,
    StreamkitError,
    UsageError,
)

VERSION = 1
"""The version of the format that is written here. A newer one cannot be read."""


class Line(BaseModel):
    """One line of a cassette. Fields that are not known here are ignored, so that notes can be added by hand."""

    # Few programs read or write cassettes, and all that have a client import this.
    model_config = ConfigDict(frozen=True, defer_build=True)

    def encode(self) -> bytes:
        """Return the line as it stands in the file, without its line break."""
        return to_json(self.model_dump(mode="json", exclude_none=True))


class Header(Line):
    """The first line: what the file is, and what was asked, without its secrets."""

    streamkit: Literal["cassette"]
    version: int
    background: bool = False
    """Whether the run could take a cut stream up again."""
    request: dict[str, JsonValue] | None = None


class Position(Line):
    """Where in which response the run stood."""

    response_id: str | None = None
    after: int | None = None


class OpenLine(Line):
    """The run opens its source; what came of it follows."""

    open: Position


class RetrieveLine(Line):
    """The run looks at the response itself, because its stream is gone; what came of it follows."""

    retrieve: Position


class TimedLine(Line):
    """Something that happened, so many seconds after the run did what the lines above say."""

    at: NonNegativeFloat


class Facts(Line):
    """What the other side said on opening, as far as it is harmless."""

    url: str
    status: int | None = None
    headers: dict[str, str] = {}
    request_id: str | None = None


class OpenedLine(TimedLine):
    """The source is open."""

    opened: Facts


class ChunkLine(TimedLine):
    """The bytes of one read: as text where they are UTF-8, else in base64."""

    text: str | None = None
    base64: str | None = None

    @property
    def data(self) -> bytes:
        """The bytes themselves."""
        return (
            b64decode(self.base64, validate=True) if self.text is None and self.base64 else (self.text or "").encode()
        )

    @classmethod
    def of(cls, at: float, data: bytes) -> Self:
        """Return the line for a chunk."""
        try:
            return cls(at=at, text=data.decode())
        except UnicodeDecodeError:
            return cls(at=at, base64=b64encode(data).decode())

    @model_validator(mode="after")
    def _check_data(self) -> Self:
        # Bytes that are wanted later are to be sound now.
        _ = self.data
        return self


class EndLine(TimedLine):
    """The bytes ended: by themselves, or because the run closed the connection."""

    end: Literal["eof", "closed"]


class ResponseLine(TimedLine):
    """The response as it stood when the run looked at it."""

    response: dict[str, JsonValue]


FailureKind = Literal["ClockExpired", "ConnectFailed", "ConnectionLost", "NotAnEventStream", "ServerError"]


class Failure(Line):
    """An error, as far as it can be made again."""

    kind: FailureKind
    message: str
    url: str | None = None
    clock: Literal["connect", "first_event", "idle", "progress", "total"] | None = None
    seconds: float | None = None
    code: str | None = None
    type: str | None = None
    param: str | None = None
    status: int | None = None
    request_id: str | None = None
    retry_after: float | None = None
    should_retry: bool | None = None
    content_type: str | None = None

    @classmethod
    def of(cls, error: StreamkitError) -> Self:
        """Return what is to be written of an error."""
        names = [base.__name__ for base in type(error).__mro__]
        kind = next((name for name in names if name in get_args(FailureKind)), "ConnectionLost")
        return cls.model_validate({"message": str(error), **vars(error), "kind": kind})

    def error(self) -> StreamkitError:
        """Return the error anew."""
        match self.kind:
            case "ClockExpired":
                return ClockExpired(self.clock or "idle", self.seconds or 0.0)
            case "ConnectFailed":
                return ConnectFailed(self.message, url=self.url or "")
            case "ConnectionLost":
                return ConnectionLost(self.message)
            case "NotAnEventStream":
                return self._not_an_event_stream()
            case "ServerError":
                return self._server_error()

    def _not_an_event_stream(self) -> NotAnEventStream:
        return NotAnEventStream(
            self.message,
            content_type=self.content_type,
            body_head=b"",
            status=self.status,
            request_id=self.request_id,
        )

    def _server_error(self) -> ServerError:
        return ServerError(
            self.message,
            code=self.code,
            type=self.type,
            param=self.param,
            status=self.status,
            request_id=self.request_id,
            retry_after=self.retry_after,
            should_retry=self.should_retry,
        )


class FailedLine(TimedLine):
    """It did not open, the bytes were cut off, or the look at the response failed."""

    failed: Failure


Began = OpenLine | RetrieveLine
Happened = OpenedLine | ChunkLine | EndLine | ResponseLine | FailedLine

_BEGINNINGS: dict[str, type[Began]] = {"open": OpenLine, "retrieve": RetrieveLine}
_HAPPENINGS: dict[str, type[Happened]] = {
    "text": ChunkLine,
    "base64": ChunkLine,
    "opened": OpenedLine,
    "end": EndLine,
    "response": ResponseLine,
    "failed": FailedLine,
}
_EVENT_STREAM = re.compile(rb"(\xef\xbb\xbf)?\s*(:|(event|data|id|retry)(:|[\r\n]|$))")


@dataclass(slots=True)
class Attempt:
    """One thing that the run did, and what came of it."""

    began: Began
    happened: list[Happened] = field(default_factory=list[Happened])


@dataclass(slots=True)
class Tape:
    """A cassette's contents."""

    header: Header
    attempts: list[Attempt] = field(default_factory=list[Attempt])


def read_tape(path: Path) -> Tape:
    """Read a cassette, or an event stream that was saved as it came.

    A last line that is cut off, as by a crash, is left out.

    Raises:
        UsageError: the file cannot be read, is neither of the two, is of a newer version, or has a line that makes no
            sense; the message says which.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the cassette {path}: {error.strerror}") from error
    if _EVENT_STREAM.match(data):
        return _of_event_stream(path, data)
    first, *rest = data.split(b"\n")
    return _of_lines(path, _header(path, first), rest)


def _of_event_stream(path: Path, data: bytes) -> Tape:
    opened = OpenedLine(at=0, opened=Facts(url=str(path), headers={"content-type": "text/event-stream"}))
    stream = Attempt(OpenLine(open=Position()), [opened, ChunkLine.of(0, data), EndLine(at=0, end="eof")])
    return Tape(Header(streamkit="cassette", version=VERSION), [stream])


def _header(path: Path, line: bytes) -> Header:
    try:
        header = Header.model_validate_json(line)
    except ValueError:
        raise UsageError(f"{path} is neither a cassette nor an event stream") from None
    if header.version > VERSION:
        raise UsageError(
            f"{path} was recorded by a newer streamkit: its version is {header.version}, and {VERSION} is the last "
            "that this one reads"
        )
    return header


def _of_lines(path: Path, header: Header, lines: list[bytes]) -> Tape:
    tape = Tape(header)
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        try:
            _add_line(tape, line)
        except ValueError as error:
            if number - 1 == len(lines):
                break  # Nothing was written after it, not even its line break.
            raise UsageError(f"{path}, line {number}: {_in_one_line(error)}") from error
    return tape


def _add_line(tape: Tape, line: bytes) -> None:
    data: object = from_json(line)
    if not isinstance(data, dict):
        raise ValueError("this is no JSON object")  # noqa: TRY004 - the caller tells the reader of the file
    for key, began in _BEGINNINGS.items():
        if key in data:
            tape.attempts.append(Attempt(began.model_validate(data)))
            return
    happened = next((model for key, model in _HAPPENINGS.items() if key in data), None)
    if happened is None:
        raise ValueError(f"none of {', '.join([*_BEGINNINGS, *_HAPPENINGS])} stands in it")
    if not tape.attempts:
        raise ValueError("nothing has been opened before it")
    tape.attempts[-1].happened.append(happened.model_validate(data))


def _in_one_line(error: ValueError) -> str:
    return " ".join(str(error).split())

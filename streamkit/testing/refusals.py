"""Faults that take the place of the whole answer: the request is not carried out at all."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, StringConstraints
from pydantic.dataclasses import dataclass
from pydantic_core import to_json

from streamkit.testing.answers import EVENT_STREAM, Answer, Cut, Pause
from streamkit.testing.api_error import ApiError, too_old
from streamkit.testing.fault import CHECKED, Fault, Line


def _encodable(text: str) -> str:
    text.encode()
    return text


HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")]
Text = Annotated[str, AfterValidator(_encodable)]


@dataclass(config=CHECKED, frozen=True, slots=True)
class Refusal(Fault):
    """A fault that leaves nothing of the answer."""

    @property
    def replaces_answer(self) -> bool:
        """Always: the request is not carried out."""
        return True

    def apply(self, answer: Answer) -> Answer:
        """Return the refusal."""
        return self._refusal()

    @abstractmethod
    def _refusal(self) -> Answer: ...


@dataclass(config=CHECKED, frozen=True, slots=True)
class HttpError(Refusal):
    """The request is refused with a status of 400 or more.

    Attributes:
        status: such as 429 or 503.
        body: what comes with it; by default the JSON that the API sends.
        headers: such as ``retry-after``, or another ``content-type`` for the body.
    """

    status: Annotated[int, Field(ge=400, le=599)]
    body: Text | None = None
    headers: Mapping[HeaderName, Line] = field(default_factory=dict[HeaderName, Line], hash=False)

    def _refusal(self) -> Answer:
        error = ApiError(f"The server answers {self.status}, as it was told to.", code="injected_fault")
        body = to_json(error.body) if self.body is None else self.body.encode()
        given = {name.lower(): text for name, text in self.headers.items()}
        return Answer(self.status, {"content-type": "application/json", **given}, body)


@dataclass(config=CHECKED, frozen=True, slots=True)
class WrongBody(Refusal):
    """The status is 200, but the body is something else, such as the page of a proxy."""

    body: Text = "<!doctype html><title>Welcome</title><p>Please log in to this network.</p>"
    content_type: Line = "text/html; charset=utf-8"

    def _refusal(self) -> Answer:
        return Answer(200, {"Content-Type": self.content_type}, self.body.encode())


@dataclass(config=CHECKED, frozen=True, slots=True)
class EmptyStream(Refusal):
    """The status and the headers are those of an event stream, and there is nothing in it."""

    def _refusal(self) -> Answer:
        return Answer(200, EVENT_STREAM)


@dataclass(config=CHECKED, frozen=True, slots=True)
class Redirect(Refusal):
    """The request is sent elsewhere."""

    url: Line

    def _refusal(self) -> Answer:
        return Answer(307, {"Location": self.url})


@dataclass(config=CHECKED, frozen=True, slots=True)
class StreamExpired(Refusal):
    """The stream of a background response is refused as too old; the response itself can still be fetched."""

    def _refusal(self) -> Answer:
        return too_old(300).answer()


@dataclass(config=CHECKED, frozen=True, slots=True)
class NoAnswer(Refusal):
    """The connection is cut before anything is answered."""

    how: Literal["close", "reset"] = "close"

    def _refusal(self) -> Answer:
        return Answer(before=[Cut(self.how)])


@dataclass(config=CHECKED, frozen=True, slots=True)
class LateAnswer(Fault):
    """The request is carried out, but its answer begins only after some seconds; by default, never."""

    seconds: NonNegativeFloat | None = None

    def apply(self, answer: Answer) -> Answer:
        """Return the answer with a pause before it."""
        pause = Pause() if self.seconds is None else Pause(self.seconds)
        return replace(answer, before=[*answer.before, pause])

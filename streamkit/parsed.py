"""A response whose answer was asked for as a Python type."""

import builtins
from typing import Annotated, Generic

from pydantic import ConfigDict, Field, SkipValidation, ValidationError
from typing_extensions import TypeVar

from streamkit.errors import StreamkitError
from streamkit.partial_model import PartialModel
from streamkit.response import Response

Parsed_co = TypeVar("Parsed_co", covariant=True, default=None)
"""What an answer is parsed as; ``None`` where no type was asked for."""


Parsed = TypeVar("Parsed", default=None)


class InvalidOutput(StreamkitError):
    """The response completed, and its text does not fit the type that was asked for.

    Attributes:
        text: the text of the answer.
        error: what pydantic found in it.
        response: the response as the server sent it.
    """

    def __init__(self, name: str, text: str, error: ValidationError, response: Response) -> None:
        first, *others = error.errors(include_url=False, include_context=False, include_input=False)
        place = "".join(f"{step}: " for step in [".".join(map(str, first["loc"]))] if step)
        more = f"; {len(others)} more in its error" if others else ""
        super().__init__(f"the answer does not fit {name}: {place}{first['msg']}{more}")
        self.text = text
        self.error = error
        self.response = response


class ParsedResponse(Response, Generic[Parsed_co]):
    """A response with its answer as the type that was given as ``text_format``.

    The fields of this class are no part of what the server sent, and are left out where the response is written.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    parsed: Annotated[Parsed_co | None, SkipValidation] = Field(default=None, exclude=True)
    """The answer; ``None`` where no type was asked for, the response did not complete, the model refused, or it said
    nothing but calls."""
    partial: PartialModel | None = Field(default=None, exclude=True)
    """What came of an answer that could not be parsed whole; ``None`` where nothing came."""
    parse_error: InvalidOutput | None = Field(default=None, exclude=True)
    """Why the answer of a completed response could not be parsed."""

    __hash__ = Response.__hash__

    # The class has a field called ``object``.
    def __eq__(self, other: builtins.object) -> bool:
        """Tell whether the other is the same; a plain response is, where it is what the server sent."""
        if type(other) is not Response:
            return super().__eq__(other)
        return {name: value for name, value in self if name not in ParsedResponse.__annotations__} == dict(other)

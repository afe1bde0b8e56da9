"""The response with its answer as a value."""

from pydantic import BaseModel, TypeAdapter, ValidationError

from streamkit.parsed import InvalidOutput, ParsedResponse
from streamkit.response import Response


class Point(BaseModel):
    x: int
    y: int


def invalid(text: str) -> InvalidOutput:
    try:
        TypeAdapter(Point).validate_json(text)
    except ValidationError as error:
        return InvalidOutput("Point", text, error, Response(id="resp_1"))
    raise AssertionError


def test_an_invalid_output_says_where_it_does_not_fit() -> None:
    assert str(invalid('{"x": 1, "y": "secret"}')) == (
        "the answer does not fit Point: y: Input should be a valid integer, unable to parse string as an integer"
    )
    assert str(invalid("{}")) == "the answer does not fit Point: x: Field required; 1 more in its error"
    assert str(invalid("secret")).startswith("the answer does not fit Point: Invalid JSON: ")


def test_an_invalid_output_keeps_text_error_and_response() -> None:
    error = invalid("{}")
    assert (error.text, error.error.error_count(), error.kind) == ("{}", 2, "InvalidOutput")
    assert error.response == Response(id="resp_1")


def test_what_was_parsed_is_not_written_where_the_response_is() -> None:
    response = ParsedResponse(id="resp_1", parsed=Point(x=1, y=2))
    assert response.model_dump(exclude_unset=True) == {"id": "resp_1"}


def test_a_parsed_response_equals_the_response_that_it_was() -> None:
    response = ParsedResponse(id="resp_1", vendor="extra", parsed=Point(x=1, y=2))
    assert response == Response(id="resp_1", vendor="extra")
    assert Response(id="resp_1", vendor="extra") == response
    assert response != Response(id="resp_1")
    assert response != ParsedResponse(id="resp_1", vendor="extra")
    assert response == response.model_copy()
    assert response != "resp_1"

"""What a function's signature and docstring say of its arguments."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import pytest
from pydantic import Field

from streamkit.context import Run
from streamkit.errors import UsageError
from streamkit.tools.signature import Signature, read_docstring

GOOGLE = """Look up the weather.

It asks :class:`Station`: always.

Args:
    city: the name of the
        city: in English.
    days (int, optional): how many

    unit: Celsius: "c".
    silent:

Returns:
    text: the forecast.
"""
SPHINX = """Look up the weather.

It asks :class:`Station`: always.

:param city: the name of the
    city: in English.
:param int days: how many
:param unit: Celsius: "c".
:type unit: str
:param silent:
:returns: the forecast.
"""
DESCRIBED = {"city": "the name of the city: in English.", "days": "how many", "unit": 'Celsius: "c".'}


@pytest.mark.parametrize("text", [GOOGLE, SPHINX], ids=["google", "sphinx"])
def test_docstrings_of_both_styles_are_read(text: str) -> None:
    description, described = read_docstring(text)
    assert description == "Look up the weather.\n\nIt asks :class:`Station`: always."
    assert described == DESCRIBED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (None, {})),
        ("One line.", ("One line.", {})),
        ("Args:\n  x: a", (None, {"x": "a"})),
        ("Args:", (None, {})),
        ("Args:\nnot indented", (None, {})),
        ("About.\n\nRaises:\n    ValueError: x: is wrong", ("About.", {})),
        ("About.\n\nArgs:\n    *x: a\n    no entry", ("About.", {"x": "a"})),
    ],
)
def test_a_docstring_may_lack_anything(text: str, expected: tuple[str | None, dict[str, str]]) -> None:
    assert read_docstring(text) == expected


class Service:
    """A service."""

    def search(self, text: str) -> str:
        """Search for a text."""
        return text

    async def __call__(self, text: str) -> str:
        return text


async def fetch(url: str, run: Run, limit: int = 3) -> None:
    """Fetch it."""


SIGNATURES: dict[str, tuple[Callable[..., Any], tuple[str, bool, list[str]]]] = {
    "a method": (Service().search, ("search", False, ["text"])),
    "a callable object": (Service(), ("Service", True, ["text"])),
    "a coroutine function": (fetch, ("fetch", True, ["url", "limit"])),
    "a partial": (partial(fetch, limit=1), ("fetch", True, ["url", "limit"])),
}


@pytest.mark.parametrize(("function", "expected"), SIGNATURES.values(), ids=SIGNATURES.keys())
def test_anything_that_can_be_called_has_a_signature(
    function: Callable[..., Any], expected: tuple[str, bool, list[str]]
) -> None:
    signature = Signature(function)
    assert (signature.name, signature.is_coroutine, [p.name for p in signature.parameters]) == expected


class OwnRun(Run):
    """A run of another class."""


def by_name(text: str, run) -> None: ...


def by_annotation(text: str, this: Run) -> None: ...


def by_subclass(text: str, this: OwnRun) -> None: ...


def by_text(text: str, this: "Run") -> None: ...


def not_the_run(text: str, run: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "name"),
    [(by_name, "run"), (by_annotation, "this"), (by_subclass, "this"), (by_text, "this"), (not_the_run, None)],
)
def test_the_parameter_for_the_run_is_known_by_annotation_else_by_name(
    function: Callable[..., Any], name: str | None
) -> None:
    assert Signature(function).run == name


def test_a_description_in_the_annotation_goes_before_the_docstring() -> None:
    def search(text: Annotated[str, Field(description="mine")], limit: Annotated[int, Field(ge=1)]) -> None:
        """Search.

        Args:
            text: not mine
            limit: how many
        """

    signature = Signature(search)
    assert [signature.description_of(parameter) for parameter in signature.parameters] == ["mine", "how many"]


def several(*texts: str) -> None: ...
def keywords(**texts: str) -> None: ...
def positional(text: str, /) -> None: ...
def unannotated(text) -> None: ...
def unknown(text: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def with_field(limit: int = Field(3)) -> None: ...


REFUSED: dict[str, tuple[Any, str]] = {
    "several": (several, r"\*texts: str of tool several cannot be given by name"),
    "keywords": (keywords, r"\*\*texts: str of tool keywords cannot be given by name"),
    "positional": (positional, "text: str of tool positional cannot be given by name"),
    "unannotated": (unannotated, "text of tool unannotated needs an annotation$"),
    "self": (Service.search, "self of tool search needs an annotation; make a tool of the method of an instance"),
    "unknown": (unknown, "tool unknown: an annotation cannot be read .*Nowhere"),
    "field": (with_field, r"write Annotated\[..., Field"),
    "no function": (3, "must be a function with a signature, not 3"),
}


@pytest.mark.parametrize(("function", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_called_by_name_is_refused(function: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Signature(function)

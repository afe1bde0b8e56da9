"""An item while it grows: values laid into it, text in pieces, and what stays as it was."""

from typing import Any

import pytest

from streamkit.growing import GrowingItem, make_item
from streamkit.items import (
    ApplyPatchCall,
    FunctionCall,
    McpCall,
    Message,
    OutputItem,
    OutputText,
    PatchOperation,
    Reasoning,
    Refusal,
    ShellAction,
    ShellCall,
    UnknownAnnotation,
    UnknownItem,
    UnknownPart,
    UrlCitation,
)

HELLO = OutputText(text="Hello", annotations=[UrlCitation(url="u")])


def grown(item: GrowingItem, *path: str | int, text: str) -> None:
    pieces = item.pieces(path)
    assert pieces is not None
    pieces.append(text)


def test_an_item_that_nothing_is_laid_into_stays_the_very_same() -> None:
    base = Message(content=[HELLO])
    assert GrowingItem(base).build() is base


def test_text_grows_from_what_is_there() -> None:
    item = GrowingItem(Message(id="m", content=[HELLO]))
    grown(item, "content", 0, "text", text=", ")
    grown(item, "content", 0, "text", text="world")
    assert item.build() == Message(
        id="m", content=[OutputText(text="Hello, world", annotations=[UrlCitation(url="u")])]
    )


def test_an_item_can_be_built_at_any_time_and_grows_on() -> None:
    item = GrowingItem(FunctionCall(name="f"))
    for piece, expected in [("{", "{"), ("}", "{}"), ("", "{}")]:
        grown(item, "arguments", text=piece)
        assert item.build() == item.build() == FunctionCall(name="f", arguments=expected)


def test_pieces_are_not_joined_before_somebody_reads() -> None:
    item = GrowingItem(FunctionCall())
    for letter in "abc":
        grown(item, "arguments", text=letter)
    pieces = item.pieces(("arguments",))
    assert pieces == ["a", "b", "c"]
    item.build()
    assert item.pieces(("arguments",)) is pieces
    assert pieces == ["abc"]


# What the item was, what is put where, and what it is then.
PUT: dict[str, tuple[OutputItem, dict[tuple[str | int, ...], Any], OutputItem]] = {
    "a field": (FunctionCall(name="f"), {("status",): "completed"}, FunctionCall(name="f", status="completed")),
    "a part": (Message(), {("content", 0): Refusal(refusal="no")}, Message(content=[Refusal(refusal="no")])),
    "a part as plain data": (Message(), {("content", 0): {"type": "output_text"}}, Message(content=[OutputText()])),
    "parts with a gap": (
        Message(content=[HELLO]),
        {("content", 7): OutputText(text="7"), ("content", 3): OutputText(text="3")},
        Message(content=[HELLO, OutputText(text="3"), OutputText(text="7")]),
    ),
    "before the first": (Message(content=[HELLO]), {("content", -1): Refusal()}, Message(content=[Refusal(), HELLO])),
    "into a part": (
        Message(content=[HELLO]),
        {("content", 0, "annotations", 1): UnknownAnnotation(type="x")},
        Message(content=[OutputText(text="Hello", annotations=[UrlCitation(url="u"), UnknownAnnotation(type="x")])]),
    ),
    "into plain data": (
        Message(),
        {("content", 0): {"type": "output_text"}, ("content", 0, "text"): "a"},
        Message(content=[OutputText(text="a")]),
    ),
    "into a part, then over it": (
        Message(content=[HELLO]),
        {("content", 0, "text"): "gone", ("content", 0): HELLO},
        Message(content=[HELLO]),
    ),
    "a list of strings": (
        ShellCall(action=ShellAction(commands=["a"], timeout_ms=1)),
        {("action", "commands", 1): "b"},
        ShellCall(action=ShellAction(commands=["a", "b"], timeout_ms=1)),
    ),
    "below what is missing": (
        ApplyPatchCall(),
        {("operation", "diff"): "+x"},
        ApplyPatchCall(operation=PatchOperation(diff="+x")),
    ),
    "a list where there is text": (
        McpCall(output="text"),
        {("output", 0, "stdout"): "x"},
        UnknownItem.model_validate({"type": "mcp_call", "output": [{"stdout": "x"}]}),
    ),
    "a field that the item does not have": (
        Reasoning(id="r"),
        {("arguments",): "x"},
        Reasoning.model_validate({"type": "reasoning", "id": "r", "arguments": "x"}),
    ),
    "an element where there is an object": (
        UnknownItem.model_validate({"type": "x", "content": {"a": 1}}),
        {("content", 0): "b"},
        UnknownItem.model_validate({"type": "x", "content": ["b"]}),
    ),
    "a field with an alias": (
        FunctionCall(async_=True),
        {("arguments",): "{}"},
        FunctionCall(async_=True, arguments="{}"),
    ),
}


@pytest.mark.parametrize(("base", "values", "expected"), PUT.values(), ids=PUT.keys())
def test_put_lays_a_value_at_a_path(
    base: OutputItem, values: dict[tuple[str | int, ...], Any], expected: OutputItem
) -> None:
    item = GrowingItem(base)
    for path, value in values.items():
        item.put(path, value)
    assert item.build() == expected


def test_what_is_not_touched_is_not_copied() -> None:
    first, second = UnknownPart(type="x"), OutputText(text="a")
    item = GrowingItem(Message(content=[first, second]))
    grown(item, "content", 1, "text", text="b")
    built = item.build()
    assert isinstance(built, Message)
    assert built.content[0] is first
    assert second.text == "a"


def test_fields_that_no_model_knows_are_kept() -> None:
    base = make_item({"type": "message", "odd": None, "content": [{"type": "output_text", "more": {"a": [1]}}]})
    item = GrowingItem(base)
    grown(item, "content", 0, "text", text="a")
    assert item.build().model_dump(exclude_unset=True) == {
        "type": "message",
        "odd": None,
        "content": [{"type": "output_text", "more": {"a": [1]}, "text": "a"}],
    }


@pytest.mark.parametrize("closed", [("content", 0), ("content", 0, "text")])
def test_finished_text_does_not_grow(closed: tuple[str | int, ...]) -> None:
    item = GrowingItem(Message(content=[HELLO]))
    item.finish(closed, HELLO if len(closed) == 2 else "Hello")
    assert item.pieces(("content", 0, "text")) is None
    assert item.pieces(("content", 1, "text")) == []
    assert item.build() == Message(content=[HELLO, UnknownPart.model_validate({"text": ""})])


def test_a_done_item_does_not_grow() -> None:
    item = GrowingItem(Message(content=[HELLO]), done=True)
    assert item.pieces(("content", 0, "text")) is None
    assert item.build() is item.base


def test_text_that_is_no_text_is_replaced() -> None:
    item = GrowingItem(UnknownItem.model_validate({"type": "x", "input": {"a": 1}}))
    grown(item, "input", text="b")
    assert item.build().model_extra == {"input": "b"}


@pytest.mark.parametrize(
    ("base", "path", "indexes"),
    [
        (Message(content=[HELLO]), ("content",), [0]),
        (Message(content=[HELLO]), ("content", 0, "annotations"), [0]),
        (Message(content=[HELLO]), ("content", 3, "annotations"), []),
        (Message(content=[HELLO]), ("content", -1, "annotations"), []),
        (Message(content=[HELLO]), ("content", 0, "text"), []),
        (FunctionCall(arguments="x"), ("content",), []),
        (FunctionCall(arguments="x"), ("arguments", 0), []),
        (ShellCall(), ("action", "commands"), []),
        (ShellCall(action=ShellAction(commands=["a", "b"])), ("action", "commands"), [0, 1]),
        (UnknownItem.model_validate({"type": "x", "action": {"commands": ["a"]}}), ("action", "commands"), [0]),
    ],
)
def test_indexes_are_those_in_use(base: OutputItem, path: tuple[str | int, ...], indexes: list[int]) -> None:
    assert GrowingItem(base).indexes(path) == indexes


def test_indexes_are_the_wires() -> None:
    item = GrowingItem(Message(content=[HELLO]))
    item.put(("content", 9), OutputText())
    item.put(("content", 4), OutputText())
    assert item.indexes(("content",)) == [0, 4, 9]
    assert item.indexes(("content", 9, "annotations")) == []

"""Growing JSON: any cut of any document ends in what json.loads makes of it, and tells on its way what grew where."""

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from streamkit.errors import StreamkitError, UsageError
from streamkit.partial_json import (
    MAX_DEPTH,
    MAX_NUMBER_LENGTH,
    BrokenJson,
    Change,
    GrowingJson,
    JsonPath,
    PathPattern,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
"""With lone surrogates."""
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
VALUES = st.recursive(
    SCALARS, lambda inside: st.lists(inside, max_size=4) | st.dictionaries(ANY_TEXT, inside, max_size=4), max_leaves=12
)
DOCUMENTS = st.builds(
    json.dumps,
    VALUES,
    ensure_ascii=st.booleans(),
    indent=st.sampled_from([None, 0, 2, "\t"]),
    separators=st.sampled_from([None, (",", ":"), (" ,\r\n", "\t:  ")]),
)
CUTS = st.lists(st.integers(0, 400), max_size=8)


def pieces_of(document: str, cuts: Iterable[int]) -> Iterator[str]:
    ends = [0, *sorted(cut for cut in cuts if cut < len(document)), len(document)]
    return (document[start:end] for start, end in pairwise(ends))


def read(pieces: Iterable[str]) -> tuple[GrowingJson, list[Change]]:
    """Read a whole document."""
    grower = GrowingJson()
    changes = [change for piece in pieces for change in grower.feed(piece)]
    return grower, changes + grower.finish()


def at(value: Any, path: JsonPath) -> Any:
    for step in path:
        value = value[step]
    return value


def is_so_far(value: Any, final: JsonValue) -> bool:
    """Tell whether a value can have been on its way to another."""
    if isinstance(final, str):
        return isinstance(value, str) and final.startswith(value)
    if isinstance(final, list):
        return len(value) <= len(final) and all(map(is_so_far, value, final))
    if isinstance(final, dict):
        return value.keys() <= final.keys() and all(is_so_far(value[key], final[key]) for key in value)
    return repr(value) == repr(final)


@given(DOCUMENTS, CUTS)
@example('"\\ud83d\\ude00 \\ud83d \\ud83d\\u0041 \\\\ud83d \\ude00"', range(50))
@example('{"\\u00e9\\ud83d\\ude00": 1}', range(30))
@example("[-0, -0.0, 1e400, 1E-7, NaN, Infinity, -Infinity]", range(60))
@example('{"a": 1, "b": "x", "a": "twice"}', range(40))
@settings(max_examples=200, deadline=None)
def test_any_cut_of_any_document_ends_in_what_json_loads_makes_of_it(document: str, cuts: Iterable[int]) -> None:
    expected = repr(json.loads(document))
    for pieces in (pieces_of(document, cuts), document):
        grower, _ = read(pieces)
        assert repr(grower.value) == expected
        assert grower.is_complete


@given(DOCUMENTS)
@settings(max_examples=100, deadline=None)
def test_every_prefix_has_a_value_on_its_way_to_the_last(document: str) -> None:
    final = json.loads(document)
    grower = GrowingJson()
    for character in document:
        assert not grower.is_complete or character.isspace()
        grower.feed(character)
        assert grower.error is None
        assert grower.value is None or is_so_far(grower.value, final)


@given(DOCUMENTS, CUTS)
@settings(max_examples=150, deadline=None)
def test_every_value_starts_grows_and_finishes_in_order(document: str, cuts: list[int]) -> None:
    final = json.loads(document)
    _, changes = read(pieces_of(document, cuts))
    texts: dict[JsonPath, str] = {}
    finished: set[JsonPath] = set()
    for change in changes:
        if change.kind == "started":
            assert change.path not in texts
            texts[change.path] = ""
            continue
        assert change.path in texts
        assert change.path not in finished
        texts[change.path] += change.text
        if change.kind == "grew":
            assert change.text
        else:
            finished.add(change.path)
            assert repr(change.value) == repr(at(final, change.path))
            assert texts[change.path] == (change.value if isinstance(change.value, str) else "")
    assert texts.keys() == finished
    assert changes[-1].path == JsonPath()


@given(DOCUMENTS, st.integers(0, 400), st.sampled_from('"\\{}[]:, \n\x00-+.019eEtInfu\u20ac') | st.characters(), CUTS)
@settings(max_examples=300, deadline=None)
def test_a_damaged_document_breaks_where_json_loads_fails_and_nowhere_else(
    document: str, place: int, character: str, cuts: list[int]
) -> None:
    place %= len(document)
    damaged = document[:place] + character + document[place + 1 :]
    try:
        expected = repr(json.loads(damaged))
    except ValueError:
        with pytest.raises(BrokenJson) as caught:
            read(pieces_of(damaged, cuts))
        assert caught.value.offset <= len(damaged)
        assert caught.value.found == damaged[caught.value.offset : caught.value.offset + 1]
    else:
        assert repr(read(pieces_of(damaged, cuts))[0].value) == expected


def test_changes_tell_what_each_piece_did() -> None:
    grower = GrowingJson()
    items, first, name = (), (0,), (0, "name")
    assert grower.feed('[{"na') == [Change(JsonPath(items), "started"), Change(JsonPath(first), "started")]
    assert grower.feed('me": "Gr') == [Change(JsonPath(name), "started"), Change(JsonPath(name), "grew", "Gr")]
    assert grower.feed("ü") == [Change(JsonPath(name), "grew", "ü")]
    assert grower.value == [{"name": "Grü"}]
    assert grower.feed('n"') == [
        Change(JsonPath(name), "grew", "n"),
        Change(JsonPath(name), "finished", value="Grün"),
    ]
    assert grower.feed("}") == [Change(JsonPath(first), "finished", value={"name": "Grün"})]
    assert grower.feed("]") == [Change(JsonPath(items), "finished", value=[{"name": "Grün"}])]
    assert grower.is_complete
    assert grower.finish() == []


PREFIXES: dict[str, Any] = {
    "": None,
    "  ": None,
    '"': "",
    '"a\\': "a",
    '"a\\u00e': "a",
    '"a\\ud83d': "a",
    '"a\\ud83d\\': "a",
    '"a\\ud83d\\ude0': "a",
    '"a\\ud83d\\ude00': "a😀",
    '"a\\ud83dx': "a\ud83dx",
    '"a\\\\ud83d': "a\\ud83d",
    '{"a': {},
    '{"a":': {},
    '{"a": 1': {},
    '{"a": 1,': {"a": 1},
    '{"a": tru': {},
    '{"a": true': {"a": True},
    '{"a": "b': {"a": "b"},
    '{"a": 1, "a": "b': {"a": "b"},
    '[[], ["a", "': [[], ["a", ""]],
}


@pytest.mark.parametrize(("prefix", "value"), PREFIXES.items(), ids=repr)
def test_only_what_is_uncertain_is_held_back(prefix: str, value: Any) -> None:
    whole, one_by_one = GrowingJson(), GrowingJson()
    whole.feed(prefix)
    for character in prefix:
        one_by_one.feed(character)
    assert whole.value == one_by_one.value == value
    assert whole.error is None


def test_a_value_that_was_returned_does_not_change() -> None:
    grower = GrowingJson()
    grower.feed('{"a": ["x", "y')
    before = grower.value
    grower.feed('z", "more"], "b": 1}')
    assert before == {"a": ["x", "y"]}
    assert grower.value == {"a": ["x", "yz", "more"], "b": 1}


@pytest.mark.parametrize("number", ["0", "-12", "1.5", "-2E+3"])
def test_a_number_by_itself_ends_with_the_text(number: str) -> None:
    grower = GrowingJson()
    assert (grower.feed(number), grower.is_complete) == ([Change(JsonPath(), "started")], False)
    assert grower.finish() == [Change(JsonPath(), "finished", value=json.loads(number))]
    assert grower.is_complete
    assert grower.finish() == []
    assert grower.feed(" \n") == []
    assert grower.is_complete
    grower.feed("5")
    assert grower.error is not None
    assert (grower.error.offset, grower.value) == (len(number) + 2, json.loads(number))


BROKEN: list[tuple[str, int, str, str, Any]] = [
    ("<html>", 0, "$", "a value", None),
    ('{"a": [1, 2, x]}', 13, "$.a", "a value", {"a": [1, 2]}),
    ('{"a": "b" "c": 1}', 10, "$", '"," or "}"', {"a": "b"}),
    ("[1 2]", 3, "$", '"," or "]"', [1]),
    ("[1,]", 3, "$", "a value", [1]),
    ("{1: 2}", 1, "$", "a key in double quotes", {}),
    ('{"a" 1}', 5, "$", "a colon", {}),
    ("[trux]", 4, "$[0]", "true", []),
    ("[-Infinitx", 9, "$[0]", "-Infinity", []),
    ("[01]", 2, "$[0]", "a number as JSON writes it", []),
    ("[1.e5]", 3, "$[0]", "a number as JSON writes it", []),
    ("[1.]", 3, "$[0]", "a number as JSON writes it", []),
    ("[-]", 2, "$[0]", "a number as JSON writes it", []),
    ('["ab\n"]', 4, "$[0]", "control characters to be escaped", ["ab"]),
    ('["ab\\x"]', 4, "$[0]", r"an escape such as \n or \u00e9", ["ab"]),
    ('["ab\\ud83d\\u00g0"]', 10, "$[0]", r"an escape such as \n or \u00e9", ["ab\ud83d"]),
    ('{"a": 1} {', 9, "$", "nothing more", {"a": 1}),
    ("1 2", 2, "$", "nothing more", 1),
    ("", 0, "$", "the rest of the document", None),
    ("-", 1, "$", "a number as JSON writes it", None),
    ('{"odd key": ["a\\u00', 19, '$["odd key"][0]', "the rest of the document", {"odd key": ["a"]}),
]


@pytest.mark.parametrize(("text", "offset", "path", "expected", "value"), BROKEN, ids=repr)
def test_a_broken_document_says_where_and_keeps_what_came_before(
    text: str, offset: int, path: str, expected: str, value: Any
) -> None:
    for pieces in ([text], list(text)):
        grower = GrowingJson()
        for piece in pieces:
            grower.feed(piece)
        with pytest.raises(BrokenJson, match=f"at character {offset}, in ") as caught:
            grower.finish()
        error = caught.value
        assert (error.offset, str(error.path), error.expected) == (offset, path, expected)
        assert error.found == text[offset : offset + 1]
        assert isinstance(error, StreamkitError)
        assert grower.value == value
        assert not grower.is_complete


def test_feeding_a_broken_document_returns_what_came_before_and_then_nothing() -> None:
    grower = GrowingJson()
    assert [change.kind for change in grower.feed('["a", x, "b"]')] == ["started", "started", "grew", "finished"]
    assert grower.error is not None
    assert grower.error.offset == 6
    assert grower.feed('"c"]') == []
    assert grower.value == ["a"]


def test_depth_is_limited_and_never_by_recursion() -> None:
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert read([deepest])[0].value == json.loads(deepest)
    grower = GrowingJson()
    grower.feed('{"a":' * 100_000)
    assert grower.error is not None
    assert grower.error.offset == MAX_DEPTH * len('{"a":')
    assert "MAX_DEPTH" in str(grower.error)


@pytest.mark.parametrize("digits", [4301, MAX_NUMBER_LENGTH + 1, MAX_NUMBER_LENGTH * 20])
def test_a_number_that_python_refuses_breaks_the_document(digits: int) -> None:
    half = "1" * (digits // 2)
    with pytest.raises(BrokenJson, match="MAX_NUMBER_LENGTH") as caught:
        read(["[", half, half + "1", "]"])
    assert caught.value.offset == 1


def test_a_long_number_may_come_digit_by_digit() -> None:
    number = "-" + "9" * 4300
    assert read(f"[{number}]")[0].value == [int(number)]


PATHS = {
    "$": (),
    "$.items[2].name": ("items", 2, "name"),
    "$[0][10]": (0, 10),
    '$["odd key"].città': ("odd key", "città"),
    '$["0"]["a.b"][""]': ("0", "a.b", ""),
    '$["\\"]"]': ('"]',),
}


@pytest.mark.parametrize(("text", "steps"), PATHS.items(), ids=repr)
def test_paths_are_tuples_that_read_well(text: str, steps: tuple[str | int, ...]) -> None:
    path = JsonPath(steps)
    assert path == steps
    assert hash(path) == hash(steps)
    assert str(path) == text
    assert PathPattern.parse(text).matches(path)


@given(st.lists(st.text(max_size=5) | st.integers(0, 999), max_size=4).map(JsonPath))
@settings(max_examples=100)
def test_the_text_of_any_path_is_its_own_pattern(path: JsonPath) -> None:
    pattern = PathPattern.parse(str(path))
    assert pattern.steps == path
    assert str(pattern) == str(path)


MATCHES: list[tuple[str, tuple[str | int, ...], bool]] = [
    ("city", ("city",), True),
    ("$.city", ("city",), True),
    ("city", ("town",), False),
    ("city", ("city", "name"), False),
    ("city", (), False),
    ("items[*]", ("items", 0), True),
    ("items[*]", ("items", 12), True),
    ("items[*]", ("items",), False),
    ("items[*].name", ("items", 3, "name"), True),
    ("items[*].name", ("items", 3, "price"), False),
    ("items[2]", ("items", 2), True),
    ("items[2]", ("items", 3), False),
    ("items[2]", ("items", "2"), False),
    ('items["2"]', ("items", "2"), True),
    ("[*]", (4,), True),
    ("*", ("any",), True),
    ("a.*.b", ("a", "x", "b"), True),
    ("$", (), True),
    ("$", (0,), False),
]


@pytest.mark.parametrize(("pattern", "path", "matches"), MATCHES, ids=repr)
def test_patterns_match_whole_paths(pattern: str, path: tuple[str | int, ...], matches: bool) -> None:
    assert PathPattern.parse(pattern).matches(JsonPath(path)) is matches
    assert PathPattern.parse(str(PathPattern.parse(pattern))).matches(path) is matches


BAD_PATTERNS = [
    "",
    "$city",
    "items[",
    "items[-1]",
    "items[x]",
    "a..b",
    "a.",
    "odd key",
    "['a']",
    '["a',
    '["\\x"]',
    "1a",
]


@pytest.mark.parametrize("pattern", BAD_PATTERNS)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="is no path") as caught:
        PathPattern.parse(pattern)
    assert repr(pattern) in str(caught.value)

"""Growing JSON: text in pieces to values and paths, at a cost for each piece that does not grow with what came before.

It reads what ``json.loads`` reads, ``NaN`` and the infinities included, and ends in the same value.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from pydantic import JsonValue

from streamkit.errors import StreamkitError, UsageError

MAX_DEPTH = 200
"""Arrays and objects within each other; as many as pydantic's own JSON parser reads."""

MAX_NUMBER_LENGTH = 5000
"""Characters of one number; Python itself reads no integer of more than 4,300 digits."""

_HEX = "[0-9A-Fa-f]"
_PLAIN = r'[^"\\\x00-\x1f]++'
_SIMPLE_ESCAPE = r'\\["\\/bfnrt]'
_HIGH_SURROGATE = rf"\\u[dD][89abAB]{_HEX}{{2}}"
_ESCAPE_SO_FAR = rf"\\(?:u{_HEX}{{0,3}})?"
# The repetitions are possessive, so that the regular expressions keep nothing to go back to.
_TEXT = re.compile(
    # What follows a high surrogate tells whether it is half of a pair: it waits for that.
    rf"(?:{_PLAIN}|{_SIMPLE_ESCAPE}|(?!{_HIGH_SURROGATE}(?:{_ESCAPE_SO_FAR})?\Z)\\u{_HEX}{{4}})*+"
)
_PLAIN_TEXT = re.compile(_PLAIN)
_TEXT_SO_FAR = re.compile(rf"(?:{_HIGH_SURROGATE})?(?:{_ESCAPE_SO_FAR})?")
_NUMBER_CHARACTERS = re.compile(r"[-+.0-9eE]*+")
_NUMBER_SO_FAR = re.compile(r"-?(?:(?:0|[1-9][0-9]*+)(?:\.[0-9]*+)?(?:(?<=[0-9])[eE][-+]?[0-9]*+)?)?")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(?P<fraction>\.[0-9]++)?(?P<exponent>[eE][-+]?[0-9]++)?")
_SPACE = re.compile(r"[ \t\n\r]*+")
_DECODER = json.JSONDecoder()
_NUMBER_STARTS = frozenset("-0123456789")
_WORDS: dict[str, tuple[str, JsonValue]] = {
    "t": ("true", True),
    "f": ("false", False),
    "n": ("null", None),
    "N": ("NaN", float("nan")),
    "I": ("Infinity", float("inf")),
    "-": ("-Infinity", float("-inf")),
}
_NAME = re.compile(r"[^\W\d]\w*")
_QUOTED = rf'"(?:{_PLAIN}|{_SIMPLE_ESCAPE}|\\u{_HEX}{{4}})*+"'
_STEP = re.compile(
    rf"(?:^|\.)(?:(?P<name>{_NAME.pattern})|\*)|\[(?:(?P<index>[0-9]{{1,9}})|(?P<quoted>{_QUOTED})|\*)\]"
)


class JsonPath(tuple[str | int, ...]):
    """Where a value stands in a document: keys and indexes from the root, which is the empty path.

    It is a tuple and equals one: ``JsonPath(["items", 2, "name"]) == ("items", 2, "name")``. As text it is
    ``$.items[2].name``, and ``$["odd key"]`` where a key is no plain word.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return _as_text(self)


@dataclass(frozen=True, slots=True)
class PathPattern:
    """The paths that a subscriber asks for.

    Attributes:
        steps: keys and indexes from the root; ``None`` stands for any one of them.
    """

    steps: tuple[str | int | None, ...]

    @classmethod
    def parse(cls, text: str) -> "PathPattern":
        """Read a pattern such as ``city``, ``items[*].name``, ``$.items[2]`` or ``$["odd key"]``.

        ``[*]`` and ``.*`` stand for any one index or key, ``$`` alone for the whole document; a leading ``$.`` may be
        left out.

        Raises:
            UsageError: the text is no pattern; the message says from where on.
        """
        steps: list[str | int | None] = []
        position = 1 if text.startswith("$") else 0
        while position < len(text) or not text:
            step = _STEP.match(text, position)
            if step is None:
                raise UsageError(
                    f"{text!r} is no path: {text[position:]!r} does not begin with a step; "
                    'steps are .key, [2], [*] for any, and ["odd key"], as in items[*].name'
                )
            steps.append(_step_of(step))
            position = step.end()
        return cls(tuple(steps))

    def matches(self, path: Sequence[str | int]) -> bool:
        """Tell whether a path is one of those asked for; paths above and below one are not."""
        if len(path) != len(self.steps):
            return False
        return all(asked is None or asked == step for asked, step in zip(self.steps, path, strict=True))

    def __str__(self) -> str:
        return _as_text(self.steps)


def _step_of(found: re.Match[str]) -> str | int | None:
    if found["quoted"]:
        return _unescaped(found["quoted"][1:-1])
    return int(found["index"]) if found["index"] else found["name"]


def _as_text(steps: Sequence[str | int | None]) -> str:
    return "$" + "".join(map(_step_as_text, steps))


def _step_as_text(step: str | int | None) -> str:
    if isinstance(step, str):
        return f".{step}" if _NAME.fullmatch(step) else f"[{json.dumps(step)}]"
    return "[*]" if step is None else f"[{step}]"


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    unescaped: tuple[str, int] = _DECODER.raw_decode(f'"{text}"')
    return unescaped[0]


class BrokenJson(StreamkitError):
    """The text is no JSON, or ended before its value did. What came before stays available as ``GrowingJson.value``.

    Attributes:
        offset: where it broke, in characters from the start of the text.
        path: the innermost value that was open there.
        expected: what could have stood there.
        found: the character that stood there, empty where the text ended.
    """

    def __init__(self, *, offset: int, path: JsonPath, expected: str, found: str) -> None:
        what = repr(found) if found else "the end of the text"
        super().__init__(f"broken JSON at character {offset}, in {path}: expected {expected}, found {what}")
        self.offset = offset
        self.path = path
        self.expected = expected
        self.found = found


class Change(NamedTuple):
    """What a piece of text did to one value.

    Every value starts and finishes once, a container around what is in it; between the two a string grows. Only where
    an object names a key twice does its path start anew, and the later value counts.
    """

    path: JsonPath
    kind: Literal["started", "grew", "finished"]
    text: str = ""
    """Where a string grew: what was added to it, decoded, never empty. Holds lone surrogates if the JSON does."""
    value: JsonValue = None
    """Where a value finished: the value, which the document shares. Do not alter it."""


class _Array:
    """An array that has begun and not ended."""

    __slots__ = ("elements", "path")
    closer: ClassVar = "]"

    def __init__(self, path: JsonPath) -> None:
        self.path = path
        self.elements: list[JsonValue] = []

    @property
    def value(self) -> JsonValue:
        return self.elements

    def child_path(self) -> JsonPath:
        return JsonPath((*self.path, len(self.elements)))

    def add(self, child: JsonValue) -> None:
        self.elements.append(child)

    def snapshot(self, growing: Sequence[JsonValue]) -> JsonValue:
        """Return the array with a child that is still growing, or none."""
        return [*self.elements, *growing]


class _Object:
    """An object that has begun and not ended."""

    __slots__ = ("key", "members", "path")
    closer: ClassVar = "}"

    def __init__(self, path: JsonPath) -> None:
        self.path = path
        self.key = ""
        self.members: dict[str, JsonValue] = {}

    @property
    def value(self) -> JsonValue:
        return self.members

    def child_path(self) -> JsonPath:
        return JsonPath((*self.path, self.key))

    def add(self, child: JsonValue) -> None:
        self.members[self.key] = child

    def snapshot(self, growing: Sequence[JsonValue]) -> JsonValue:
        """Return the object with a child that is still growing, or none."""
        return self.members | dict(zip([self.key], growing, strict=False))


class _Tree:
    """The values so far, and the changes that nobody has taken yet."""

    __slots__ = ("changes", "containers", "path", "pieces", "root")

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.containers: list[_Array | _Object] = []
        self.path = JsonPath()
        self.pieces: list[str] | None = None
        self.root: JsonValue = None

    def start(self) -> None:
        if self.containers:
            self.path = self.containers[-1].child_path()
        self.changes.append(Change(self.path, "started"))

    def open(self, container: type[_Array | _Object]) -> None:
        self.start()
        self.containers.append(container(self.path))

    def close(self) -> None:
        self.finish(self.containers.pop().value)

    def start_text(self) -> None:
        self.start()
        self.pieces = []

    def grow(self, text: str) -> Change:
        """Lengthen the open string; the change is returned, not kept."""
        assert self.pieces is not None
        self.pieces.append(text)
        return Change(self.path, "grew", text)

    def finish_text(self) -> None:
        pieces, self.pieces = self.pieces, None
        assert pieces is not None
        self.finish("".join(pieces))

    def finish(self, value: JsonValue) -> None:
        self.changes.append(Change(self.path, "finished", value=value))
        if self.containers:
            parent = self.containers[-1]
            parent.add(value)
            self.path = parent.path
        else:
            self.root = value

    def name_child(self, key: str) -> None:
        container = self.containers[-1]
        assert isinstance(container, _Object)
        container.key = key

    def snapshot(self) -> JsonValue:
        growing: list[JsonValue] = []
        if self.pieces is not None:
            self.pieces[:] = ["".join(self.pieces)]
            growing = [self.pieces[0]]
        for container in reversed(self.containers):
            growing = [container.snapshot(growing)]
        return growing[0] if growing else self.root


_State = Callable[["GrowingJson", str, int], int]


class GrowingJson:
    """Reads one JSON document in pieces of text, cut anywhere, and tells what each piece changed.

    What a cut leaves uncertain is held back until the next piece: half an escape, a number that may go on. It holds no
    more than it was fed, so what bounds the text bounds it too.

    Attributes:
        error: where the document broke, once it did: from there on nothing is read any more.
    """

    __slots__ = ("_held", "_key", "_offset", "_state", "_tree", "error")

    def __init__(self) -> None:
        self.error: BrokenJson | None = None
        self._tree = _Tree()
        self._key: list[str] = []
        self._state: _State = GrowingJson._before_value
        self._held = ""
        # Where the held text begins.
        self._offset = 0

    @property
    def value(self) -> JsonValue:
        """The value so far: with every string as far as it has grown, and without what is not yet certain.

        ``None`` before anything began. The containers around the place of growth are copies, made for this call; the
        finished values in them are shared, so do not alter them. It costs as much as the string that grows is long and
        the open containers have members; to follow a long document, use the changes.
        """
        return self._tree.snapshot()

    @property
    def is_complete(self) -> bool:
        """Whether the document has ended. A number without anything around it ends only with ``finish``."""
        return self._state is GrowingJson._after_document

    def feed(self, piece: str) -> list[Change]:
        """Take the next piece of text and return what it changed, in order.

        It raises nothing. Where the document breaks, the changes before that are returned and ``error`` is set; what
        is fed after that is ignored.
        """
        # Nearly all that comes of a long document is plain text within a string.
        if self._state is GrowingJson._in_text and not self._held and _PLAIN_TEXT.fullmatch(piece):
            self._offset += len(piece)
            return [self._tree.grow(piece)]
        text = self._held + piece
        self._held = ""
        position = 0
        while position < len(text):
            position = self._state(self, text, position)
        self._offset += len(text) - len(self._held)
        return self._take_changes()

    def finish(self) -> list[Change]:
        """End the text and return the last changes: only a number without anything around it waits for this.

        Raises:
            BrokenJson: the document broke, or has not ended. ``value`` still returns what there is.
        """
        if self._state is GrowingJson._in_number:
            held, self._held = self._held, ""
            self._finish_number(held, 0, len(held))
            self._offset += len(held)
        if self.error is None and not self.is_complete:
            self._break(self._held, len(self._held), "the rest of the document")
        if self.error is not None:
            raise self.error
        return self._take_changes()

    def _take_changes(self) -> list[Change]:
        changes, self._tree.changes = self._tree.changes, []
        return changes

    # The states that reading can be in. Each reads on from a position in the text, and returns where it stopped.

    def _before_value(self, text: str, position: int) -> int:
        character = text[position]
        if character == '"':
            self._tree.start_text()
            self._state = GrowingJson._in_text
            return position + 1
        if character == "{":
            return self._open(_Object, GrowingJson._before_first_key, text, position)
        if character == "[":
            return self._open(_Array, GrowingJson._before_first_element, text, position)
        if character in _NUMBER_STARTS or character in _WORDS:
            self._tree.start()
            self._state = GrowingJson._in_number if character in _NUMBER_STARTS else GrowingJson._in_word
            return position
        return self._skip_space(text, position, "a value")

    def _before_first_element(self, text: str, position: int) -> int:
        return self._close(position) if text[position] == "]" else self._before_value(text, position)

    def _before_first_key(self, text: str, position: int) -> int:
        return self._close(position) if text[position] == "}" else self._before_key(text, position)

    def _before_key(self, text: str, position: int) -> int:
        if text[position] != '"':
            return self._skip_space(text, position, "a key in double quotes")
        self._state = GrowingJson._in_key
        return position + 1

    def _in_key(self, text: str, position: int) -> int:
        end = _end_of_match(_TEXT, text, position)
        self._key.append(_unescaped(text[position:end]))
        if not text.startswith('"', end):
            return self._hold_escape(text, end)
        self._tree.name_child("".join(self._key))
        self._key.clear()
        self._state = GrowingJson._before_colon
        return end + 1

    def _before_colon(self, text: str, position: int) -> int:
        if text[position] != ":":
            return self._skip_space(text, position, "a colon")
        self._state = GrowingJson._before_value
        return position + 1

    def _in_text(self, text: str, position: int) -> int:
        end = _end_of_match(_TEXT, text, position)
        if end > position:
            self._tree.changes.append(self._tree.grow(_unescaped(text[position:end])))
        if end == len(text):
            return end
        if not text.startswith('"', end):
            return self._hold_escape(text, end)
        self._tree.finish_text()
        return self._finished(end + 1)

    def _in_word(self, text: str, position: int) -> int:
        word, value = _WORDS[text[position]]
        found = text[position : position + len(word)]
        if found == word:
            self._tree.finish(value)
            return self._finished(position + len(word))
        if word.startswith(found):
            return self._hold(text, position)
        same = next(index for index, character in enumerate(found) if character != word[index])
        return self._break(text, position + same, word)

    def _in_number(self, text: str, position: int) -> int:
        if text.startswith("-I", position):
            self._state = GrowingJson._in_word
            return position
        end = _end_of_match(_NUMBER_CHARACTERS, text, position)
        if end < len(text):
            return self._finish_number(text, position, end)
        if _NUMBER_SO_FAR.fullmatch(text, position) and end - position <= MAX_NUMBER_LENGTH:
            return self._hold(text, position)
        return self._break_number(text, position, end)

    def _after_value(self, text: str, position: int) -> int:
        container = self._tree.containers[-1]
        if text[position] == ",":
            is_object = isinstance(container, _Object)
            self._state = GrowingJson._before_key if is_object else GrowingJson._before_value
            return position + 1
        if text[position] == container.closer:
            return self._close(position)
        return self._skip_space(text, position, f'"," or "{container.closer}"')

    def _after_document(self, text: str, position: int) -> int:
        return self._skip_space(text, position, "nothing more")

    def _after_break(self, text: str, _: int) -> int:
        return len(text)

    def _open(self, container: type[_Array | _Object], state: _State, text: str, position: int) -> int:
        if len(self._tree.containers) == MAX_DEPTH:
            return self._break(text, position, f"no more than MAX_DEPTH={MAX_DEPTH} arrays and objects in each other")
        self._tree.open(container)
        self._state = state
        return position + 1

    def _close(self, position: int) -> int:
        self._tree.close()
        return self._finished(position + 1)

    def _finished(self, position: int) -> int:
        self._state = GrowingJson._after_value if self._tree.containers else GrowingJson._after_document
        return position

    def _finish_number(self, text: str, position: int, end: int) -> int:
        found = _NUMBER.fullmatch(text, position, end)
        if found is None or end - position > MAX_NUMBER_LENGTH:
            return self._break_number(text, position, end)
        is_float = found["fraction"] or found["exponent"]
        try:
            self._tree.finish(float(found[0]) if is_float else int(found[0]))
        except ValueError:
            return self._break_number(text, position, end)
        return self._finished(end)

    def _break_number(self, text: str, position: int, end: int) -> int:
        so_far = _end_of_match(_NUMBER_SO_FAR, text, position)
        if so_far < end or not _NUMBER.fullmatch(text, position, end):
            return self._break(text, so_far, "a number as JSON writes it")
        return self._break(text, position, f"a number of fewer digits (MAX_NUMBER_LENGTH={MAX_NUMBER_LENGTH})")

    def _skip_space(self, text: str, position: int, expected: str) -> int:
        """Step over white space, the only other thing that may stand here."""
        end = _end_of_match(_SPACE, text, position)
        return end if end > position else self._break(text, position, expected)

    def _hold_escape(self, text: str, position: int) -> int:
        if _TEXT_SO_FAR.fullmatch(text, position):
            return self._hold(text, position)
        is_escape = text[position] == "\\"
        expected = r"an escape such as \n or \u00e9" if is_escape else "control characters to be escaped"
        return self._break(text, position, expected)

    def _hold(self, text: str, position: int) -> int:
        self._held = text[position:]
        return len(text)

    def _break(self, text: str, position: int, expected: str) -> int:
        found = text[position : position + 1]
        self.error = BrokenJson(offset=self._offset + position, path=self._tree.path, expected=expected, found=found)
        self._state = GrowingJson._after_break
        return len(text)


def _end_of_match(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    assert found is not None, "all of these patterns match the empty text"
    return found.end()

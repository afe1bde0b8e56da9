"""One output item while it grows: the item as it was announced, opened wherever something is laid into it.

Text that grows is a list of pieces, joined only when somebody reads it, so that a delta costs the same however long the
answer is. What nothing was laid into stays the model it was.
"""

from itertools import pairwise
from typing import Any, cast

from pydantic import BaseModel

from streamkit.events import OutputItemDone
from streamkit.items import OutputItem

Path = tuple[str | int, ...]
"""Where a value stands in an item: field names, and indexes as the wire counts them (they may have gaps)."""


class _Fields(dict[str | int, Any]):
    """A model or a JSON object that was opened."""


class _Elements(dict[str | int, Any]):
    """A list that was opened, by the wire's indexes."""


class _Pieces(list[str]):
    """A text that grows."""


class GrowingItem:
    """An output item that values are laid into.

    Attributes:
        base: the item as the server last sent it whole.
        done: the server sent it for good; nothing may be laid into it any more.
        progress: the step that a tool's last progress event told of, such as ``"searching"``.
    """

    __slots__ = ("_closed", "_opened", "base", "done", "progress")

    def __init__(self, base: OutputItem, *, done: bool = False) -> None:
        self.base = base
        self.done = done
        self.progress: str | None = None
        self._opened: _Fields | None = None
        self._closed: set[Path] | None = None

    def put(self, path: Path, value: object) -> None:
        """Lay a whole value at a path, in place of all that was there."""
        self._parent(path)[path[-1]] = value

    def finish(self, path: Path, value: object) -> None:
        """Lay a value at a path for good: text at or below it does not grow any more."""
        self.put(path, value)
        self._closed = self._closed or set()
        self._closed.add(path)

    def is_closed(self, path: Path) -> bool:
        """Tell whether a text is finished, by itself or with what it is a part of."""
        closed = self._closed or ()
        return self.done or any(path[:length] in closed for length in range(1, len(path) + 1))

    def text(self, path: Path) -> str:
        """Return the text at a path as far as it has grown."""
        value = _settled(look_up(self.base if self._opened is None else self._opened, path))
        return value if isinstance(value, str) else ""

    def pieces(self, path: Path) -> list[str] | None:
        """Return the growing text at a path, to append to; ``None`` where it was closed."""
        if self.is_closed(path):
            return None
        parent = self._parent(path)
        text = parent.get(path[-1])
        if not isinstance(text, _Pieces):
            text = parent[path[-1]] = _Pieces([text] if isinstance(text, str) and text else [])
        return text

    def indexes(self, path: Path) -> list[int]:
        """Return the indexes in use in the list at a path, ascending."""
        value = look_up(self.base if self._opened is None else self._opened, path)
        if isinstance(value, _Elements):
            return cast("list[int]", sorted(value))
        return list(range(len(_listed(value))))

    def build(self) -> OutputItem:
        """Return the item as it stands."""
        return self.base if self.done or self._opened is None else make_item(_settled(self._opened))

    def _parent(self, path: Path) -> dict[str | int, Any]:
        """Open everything above the end of a path and return what is right above it."""
        if self._opened is None:
            self._opened = _fields_of(self.base)
        node: dict[str | int, Any] = self._opened
        for step, following in pairwise(path):
            node[step] = _open(node.get(step), _Elements if isinstance(following, int) else _Fields)
            node = node[step]
        return node


def make_item(data: object) -> OutputItem:
    """Return the output item with these fields; models within them stay as they are."""
    item = OutputItemDone.model_validate({"item": data}).item
    assert item is not None
    return item


def look_up(value: object, path: Path) -> object:
    """Return what stands at a path in a model or in plain data, ``None`` where nothing does."""
    for step in path:
        value = _member(value, step)
    return value


def _member(value: object, step: str | int) -> object:
    if isinstance(value, dict):
        return cast("dict[str | int, Any]", value).get(step)
    if isinstance(step, str):
        return getattr(value, step, None)
    elements = _listed(value)
    return elements[step] if 0 <= step < len(elements) else None


def _listed(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _open(value: object, kind: type[_Fields | _Elements]) -> _Fields | _Elements:
    if isinstance(value, kind):
        return value
    if kind is _Elements:
        return _Elements(enumerate(_listed(value)))
    if isinstance(value, BaseModel):
        return _fields_of(value)
    return _Fields(cast("dict[str | int, Any]", value) if isinstance(value, dict) else ())


def _fields_of(model: BaseModel) -> _Fields:
    values, sent = {**model.__dict__, **(model.model_extra or {})}, model.model_fields_set
    # A model that was made by hand may not have set its type, which the wire always names.
    return _Fields({name: value for name, value in values.items() if name in sent or name == "type"})


def _settled(value: object) -> object:
    if isinstance(value, _Pieces):
        value[:] = ["".join(value)]
        return value[0]
    if isinstance(value, _Elements):
        return [_settled(element) for _, element in sorted(value.items())]
    if isinstance(value, _Fields):
        return {name: _settled(field) for name, field in value.items()}
    return value

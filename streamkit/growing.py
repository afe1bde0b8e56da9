"""One output item while it grows: what was announced of it, and what deltas and done events laid over that.

An overlay stands at a path, such as ``("content", 0, "text")``. Text that still grows is a list of pieces, joined only
when somebody reads it, so that a delta costs the same however long the answer is.
"""

from itertools import pairwise
from typing import Any, cast

from pydantic import BaseModel

from streamkit.events import OutputItemDone
from streamkit.items import Message, OutputItem, OutputText

Path = tuple[str | int, ...]
"""Where a value stands in an item: field names, and indexes as the wire counts them (they may have gaps)."""


class GrowingItem:
    """An output item and its overlays.

    Attributes:
        base: the item as the server last sent it whole.
        done: the server sent it for good; nothing may be laid over it any more.
    """

    __slots__ = ("_closed", "_overlays", "base", "done")

    def __init__(self, base: OutputItem, *, done: bool = False) -> None:
        self.base = base
        self.done = done
        self._overlays: dict[Path, object] = {}
        self._closed: set[Path] = set()

    def put(self, path: Path, value: object) -> None:
        """Lay a whole value at a path, over all that was there."""
        for covered in [other for other in self._overlays if other[: len(path)] == path]:
            del self._overlays[covered]
        self._overlays[path] = value

    def finish(self, path: Path, value: object) -> None:
        """Lay a value at a path for good: text at or below it does not grow any more."""
        self.put(path, value)
        self._closed.add(path)

    def is_closed(self, path: Path) -> bool:
        """Tell whether a text is finished, by itself or with what it is a part of."""
        return self.done or any(path[:length] in self._closed for length in range(1, len(path) + 1))

    def text(self, path: Path) -> str:
        """Return the text at a path as far as it has grown."""
        value = self._value_at(path)
        return _joined(cast("list[str]", value)) if isinstance(value, list) else str(value or "")

    @property
    def progress(self) -> str | None:
        """The step that a tool's last progress event told of, such as ``"searching"``."""
        step = self._overlays.get(("status",))
        return step if isinstance(step, str) else None

    def pieces(self, path: Path) -> list[str] | None:
        """Return the growing text at a path, to append to; ``None`` where it was closed."""
        if self.is_closed(path):
            return None
        overlay = self._overlays.get(path)
        if isinstance(overlay, list):
            return cast("list[str]", overlay)
        text = self._value_at(path)
        pieces = [text] if isinstance(text, str) and text else []
        self._overlays[path] = pieces
        return pieces

    def indexes(self, path: Path) -> list[int]:
        """Return the indexes in use in the list at a path, ascending."""
        listed = look_up(self.base, path)
        used = set(range(len(cast("list[object]", listed)))) if isinstance(listed, list) else set[int]()
        for other in self._overlays:
            if len(other) > len(path) and other[: len(path)] == path:
                index = other[len(path)]
                used.update([index] if isinstance(index, int) else [])
        return sorted(used)

    def output_text(self) -> str:
        """Return the text of the item's ``output_text`` parts so far; empty for an item that is no message."""
        return "".join(text for _, text in sorted(self._texts().items()))

    def build(self) -> OutputItem:
        """Return the item as it stands."""
        if not self._overlays:
            return self.base
        data: dict[str, Any] = self.base.model_dump(exclude_unset=True)
        for path, value in self._overlays.items():
            _place(data, path, _plain(value))
        item = OutputItemDone.model_validate({"item": _settle(data)}).item
        return self.base if item is None else item

    def _texts(self) -> dict[int, str]:
        if not isinstance(self.base, Message):
            return {}
        texts = {i: part.text for i, part in enumerate(self.base.content) if isinstance(part, OutputText)}
        for path, value in self._overlays.items():
            match path:
                case ("content", int(index)):
                    texts[index] = value.text if isinstance(value, OutputText) else ""
                case ("content", int(index), "text") if index in texts:
                    texts[index] = _joined(value)
                case _:
                    pass
        return texts

    def _value_at(self, path: Path) -> object:
        for length in range(len(path), 0, -1):
            if path[:length] in self._overlays:
                return look_up(self._overlays[path[:length]], path[length:])
        return look_up(self.base, path)


def look_up(value: object, path: Path) -> object:
    """Return what stands at a path in a model or in plain data, ``None`` where nothing does."""
    for step in path:
        if isinstance(step, int):
            elements = cast("list[object]", value) if isinstance(value, list) else []
            value = elements[step] if 0 <= step < len(elements) else None
        elif isinstance(value, dict):
            value = cast("dict[str, object]", value).get(step)
        else:
            value = getattr(value, step, None)
    return value


class _Indexed(dict[Any, Any]):
    """A list while values are placed in it, by the wire's indexes."""


def _place(data: dict[Any, Any], path: Path, value: object) -> None:
    for step, following in pairwise(path):
        data[step] = _container(data.get(step), _Indexed if isinstance(following, int) else dict)
        data = data[step]
    data[path[-1]] = value


def _container(value: object, kind: type[dict[Any, Any]]) -> dict[Any, Any]:
    if kind is _Indexed and isinstance(value, list):
        return _Indexed(enumerate(cast("list[object]", value)))
    fits = isinstance(value, dict) and isinstance(value, _Indexed) == (kind is _Indexed)
    return cast("dict[Any, Any]", value) if fits else kind()


def _settle(value: object) -> object:
    if isinstance(value, _Indexed):
        return [_settle(element) for _, element in sorted(value.items())]
    if isinstance(value, dict):
        return {key: _settle(element) for key, element in cast("dict[str, object]", value).items()}
    return value


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True)
    return _joined(cast("list[str]", value)) if isinstance(value, list) else value


def _joined(value: object) -> str:
    if not isinstance(value, list):
        return str(value)
    pieces = cast("list[str]", value)
    if len(pieces) > 1:
        pieces[:] = ["".join(pieces)]
    return pieces[0] if pieces else ""

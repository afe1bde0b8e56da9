"""The overloads that give each wire name its class, compared with the table of events.

``python -m tests.test_overloads`` writes them anew after the table has changed.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from streamkit.events import EVENTS
from tests.paths import ROOT


def names(indent: str) -> str:
    return "".join(f'{indent}"{name}",\n' for name in EVENTS)


def overloads(options: str, returned: str, keyword: str = "def") -> Callable[[str], str]:
    """Write signatures; in the types that are given, ``{}`` stands for the class of the event."""

    def render(indent: str) -> str:
        return "".join(
            f"{indent}@overload\n"
            f'{indent}{keyword} __call__(self, name: Literal["{name}"], /, '
            f"**options: Unpack[{options.format(model)}]) -> {returned.format(model)}: ...\n"
            for name, model in ((name, f"ev.{model.__name__}") for name, model in EVENTS.items())
        )

    return render


BLOCKS: dict[Path, Callable[[str], str]] = {
    ROOT / "streamkit" / "dispatch" / "on.py": overloads("Options[{}]", "Decorator[{}, State]"),
    ROOT / "streamkit" / "dispatch" / "selection.py": names,
    ROOT / "streamkit" / "iteration.py": overloads("IteratorOptions[{}]", "EventIterator[{}]"),
    ROOT / "streamkit" / "waiting.py": overloads("WaitOptions[{}]", "{}", "async def"),
}
BLOCK = re.compile(r"(?P<indent> *)# -- the events --\n(?P<body>.*?) *# -- end of the events --\n", re.DOTALL)


def rendered(path: Path) -> str:
    def block(match: re.Match[str]) -> str:
        indent = match["indent"]
        return f"{indent}# -- the events --\n{BLOCKS[path](indent)}{indent}# -- end of the events --\n"

    text, count = BLOCK.subn(block, path.read_text("utf-8"))
    assert count == 1, f"{path.name} has no block of overloads"
    return text


@pytest.mark.parametrize("path", BLOCKS, ids=lambda path: path.name)
def test_every_wire_name_has_its_overload(path: Path) -> None:
    assert path.read_text("utf-8") == rendered(path)


if __name__ == "__main__":
    for path in BLOCKS:
        path.write_text(rendered(path), "utf-8")

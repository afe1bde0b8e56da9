"""The building: every module stands on a floor, and imports only from the floors below.

A package is one room: its modules may import each other, but not in a circle.
"""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.interpreters import in_fresh_interpreter
from tests.paths import ROOT
from tests.trees import FILES, TREES

FLOORS = {
    "errors": 0,
    "items": 0,
    "response": 1,
    "sse": 1,
    "stats": 1,
    "partial_json": 1,
    "ledger": 1,
    "partial_model": 1,
    "schema": 2,
    "type_path": 2,
    "parsed": 2,
    "answer": 4,
    "structured": 5,
    "verdict": 2,
    "limits": 2,
    "clocks": 1,
    "events": 2,
    "codec": 3,
    "cursor": 3,
    "outcome": 3,
    "growing": 3,
    "merging": 3,
    "accumulator": 4,
    "backlog": 4,
    "undecoded": 4,
    "failures": 4,
    "recovery": 4,
    "source": 4,
    "context": 4,
    "chat": 4,
    "ending": 5,
    "deferral": 5,
    "dispatch": 5,
    "synthesis": 5,
    "watchdog": 5,
    "stage": 5,
    "alternation": 5,
    "tools": 9,
    "in_place": 6,
    "iteration": 6,
    "waiting": 7,
    "views": 7,
    "driving": 9,
    "reader": 6,
    "stream": 7,
    "staging": 8,
    "run": 10,
    "api": 8,
    "sources": 10,
    "stages": 10,
    "client": 11,
    "testing": 12,
    "cli": 13,
    "pytest_plugin": 13,
    "__main__": 14,
    "": 14,
}
"""By the name of the room within streamkit; the empty name is ``streamkit/__init__.py``."""

PURE = {room for room, floor in FLOORS.items() if floor <= 4} | {"ending", "synthesis"}
"""Rooms that await nothing, and know no time, chance or outside world."""

IMPURE_IMPORTS = {
    *("aiohttp", "anyio", "asyncio", "io", "multiprocessing", "os", "pathlib", "random", "secrets", "select"),
    *("selectors", "shutil", "signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time", "uuid"),
}
LONG_FILES = {"events.py", "items.py"}
MAX_LINES = 600

MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@cache
def imports_of(module: str) -> set[str]:
    """The modules that a module imports, wherever in it the import stands."""
    return set(imports_in(module))


def imports_in(module: str) -> Iterator[str]:
    for node in ast.walk(TREES[MODULES[module]]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            assert node.module is not None
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in MODULES else node.module


def own_imports_of(module: str) -> set[str]:
    return {name for name in imports_of(module) if name.split(".")[0] == "streamkit"}


def test_every_module_has_a_floor_and_every_floor_a_module() -> None:
    assert FLOORS.keys() == {room_of(module) for module in MODULES}, f"name the floors in {Path(__file__).name}"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_floors_below(module: str) -> None:
    room = room_of(module)
    upward = {
        name for name in own_imports_of(module) if room_of(name) != room and FLOORS[room_of(name)] >= FLOORS[room]
    }
    assert not upward


@pytest.mark.parametrize("room", sorted({room_of(module) for module in MODULES}))
def test_the_modules_of_a_room_import_each_other_in_no_circle(room: str) -> None:
    within = {
        module: {name for name in own_imports_of(module) if room_of(name) == room}
        for module in MODULES
        if room_of(module) == room
    }
    TopologicalSorter(within).prepare()


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) in PURE])
def test_a_pure_module_knows_no_outside_world_and_waits_for_nothing(module: str) -> None:
    assert not {name.split(".")[0] for name in imports_of(module)} & IMPURE_IMPORTS
    for node in ast.walk(TREES[MODULES[module]]):
        assert not isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith), f"line {node.lineno} waits"
        if isinstance(node, ast.AsyncFunctionDef):
            assert is_stub(node), f"line {node.lineno} is more than a protocol's description of what others do"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "print", "input"}, f"line {node.lineno} reads or writes"


def is_stub(function: ast.AsyncFunctionDef) -> bool:
    return all(isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) for line in function.body)


def test_no_file_is_long() -> None:
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in FILES if path.name not in LONG_FILES}
    assert {path: number for path, number in lines.items() if number > MAX_LINES} == {}


LOAD_ALL_BUT_CLIENT = """
import sys, streamkit
for name in set(streamkit.__all__) - {"Client"}:
    getattr(streamkit, name)
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def loaded() -> frozenset[str]:
    """The modules that are loaded by who uses every name of ``streamkit`` but ``Client``."""
    return frozenset(in_fresh_interpreter(LOAD_ALL_BUT_CLIENT).split())


@pytest.mark.parametrize("library", ["aiohttp", "redis", "opentelemetry", "rich", "argparse"])
def test_nothing_but_the_client_loads_a_library_for_the_network_or_the_terminal(
    library: str, loaded: frozenset[str]
) -> None:
    assert "streamkit.run" in loaded
    assert library not in loaded


IMPORT_EACH_FIRST = """
import importlib, sys
for package, *modules in {rooms}:
    importlib.import_module(package)
    for module in set(modules) - set(sys.modules):
        for name in (package, *modules):
            sys.modules.pop(name, None)
        importlib.import_module(module)
"""


def test_each_further_module_can_be_the_first_of_its_room_to_be_imported(loaded: frozenset[str]) -> None:
    further = sorted(MODULES.keys() - loaded - {"streamkit.__main__"})
    assert "streamkit.sources.http" in further
    # What stands on floors below imports nothing of the room, so that it may be loaded already. A package comes before
    # its modules, by name and in every import, so that those which it loads have no other order.
    rooms = [[module for module in further if room_of(module) == room] for room in sorted(set(map(room_of, further)))]
    in_fresh_interpreter(IMPORT_EACH_FIRST.format(rooms=rooms))

"""The public face: exactly these names, each with a type and an explanation."""

import ast
import importlib
import inspect
import pydoc
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

import streamkit
from streamkit.client import Client
from tests.interpreters import in_fresh_interpreter
from tests.paths import ROOT
from tests.trees import PACKAGE, TREES

NAMES = {
    *("Client", "Run", "StreamRun", "Response", "Timeouts", "Retry", "Limits"),
    *("Dispatcher", "StreamHandler", "on", "tool", "custom_tool", "Lane", "CallNext", "Stage", "Passage"),
    *("Outcome", "Completed", "Incomplete", "Failed", "Cancelled", "Disconnected"),
    *("Opened", "Reconnecting", "Restarted", "HandlerFailed", "HandlerBlocked", "EventsDropped", "Closed"),
    *("Moderated", "Verdict"),
    *("ParsedResponse", "InvalidOutput"),
    *("ToolCall", "ToolCalled", "ToolReturned", "Ledger", "TooManyRounds"),
    *("StreamkitError", "UsageError", "UnfinishedResponse"),
    *("ResponseIncompleteError", "ResponseFailedError", "ResponseCancelledError", "ResponseDisconnectedError"),
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Block = ast.Module | ast.ClassDef


def test_the_names_are_these() -> None:
    assert sorted(streamkit.__all__) == sorted(NAMES)


def test_a_star_import_gives_all_of_them() -> None:
    namespace: dict[str, Any] = {}
    exec("from streamkit import *", namespace)
    assert namespace.keys() - {"__builtins__"} == NAMES


def imports_for_checkers() -> dict[str, str | None]:
    """Return the names that ``streamkit`` has for type checkers, with the modules they come from."""
    blocks = [node for node in TREES[PACKAGE / "__init__.py"].body if isinstance(node, ast.If)]
    (block,) = [block for block in blocks if isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module for node in imports for alias in node.names}


def test_what_checkers_see_is_what_there_is() -> None:
    assert imports_for_checkers() == vars(streamkit)["_MODULES"]
    assert imports_for_checkers().keys() == NAMES


def test_importing_streamkit_alone_loads_nothing_else() -> None:
    code = "import sys; before = {*sys.modules}; import streamkit; print(*{*sys.modules} - before)"
    loaded = {name.split(".")[0] for name in in_fresh_interpreter(code).split()}
    assert not loaded - sys.stdlib_module_names - {"streamkit"}


def test_a_name_is_found_though_it_is_imported_on_first_use() -> None:
    assert streamkit.Client is Client
    assert vars(streamkit)["Client"] is Client


def test_all_names_are_listed_and_described() -> None:
    assert set(dir(streamkit)) >= NAMES | {"__all__", "__doc__", "__version__"}
    text = pydoc.plain(pydoc.render_doc(streamkit))
    assert not [name for name in NAMES if name not in text]


def test_no_module_has_the_name_of_something_public() -> None:
    # Importing such a module would put it in the place of the name.
    assert not NAMES & {path.stem for path in PACKAGE.iterdir()}


FUNCTION_OR_MODULE = """
import importlib, sys
importlib.import_module({first!r})
import streamkit
for package, name in ("dispatch", "on"), ("tools", "tool"):
    module = importlib.import_module(f"streamkit.{{package}}.{{name}}")
    assert callable(getattr(streamkit, name))
    assert getattr(streamkit, name) is getattr(getattr(streamkit, package), name) is getattr(module, name)
"""


@pytest.mark.parametrize("first", ["streamkit.dispatch.on", "streamkit.tools.tool", "streamkit.run"])
def test_a_function_is_never_hidden_by_the_module_it_is_in(first: str) -> None:
    in_fresh_interpreter(FUNCTION_OR_MODULE.format(first=first))


def test_other_names_are_missed_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'streamkit' has no attribute 'Clint'"):
        streamkit.Clint  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Clint'"):
        exec("from streamkit import Clint")


def test_the_version_is_that_of_the_installed_package() -> None:
    try:
        assert version("streamkit") == streamkit.__version__
    except PackageNotFoundError:
        pytest.skip("streamkit is not installed, only importable")


def is_public(name: str) -> bool:
    return not name.startswith("_") or name.endswith("__")


def is_overload(function: Function) -> bool:
    return any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in function.decorator_list)


def public_blocks(block: Block, path: str) -> Iterator[tuple[str, Block]]:
    """Yield a module and its public classes, with what to call them."""
    yield path, block
    for node in block.body:
        if isinstance(node, ast.ClassDef) and is_public(node.name):
            yield from public_blocks(node, f"{path}:{node.name}")


def public_functions(block: Block) -> list[Function]:
    return [node for node in block.body if isinstance(node, Function) and is_public(node.name)]


def annotations_of(block: Block) -> Iterator[ast.expr]:
    """Yield what types a reader sees: of functions, attributes and aliases.

    The one signature behind overloads is left out: neither people nor checkers see it.
    """
    functions = public_functions(block)
    overloaded = {function.name for function in functions if is_overload(function)}
    for function in functions:
        if is_overload(function) or function.name not in overloaded:
            arguments = [node for node in ast.walk(function.args) if isinstance(node, ast.arg)]
            found = [function.returns, *(argument.annotation for argument in arguments)]
            yield from (annotation for annotation in found if annotation is not None)
    for node in block.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and is_public(node.target.id):
            yield node.annotation
        if isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) and is_public(t.id) for t in node.targets):
            yield node.value


# The state of a run is only known where handlers meet a run: these two are for runs of whatever state.
OF_WHATEVER_STATE = {"Dispatcher[Any]", "Registrar[Any](_mark)"}


def mentions_any(annotation: ast.expr) -> bool:
    if ast.unparse(annotation) in OF_WHATEVER_STATE:
        return False
    nodes = list(ast.walk(annotation))
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return "Any" in texts or any(isinstance(node, ast.Name) and node.id == "Any" for node in nodes)


@pytest.mark.parametrize("path", TREES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_public_type_is_any(path: Path) -> None:
    for name, block in public_blocks(TREES[path], path.stem):
        lines = [annotation.lineno for annotation in annotations_of(block) if mentions_any(annotation)]
        assert not lines, f"{name} has Any in lines {lines}"


@pytest.mark.parametrize("path", TREES, ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_public_is_explained(path: Path) -> None:
    for name, block in public_blocks(TREES[path], path.stem):
        assert ast.get_docstring(block) or not block.body, f"{name} is not explained"
        assert unexplained_functions(block) == [], f"{name} has functions that are not explained"


def unexplained_functions(block: Block) -> list[str]:
    return [
        function.name
        for function in public_functions(block)
        if not function.name.startswith("_") and not is_overload(function) and not ast.get_docstring(function)
    ]


def explained_values(tree: ast.Module) -> set[str]:
    """Return the names of a module that are assigned, with a docstring below."""
    return {
        node.targets[0].id
        for node, below in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_is_explained_where_it_is_defined(name: str) -> None:
    value: object = getattr(streamkit, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__doc__
        assert value.__name__ == name
        assert getattr(importlib.import_module(value.__module__), name) is value
    else:
        assert any(name in explained_values(tree) for tree in TREES.values())

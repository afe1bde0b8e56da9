"""The types that stand at paths."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, RootModel
from typing_extensions import TypedDict

from streamkit.errors import UsageError
from streamkit.partial_json import PathPattern
from streamkit.type_path import type_at


class Leaf(BaseModel):
    odd: int = Field(alias="odd name")


class Tags(RootModel[list[str]]):
    pass


@dataclass
class Branch:
    leaf: Leaf
    tags: Tags


class Tree(TypedDict):
    branches: Annotated[list[Branch], Field(min_length=1)]
    either: list[Branch] | Leaf | None
    pairs: tuple[Leaf, ...]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", Tree),
        ("branches[*]", Branch),
        ("branches[3].leaf", Leaf),
        ('branches[*].leaf["odd name"]', int),
        ("branches[*].tags[*]", str),
        ("branches[*].*", Leaf | Tags),
        ("either[*]", Branch | int),
        ("either[0]", Branch),
        ("pairs[*]", Leaf),
        ("*[*].leaf", Leaf),
    ],
)
def test_a_path_leads_to_a_type(path: str, expected: Any) -> None:
    assert type_at(Tree, PathPattern.parse(path)) == expected


@pytest.mark.parametrize("path", ["branch", "branches.leaf", "branches[*].leaf.odd", "either.leaf", "branches[*][0]"])
def test_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="has nothing at"):
        type_at(Tree, PathPattern.parse(path))

"""Any way of cutting the bytes gives the same blocks, and only those with data are counted as events."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.testing.answers import Cut, Pause, Step
from streamkit.testing.blocks import by_block, numbered

BLOCKS = [b"event: a\ndata: 1\n\n", b": comment\n\n", b"data: 2\r\n\r\n", b"id: 7\n\n", b"data\r\r", b"xdata: 3\n\n"]


@given(cuts=st.lists(st.integers(0, sum(map(len, BLOCKS)))))
def test_blocks_do_not_depend_on_the_chunks(cuts: list[int]) -> None:
    whole = b"".join(BLOCKS)
    ends = [0, *sorted(cuts), len(whole)]
    chunks = [whole[start:end] for start, end in pairwise(ends)]
    assert list(by_block(chunks)) == BLOCKS


def test_only_blocks_with_data_are_events() -> None:
    assert [number for number, _ in numbered(BLOCKS)] == [0, None, 1, None, 2, None]
    assert [number for number, _ in numbered([b"\xef\xbb\xbfdata: 1\n\n", b"\xef\xbb\xbf: comment\n\n"])] == [0, None]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], []),
        ([b"data: 1"], [b"data: 1"]),
        ([b"data: 1\n", Pause(1), b"\ndata: 2\n\n"], [Pause(1), b"data: 1\n\n", b"data: 2\n\n"]),
        ([b"data: 1\n", Cut("close"), b"\n"], [b"data: 1\n", Cut("close"), b"\n"]),
        ([b"data: 1\n\n", Cut("close")], [b"data: 1\n\n", Cut("close")]),
    ],
)
def test_what_stands_between_the_bytes_keeps_its_place(steps: list[Step], expected: list[Step]) -> None:
    assert list(by_block(steps)) == expected

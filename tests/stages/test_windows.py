"""Windows over a growing text: what passes, what does not, and that no hit slips through between two of them."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamkit.stages.windows import Window, WindowedText
from streamkit.verdict import Moderated, Verdict

NOTICE = Moderated(verdict=Verdict(flagged=True), reason="flagged", action="replace")
TEXTS = st.text("abc ", max_size=60)
CUTS = st.lists(st.integers(0, 60), max_size=12)
SHAPES = st.tuples(st.integers(1, 12), st.integers(0, 15))
"""The size of windows, and their overlap."""
FLUSHED = st.lists(st.booleans(), min_size=14, max_size=14)
"""Behind which pieces what waits is made a window."""


def pieces(text: str, cuts: list[int]) -> list[str]:
    at = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[first:behind] for first, behind in pairwise(at)]


def windows_of(text: WindowedText, parts: list[str], flushed: list[bool]) -> list[Window]:
    windows: list[Window] = []
    for part, flush in zip(parts, flushed, strict=False):
        windows += text.add(part)
        if flush:
            windows += text.flush()
    return windows + text.complete()


@given(TEXTS, CUTS, SHAPES, FLUSHED)
def test_whatever_is_no_longer_than_the_overlap_and_one_stands_whole_in_a_window(text, cuts, shape, flushed):
    overlap = shape[1]
    windows = windows_of(WindowedText(*shape), pieces(text, cuts), flushed)
    assert all(window.text == text[window.start : window.end] for window in windows)
    for length in range(1, overlap + 2):
        for start in range(len(text) - length + 1):
            assert any(window.start <= start and start + length <= window.end for window in windows)


@given(TEXTS, CUTS, SHAPES, FLUSHED, st.randoms(use_true_random=False))
def test_what_is_passable_is_in_no_window_that_is_undecided_or_to_come(text, cuts, shape, flushed, chance):
    windowed = WindowedText(*shape)
    undecided: list[Window] = []
    passable = [0]

    def look(new: list[Window]) -> None:
        undecided.extend(new)
        assert all(window.start >= passable[-1] for window in new)
        while undecided and chance.random() < 0.5:
            window = undecided.pop(chance.randrange(len(undecided)))
            windowed.decide(window, removed=False, notice=None)
        passable.append(windowed.passable)
        assert all(window.start >= passable[-1] for window in undecided)

    for part, flush in zip(pieces(text, cuts), flushed, strict=False):
        look(windowed.add(part))
        if flush:
            look(windowed.flush())
    look(windowed.complete())
    for window in undecided:
        windowed.decide(window, removed=False, notice=None)
    assert passable == sorted(passable)
    assert windowed.passable == len(text)
    assert windowed.is_whole(text)


@given(TEXTS, CUTS, SHAPES, st.text("abc", min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_exactly_the_flagged_windows_are_removed(text, cuts, shape, word, chance):
    windowed = WindowedText(*shape)
    parts = pieces(text, cuts)
    windows = windows_of(windowed, parts, [False] * len(parts))
    for window in chance.sample(windows, len(windows)):
        flagged = word in window.text
        windowed.decide(window, removed=flagged, notice=NOTICE if flagged else None)
    removed = {at for window in windows if word in window.text for at in range(window.start, window.end)}
    expected = "".join(
        letter if at not in removed else "" if at - 1 in removed else "#" for at, letter in enumerate(text)
    )
    assert windowed.without_removed(0, text, "#") == expected
    start, passed = 0, []
    for part in parts:
        passed.append(windowed.without_removed(start, part, "#"))
        start += len(part)
    assert "".join(passed) == expected
    assert windowed.first_removed(0, len(text)) == min(removed, default=None)
    assert len(windowed.take_notices(len(text))) == sum(word in window.text for window in windows)
    assert windowed.take_notices(len(text)) == []


def test_what_was_removed_passes_at_once_for_nothing_can_bring_it_back() -> None:
    text = WindowedText(4, 3)
    (window,) = text.add("abcd")
    text.decide(window, removed=True, notice=None)
    assert text.passable == 4


def test_a_text_that_goes_on_when_it_was_complete_begins_anew() -> None:
    text = WindowedText(4, 3)
    (first,) = [*text.add("ab"), *text.complete()]
    text.decide(first, removed=False, notice=None)
    assert text.passable == 2
    (second,) = [*text.add("cd"), *text.complete()]
    assert (second.text, second.start, second.end) == ("cd", 2, 4)
    assert text.is_whole("abcd")
    assert not text.is_whole("abce")
    assert not text.is_whole("abcde")

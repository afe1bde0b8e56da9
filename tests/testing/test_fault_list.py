"""Faults as text: what can be written, what cannot, and that nothing is lost on the way there and back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.errors import UsageError
from streamkit.testing import (
    FAULTS,
    Comments,
    CutAfterEvents,
    Drip,
    Fault,
    GarbageAfterEvents,
    Gzip,
    HttpError,
    LineEnds,
    Only,
    Redirect,
    StallAfterEvents,
    WrongBody,
    parse_faults,
)
from streamkit.testing.fault_text import Clause, clauses


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", []),
        ("  ", []),
        ("gzip", [Gzip()]),
        ("cut-after-events=5", [CutAfterEvents(5)]),
        ("cut-after-events;count=5", [CutAfterEvents(5)]),
        ("cut-after-events=5;how=reset", [CutAfterEvents(5, how="reset")]),
        (" cut-after-events=5 ; how=reset , gzip ", [CutAfterEvents(5, how="reset"), Gzip()]),
        ("cut-after-events;how=reset;count=5", [CutAfterEvents(5, how="reset")]),
        ("stall-after-events=3", [StallAfterEvents(3)]),
        ("stall-after-events=3;seconds=1.5", [StallAfterEvents(3, seconds=1.5)]),
        ("drip;seconds=0.5", [Drip(seconds=0.5)]),
        ("drip;bytes-per-write=7", [Drip(7)]),
        ('comments;text="are you there, \\"friend\\";?"', [Comments(text='are you there, "friend";?')]),
        ('comments;text=""', [Comments(text="")]),
        ('garbage-after-events=1;data="\\u00ff\\n\\u0000"', [GarbageAfterEvents(1, b"\xff\n\0")]),
        ("redirect=https://example.com/v1?a=b&c=d", [Redirect("https://example.com/v1?a=b&c=d")]),
        ('wrong-body="";content-type=application/json', [WrongBody("", "application/json")]),
        (
            'http-error=429;headers.retry-after=2;headers.x-should-retry="true";body={}',
            [HttpError(429, body="{}", headers={"retry-after": "2", "x-should-retry": "true"})],
        ),
        ("http-error=503;first=2", [Only(HttpError(503), first=2)]),
        (
            "cut-after-events=5;connection=1,cut-after-events=9;connection=2",
            [Only(CutAfterEvents(5), connection=1), Only(CutAfterEvents(9), connection=2)],
        ),
        ("gzip;connection=3;first=1", [Only(Gzip(), first=1, connection=3)]),
    ],
)
def test_reading(text: str, faults: list[Fault]) -> None:
    assert parse_faults(text) == faults
    assert parse_faults(", ".join(map(str, faults))) == faults


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (CutAfterEvents(5), "cut-after-events=5"),
        (CutAfterEvents(5, how="reset"), "cut-after-events=5;how=reset"),
        (Drip(seconds=0.5), "drip;seconds=0.5"),
        (Drip(), "drip"),
        (LineEnds("cr"), "line-ends=cr"),
        (Comments(text="a b"), 'comments;text="a b"'),
        (GarbageAfterEvents(1, b"\xff"), 'garbage-after-events=1;data="\\u00ff"'),
        (HttpError(429, headers={"Retry-After": "2"}), "http-error=429;headers.Retry-After=2"),
        (Only(Gzip(), first=2, connection=1), "gzip;first=2;connection=1"),
    ],
)
def test_writing(fault: Fault, text: str) -> None:
    assert str(fault) == text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("cut-after-event=5", "no fault is called 'cut-after-event'; did you mean 'cut-after-events'?"),
        ("explode", "no fault is called 'explode'; there are: cut-after-bytes, cut-after-events, "),
        ("cut-after-events", "cut-after-events: count: "),
        ("cut-after-events=five", "cut-after-events: count: Input should be a valid integer"),
        ("cut-after-events=-1", "cut-after-events: count: Input should be greater than or equal to 0"),
        ("cut-after-events=1;how=gently", "cut-after-events: how: Input should be 'end', 'close' or 'reset'"),
        ("cut-after-events=1;who=me", "cut-after-events: who: Unexpected keyword argument"),
        ("cut-after-events=1;count=1", "cut-after-events: count is set twice"),
        ("cut-after-events=1;how", "cut-after-events: how needs a value, as in how="),
        ("gzip=9", "gzip: takes no value"),
        ("gzip;first=0", "gzip: first: Input should be greater than 0"),
        ("stall-after-events=1;seconds=inf", "stall-after-events: seconds: Input should be a finite number"),
        ("http-error=500;headers=none", "http-error: headers: Input should be a valid dictionary"),
        ("http-error=500;headers=none;headers.a=b", "http-error: headers: Input should be a valid dictionary"),
        ("http-error=500;headers.a=b;headers.=c", "http-error: headers..[key]: String should match"),
        ('comments;text="no end', "no fault can be read at 'text=\"no end'"),
        ('comments;text="\\x"', "is not a JSON string"),
        ("=5", "no fault can be read at '=5'"),
        ("gzip,,gzip", "no fault can be read at ',gzip'"),
        ("gzip,", "no fault can be read at ''"),
        ("gzip gzip", "no fault can be read at 'gzip gzip'"),
        ("drip=\udcff", "drip: bytes-per-write: "),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_faults(text)
    assert complaint in str(caught.value)


LINES = st.text(st.characters(min_codepoint=32, max_codepoint=126))
NAMES = st.text("abcXYZ019_-", min_size=1)
SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "count": st.integers(min_value=1),
    "event": st.integers(min_value=0),
    "every": st.integers(min_value=1),
    "by": st.integers(min_value=1),
    "bytes_per_write": st.integers(min_value=1),
    "seconds": st.floats(min_value=0, allow_infinity=False),
    "status": st.integers(400, 599),
    "data": st.binary(),
    "body": st.text(st.characters(exclude_categories=["Cs"])),
    "text": LINES,
    "url": LINES,
    "content_type": LINES,
    "headers": st.dictionaries(NAMES, LINES),
    "style": st.sampled_from(["crlf", "cr"]),
    "kind": st.sampled_from(["comment", "keepalive"]),
    "how": st.sampled_from(["close", "reset"]),
}
FAULT = st.sampled_from(list(FAULTS.values())).flatmap(
    lambda kind: st.builds(kind, **{name: SETTINGS[name] for name in kind.__dataclass_fields__})
)
LIMITS = st.integers(min_value=1)
LIMITED = st.builds(Only, FAULT, first=LIMITS) | st.builds(Only, FAULT, connection=LIMITS, first=st.none() | LIMITS)


@given(st.lists(FAULT | LIMITED))
def test_any_faults_can_be_written_and_read_back(faults: list[Fault]) -> None:
    text = ", ".join(map(str, faults))
    assert parse_faults(text) == faults
    assert text.isascii()
    assert text.isprintable()


@given(st.text() | st.text('ab-=,;"\\ .'))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = clauses(text)
    except UsageError:
        return
    assert clauses(", ".join(map(str, found))) == found


def test_a_clause_is_written_as_it_is_read() -> None:
    clause = Clause("name", "a,b", {"c": "d", "e.f": 'g"h'})
    assert str(clause) == 'name="a,b";c=d;e.f="g\\"h"'
    assert clauses(str(clause)) == [clause]

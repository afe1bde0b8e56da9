"""What each fault does to a small stream, step by step."""

import gzip
import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from streamkit.sse import Decoder
from streamkit.testing import (
    FAULTS,
    Answer,
    ByteOrderMark,
    Comments,
    Cut,
    CutAfterBytes,
    CutAfterEvents,
    DataBeforeEvent,
    DoneMarker,
    Drip,
    Drop,
    Duplicate,
    EmptyStream,
    Fault,
    FramesAfterEnd,
    GarbageAfterEvents,
    Gzip,
    HeartbeatsAfterEvents,
    HttpError,
    Keepalives,
    LateAnswer,
    LineEnds,
    MultiLineData,
    NoAnswer,
    NoEventLines,
    Only,
    Pause,
    Postpone,
    Redirect,
    SecondTerminal,
    StallAfterEvents,
    StreamExpired,
    WrongBody,
)
from streamkit.testing.answers import EVENT_STREAM
from streamkit.testing.fault import Occasion, apply_faults
from streamkit.testing.faults import KEEPALIVE, EventFault
from streamkit.testing.sending import perform

pytestmark = pytest.mark.anyio

A, B, C = STREAM = [b'event: %b\ndata: {"n":%d}\n\n' % (name, number) for number, name in enumerate((b"a", b"b", b"c"))]
GARBAGE = b"\xff\xfe{\x00 ]]\n\n"

Sent = list[bytes | float | Cut]


class EnoughError(Exception):
    """Raised by the third pause, for what would go on for ever."""


async def sent(faults: Sequence[Fault], body: Any = tuple(STREAM)) -> Sent:
    """The writes, the seconds waited between them, and the cut at the end."""
    record: Sent = []

    async def write(data: bytes) -> None:
        record.append(data)

    async def sleep(seconds: float) -> None:
        record.append(seconds)
        if sum(isinstance(entry, float) for entry in record) == 3:
            raise EnoughError

    answer = apply_faults(faults, Answer(headers=EVENT_STREAM, body=body))
    try:
        cut = await perform(answer.steps, write=write, sleep=sleep)
    except EnoughError:
        return record
    return record if cut is None else [*record, cut]


CASES: list[tuple[Fault, Sent]] = [
    (CutAfterBytes(0), [Cut("close")]),
    (CutAfterBytes(5), [A[:5], Cut("close")]),
    (CutAfterBytes(len(A), how="end"), [A, Cut("end")]),
    (CutAfterBytes(len(A) + 1, how="reset"), [A + B[:1], Cut("reset")]),
    (CutAfterBytes(1000), [A + B + C]),
    (CutAfterEvents(0), [Cut("close")]),
    (CutAfterEvents(2, how="reset"), [A + B, Cut("reset")]),
    (CutAfterEvents(3, how="end"), [A + B + C, Cut("end")]),
    (CutAfterEvents(4), [A + B + C]),
    (StallAfterEvents(1), [A, math.inf, B + C]),
    (StallAfterEvents(0, seconds=3), [3.0, A + B + C]),
    (HeartbeatsAfterEvents(1), [A + b": ping\n\n", 0.1, b": ping\n\n", 0.1, b": ping\n\n", 0.1]),
    (HeartbeatsAfterEvents(3, 2, "keepalive"), [A + B + C + KEEPALIVE, 2.0, KEEPALIVE, 2.0, KEEPALIVE, 2.0]),
    (Drip(bytes_per_write=len(A) - 1, seconds=0.5), [A[:-1], 0.5, A[-1:], 0.5, B[:-1], 0.5]),
    (Drop(1), [A + C]),
    (Drop(9), [A + B + C]),
    (Duplicate(1), [A + B + B + C]),
    (Postpone(0), [B + A + C]),
    (Postpone(0, by=2), [B + C + A]),
    (Postpone(1, by=5), [A + C + B]),
    (GarbageAfterEvents(1), [A + GARBAGE + B + C]),
    (GarbageAfterEvents(0, data=b"\xff"), [b"\xff" + A + B + C]),
    (Comments(every=2, text="still here"), [A + B + b": still here\n\n" + C]),
    (Keepalives(), [A + KEEPALIVE + B + KEEPALIVE + C + KEEPALIVE]),
    (ByteOrderMark(), [b"\xef\xbb\xbf" + A + B + C]),
    (LineEnds("crlf"), [(A + B + C).replace(b"\n", b"\r\n")]),
    (LineEnds("cr"), [(A + B + C).replace(b"\n", b"\r")]),
    (NoEventLines(), [b'data: {"n":0}\n\ndata: {"n":1}\n\ndata: {"n":2}\n\n']),
    (DataBeforeEvent(), [b"".join(b'data: {"n":%d}\nevent: %b\n\n' % (n, b"abc"[n : n + 1]) for n in range(3))]),
    (MultiLineData(), [(A + B + C).replace(b"{", b"{\ndata: ")]),
    (DoneMarker(), [A + B + C + b"data: [DONE]\n\n"]),
    (Only(Drop(0), first=1), [B + C]),
]


@pytest.mark.parametrize(("fault", "expected"), CASES, ids=lambda value: str(value) if isinstance(value, Fault) else "")
async def test_one_fault(fault: Fault, expected: Sent) -> None:
    assert await sent([fault]) == expected


@pytest.mark.parametrize(("fault", "expected"), CASES, ids=lambda value: str(value) if isinstance(value, Fault) else "")
async def test_a_fault_of_events_does_not_depend_on_the_chunks(fault: Fault, expected: Sent) -> None:
    bytewise = [bytes([byte]) for byte in b"".join(STREAM)]
    if not isinstance(fault, Drip):
        assert await sent([fault], bytewise) == expected


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ([], [A + B + C]),
        ([Drop(0), Drop(0)], [C]),
        ([Duplicate(0), CutAfterEvents(2)], [A + A, Cut("close")]),
        ([CutAfterEvents(2), Duplicate(0)], [A + A + B, Cut("close")]),
        ([StallAfterEvents(2, seconds=5), Drip(1000)], [A, 0.0, B, 0.0, 5.0]),
        ([Drip(1000), Drop(1)], [A, 0.0, 0.0, C, 0.0]),
        ([Comments(), Drop(1)], [A + b": ping\n\n" * 2 + C + b": ping\n\n"]),
        ([LineEnds("crlf"), CutAfterEvents(1)], [A.replace(b"\n", b"\r\n"), Cut("close")]),
        ([ByteOrderMark(), NoEventLines(), Drop(0)], [b'data: {"n":1}\n\ndata: {"n":2}\n\n']),
    ],
)
async def test_faults_together_take_effect_one_after_the_other(faults: list[Fault], expected: Sent) -> None:
    assert await sent(faults) == expected


async def test_what_follows_the_end_are_whole_events() -> None:
    (written,) = await sent([SecondTerminal(), FramesAfterEnd(2)])
    late = Decoder().feed(written)[3:]
    assert [frame.event for frame in late] == ["response.failed", *["response.output_text.delta"] * 2]
    assert [json.loads(frame.data)["type"] for frame in late] == [frame.event for frame in late]


async def test_compressed_bytes_are_sent_at_once() -> None:
    record = await sent([Gzip()], [A, Pause(1), B, Pause(2)])
    compressed = b"".join(entry for entry in record if isinstance(entry, bytes))
    assert [entry for entry in record if not isinstance(entry, bytes)] == [1.0, 2.0]
    assert gzip.decompress(compressed) == A + B
    answer = Gzip().apply(Answer(headers=EVENT_STREAM, body=A))
    assert answer.headers == EVENT_STREAM | {"Content-Encoding": "gzip"}


EVENT_FAULTS = [fault for fault, _ in CASES if isinstance(fault, EventFault)]


@pytest.mark.parametrize("fault", [*EVENT_FAULTS, SecondTerminal(), FramesAfterEnd()], ids=str)
def test_faults_of_events_leave_other_bodies_alone(fault: Fault) -> None:
    answer = Answer(headers={"content-type": "application/json"}, body=b'data:\n\n{"a": 1}')
    assert fault.apply(answer) is answer


REFUSALS: list[tuple[Fault, Answer]] = [
    (
        HttpError(503, body="busy", headers={"Retry-After": "2"}),
        Answer(503, {"content-type": "application/json", "retry-after": "2"}, b"busy"),
    ),
    (
        HttpError(500, body="data: {}\n\n", headers={"Content-Type": "text/event-stream"}),
        Answer(500, {"content-type": "text/event-stream"}, b"data: {}\n\n"),
    ),
    (WrongBody("[]", "application/json"), Answer(200, {"Content-Type": "application/json"}, b"[]")),
    (EmptyStream(), Answer(200, EVENT_STREAM)),
    (Redirect("https://example.com/v1"), Answer(307, {"Location": "https://example.com/v1"})),
    (NoAnswer(), Answer(before=[Cut("close")])),
    (NoAnswer("reset"), Answer(before=[Cut("reset")])),
    (Only(NoAnswer(), connection=1), Answer(before=[Cut("close")])),
]


@pytest.mark.parametrize(("fault", "expected"), REFUSALS, ids=str)
def test_a_refusal_is_all_that_is_answered(fault: Fault, expected: Answer) -> None:
    assert fault.apply(Answer(body=STREAM)) == expected
    assert fault.replaces_answer


@pytest.mark.parametrize(("fault", "status"), [(HttpError(418), 418), (StreamExpired(), 400)])
def test_a_refusal_speaks_as_the_api_does(fault: Fault, status: int) -> None:
    answer = fault.apply(Answer())
    assert isinstance(answer.body, bytes)
    assert set(json.loads(answer.body)["error"]) == {"message", "type", "param", "code"}
    assert answer.status == status


def test_an_expired_stream_is_refused_in_the_servers_words() -> None:
    assert b"can no longer be streamed because it is more than 5 minutes old" in bytes(
        StreamExpired().apply(Answer()).body
    )


def test_a_late_answer_is_whole() -> None:
    answer = Answer(headers=EVENT_STREAM, body=tuple(STREAM))
    late = LateAnswer(2).apply(LateAnswer().apply(answer))
    assert late.before == [Pause(math.inf), Pause(2)]
    assert (late.status, late.headers, late.steps) == (200, EVENT_STREAM, tuple(STREAM))
    assert not LateAnswer().replaces_answer


@pytest.mark.parametrize(
    ("fault", "struck"),
    [
        (Drop(0), {(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)}),
        (Only(Drop(0)), {(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)}),
        (Only(Drop(0), first=1), {(1, 0), (1, 1)}),
        (Only(Drop(0), connection=1), {(1, 1), (2, 1)}),
        (Only(Drop(0), first=1, connection=1), {(1, 1)}),
        (Only(Only(Drop(0), first=1), connection=1), {(1, 1)}),
    ],
    ids=str,
)
def test_a_limited_fault_strikes_on_some_occasions(fault: Fault, struck: set[tuple[int, int]]) -> None:
    occasions = [Occasion(*numbers) for numbers in [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]]
    assert {occasion for occasion in occasions if fault.strikes(occasion)} == struck
    assert not fault.replaces_answer


@pytest.mark.parametrize("fault", [*(fault for fault, _ in CASES), *(fault for fault, _ in REFUSALS)], ids=str)
def test_faults_are_values(fault: Fault) -> None:
    assert fault == eval(repr(fault))
    assert hash(fault) == hash(eval(repr(fault)))
    with pytest.raises((AttributeError, TypeError)):
        fault.count = 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "make",
    [
        lambda: CutAfterEvents(-1),
        lambda: CutAfterBytes(1, how="gently"),  # type: ignore[arg-type]
        lambda: StallAfterEvents(1, seconds=math.nan),
        lambda: Comments(text="two\nlines"),
        lambda: HttpError(200),
        lambda: HttpError(500, headers={"a": "b\r\nc: d"}),
        lambda: HttpError(500, headers={"a b": "c"}),
        lambda: HttpError(500, body="\ud800"),
        lambda: GarbageAfterEvents(1, data="€"),  # type: ignore[arg-type]
        lambda: Redirect("/\n"),
        lambda: Only(Drop(0), first=0),
        lambda: Drop(0, by=1),  # type: ignore[call-arg]
    ],
)
def test_impossible_settings_are_refused(make: Any) -> None:
    with pytest.raises(ValidationError):
        make()


def test_every_fault_is_tried_above() -> None:
    tried = {type(fault) for fault, _ in [*CASES, *REFUSALS]}
    tried |= {SecondTerminal, FramesAfterEnd, Gzip, StreamExpired, LateAnswer} - {Only}
    assert tried - {Only} == set(FAULTS.values())

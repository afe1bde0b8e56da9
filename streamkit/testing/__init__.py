"""What tests and demonstrations stand on: scripted responses, a local server that streams them, and faults.

Answers: ``SCENARIOS`` are the named ones, ``Script`` writes further ones, ``play`` gives the events of either.
``LocalServer`` streams them over HTTP; ``ScriptedSource`` hands them to a run without a socket; ``encode_event`` makes
the bytes of one event. Faults make either go wrong: each is a frozen value, ``FAULTS`` has them all by name, ``Only``
limits one to some requests, ``parse_faults`` reads them from text, and ``Fault`` is the base of your own.
"""

from streamkit.testing.answers import Answer, Cut, HowCut, Pause, Step
from streamkit.testing.fault import Fault, Only
from streamkit.testing.fault_list import FAULTS, parse_faults
from streamkit.testing.faults import (
    ByteOrderMark,
    Comments,
    CutAfterBytes,
    CutAfterEvents,
    DataBeforeEvent,
    DoneMarker,
    Drip,
    Drop,
    Duplicate,
    FramesAfterEnd,
    GarbageAfterEvents,
    Gzip,
    HeartbeatsAfterEvents,
    Keepalives,
    LineEnds,
    MultiLineData,
    NoEventLines,
    Postpone,
    SecondTerminal,
    StallAfterEvents,
)
from streamkit.testing.incoming import RecordedRequest
from streamkit.testing.moderator import MODERATION_WORDS
from streamkit.testing.refusals import (
    EmptyStream,
    HttpError,
    LateAnswer,
    NoAnswer,
    Redirect,
    StreamExpired,
    WrongBody,
)
from streamkit.testing.scenarios import SCENARIOS, Scenario, lookup, play
from streamkit.testing.script import Script, numbered_ids
from streamkit.testing.sending import encode_event
from streamkit.testing.server import LocalServer, create_app
from streamkit.testing.source import ScriptedSource

__all__ = [
    "FAULTS",
    "MODERATION_WORDS",
    "SCENARIOS",
    "Answer",
    "ByteOrderMark",
    "Comments",
    "Cut",
    "CutAfterBytes",
    "CutAfterEvents",
    "DataBeforeEvent",
    "DoneMarker",
    "Drip",
    "Drop",
    "Duplicate",
    "EmptyStream",
    "Fault",
    "FramesAfterEnd",
    "GarbageAfterEvents",
    "Gzip",
    "HeartbeatsAfterEvents",
    "HowCut",
    "HttpError",
    "Keepalives",
    "LateAnswer",
    "LineEnds",
    "LocalServer",
    "MultiLineData",
    "NoAnswer",
    "NoEventLines",
    "Only",
    "Pause",
    "Postpone",
    "RecordedRequest",
    "Redirect",
    "Scenario",
    "Script",
    "ScriptedSource",
    "SecondTerminal",
    "StallAfterEvents",
    "Step",
    "StreamExpired",
    "WrongBody",
    "create_app",
    "encode_event",
    "lookup",
    "numbered_ids",
    "parse_faults",
    "play",
]

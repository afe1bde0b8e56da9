"""Streams of events for tests: valid ones of every kind, and the damage that wires and servers do to them."""

import copy
import itertools
import json
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from hypothesis import strategies as st

from streamkit.codec import decode
from streamkit.events import Event
from streamkit.sse import Frame
from streamkit.testing import SCENARIOS, Script, play

Data = dict[str, Any]
Stream = list[Data]
Damage = Callable[[Stream, Random], Stream]

INDEXES = ("output_index", "content_index", "summary_index", "command_index", "annotation_index")
ODD_INDEXES = (None, -1, 0, 7, 10**12, "1", 1.5, [])


def events_of(stream: Iterable[Data]) -> list[Event]:
    """The events as they come out of the codec."""
    return [decode(Frame(data["type"], json.dumps(data).encode())) for data in stream]


def stream_of(*items: tuple[Data, Data, Stream]) -> Stream:
    """A response of these items, each with what it is when it is added and when it is done, and the events between."""
    script = Script()
    for index, (added, done, between) in enumerate(items):
        script.event("response.output_item.added", output_index=index, item={**added, "status": "in_progress"})
        for data in between:
            fields = {name: value for name, value in data.items() if name != "type"}
            script.event(f"response.{data['type']}", output_index=index, item_id=added["id"], **fields)
        script.event("response.output_item.done", output_index=index, item={**done, "status": "completed"})
    output = [{**done, "status": "completed"} for _, done, _ in items]
    created = script.events[0]["response"]
    script.event("response.completed", response={**created, "status": "completed", "output": output})
    return script.events


def _custom_tool() -> Stream:
    call = {"type": "custom_tool_call", "id": "ctc", "call_id": "c", "name": "grep", "input": ""}
    deltas = [{"type": "custom_tool_call_input.delta", "delta": piece} for piece in ("gr", "ep", " -r")]
    done = {"type": "custom_tool_call_input.done", "input": "grep -r"}
    return stream_of((call, {**call, "input": "grep -r"}, [*deltas, done]))


def _patch() -> Stream:
    operation = {"type": "update_file", "path": "a.py"}
    call = {"type": "apply_patch_call", "id": "apc", "call_id": "c", "operation": {**operation, "diff": ""}}
    deltas = [{"type": "apply_patch_call_operation_diff.delta", "delta": piece} for piece in ("-old\n", "+new\n")]
    done = {"type": "apply_patch_call_operation_diff.done", "diff": "-old\n+new\n"}
    return stream_of((call, {**call, "operation": {**operation, "diff": "-old\n+new\n"}}, [*deltas, done]))


def _shell() -> Stream:
    call = {"type": "shell_call", "id": "sh", "call_id": "c", "action": {"commands": [], "timeout_ms": 9}}
    commands: Stream = []
    for index, command in enumerate(("ls", "cat a")):
        place = {"command_index": index}
        commands += [
            {"type": "shell_call_command.added", "command": "", **place},
            *({"type": "shell_call_command.delta", "delta": letter, **place} for letter in command),
            {"type": "shell_call_command.done", "command": command, **place},
        ]
    printed = {"type": "shell_call_output", "id": "sho", "call_id": "c", "output": []}
    outputs = [
        {"stdout": "a\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}},
        {"stdout": "", "stderr": "no", "outcome": {"type": "timeout"}},
    ]
    pieces: Stream = [
        {"type": "shell_call_output_content.delta", "command_index": 0, "delta": {"stdout": "a"}},
        {"type": "shell_call_output_content.delta", "command_index": 0, "delta": {"stdout": "\n"}},
        {"type": "shell_call_output_content.delta", "command_index": 1, "delta": {"stderr": "no", "stdout": ""}},
        {"type": "shell_call_output_content.done", "command_index": 0, "output": outputs},
    ]
    return stream_of(
        (call, {**call, "action": {"commands": ["ls", "cat a"], "timeout_ms": 9}}, commands),
        (printed, {**printed, "output": outputs}, pieces),
    )


def _shown_reasoning(part_events: str, text_events: str) -> Stream:
    """Reasoning that a server shows, in the words of one of three dialects."""
    item = {"type": "reasoning", "id": "rs", "summary": []}
    part = {"type": "reasoning_text", "text": "Hm. Yes."}
    place = {"content_index": 0}
    between: Stream = [
        {"type": f"{part_events}.added", "part": {**part, "text": ""}, **place},
        {"type": f"{text_events}.delta", "delta": "Hm.", **place},
        {"type": f"{text_events}.delta", "delta": " Yes.", **place},
        {"type": f"{text_events}.done", "text": "Hm. Yes.", **place},
        {"type": f"{part_events}.done", "part": part, **place},
    ]
    return stream_of((item, {**item, "content": [part]}, between))


STREAMS: dict[str, Stream] = {
    **{name: play(name, {"metadata": {"tokens": "40"}}) for name in SCENARIOS},
    "custom-tool": _custom_tool(),
    "apply-patch": _patch(),
    "shell": _shell(),
    "reasoning-text": _shown_reasoning("content_part", "reasoning_text"),
    "reasoning-open-responses": _shown_reasoning("content_part", "reasoning"),
    "reasoning-vllm": _shown_reasoning("reasoning_part", "reasoning_text"),
}
"""Valid streams by name: each of the local server's scenarios, and what none of them shows."""


def without(stream: Iterable[Data], *endings: str) -> Stream:
    """The stream without the events whose names end in one of these."""
    return [data for data in stream if not data["type"].endswith(endings)]


def _shuffle(stream: Stream, random: Random) -> Stream:
    return random.sample(stream, len(stream))


def _truncate(stream: Stream, random: Random) -> Stream:
    return stream[: random.randrange(len(stream) + 1)]


def _keep_suffix(stream: Stream, random: Random) -> Stream:
    return stream[random.randrange(len(stream) + 1) :]


def _repeat(stream: Stream, random: Random) -> Stream:
    return [copy.deepcopy(data) for data in stream for _ in range(random.choice((1, 1, 2, 3)))]


def _drop_some(stream: Stream, random: Random) -> Stream:
    return [data for data in stream if random.random() < 0.8]


def _drop_deltas(stream: Stream, _: Random) -> Stream:
    return without(stream, ".delta")


def _drop_announcements(stream: Stream, _: Random) -> Stream:
    return without(stream, ".added", ".created")


def _drop_closings(stream: Stream, _: Random) -> Stream:
    return without(stream, ".done", ".completed")


def _drop_indexes(stream: Stream, random: Random) -> Stream:
    dropped = {name for name in INDEXES if random.random() < 0.7}
    return [{name: value for name, value in data.items() if name not in dropped} for data in stream]


def _make_indexes_odd(stream: Stream, random: Random) -> Stream:
    for data in stream:
        for name in INDEXES:
            if name in data and random.random() < 0.3:
                data[name] = random.choice(ODD_INDEXES)
    return stream


def _rotate_ids(stream: Stream, _: Random) -> Stream:
    for number, data in zip(itertools.count(), stream, strict=False):
        for holder in (data, data.get("item"), data.get("response")):
            if isinstance(holder, dict):
                holder.update({name: f"{number}" for name in ("id", "item_id") if name in holder})
    return stream


def _drop_ids(stream: Stream, _: Random) -> Stream:
    for data in stream:
        for holder in (data, data.get("item")):
            if isinstance(holder, dict):
                holder.pop("id", None)
                holder.pop("item_id", None)
    return stream


def _confuse_types(stream: Stream, random: Random) -> Stream:
    for data in stream:
        for holder in (data.get("item"), data.get("part")):
            if isinstance(holder, dict) and random.random() < 0.5:
                holder["type"] = random.choice(("message", "function_call", "hologram", "output_text", "refusal", None))
    return stream


def _spoil_fields(stream: Stream, random: Random) -> Stream:
    for data in stream:
        for holder in (data, data.get("item"), data.get("part"), data.get("response")):
            if isinstance(holder, dict) and random.random() < 0.2:
                name = random.choice([name for name in holder if name != "type"] or ["id"])
                holder[name] = random.choice((None, 5, "x", [], {}, [[]], {"type": "x"}))
    return stream


DAMAGES: dict[str, Damage] = {
    "shuffled": _shuffle,
    "truncated": _truncate,
    "suffix only": _keep_suffix,
    "repeated": _repeat,
    "some dropped": _drop_some,
    "no deltas": _drop_deltas,
    "no announcements": _drop_announcements,
    "no closings": _drop_closings,
    "no indexes": _drop_indexes,
    "odd indexes": _make_indexes_odd,
    "rotating ids": _rotate_ids,
    "no ids": _drop_ids,
    "confused types": _confuse_types,
    "spoilt fields": _spoil_fields,
}
"""What can happen to a stream. Each takes a stream that it may change, and returns the damaged one."""


@st.composite
def damaged_streams(draw: st.DrawFn) -> Stream:
    """A valid stream, or two of them after one another, with some damage or other."""
    chosen = draw(st.lists(st.sampled_from(sorted(STREAMS)), min_size=1, max_size=2))
    stream = [copy.deepcopy(data) for name in chosen for data in STREAMS[name]]
    random = draw(st.randoms(use_true_random=False))
    for name in draw(st.lists(st.sampled_from(sorted(DAMAGES)), min_size=1, max_size=3)):
        stream = DAMAGES[name](stream, random)
    return stream

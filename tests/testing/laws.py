"""What holds in every valid stream of one response, whatever it contains; each law takes the events, in order."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

Events = list[dict[str, Any]]

TERMINAL = {"response.completed", "response.incomplete", "response.failed"}
# How the text of a part is called in its deltas' done event, by the family of the events.
DONE_FIELDS = {
    "response.code_interpreter_call_code": "code",
    "response.custom_tool_call_input": "input",
    "response.function_call_arguments": "arguments",
    "response.mcp_call_arguments": "arguments",
    "response.output_text": "text",
    "response.reasoning_summary_text": "text",
    "response.refusal": "refusal",
}
PART_FAMILIES = {
    "response.output_text": "response.content_part",
    "response.refusal": "response.content_part",
    "response.reasoning_summary_text": "response.reasoning_summary_part",
}


def place(event: dict[str, Any]) -> tuple[Any, ...]:
    return event["output_index"], event.get("content_index"), event.get("summary_index")


def family(event: dict[str, Any]) -> str:
    return event["type"].rpartition(".")[0]


def sequence_numbers_are_contiguous_from_zero(events: Events) -> None:
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def the_stream_begins_as_its_response_does(events: Events) -> None:
    beginning = [("response.created", "in_progress"), ("response.in_progress", "in_progress")]
    if events[0]["response"]["background"]:
        beginning = [("response.created", "queued"), ("response.queued", "queued"), beginning[1]]
    first = events[: len(beginning)]
    assert [(event["type"], event["response"]["status"]) for event in first] == beginning
    assert all(event["response"]["output"] == [] for event in first)


def at_most_one_terminal_event_and_nothing_after_it(events: Events) -> None:
    terminal = [index for index, event in enumerate(events) if event["type"] in TERMINAL]
    assert terminal in ([], [len(events) - 1])


def an_item_is_added_once_before_its_other_events_and_done_after_them(events: Events) -> None:
    added: list[int] = []
    done: list[int] = []
    for event in events:
        index = event.get("output_index")
        if event["type"] == "response.output_item.added":
            added.append(index)
        elif index is not None:
            assert index in added
            assert index not in done
        if event["type"] == "response.output_item.done":
            done.append(index)
    assert added == list(range(len(added)))
    assert sorted(done) == added


def an_item_keeps_its_id_and_type(events: Events) -> None:
    ids: dict[int, set[str]] = {}
    for event in events:
        if "output_index" in event:
            ids.setdefault(event["output_index"], set()).add(event.get("item_id") or event["item"]["id"])
    assert all(len(found) == 1 for found in ids.values())
    types = Counter((event["output_index"], event["item"]["type"]) for event in events if "item" in event)
    assert set(types.values()) <= {2}


def a_part_is_added_before_its_deltas(events: Events) -> None:
    added: set[tuple[Any, ...]] = set()
    for event in events:
        if event["type"].endswith("_part.added"):
            added.add((family(event), *place(event)))
        elif family(event) in PART_FAMILIES:
            assert (PART_FAMILIES[family(event)], *place(event)) in added


def deltas_joined_are_what_done_says(events: Events) -> None:
    assert dict(joined_deltas(events)) == {
        (family(event), *place(event)): event[DONE_FIELDS[family(event)]]
        for event in events
        if family(event) in DONE_FIELDS and event["type"].endswith(".done")
    }


def joined_deltas(events: Events) -> Iterator[tuple[tuple[Any, ...], str]]:
    deltas: dict[tuple[Any, ...], list[str]] = {}
    for event in events:
        if event["type"].endswith(".delta"):
            deltas.setdefault((family(event), *place(event)), []).append(event["delta"])
    return ((key, "".join(pieces)) for key, pieces in deltas.items())


def done_parts_and_items_repeat_the_text(events: Events) -> None:
    items = {event["output_index"]: event["item"] for event in done(events, "response.output_item")}
    for event in done(events, "response.content_part"):
        assert items[event["output_index"]]["content"][event["content_index"]] == event["part"]
    for event in done(events, "response.reasoning_summary_part"):
        assert items[event["output_index"]]["summary"][event["summary_index"]] == event["part"]
    for (name, output_index, content_index, summary_index), text in joined_deltas(events):
        item, field = items[output_index], DONE_FIELDS[name]
        parts = item["content"] if content_index is not None else item.get("summary")
        number = content_index if content_index is not None else summary_index
        assert (parts[number] if parts else item)[field] == text


def done(events: Events, family_name: str) -> Events:
    return [event for event in events if event["type"] == f"{family_name}.done"]


def annotations_are_announced_as_the_part_has_them(events: Events) -> None:
    announced: dict[tuple[Any, ...], list[Any]] = {}
    for event in events:
        if event["type"] == "response.output_text.annotation.added":
            found = announced.setdefault(place(event), [])
            assert event["annotation_index"] == len(found)
            found.append(event["annotation"])
    parts = {place(event): event["part"] for event in done(events, "response.content_part")}
    assert announced == {key: part["annotations"] for key, part in parts.items() if part.get("annotations")}


def the_terminal_response_repeats_the_finished_items(events: Events) -> None:
    if events[-1]["type"] not in TERMINAL:
        return
    response = events[-1]["response"]
    assert response["status"] == events[-1]["type"].removeprefix("response.")
    assert response["output"] == [event["item"] for event in done(events, "response.output_item")]
    assert response["id"] == events[0]["response"]["id"]


def usage_counts_the_deltas(events: Events) -> None:
    response = events[-1].get("response")
    if response is None or response["status"] in ("failed", "in_progress"):
        return
    usage = response["usage"]
    assert usage["output_tokens"] == sum(event["type"].endswith(".delta") for event in events)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["output_tokens_details"]["reasoning_tokens"] <= usage["output_tokens"]


LAWS: list[Callable[[Events], None]] = [
    sequence_numbers_are_contiguous_from_zero,
    the_stream_begins_as_its_response_does,
    at_most_one_terminal_event_and_nothing_after_it,
    an_item_is_added_once_before_its_other_events_and_done_after_them,
    an_item_keeps_its_id_and_type,
    a_part_is_added_before_its_deltas,
    deltas_joined_are_what_done_says,
    done_parts_and_items_repeat_the_text,
    annotations_are_announced_as_the_part_has_them,
    the_terminal_response_repeats_the_finished_items,
    usage_counts_the_deltas,
]

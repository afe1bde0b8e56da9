"""How a scripted stream ended: with a response, or with an error in its place."""

from streamkit.testing.request import JsonObject, section

TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""The events that carry the finished response."""


def final_response(event: JsonObject) -> JsonObject | None:
    """The finished response, if this is the event that carries it."""
    return section(event, "response") if event["type"] in TERMINAL else None


def failure(last: JsonObject) -> JsonObject:
    """Why a stream that ended with this event came to no response: what its ``error`` event says, if it is one."""
    if last["type"] != "error":
        return {"code": None, "message": "The response ended early."}
    facts = section(last, "error") or last
    return {"code": facts["code"], "message": facts["message"]}

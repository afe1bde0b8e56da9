"""How a scripted stream ended: with a response, or with an error in its place."""

from streamkit.testing.request import JsonObject, section

TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""The events that carry the finished response."""


def final_response(event: JsonObject) -> JsonObject | None:
    """The finished response, if this is the event that carries it."""
    return section(event, "response") if event["type"] in TERMINAL else None


def failure(last: JsonObject) -> JsonObject:
    """Why a stream that ended with this event came to nothing: what the event says, if it tells a failure."""
    if last["type"] == "response.failed":
        facts = section(section(last, "response"), "error")
    elif last["type"] == "error":
        facts = section(last, "error") or last
    else:
        return {"code": None, "message": "The response ended early."}
    return {"code": facts["code"], "message": facts["message"]}


def error_body(last: JsonObject) -> JsonObject:
    """The same as the body of a refusal."""
    return {"error": {**failure(last), "type": "server_error", "param": None}}

"""The input of a Responses request as the messages of a chat."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel

from streamkit.errors import UsageError

_Json = dict[str, Any]


def messages_from(input_: object) -> list[dict[str, object]]:
    """Return the messages that say what ``input`` says: a text, or a list of items.

    What the model said and called in one turn becomes one message, and each answer to a call a message of its own.
    Reasoning is left out, for a chat has no place for it. Items may be models, such as those of an earlier response.

    Raises:
        UsageError: an item or a part has no counterpart in a chat, or is none.
    """
    if isinstance(input_, str):
        return [{"role": "user", "content": input_}]
    if not isinstance(input_, Sequence) or isinstance(input_, bytes):
        raise UsageError(f"input must be a text or a list of items, not {type(input_).__name__}")
    messages: list[_Json] = []
    for item in cast("Sequence[object]", input_):
        _add(messages, _fields_of(item))
    return messages


def _fields_of(item: object) -> _Json:
    if isinstance(item, BaseModel):
        return item.model_dump(exclude_none=True)
    if isinstance(item, Mapping):
        return dict(cast("Mapping[str, Any]", item))
    raise UsageError(f"an item of input must be an object, not {type(item).__name__}")


def _add(messages: list[_Json], item: _Json) -> None:
    kind = item.get("type", "message")
    add = _ITEMS.get(str(kind))
    if add is None:
        raise UsageError(
            f"an item of type {kind!r} in input has no counterpart in a chat; leave it out, or use the Responses API"
        )
    add(messages, item)


def _add_message(messages: list[_Json], item: _Json) -> None:
    role = item.get("role")
    if not isinstance(role, str):
        raise UsageError(f"a message in input needs a role such as 'user': {item!r}")
    content = _content(item.get("content"))
    turn = _turn(messages)
    if role == "assistant" and turn is not None and turn.get("tool_calls"):
        # The answers to calls must follow the message that makes them, so a text after a call joins it.
        turn["content"] = content if turn["content"] is None else _parts(turn["content"]) + _parts(content)
    else:
        messages.append({"role": role, "content": content})


def _add_function_call(messages: list[_Json], item: _Json) -> None:
    function = {"name": _required(item, "name"), "arguments": _required(item, "arguments")}
    _add_call(messages, {"id": _required(item, "call_id"), "type": "function", "function": function})


def _add_custom_call(messages: list[_Json], item: _Json) -> None:
    custom = {"name": _required(item, "name"), "input": _required(item, "input")}
    _add_call(messages, {"id": _required(item, "call_id"), "type": "custom", "custom": custom})


def _add_call(messages: list[_Json], call: _Json) -> None:
    if _turn(messages) is None:
        messages.append({"role": "assistant", "content": None})
    calls: list[_Json] = messages[-1].setdefault("tool_calls", [])
    calls.append(call)


def _add_output(messages: list[_Json], item: _Json) -> None:
    content = _content(_required(item, "output"))
    if any(part.get("type") != "text" for part in _parts(content)):
        raise UsageError("the output of a call can only be text in a chat; pass images and files in a user message")
    messages.append({"role": "tool", "tool_call_id": _required(item, "call_id"), "content": content})


def _leave_out(messages: list[_Json], item: _Json) -> None:
    pass


def _turn(messages: list[_Json]) -> _Json | None:
    """Return the model's message that is last, if one is."""
    return messages[-1] if messages and messages[-1]["role"] == "assistant" else None


def _required(item: _Json, name: str) -> Any:
    if item.get(name) is None:
        raise UsageError(f"an item of type {item['type']!r} in input needs {name!r}: {item!r}")
    return item[name]


def _content(content: object) -> str | list[_Json]:
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        raise UsageError(f"the content of an item of input must be a text or a list of parts, not {content!r}")
    parts = [_part(_fields_of(part)) for part in cast("Sequence[object]", content)]
    if not parts:
        return ""
    # Many servers take a list only where there is something else than text.
    return cast("str", parts[0]["text"]) if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _parts(content: str | list[_Json]) -> list[_Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _part(part: _Json) -> _Json:
    kind = part.get("type")
    translate = _PARTS.get(str(kind))
    if translate is None:
        raise UsageError(f"a part of type {kind!r} in input has no counterpart in a chat; leave it out")
    return translate(part)


def _text(part: _Json) -> _Json:
    return {"type": "text", "text": part.get("text") or ""}


def _refusal(part: _Json) -> _Json:
    return {"type": "refusal", "refusal": part.get("refusal") or ""}


def _image(part: _Json) -> _Json:
    if not part.get("image_url"):
        raise UsageError(
            "an input_image needs an image_url in a chat, which may be a data URL; file_id is not known there"
        )
    detail = {"detail": part["detail"]} if part.get("detail") else {}
    return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}


def _file(part: _Json) -> _Json:
    named = {name: part[name] for name in ("file_id", "file_data", "filename") if part.get(name)}
    if part.get("file_url") or not named:
        raise UsageError("an input_file needs file_data or file_id in a chat; file_url is not known there")
    return {"type": "file", "file": named}


def _as_it_is(part: _Json) -> _Json:
    return part


_ITEMS: dict[str, Callable[[list[_Json], _Json], None]] = {
    "message": _add_message,
    "function_call": _add_function_call,
    "custom_tool_call": _add_custom_call,
    "function_call_output": _add_output,
    "custom_tool_call_output": _add_output,
    "reasoning": _leave_out,
}

_PARTS: dict[str, Callable[[_Json], _Json]] = {
    "input_text": _text,
    "output_text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
    **dict.fromkeys(("text", "image_url", "input_audio", "file"), _as_it_is),
}

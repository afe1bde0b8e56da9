"""A request in the parameters of Responses, as a request to Chat Completions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from streamkit.chat.messages import messages_from
from streamkit.errors import UsageError

_IN_FULL = "send the whole conversation in input"
_CONNECTED = "a chat's answer ends with its connection, so leave it out"
_ONLY_THERE = "leave it out, or use the Responses API"

_Json = dict[str, Any]

# Parameters without a counterpart, and what to do instead.
_REFUSED = {
    "access_programs": _ONLY_THERE,
    "background": _CONNECTED,
    "background_options": _CONNECTED,
    "context_management": "shorten input yourself",
    "conversation": _IN_FULL,
    "image": _ONLY_THERE,
    "max_tool_calls": "it counts the calls of built-in tools, which a chat does not have",
    "previous_response_id": _IN_FULL,
    "prompt": "write it out in instructions and input",
    "truncation": "shorten input yourself",
}
# Values of theirs that ask for what a chat does anyway.
_ANYWAY = (("background", False), ("truncation", "disabled"))
_TEXT_LOGPROBS = "message.output_text.logprobs"


def chat_request(request: Mapping[str, object]) -> dict[str, object]:
    """Return the body of a streaming request to Chat Completions that asks for what a Responses request asks for.

    ``input``, ``instructions``, ``tools``, ``tool_choice``, ``text``, ``reasoning``, ``include``, ``top_logprobs`` and
    ``max_output_tokens`` are translated. All else goes as it is: ``messages`` may stand in place of ``input``, and so
    may whatever only chats have, as ``stop``, ``seed`` or ``max_tokens``. The usage is asked for, unless
    ``stream_options`` says otherwise. ``None`` counts as not given.

    Raises:
        UsageError: something has no counterpart in a chat or not the shape it should have, or not exactly one of
            ``input`` and ``messages`` is given.
    """
    given = {name: value for name, value in request.items() if value is not None and (name, value) not in _ANYWAY}
    _check(given)
    body: dict[str, object] = {}
    for name, value in given.items():
        translate = _TRANSLATED.get(name)
        body |= {name: value} if translate is None else translate(value)
    if "instructions" in given:
        body["messages"] = [_system(given["instructions"]), *_list("messages", body["messages"])]
    options = _object("stream_options", given.get("stream_options", {}))
    return {**body, "stream": True, "stream_options": {"include_usage": True, **options}}


def _check(given: Mapping[str, object]) -> None:
    for name in given:
        if name in _REFUSED:
            raise UsageError(f"{name} has no counterpart in Chat Completions: {_REFUSED[name]}")
    if ("input" in given) == ("messages" in given):
        raise UsageError("a chat needs either input or messages, and cannot take both")
    if given.get("n", 1) != 1:
        raise UsageError("a run follows one answer: leave out n, and make a run for each answer")
    if given.get("stream", True) is not True:
        raise UsageError("streamkit always streams: leave out stream=False")


def _system(instructions: object) -> _Json:
    if not isinstance(instructions, str):
        raise UsageError(f"instructions must be a text, not {instructions!r}")
    return {"role": "system", "content": instructions}


def _from_text(value: object) -> _Json:
    text = _object("text", value)
    _refuse_others("text", text, {"format", "verbosity"})
    verbosity = {"verbosity": text["verbosity"]} if text.get("verbosity") else {}
    return {**_from_format(text.get("format")), **verbosity}


def _from_format(value: object) -> _Json:
    if value is None:
        return {}
    chosen = _object("text.format", value)
    if chosen.get("type") == "json_schema" and "json_schema" not in chosen:
        chosen = _nested("json_schema", chosen)
    return {"response_format": chosen}


def _from_reasoning(value: object) -> _Json:
    reasoning = _object("reasoning", value)
    _refuse_others("reasoning", reasoning, {"effort"})
    return {"reasoning_effort": reasoning["effort"]} if reasoning.get("effort") else {}


def _from_include(value: object) -> _Json:
    for wanted in _list("include", value):
        if wanted != _TEXT_LOGPROBS:
            raise UsageError(f"include can only name {_TEXT_LOGPROBS!r} in a chat, not {wanted!r}; {_ONLY_THERE}")
    return {"logprobs": True} if value else {}


def _from_tools(value: object) -> _Json:
    return {"tools": [_tool(_object("a tool", tool)) for tool in _list("tools", value)]}


def _tool(tool: _Json) -> _Json:
    """Return a tool, or the choice of one, with its fields nested under its type, as chats have it."""
    kind = tool.get("type")
    if kind not in {"function", "custom"}:
        hint = "; use web_search_options" if str(kind).startswith("web_search") else ""
        raise UsageError(f"a chat has only tools of type 'function' and 'custom', not {kind!r}{hint}")
    if kind in tool:
        return tool
    nested = _nested(kind, tool)
    form = nested[kind].get("format")
    if isinstance(form, Mapping) and cast("_Json", form).get("type") == "grammar" and "grammar" not in form:
        nested[kind]["format"] = _nested("grammar", cast("_Json", form))
    return nested


def _from_tool_choice(value: object) -> _Json:
    if isinstance(value, str):
        return {"tool_choice": value}
    choice = _object("tool_choice", value)
    if choice.get("type") != "allowed_tools":
        return {"tool_choice": _tool(choice)}
    if "allowed_tools" not in choice:
        choice = _nested("allowed_tools", {**choice, **_from_tools(choice.get("tools"))})
    return {"tool_choice": choice}


def _nested(kind: str, fields: _Json) -> _Json:
    return {"type": kind, kind: {name: value for name, value in fields.items() if name != "type" and value is not None}}


def _refuse_others(name: str, fields: _Json, known: Iterable[str]) -> None:
    for other in sorted(fields.keys() - known):
        if fields[other] is not None:
            raise UsageError(f"{name}.{other} has no counterpart in Chat Completions: {_ONLY_THERE}")


def _object(name: str, value: object) -> _Json:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    raise UsageError(f"{name} must be an object, not {value!r}")


def _list(name: str, value: object) -> Sequence[object]:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return cast("Sequence[object]", value)
    raise UsageError(f"{name} must be a list, not {value!r}")


def _nothing(_: object) -> _Json:
    return {}


_TRANSLATED: dict[str, Callable[[object], _Json]] = {
    "include": _from_include,
    "input": lambda value: {"messages": messages_from(value)},
    "instructions": _nothing,
    "max_output_tokens": lambda value: {"max_completion_tokens": value},
    "messages": lambda value: {"messages": _list("messages", value)},
    "reasoning": _from_reasoning,
    "stream_options": _nothing,
    "text": _from_text,
    "tool_choice": _from_tool_choice,
    "tools": _from_tools,
    "top_logprobs": lambda value: {"top_logprobs": value, "logprobs": True},
}

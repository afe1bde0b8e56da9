"""Writes a response as the stream of events in which a Responses server would send it."""

import hashlib
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Self, TypeAlias

from pydantic import JsonValue
from pydantic_core import to_json

from streamkit.errors import UsageError
from streamkit.testing.request import JsonObject, Request, content_text, input_items, section

MakeId: TypeAlias = Callable[[str], str]
ItemStatus: TypeAlias = Literal["completed", "incomplete"]

CREATED_AT = 1_767_225_600
"""When a scripted response was made, unless told otherwise: the first second of 2026."""

_TOKEN = re.compile(r"\s?\w{1,12}|\s?[^\w\s]{1,4}|\s")

# The delta events that a real server pads, so that their length does not give the text away.
_PADDED = frozenset(
    {
        "response.code_interpreter_call_code.delta",
        "response.function_call_arguments.delta",
        "response.mcp_call_arguments.delta",
        "response.output_text.delta",
        "response.reasoning_summary_text.delta",
    }
)
_PADDING_UNIT = 16

# What a response says about its request, and what a server fills in where the request does not say.
_ECHOED: Mapping[str, JsonValue] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "model": "gpt-5",
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}


def tokenise(text: str) -> list[str]:
    """Cut text into the word-like pieces that a model would send as deltas; joined, they are the text again."""
    return _TOKEN.findall(text)


def numbered_ids() -> MakeId:
    """An id source without randomness: ``msg_000…001``, ``msg_000…002``, so that equal scripts give equal events."""
    numbers = itertools.count(1)
    return lambda prefix: f"{prefix}_{next(numbers):032x}"


class Script:
    """One response, written item by item; ``events`` is the stream so far, valid at every point.

    Making a script writes ``response.created`` and ``response.in_progress``, and for a background response
    ``response.queued`` between them. Each method then writes one whole output item (added, parts, deltas, done), and
    ``complete``, ``incomplete``, ``fail`` or one of the errors ends the stream::

        script = Script({"model": "gpt-5", "input": "Hi"})
        script.reasoning("The user says hi.").text("Hello!").complete()

    Every method raises ``UsageError`` once the stream has ended.

    Attributes:
        request: the body of the request that is answered; the response repeats its settings.
        events: the events written so far, as they go over the wire.
    """

    def __init__(
        self, request: Request | None = None, *, make_id: MakeId | None = None, created_at: int = CREATED_AT
    ) -> None:
        self.request: Request = {} if request is None else request
        self.events: list[JsonObject] = []
        self._make_id = numbered_ids() if make_id is None else make_id
        self._pads = section(self.request, "stream_options").get("include_obfuscation") is True
        self._output: list[JsonValue] = []
        self._output_tokens = 0
        self._reasoning_tokens = 0
        self._ended = False
        self._response = self._first_response(created_at)
        if self.request.get("background") is True:
            queued: JsonObject = {**self._response, "status": "queued"}
            self._emit("response.created", response=queued)
            self._emit("response.queued", response=queued)
        else:
            self._emit("response.created", response=self._response)
        self._emit("response.in_progress", response=self._response)

    def text(self, text: str, *, annotations: Sequence[JsonObject] = (), status: ItemStatus = "completed") -> Self:
        """Write a message with one text part; pass ``status="incomplete"`` where the response is about to be cut."""
        item, place = self._add_message()
        empty: JsonObject = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
        part: JsonObject = {**empty, "annotations": list(annotations), "text": text}
        self._emit("response.content_part.added", place, part=empty)
        self._write_deltas("response.output_text.delta", place, text, logprobs=[])
        for index, annotation in enumerate(annotations):
            numbered = place | {"annotation_index": index}
            self._emit("response.output_text.annotation.added", numbered, annotation=annotation)
        self._emit("response.output_text.done", place, text=text, logprobs=[])
        self._emit("response.content_part.done", place, part=part)
        return self._finish_item(item, status=status, content=[part])

    def refusal(self, refusal: str) -> Self:
        """Write a message in which the model declines to answer; such a response still ends with ``complete``."""
        item, place = self._add_message()
        part: JsonObject = {"type": "refusal", "refusal": refusal}
        self._emit("response.content_part.added", place, part=part | {"refusal": ""})
        self._write_deltas("response.refusal.delta", place, refusal)
        self._emit("response.refusal.done", place, refusal=refusal)
        self._emit("response.content_part.done", place, part=part)
        return self._finish_item(item, status="completed", content=[part])

    def reasoning(self, *summary: str) -> Self:
        """Write a reasoning item with the given summary parts; without any, nothing stands between added and done."""
        item, place = self._add_item("rs", "reasoning", summary=[])
        before = self._output_tokens
        parts: list[JsonValue] = [
            self._write_summary_part(place | {"summary_index": index}, text) for index, text in enumerate(summary)
        ]
        self._reasoning_tokens += self._output_tokens - before
        return self._finish_item(item, summary=parts)

    def function_call(self, name: str, arguments: JsonObject | str) -> Self:
        """Write a call of one of the request's functions; text is sent as it is, so that it need not be JSON."""
        text = arguments if isinstance(arguments, str) else _json_text(arguments)
        call_id = self._make_id("call")
        item, place = self._add_item(
            "fc", "function_call", status="in_progress", arguments="", call_id=call_id, name=name
        )
        self._write_deltas("response.function_call_arguments.delta", place, text)
        self._emit("response.function_call_arguments.done", place, arguments=text)
        return self._finish_item(item, status="completed", arguments=text)

    def custom_tool_call(self, name: str, text: str) -> Self:
        """Write a call of one of the request's custom tools, whose input is free text."""
        call_id = self._make_id("call")
        item, place = self._add_item(
            "ctc", "custom_tool_call", status="in_progress", input="", call_id=call_id, name=name
        )
        self._write_deltas("response.custom_tool_call_input.delta", place, text)
        self._emit("response.custom_tool_call_input.done", place, input=text)
        return self._finish_item(item, status="completed", input=text)

    def web_search(self, query: str) -> Self:
        """Write a search of the web; what was found appears as annotations of the text that follows."""
        item, place = self._add_item("ws", "web_search_call", status="in_progress", action={"type": "search"})
        self._emit_each("response.web_search_call", ("in_progress", "searching", "completed"), place)
        action: JsonObject = {"type": "search", "query": query, "queries": [query]}
        return self._finish_item(item, status="completed", action=action)

    def mcp_list_tools(self, server_label: str, tools: Sequence[JsonObject]) -> Self:
        """Write the discovery of a remote server's tools, each with ``name``, ``description`` and ``input_schema``."""
        item, place = self._add_item("mcpl", "mcp_list_tools", server_label=server_label, tools=[])
        self._emit_each("response.mcp_list_tools", ("in_progress", "completed"), place)
        return self._finish_item(item, tools=list(tools))

    def mcp_approval_request(self, server_label: str, name: str, arguments: JsonObject) -> Self:
        """Write a request for approval of a call; the next request answers it with its ``id``."""
        text = _json_text(arguments)
        item, _ = self._add_item("mcpr", "mcp_approval_request", server_label=server_label, name=name, arguments=text)
        return self._finish_item(item)

    def mcp_call(
        self,
        server_label: str,
        name: str,
        arguments: JsonObject,
        output: str,
        *,
        approval_request_id: str | None = None,
    ) -> Self:
        """Write a call of a remote server's tool, with what it answered, and with the request that approved it."""
        unset: JsonObject = {"approval_request_id": approval_request_id, "error": None, "output": None}
        item, place = self._add_item("mcp", "mcp_call", server_label=server_label, name=name, arguments="", **unset)
        text = _json_text(arguments)
        self._emit("response.mcp_call.in_progress", place)
        self._write_deltas("response.mcp_call_arguments.delta", place, text)
        self._emit("response.mcp_call_arguments.done", place, arguments=text)
        self._emit("response.mcp_call.completed", place)
        return self._finish_item(item, arguments=text, output=output)

    def code_interpreter(self, code: str, outputs: Sequence[JsonObject] | None = None) -> Self:
        """Write the running of code; a real server sends its outputs only where the request includes them."""
        container = self._make_id("cntr")
        item, place = self._add_item(
            "ci", "code_interpreter_call", status="in_progress", code="", container_id=container, outputs=None
        )
        self._emit("response.code_interpreter_call.in_progress", place)
        self._write_deltas("response.code_interpreter_call_code.delta", place, code)
        self._emit("response.code_interpreter_call_code.done", place, code=code)
        self._emit_each("response.code_interpreter_call", ("interpreting", "completed"), place)
        shown = None if outputs is None else list[JsonValue](outputs)
        return self._finish_item(item, status="completed", code=code, outputs=shown)

    def image(self, result: str, *, partial_images: Sequence[str] = (), revised_prompt: str = "") -> Self:
        """Write the making of a PNG image: base64 of the unfinished versions, then of the result."""
        item, place = self._add_item("ig", "image_generation_call", status="in_progress", result=None)
        look: JsonObject = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}
        self._emit_each("response.image_generation_call", ("in_progress", "generating"), place)
        for index, image in enumerate(partial_images):
            partial = place | look | {"partial_image_index": index, "partial_image_b64": image}
            self._emit("response.image_generation_call.partial_image", partial)
        self._emit("response.image_generation_call.completed", place)
        return self._finish_item(item, status="completed", result=result, revised_prompt=revised_prompt, **look)

    def event(self, name: str, **fields: JsonValue) -> Self:
        """Write an event as given, such as ``keepalive`` or one of a vendor's own."""
        self._emit(name, **fields)
        return self

    def error(self, code: str | None, message: str) -> Self:
        """Write an ``error`` event as the real servers send it, with the facts nested in ``error``."""
        return self.event("error", error={"type": "server_error", "code": code, "message": message, "param": None})

    def flat_error(self, code: str | None, message: str) -> Self:
        """Write an ``error`` event as the API reference documents it and many gateways send it, all on one level."""
        return self.event("error", code=code, message=message, param=None)

    def complete(self) -> None:
        """End the stream with ``response.completed``."""
        self._end("completed", completed_at=self._response["created_at"], usage=self._usage())

    def incomplete(self, reason: str) -> None:
        """End the stream with ``response.incomplete``, for a reason such as ``"max_output_tokens"``."""
        self._end("incomplete", incomplete_details={"reason": reason}, usage=self._usage())

    def fail(self, code: str, message: str) -> None:
        """End the stream with ``response.failed``; a real server usually sends ``error`` before it."""
        self._end("failed", error={"code": code, "message": message})

    def _emit(self, name: str, place: JsonObject | None = None, /, **fields: JsonValue) -> None:
        if self._ended:
            raise UsageError(f"the scripted response has ended, {name} cannot follow")
        self.events.append({"type": name, "sequence_number": len(self.events), **(place or {}), **fields})

    def _emit_each(self, family: str, steps: Sequence[str], place: JsonObject) -> None:
        for step in steps:
            self._emit(f"{family}.{step}", place)

    def _write_deltas(self, name: str, place: JsonObject, text: str, **fields: JsonValue) -> None:
        pieces = tokenise(text)
        common: JsonObject = {"type": name, **place, **fields}
        for number, piece in enumerate(pieces, start=len(self.events)):
            event: JsonObject = {**common, "sequence_number": number, "delta": piece}
            if self._pads and name in _PADDED:
                event["obfuscation"] = _padding(piece, number)
            self.events.append(event)
        self._output_tokens += len(pieces)

    def _add_message(self) -> tuple[JsonObject, JsonObject]:
        item, place = self._add_item("msg", "message", status="in_progress", content=[], role="assistant")
        return item, place | {"content_index": 0}

    def _add_item(self, prefix: str, type_name: str, **fields: JsonValue) -> tuple[JsonObject, JsonObject]:
        """Announce an item; return it with the fields that say, in its events, which item they are about."""
        item: JsonObject = {"id": self._make_id(prefix), "type": type_name, **fields}
        index = len(self._output)
        self._emit("response.output_item.added", output_index=index, item=item)
        return item, {"item_id": item["id"], "output_index": index}

    def _finish_item(self, item: JsonObject, **fields: JsonValue) -> Self:
        finished = item | fields
        self._emit("response.output_item.done", output_index=len(self._output), item=finished)
        self._output.append(finished)
        return self

    def _write_summary_part(self, place: JsonObject, text: str) -> JsonObject:
        part: JsonObject = {"type": "summary_text", "text": text}
        self._emit("response.reasoning_summary_part.added", place, part=part | {"text": ""})
        self._write_deltas("response.reasoning_summary_text.delta", place, text)
        self._emit("response.reasoning_summary_text.done", place, text=text)
        self._emit("response.reasoning_summary_part.done", place, part=part)
        return part

    def _first_response(self, created_at: int) -> JsonObject:
        echoed = {name: self.request.get(name) for name in _ECHOED}
        settings = {name: _ECHOED[name] if value is None else value for name, value in echoed.items()}
        return {
            "id": self._make_id("resp"),
            "object": "response",
            "created_at": created_at,
            "status": "in_progress",
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "moderation": None,
            "output": [],
            "usage": None,
            **settings,
        }

    def _end(self, status: str, **changes: JsonValue) -> None:
        response: JsonObject = {**self._response, "status": status, "output": self._output, **changes}
        self._emit(f"response.{status}", response=response)
        self._ended = True

    def _usage(self) -> JsonObject:
        texts = (content_text(item.get("content")) for item in input_items(self.request))
        read, written = sum(len(tokenise(text)) for text in texts), self._output_tokens
        return {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": self._reasoning_tokens},
            "total_tokens": read + written,
        }


def _json_text(value: JsonObject) -> str:
    return to_json(value).decode()


def _padding(delta: str, position: int) -> str:
    """As many characters as bring the delta to a whole number of units; a digest looks random and is repeatable."""
    return hashlib.sha256(b"%d" % position).hexdigest()[: -len(delta) % _PADDING_UNIT]

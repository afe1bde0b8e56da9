"""Chunks of Chat Completions to the typed events that a Responses server would have sent."""

from typing import Any

from streamkit import events as ev
from streamkit.chat.chunks import WHOLE, ChatChoice, ChatChunk, ChatDelta, ChatLogprobs, ChatUsage, read_frame
from streamkit.chat.outbox import Outbox
from streamkit.chat.output import Output
from streamkit.chat.terms import (
    annotations_in,
    calls_in,
    responses_moderation,
    responses_usage,
    texts_in,
    usage_in,
)
from streamkit.chat.text import TEXT
from streamkit.codec import valid
from streamkit.response import ErrorDetail, IncompleteDetails, Response
from streamkit.sse import Frame

# Why an answer is not whole, in the words of Responses where it has one.
_INCOMPLETE = {
    "length": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "model_length": "max_output_tokens",
    "content_filter": "content_filter",
    "insufficient_system_resource": "insufficient_system_resource",
    "abort": "abort",
}


class ChatDecoder:
    """Turns the frames of one chat completion into events.

    Feed it the frames of one connection in order, and call ``finish`` when the bytes have ended. Each frame gives the
    event it holds, mostly a ``ChatChunk``, and then the events of the Responses API that follow from it, numbered from
    0. Of several choices the one with index 0 is followed; the others are seen in the chunks alone. A frame may also
    hold a whole completion, as a server sends that does not stream.

    The terminal event comes at ``[DONE]``, which servers send after the usage, or with ``finish``. Bytes that end with
    neither a finish reason nor ``[DONE]`` give none: the response was cut.
    """

    def __init__(self) -> None:
        self._outbox = Outbox()
        self._output: Output | None = None
        self._ended = False
        self._facts: dict[str, Any] = {}
        self._usage: ChatUsage | None = None
        self._finish_reason = ""

    def feed(self, frame: Frame) -> list[ev.Event]:
        """Return the events of the next frame; whatever it holds, this raises nothing.

        Frames that hold no chunk give what ``codec.decode`` makes of them. An error in any form ends the response: a
        ``ResponseFailed`` follows its ``ErrorEvent``. After the end, frames give no more than the event they hold.
        """
        event = read_frame(frame)
        self._outbox.put(event)
        if not self._ended:
            self._follow(event)
        return self._outbox.take()

    def finish(self) -> list[ev.Event]:
        """Return the events that end the response, none where the server has not said that it is whole."""
        if self._finish_reason and not self._ended:
            self._end()
        return self._outbox.take()

    def _follow(self, event: ev.Event) -> None:
        if isinstance(event, ChatChunk):
            self._follow_chunk(event)
        elif isinstance(event, ev.ErrorEvent):
            self._fail(event.detail)
        elif isinstance(event, ev.DoneSentinel):
            self._end()
        elif isinstance(event, ev.TerminalEvent):
            self._ended = True

    def _follow_chunk(self, chunk: ChatChunk) -> None:
        self._learn(chunk)
        # Azure's first chunk, on the filtering of the prompt, does not tell the response's id yet.
        if self._output is None and (chunk.id or chunk.choices):
            self._output = self._begin()
        choice = next((choice for choice in chunk.choices if not choice.index), None)
        if choice is not None and self._output is not None:
            delta = choice.message if chunk.object == WHOLE else choice.delta
            self._follow_choice(choice, delta, self._output)
        if chunk.error is not None:
            self._outbox.add(ev.ErrorEvent, error=chunk.error)
            self._fail(chunk.error)

    def _learn(self, chunk: ChatChunk) -> None:
        facts = self._facts
        if "id" not in facts or "model" not in facts:
            told = {"id": chunk.id, "created_at": chunk.created, "model": chunk.model}
            facts.update({name: value for name, value in told.items() if value and name not in facts})
        if chunk.service_tier:
            facts["service_tier"] = chunk.service_tier
        if chunk.moderation is not None:
            facts["moderation"] = responses_moderation(chunk.moderation)
        self._usage = usage_in(chunk) or self._usage

    def _begin(self) -> Output:
        begun = self._response("in_progress")
        self._outbox.add(ev.ResponseCreated, response=begun)
        self._outbox.add(ev.ResponseInProgress, response=begun)
        # What has no id of its own is named after the response, and no two responses of a conversation alike.
        return Output(self._outbox, begun.id or f"chat_{begun.created_at or 0:.0f}")

    def _follow_choice(self, choice: ChatChoice, delta: ChatDelta | None, output: Output) -> None:
        if delta is not None:
            _write(delta, choice.logprobs, output)
        # Proxies add a "stop" of their own, which makes no answer whole that was cut.
        if choice.finish_reason and (choice.finish_reason != "stop" or not self._finish_reason):
            self._finish_reason = choice.finish_reason

    def _end(self) -> None:
        if self._output is None:
            return
        if self._finish_reason == "error":
            self._fail(ErrorDetail(message="the server stopped with finish_reason 'error', and did not say why"))
            return
        reason = _INCOMPLETE.get(self._finish_reason)
        status = "completed" if reason is None else "incomplete"
        details = None if reason is None else IncompleteDetails(reason=reason)
        response = self._response(status, output=self._output.close(status), incomplete_details=details)
        self._outbox.add(ev.ResponseCompleted if reason is None else ev.ResponseIncomplete, response=response)
        self._ended = True

    def _fail(self, error: ErrorDetail) -> None:
        # Items stay open, as they do on the real wire: what was written of them is not whole.
        self._outbox.add(ev.ResponseFailed, response=self._response("failed", error=error))
        self._ended = True

    def _response(self, status: str, **facts: Any) -> Response:
        usage = None if self._usage is None else responses_usage(self._usage)
        return Response(object="response", status=status, usage=usage, **self._facts, **facts)


class StrictChatDecoder(ChatDecoder):
    """A ``ChatDecoder`` that accepts no ``InvalidEvent``."""

    def feed(self, frame: Frame) -> list[ev.Event]:
        """Return the events of the next frame, as ``ChatDecoder`` does.

        Raises:
            InvalidEventError: the frame is not JSON, or does not have the shape of a chunk.
        """
        return list(map(valid, super().feed(frame)))


def _write(delta: ChatDelta, logprobs: ChatLogprobs | None, output: Output) -> None:
    for channel, text in texts_in(delta):
        output.write(channel, text, logprobs.content if logprobs and channel is TEXT else ())
    for piece in calls_in(delta):
        output.write_call(piece)
    for annotation in annotations_in(delta):
        output.annotate(annotation)
    if delta.audio is not None:
        output.speak(delta.audio)

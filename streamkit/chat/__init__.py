"""Chat Completions in the terms of Responses: chunks become the same typed events, and requests are translated."""

from streamkit.chat.chunks import ChatChunk
from streamkit.chat.decoder import ChatDecoder, StrictChatDecoder
from streamkit.chat.request import chat_request

__all__ = ["ChatChunk", "ChatDecoder", "StrictChatDecoder", "chat_request"]

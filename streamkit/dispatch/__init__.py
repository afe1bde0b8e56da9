"""From events to functions: ``on``, ``Dispatcher`` and ``StreamHandler``."""

from streamkit.dispatch.dispatcher import Dispatcher, Routes, combine, deliver
from streamkit.dispatch.on import on
from streamkit.dispatch.stream_handler import StreamHandler

__all__ = ["Dispatcher", "Routes", "StreamHandler", "combine", "deliver", "on"]

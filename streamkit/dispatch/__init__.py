"""From events to functions: ``on``, ``Dispatcher``, ``StreamHandler`` and ``Lane``."""

from streamkit.dispatch.deliveries import Deliveries
from streamkit.dispatch.dispatcher import Dispatcher, combine, is_dispatcher
from streamkit.dispatch.lane import Lane
from streamkit.dispatch.on import on
from streamkit.dispatch.stream_handler import StreamHandler
from streamkit.dispatch.table import CallNext

__all__ = ["CallNext", "Deliveries", "Dispatcher", "Lane", "StreamHandler", "combine", "is_dispatcher", "on"]

"""streamkit: the events of a streamed model response, typed and delivered to your functions."""

__version__ = "0.1.0"

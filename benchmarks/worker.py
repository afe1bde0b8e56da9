"""The process that one figure is measured in: calls a function by name and prints what it returns as JSON."""

import importlib
import json
import logging
import resource
import sys


def figure_of(name: str, arguments: str) -> float | None:
    """Call a function, ``module:name``, with arguments in JSON; ``None`` where it needs what is not installed."""
    module, _, function = name.partition(":")
    try:
        return float(getattr(importlib.import_module(module), function)(**json.loads(arguments)))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in {"benchmarks", "streamkit"}:
            raise
        return None


def raise_file_limit() -> None:
    """Allow this process, and what it starts, as many open files as the system grants: a stream is a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    raise_file_limit()
    # A stream that is not paced does come all at once, which streamkit would warn of each time.
    logging.getLogger("streamkit").setLevel(logging.ERROR)
    print(json.dumps(figure_of(*sys.argv[1:])))

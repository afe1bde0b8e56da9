"""Each measurement in a process of its own, so that contestants share neither caches nor garbage."""

import json
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

Argument = str | int | float


@dataclass(frozen=True, slots=True)
class Job:
    """A function of a module of this package that returns one figure, and its arguments."""

    function: Callable[..., float]
    arguments: Mapping[str, Argument]


def measure(job: Job) -> float | None:
    """Call the function in a new interpreter and return its figure; ``None`` where it needs what is not installed."""
    name = f"{job.function.__module__}:{job.function.__qualname__}"
    figure: float | None = json.loads(python("-m", "benchmarks.worker", name, json.dumps(job.arguments)))
    return figure


def best_of(rounds: int, jobs: Mapping[str, Job]) -> dict[str, float | None]:
    """Measure all jobs in turn, ``rounds`` times over, and return the smallest figure of each."""
    figures: dict[str, list[float | None]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            figures[name].append(measure(job))
    return {
        name: min((figure for figure in found if figure is not None), default=None) for name, found in figures.items()
    }


def better(figures: Mapping[str, float | None], further: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the figures, those that were measured further as the smaller of both."""
    found = {name: [figure, further.get(name)] for name, figure in figures.items()}
    return {name: min((one for one in both if one is not None), default=None) for name, both in found.items()}


def python(*arguments: str) -> str:
    """Run a new interpreter and return what it printed.

    Raises:
        CalledProcessError: it failed; what it had to say went to stderr.
    """
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def server() -> Generator[str]:
    """Run the server process and give its base URL."""
    command = [sys.executable, "-m", "benchmarks.server"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.terminate()

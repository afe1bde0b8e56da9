"""Figures as rows of a table, on the terminal and in the documentation."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

HEADINGS = ("measured", "streamkit", "compared with", "its figure", "ratio", "budget", "")
PACKAGES = ("streamkit", "aiohttp", "pydantic", "uvloop", "openai", "httpx", "httpx-sse")
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


class Row(Protocol):
    """One line of the table."""

    def cells(self) -> tuple[str, ...]:
        """Return the texts under the headings."""
        ...


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure of streamkit's beside a peer's; the budget, if there is one, is for their ratio."""

    what: str
    unit: str
    own: float | None
    peer: str
    its: float | None
    at_most: float | None

    def cells(self) -> tuple[str, ...]:
        """Return the texts under the headings."""
        ratio = self.own / self.its if self.own is not None and self.its else None
        figures = (_figure(self.own, self.unit), self.peer, _figure(self.its, self.unit))
        return (self.what, *figures, _factor(ratio), _budget(_factor(self.at_most)), _verdict(ratio, self.at_most))


@dataclass(frozen=True, slots=True)
class Bounded:
    """A figure of streamkit's with a budget of its own."""

    what: str
    unit: str
    own: float | None
    at_most: float

    def cells(self) -> tuple[str, ...]:
        """Return the texts under the headings."""
        limit = _figure(self.at_most, self.unit)
        return self.what, _figure(self.own, self.unit), "", "", "", _budget(limit), _verdict(self.own, self.at_most)


def as_text(rows: Iterable[Row]) -> str:
    """Return the table for a terminal."""
    table = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in table)


def as_markdown(rows: Iterable[Row]) -> str:
    """Return the table as Markdown, with the machine, the date and the versions it was measured with."""
    table = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in rows)]
    lines = [f"| {' | '.join(cells)} |" for cells in table]
    return "\n".join([circumstances(), "", *lines])


def write(page: Path, rows: Sequence[Row]) -> None:
    """Put the table into a page, in place of the one between its markers."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{as_markdown(rows)}\n{END}{after}", encoding="utf-8")


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "not installed"
    return f"{value:.3g} {unit}".rstrip() if value < 100 else f"{value:.0f} {unit}"


def _factor(value: float | None) -> str:
    if not value:
        return ""
    return f"{value:.2f} x" if value > 0.5 else f"1/{1 / value:.3g}"


def _budget(limit: str) -> str:
    return f"≤ {limit}" if limit else ""


def _verdict(value: float | None, at_most: float | None) -> str:
    if value is None or at_most is None:
        return ""
    return "met" if value <= at_most else "missed"


def circumstances() -> str:
    """Return where, when and with what this is measured."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    machine = f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, {python}"
    packages = ", ".join(filter(None, map(_installed, PACKAGES)))
    return f"Measured on {datetime.now(UTC):%Y-%m-%d} on {machine}, with {packages}."


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    lines = described.read_text(encoding="utf-8").splitlines() if described.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _installed(package: str) -> str | None:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None

"""The benchmarks run; what they measure is nothing that a test could state."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import importing, many_streams, paced, processes, saturated, unwanted
from benchmarks.__main__ import MEASUREMENTS, PAGE
from benchmarks.effort import Effort
from benchmarks.report import BEGIN, END, HEADINGS, Bounded, Compared, Row, as_markdown, as_text, write
from benchmarks.worker import figure_of

TINY = Effort(
    rounds=1,
    tokens=20,
    streams=2,
    seconds=0.2,
    open_streams=3,
    open_events_per_second=50.0,
    deltas=1000,
    lane_deltas=2000,
    frame_bytes=64 * 1024,
)


def measure_here(*arguments: str) -> str:
    """Measure in this process, which has imported the peers, what ``processes.python`` has a new one measure."""
    assert arguments[:2] == ("-m", "benchmarks.worker")
    return json.dumps(figure_of(*arguments[2:]))


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with processes.server() as url:
        yield url


@pytest.fixture
def in_one_process(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def shared_server() -> Generator[str]:
        yield url

    monkeypatch.setattr(processes, "python", measure_here)
    for module in (many_streams, paced, saturated, unwanted):
        monkeypatch.setattr(module, "server", shared_server)


@pytest.mark.usefixtures("in_one_process")
@pytest.mark.parametrize("rows", MEASUREMENTS.values(), ids=MEASUREMENTS)
def test_every_measurement_gives_figures_of_streamkit(rows: Callable[[Effort], list[Row]]) -> None:
    table = [dict(zip(HEADINGS, row.cells(), strict=True)) for row in rows(TINY)]
    assert table
    assert "not installed" not in {cells["streamkit"] for cells in table if "uvloop" not in cells["measured"]}


def test_a_figure_is_measured_in_a_process_of_its_own() -> None:
    figure = processes.measure(processes.Job(importing.milliseconds, {"statement": "import json"}))
    assert figure is not None
    assert figure > 0


@pytest.mark.parametrize(
    ("row", "ends"),
    [
        (Compared("a", "µs", 3.0, "peer", 2.0, 2.0), ("3 µs", "peer", "2 µs", "1.50 x", "≤ 2.00 x", "met")),
        (Compared("a", "µs", 1.0, "peer", 5.0, 1 / 12), ("1 µs", "peer", "5 µs", "1/5", "≤ 1/12", "missed")),
        (Compared("a", "µs", 1.0, "peer", None, 1 / 12), ("1 µs", "peer", "not installed", "", "≤ 1/12", "")),
        (Compared("a", "ms", 150.4, "peer", 100.0, None), ("150 ms", "peer", "100 ms", "1.50 x", "", "")),
        (Bounded("a", "KiB", 61.0, 60.0), ("61 KiB", "", "", "", "≤ 60 KiB", "missed")),
        (Bounded("a", "", 0, 0), ("0", "", "", "", "≤ 0", "met")),
    ],
)
def test_a_row_says_whether_its_budget_is_met(row: Row, ends: tuple[str, ...]) -> None:
    assert row.cells() == ("a", *ends)


def test_writing_replaces_what_stands_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    rows = [Bounded("a", "µs", 1.0, 2.0)]
    write(page, rows)
    write(page, rows)
    assert page.read_text(encoding="utf-8") == f"before\n{BEGIN}\n{as_markdown(rows)}\n{END}\nafter\n"


def test_the_documentation_has_the_markers() -> None:
    assert PAGE.read_text(encoding="utf-8").count(BEGIN) == PAGE.read_text(encoding="utf-8").count(END) == 1


def test_the_table_for_the_terminal_is_aligned() -> None:
    text = as_text([Bounded("a", "µs", 1.0, 2.0), Bounded("longer", "µs", 1.0, 2.0)])
    assert len({line.index("1 µs") for line in text.splitlines()[1:]}) == 1

"""The soak script: a short run of it is checked like a long one."""

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

import benchmarks.soak
from benchmarks.soak import soak
from benchmarks.soak_plans import HASTY, Plan, draw
from benchmarks.soak_report import BEGIN, END, NOTHING, as_markdown, write

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux tells what a process holds")


def draw_brisk_plan(random: Random) -> Plan:
    """Draw a plan that takes no clock to end, and have its tokens come faster than any model's."""
    plan = draw(random)
    while plan.trouble.timeouts is HASTY:
        plan = draw(random)
    return replace(plan, headers={**plan.headers, "x-streamkit-tokens-per-second": "500"}, seconds=plan.seconds / 20)


@needs_proc
@pytest.mark.anyio
async def test_a_short_soak_violates_nothing_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks.soak, "draw", draw_brisk_plan)
    tally = await soak(seconds=0.5, streams=20)
    assert tally.violations == []
    assert tally.left == NOTHING
    assert tally.passed
    assert tally.counts["runs"] == tally.outcomes.total() == tally.drives.total() >= 20
    assert tally.counts["events"] > tally.counts["runs"]
    assert tally.faults.total() > 0
    assert "| violated checks | 0 |" in as_markdown(tally, seconds=0.5, streams=20, command="soak")


def test_the_section_is_renewed_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Before\n")
    write(page, "one")
    assert page.read_text() == f"# Before\n{BEGIN}\none\n{END}\n"
    page.write_text(f"{page.read_text()}after\n")
    write(page, "two")
    assert page.read_text() == f"# Before\n{BEGIN}\ntwo\n{END}\nafter\n"

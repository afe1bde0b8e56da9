"""What type checkers make of streamkit: ``tests/typing`` and the examples are checked by both, in strict mode.

In ``tests/typing/accepted.py`` every ``assert_type`` must hold. In ``tests/typing/rejected.py`` every error is expected
by a comment in its line, and a comment without its error is an error.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

CHECKED = [folder for folder in ("tests/typing", "examples") if any((ROOT / folder).rglob("*.py"))]
REJECTED = ROOT / "tests" / "typing" / "rejected.py"

pytestmark = [pytest.mark.timeout(300), pytest.mark.parametrize("checker", ["mypy", "pyright"])]


@pytest.fixture(autouse=True)
def _needs_the_checker(checker: str) -> None:
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed; the extra dev has it")


def check(checker: str, *paths: str) -> subprocess.CompletedProcess[str]:
    # pyright looks for packages in the environment that is active, which need not be the one that runs this.
    environment = ["--pythonpath", sys.executable] if checker == "pyright" else []
    command = [sys.executable, "-m", checker, *environment, *paths]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_right_types_are_accepted_and_the_wrong_ones_rejected(checker: str) -> None:
    done = check(checker, *CHECKED)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_expected_error_that_does_not_occur_is_an_error(checker: str, tmp_path: Path) -> None:
    """Without this, the file of rejected types would prove nothing."""
    lines = REJECTED.read_text("utf-8").splitlines()
    misspelt = {number for number, line in enumerate(lines, start=1) if "output_text.dleta" in line}
    copy = tmp_path / "corrected.py"
    copy.write_text("\n".join(lines).replace("output_text.dleta", "output_text.delta"), "utf-8")
    done = check(checker, str(copy))
    reported = re.findall(r"corrected\.py:(\d+):.*error: ", done.stdout)
    assert misspelt
    assert {int(number) for number in reported} == misspelt

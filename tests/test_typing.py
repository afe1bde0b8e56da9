"""What type checkers make of streamkit: ``tests/typing`` and the examples are checked by both, in strict mode.

In ``tests/typing/accepted.py`` every ``assert_type`` must hold. In ``tests/typing/rejected.py`` every error is expected
by a comment in its line, and a comment without its error is an error.
"""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.paths import ROOT

CHECKERS = ("mypy", "pyright")
CHECKED = [folder for folder in ("tests/typing", "examples") if any((ROOT / folder).rglob("*.py"))]
REJECTED = ROOT / "tests" / "typing" / "rejected.py"
MISSPELT = "output_text.dleta"

Check = subprocess.CompletedProcess[str]

pytestmark = [pytest.mark.timeout(300), pytest.mark.parametrize("checker", CHECKERS)]


def is_installed(checker: str) -> bool:
    return importlib.util.find_spec(checker) is not None


def check(checker: str, *paths: str) -> Check:
    # pyright looks for packages in the environment that is active, which need not be the one that runs this.
    environment = ["--pythonpath", sys.executable] if checker == "pyright" else []
    command = [sys.executable, "-m", checker, *environment, *paths]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rejected types with one misspelling less, so that errors are expected which do not occur."""
    copy = tmp_path_factory.mktemp("typing") / "corrected.py"
    copy.write_text(REJECTED.read_text("utf-8").replace(MISSPELT, "output_text.delta"), "utf-8")
    return copy


@pytest.fixture(scope="module")
def checks(corrected: Path) -> Iterator[dict[str, Future[Check]]]:
    """What each checker makes of everything, the corrected copy included; they work at the same time."""
    with ThreadPoolExecutor() as threads:
        yield {
            checker: threads.submit(check, checker, *CHECKED, str(corrected))
            for checker in CHECKERS
            if is_installed(checker)
        }


@pytest.fixture
def done(checker: str, checks: dict[str, Future[Check]]) -> Check:
    if checker not in checks:
        pytest.skip(f"{checker} is not installed; the extra dev has it")
    return checks[checker].result()


def lines_with_errors(report: str, name: str) -> list[int]:
    # Only the name, for mypy takes what it knows of the same text from its cache, with the folder that it stood in.
    return [int(line) for line in re.findall(rf"{re.escape(name)}:(\d+):.*error: ", report)]


def test_the_right_types_are_accepted_and_the_wrong_ones_rejected(done: Check, corrected: Path) -> None:
    found = re.findall(r"(\d+) errors?\b", done.stdout)
    in_the_copy = lines_with_errors(done.stdout, corrected.name)
    assert (done.returncode, found) == (1, [str(len(in_the_copy))]), done.stdout + done.stderr


def test_an_expected_error_that_does_not_occur_is_an_error(done: Check, corrected: Path) -> None:
    """Without this, the file of rejected types would prove nothing."""
    lines = REJECTED.read_text("utf-8").splitlines()
    misspelt = {number for number, line in enumerate(lines, start=1) if MISSPELT in line}
    assert misspelt
    assert set(lines_with_errors(done.stdout, corrected.name)) == misspelt

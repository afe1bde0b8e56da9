"""Code that is run in an interpreter of its own, which has imported nothing yet."""

import subprocess
import sys


def in_fresh_interpreter(code: str) -> str:
    """Run code, whose warnings are errors, and return what it printed."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout

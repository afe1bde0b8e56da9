"""Where test inputs stand: the project's own, and the recordings that some machines keep beside the checkout."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OWN_DATA = ROOT / "tests" / "data"
SHARED_DATA = ROOT.parent / "shared" / "data"

needs_shared_data = pytest.mark.skipif(
    not SHARED_DATA.is_dir(), reason="real recordings are not part of the project and ../shared/data is absent"
)

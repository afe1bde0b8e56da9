"""The package as syntax trees, for tests of how it is written."""

import ast

from tests.paths import ROOT

PACKAGE = ROOT / "streamkit"
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text("utf-8")) for path in FILES}

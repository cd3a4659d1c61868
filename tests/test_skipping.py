# SPDX-License-Identifier: BSD-3-Clause
"""The rule of tests/conftest.py: in CI a comparison with the C pipeline that was skipped has failed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

TESTS = """
import pytest
@pytest.mark.parity
def test_a():
    pytest.skip("no C pipeline")
@pytest.mark.golden
@pytest.mark.skipif(True, reason="no data")
def test_b():
    pass
@pytest.mark.unit
def test_c():
    pytest.skip("no such file system")
@pytest.mark.parity
@pytest.mark.xfail(reason="known")
def test_d():
    assert False
"""


def outcomes(folder: Path, text: str, ci: str) -> str:
    """Last line of a test run of its own."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  parity\n  golden\n  unit\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    environment = {**os.environ, "CI": ci}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines()[-1]


def test_skipped_comparisons_fail_in_ci(tmp_path):
    assert outcomes(tmp_path, TESTS, "true").startswith("1 failed, 1 skipped, 1 xfailed, 1 error")
    assert outcomes(tmp_path, TESTS, "").startswith("3 skipped, 1 xfailed")


def test_skipped_files_fail_in_ci(tmp_path):
    text = "import pytest\npytest.importorskip('there_is_no_such_module')\ndef test_a():\n    pass\n"
    assert outcomes(tmp_path, text, "true").startswith("1 error")
    assert outcomes(tmp_path, text, "").startswith("1 skipped")

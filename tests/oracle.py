# SPDX-License-Identifier: BSD-3-Clause
"""What tests need besides Python (C pipeline, hosts, a browser): without it they skip; in CI, they fail."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip a test for which something is not installed, or fail in CI, where all of it must be there."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing; it has to be installed in CI")
    pytest.skip(f"{what} is not installed")


@functools.cache
def c_recipes() -> str:
    """What esorex lists, "" without esorex."""
    if shutil.which("esorex") is None:
        return ""
    return subprocess.run(["esorex", "--recipes"], capture_output=True, text=True, check=False).stdout


def need_c_recipe(name: str) -> None:
    """Go on only with a recipe of the C pipeline."""
    if name not in c_recipes():
        missing(f"the C recipe {name} (apt-get install esorex cpl-plugin-muse)")


def need_program(*names: str) -> str:
    """Path of the first of these programs that is installed."""
    found = next(filter(None, map(shutil.which, names)), None)
    return found or missing(names[0])

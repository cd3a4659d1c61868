# SPDX-License-Identifier: BSD-3-Clause
"""Inputs and hosts for the tests of the adapters."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from tests.oracle import missing

RECIPES = Path(__file__).parent / "recipes"
RECIPE = "muse_test_echo"


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    """Keep the user's rc files and variables out of the tests."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    for name in list(os.environ):
        if name.startswith(("ESOREX_", "PYESOREX_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> tuple[Path, Path]:
    """Two small images with ESO headers."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(5)
    paths = []
    for number in (0, 1):
        primary = fits.PrimaryHDU()
        primary.header["INSTRUME"] = "MUSE"
        primary.header["ARCFILE"] = f"MUSE.2020-05-31T00:0{number}:00.000.fits"
        primary.header["HIERARCH ESO DPR CATG"] = "SCIENCE"
        data = fits.ImageHDU(rng.normal(size=(40, 30)).astype("f4"), name="DATA")
        paths.append(folder / f"image{number}.fits")
        fits.HDUList([primary, data]).writeto(paths[-1])
    return paths[0], paths[1]


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def sof(work, images) -> Path:
    """A set of frames with two raw images."""
    path = work / "in.sof"
    path.write_text(f"{images[0]} TEST_RAW\n{images[1]} TEST_RAW\n")
    return path


def muserun(*words: str, **options) -> subprocess.CompletedProcess:
    """Run the command on the test recipe's folder."""
    command = [sys.executable, "-m", "muse_core.hosts.muserun", f"--recipe-dir={RECIPES}", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


@pytest.fixture(scope="session")
def plugins(tmp_path_factory) -> Path:
    """The C plugin of the test recipe and of all shipped recipes."""
    from muse_core.hosts.installation import install_plugins

    if shutil.which("cc") is None or not Path("/usr/include/cpl.h").exists() and not os.environ.get("CPLDIR"):
        missing("a C compiler with the CPL headers")
    folder = tmp_path_factory.mktemp("plugins")
    install_plugins(folder, extra=[RECIPES], flags=["-Werror"])
    return folder


@pytest.fixture(scope="session")
def esorex_command() -> str:
    """The real esorex."""
    found = shutil.which("esorex")
    if found is None:
        missing("esorex")
    return found


@pytest.fixture
def esorex(esorex_command, plugins):
    """Run the real esorex with our plugins."""

    def run(*words: str, **options) -> subprocess.CompletedProcess:
        command = [esorex_command, f"--recipe-dir={plugins}", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)

    return run


@pytest.fixture(scope="session")
def python_cpl() -> str:
    """A Python interpreter that has python-cpl."""
    for candidate in (os.environ.get("PYTHON_CPL"), "/usr/bin/python3"):
        if candidate and Path(candidate).exists():
            test = [candidate, "-c", "import cpl; cpl.Recipe"]
            if subprocess.run(test, capture_output=True, check=False).returncode == 0:
                return candidate
    missing("python-cpl")
    return ""

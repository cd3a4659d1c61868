# SPDX-License-Identifier: BSD-3-Clause
"""One small set of arcs for all tests of a session."""

from __future__ import annotations

import pytest

from tests.arcs.runs import ArcSet, make_set, run


@pytest.fixture(scope="session")
def arcs(tmp_path_factory) -> ArcSet:
    """One exposure of each of three lamps, one IFU."""
    return make_set(tmp_path_factory.mktemp("arcs"))


@pytest.fixture(scope="session")
def solved(arcs, tmp_path_factory):
    """Products of muse_wavecal with all options that save something."""
    folder = tmp_path_factory.mktemp("solved")
    return run("muse_wavecal", arcs.frames, folder, residuals=True, saveimages=True)

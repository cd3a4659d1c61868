# SPDX-License-Identifier: BSD-3-Clause
"""Cosmic rays by Laplacian edges: hits are found, stars and lines stay, the package may be missing."""

import sys

import numpy as np
import pytest

from muse_core.detector.lacosmic import LaplacePlan, check_installed, flag_laplacian
from muse_core.framework import ParameterError

pytestmark = pytest.mark.unit


def scene(seed=1):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:80, 0:90].astype(float)
    signal = 80 + 900 * np.exp(-(((y - 40) / 1.8) ** 2)) + 2000 * np.exp(-((x - 30) ** 2) / 12)
    data = (signal + np.sqrt(signal) * rng.standard_normal(signal.shape)).astype(np.float32)
    return data, signal.astype(np.float32), np.zeros(signal.shape, np.int32), np.zeros(signal.shape, bool)


def test_hits_are_found_and_structure_is_left():
    data, stat, dq, outside = scene()
    assert flag_laplacian(data.copy(), stat, dq, outside, LaplacePlan()) <= 3
    dq[:] = 0
    hits = [(10, 60), (30, 70), (60, 50), (70, 80), (40, 10)]
    for where in hits:
        data[where] += 6000
    outside[70, 80] = True
    dq[40, 10] = 0x100
    flag_laplacian(data, stat, dq, outside, LaplacePlan())
    assert [int(dq[where]) for where in hits] == [0x20, 0x20, 0x20, 0, 0x100]


def test_missing_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "astroscrappy", None)
    with pytest.raises(ParameterError, match="pip install astroscrappy"):
        check_installed()

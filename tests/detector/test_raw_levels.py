# SPDX-License-Identifier: BSD-3-Clause
"""Raw frames whose counts cannot be true are told, whatever they are for."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

from muse_core.detector.raw_levels import check_levels
from muse_core.detector.rawframe import open_raw
from muse_core.simulate.raw_instrument import RawSetup
from muse_core.simulate.raw_masters import simulate_masters

pytestmark = pytest.mark.unit
IFUS = (1, 2)


@pytest.fixture(scope="module")
def biases(tmp_path_factory):
    setup = RawSetup(seed=3, nx=96, ny=64, ifus=IFUS)
    made = simulate_masters(tmp_path_factory.mktemp("levels"), setup, biases=4, darks=(), flats=())
    return [path for path, _ in made.frames("BIAS")]


def _changed(path, target, change, channel=1):
    """A raw file with other counts in one channel; numbers too large for it are cut as a detector does."""
    with fits.open(path) as hdus:
        counts = np.clip(change(hdus[channel].data.astype(float)), 0, 65535)
        hdus[channel].data = counts.astype(np.uint16)
        hdus.writeto(target)
    return target


def _messages(paths, tag, caplog):
    ctx = SimpleNamespace(
        spec=SimpleNamespace(name="muse_any"),
        log=logging.getLogger("test.levels"),
        defects=SimpleNamespace(absurd_values_used=False),
    )
    with caplog.at_level(logging.WARNING):
        check_levels([open_raw(path) for path in paths], tag, IFUS, ctx)
    return caplog.messages


@pytest.mark.parametrize("tag", ["BIAS", "DARK", "FLAT", "ARC", "SKYFLAT", "OBJECT", "ILLUM"])
def test_frames_that_are_alike_pass(biases, tag, caplog):
    assert _messages(biases, tag, caplog) == []


@pytest.mark.parametrize("tag", ["BIAS", "DARK", "FLAT", "ARC", "SKYFLAT", "OBJECT", "ILLUM"])
@pytest.mark.parametrize("factor", [100.0, 0.0])
def test_a_frame_of_other_counts_is_named_with_its_channel(biases, tag, factor, tmp_path, caplog):
    odd = _changed(biases[1], tmp_path / "odd.fits", lambda counts: counts * factor, channel=2)
    messages = _messages([biases[0], odd, *biases[2:]], tag, caplog)
    assert messages
    assert all(f"{odd} (CHAN02)" in message for message in messages)


def test_numbers_of_another_type_are_looked_at(biases, tmp_path, caplog):
    odd = tmp_path / "odd.fits"
    with fits.open(biases[0]) as hdus:
        hdus[1].data = hdus[1].data.astype(np.int32) * 10
        hdus.writeto(odd)
    assert any("in the others" in message for message in _messages([odd, *biases[1:]], "BIAS", caplog))


def test_twilight_fades(biases, tmp_path, caplog):
    fading = [
        _changed(path, tmp_path / f"{n}.fits", lambda counts, n=n: counts * (1 + 5 * n))
        for n, path in enumerate(biases)
    ]
    assert _messages(fading, "SKYFLAT", caplog) == []

# SPDX-License-Identifier: BSD-3-Clause
"""Positions of exposures without their outermost IFUs."""

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.postproc.astrometry.whole_field import IFU_HEIGHT, whole_field
from muse_core.postproc.exposure.row_limits import RowLimits
from muse_core.simulate.recovery import recover_stars
from muse_core.simulate.scene import Scene, Star
from muse_core.simulate.scipost import simulate_scipost


def limits(low, high):
    return RowLimits((-150.0, 150.0), (low, high), (4750.0, 9350.0), (1, 24), (1, 48))


def heights(ifus, direction=1, centre=0.0):
    return {ifu: centre + direction * IFU_HEIGHT * (ifu - 12.5) for ifu in ifus}


@pytest.mark.unit
@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("ifus", [range(1, 25), range(2, 25), range(3, 20), [1, 24], [7, 9], [12], [24]])
def test_the_middle_of_the_field_is_found_whatever_is_missing(ifus, direction):
    there = heights(ifus, direction)
    half = IFU_HEIGHT / 2
    found = whole_field(limits(min(there.values()) - half, max(there.values()) + half), there)
    assert sum(found.y) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.unit
def test_nothing_is_changed_where_nothing_is_known():
    before = limits(-5.0, 6.0)
    assert whole_field(before, {}) == before
    assert whole_field(before, heights([3], centre=50.0)) == before
    assert whole_field(before, {3: 0.0, 7: 0.0}) == before
    assert whole_field(before, {3: float("nan"), 7: 0.0}) == before


@pytest.mark.law
@pytest.mark.parametrize(("missing", "shift"), [((24,), 6.2), ((1, 2), -12.35), ((10, 11), 0.0)])
def test_an_exposure_without_some_ifus_stays_where_it_is(tmp_path, missing, shift):
    made = simulate_scipost(
        tmp_path / "in", n_ifu=24, slices=48, columns=6, lambda_range=(6990.0, 7000.0), lsf=None,
        scene=Scene(), seed=5,
    )  # fmt: skip
    partial = [f for f in made.frames() if not any(f[0].name.endswith(f"-{n:02d}.fits") for n in missing)]
    middles = {}
    for name, frames, compat in (
        ("all", made.frames(), False), ("partial", partial, False), ("c", partial, True),
    ):  # fmt: skip
        folder = tmp_path / name
        folder.mkdir()
        options = {"skymethod": "none", "rvcorr": "none", "save": "individual", "compat": compat}
        run_recipe("muse_scipost", frames, options, workdir=folder)
        middles[name] = fits.getheader(folder / "PIXTABLE_REDUCED_0001.fits")["CRPIX2"]
    assert middles["partial"] == pytest.approx(middles["all"], abs=0.4)  # edges of the IFUs are not level
    assert middles["all"] - middles["c"] == pytest.approx(shift, abs=0.5)


@pytest.mark.law
def test_turned_exposures_of_a_part_of_the_field_lie_on_each_other(tmp_path):
    made = simulate_scipost(
        tmp_path / "in", ifus=(20, 21, 22), slices=48, lambda_range=(6985.0, 7005.0), lsf=None, sky=False,
        scene=Scene((Star(2.0, 1.0, 6e4), Star(-12.0, -1.5, 6e4))), n_exposures=2, posang=(0.0, 180.0),
        dithers=[(0.0, 0.0), (0.6, 0.3)], seed=8,
    )  # fmt: skip
    options = {"skymethod": "none", "rvcorr": "none", "save": "cube"}
    run_recipe("muse_scipost", made.frames(), options, workdir=tmp_path)
    for star in recover_stars(tmp_path / "DATACUBE_FINAL.fits", made.truth["stars"]):
        assert np.hypot(star.east, star.north) < 0.1  # arcsec; each IFU at an edge was worth 1.2
        assert star.flux_ratio == pytest.approx(1.0, abs=0.05)

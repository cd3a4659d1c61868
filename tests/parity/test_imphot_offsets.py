# SPDX-License-Identifier: BSD-3-Clause
"""The C recipe muse_scipost takes the OFFSET_LIST of muse_imphot as it is."""

from __future__ import annotations

import pytest
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.simulate.scene import Scene
from muse_core.simulate.scipost import simulate_scipost
from tests.imphot.test_scipost_offsets import BRIGHTER, ERROR, FIELD, stars, write_hst

pytestmark = pytest.mark.parity


def test_c_recipe_aligns_the_exposure(tmp_path, c_pipeline):
    simulation = simulate_scipost(
        tmp_path / "sim", scene=Scene(stars=stars()), offsets=(ERROR,), flux_scales=(1.0,), **FIELD
    )
    frames = simulation.frames(without=("OFFSET_LIST", "SKY_MASK"))
    hst = write_hst(tmp_path / "hst.fits")
    options = ("--skymethod=none", "--save=cube", "--filter=white", "--rvcorr=none")

    def observe(folder, extra=()):
        sof = tmp_path / f"{folder.name}.sof"
        lines = [f"{path} {tag}\n" for path, tag in (*frames, *extra)]
        sof.write_text("".join(lines), encoding="utf-8")
        c_pipeline.run("muse_scipost", sof, folder, *options)
        image = (str(folder / "IMAGE_FOV_0001.fits"), "IMAGE_FOV")
        done = run_recipe("muse_imphot", [image, (hst, "HST_IMAGE")], {"fix_beta": "none"}, workdir=folder)
        paths = {p.tag: p.path for p in done}
        return paths["OFFSET_LIST"], fits.getdata(paths["IMPHOT_TABLE"], 1)[0]

    offsets, first = observe(tmp_path / "before")
    assert (first["DRA"], first["DDEC"]) == pytest.approx(ERROR, abs=0.01)
    assert first["SCALE"] == pytest.approx(1.0 / BRIGHTER, rel=0.01)
    _, second = observe(tmp_path / "after", [(offsets, "OFFSET_LIST")])
    # drizzled again on another grid: a few mas
    assert abs(second["DRA"]) < 0.015 and abs(second["DDEC"]) < 0.015
    assert second["SCALE"] == pytest.approx(1.0, abs=0.01)

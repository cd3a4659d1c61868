# SPDX-License-Identifier: BSD-3-Clause
"""The OFFSET_LIST of muse_imphot goes into muse_scipost as it is, and what comes out is aligned."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from imphot.engines.moffat import moffat_profile
from muse_core.framework import run_recipe
from muse_core.simulate.scene import Scene, Star
from muse_core.simulate.scipost import simulate_scipost

CENTRE = (150.1, -30.2)
FIELD = {
    "n_ifu": 6,
    "lambda_range": (7000.0, 7012.0),
    "slices": 24,
    "center": CENTRE,
    "sky": False,
    "seeing": 0.7,
}
ERROR = (0.9, -0.6)  # pointing error in RA (no cosine of DEC) and DEC [arcsec]
BRIGHTER = 1.25  # of HST than of the simulated exposure


def stars():
    rng = np.random.default_rng(3)
    return tuple(
        Star(xi=float(x), eta=float(y), flux=float(f), temperature=5500.0)
        for x, y, f in zip(
            rng.uniform(-12, 12, 9), rng.uniform(-5, 5, 9), rng.uniform(2e5, 6e5, 9), strict=True
        )
    )


def write_hst(path):
    """The same stars as HST sees them, at their true places, brighter by a known factor."""
    step, shape = 0.05, (500, 900)
    iy, ix = np.mgrid[: shape[0], : shape[1]]
    image = 1.0 * np.random.default_rng(1).standard_normal(shape) + 0.5
    for star in stars():
        r2 = ((ix - 449.5 + star.xi / step) ** 2 + (iy - 249.5 - star.eta / step) ** 2) * step**2
        image += BRIGHTER * star.flux / 9.74 * moffat_profile(r2, 0.085, 1.6) * step**2
    header = fits.Header()
    header.update(
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS"}
    )
    header.update({"CRVAL1": CENTRE[0], "CRVAL2": CENTRE[1], "CRPIX1": 450.5, "CRPIX2": 250.5})
    header.update({"CD1_1": -step / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": step / 3600})
    header.update({"FILTER": "F775W", "BUNIT": "ELECTRONS/S", "TELESCOP": "HST"})
    fits.PrimaryHDU(image.astype(np.float32), header).writeto(path)
    return str(path)


@pytest.mark.law
def test_offset_list_aligns_the_exposure(tmp_path):
    simulation = simulate_scipost(
        tmp_path / "sim", scene=Scene(stars=stars()), offsets=(ERROR,), flux_scales=(1.0,), **FIELD
    )
    frames = [(str(path), tag) for path, tag in simulation.frames(without=("OFFSET_LIST", "SKY_MASK"))]
    options = {"skymethod": "none", "save": "cube", "filter": "white", "rvcorr": "none"}
    hst = write_hst(tmp_path / "hst.fits")

    def observe(folder, extra=()):
        folder.mkdir()
        products = run_recipe("muse_scipost", [*frames, *extra], options, workdir=folder)
        image = next(p.path for p in products if p.tag == "IMAGE_FOV")
        fit = {"fix_beta": "none", "hst_fwhm": 0.085}
        done = run_recipe("muse_imphot", [(str(image), "IMAGE_FOV"), (hst, "HST_IMAGE")], fit, workdir=folder)
        return {p.tag: p.path for p in done}, fits.getdata(
            next(p.path for p in done if p.tag == "IMPHOT_TABLE")
        )[0]

    products, first = observe(tmp_path / "before")
    # bright stars in 0.2" pixels of a simulated instrument: a few mas
    assert (first["DRA"], first["DDEC"]) == pytest.approx(ERROR, abs=0.01)
    assert first["SCALE"] == pytest.approx(1.0 / BRIGHTER, rel=0.01)
    rows = fits.getdata(products["OFFSET_LIST"], 1)
    assert rows["RA_OFFSET"][0] * 3600 == pytest.approx(first["DRA"]) and rows["FLUX_SCALE"][
        0
    ] == pytest.approx(1 / first["SCALE"])
    _, second = observe(tmp_path / "after", [(str(products["OFFSET_LIST"]), "OFFSET_LIST")])
    # the same sky on another pixel grid: drizzling again moves stars by a few mas
    assert abs(second["DRA"]) < 0.015 and abs(second["DDEC"]) < 0.015
    assert second["SCALE"] == pytest.approx(1.0, abs=0.01)

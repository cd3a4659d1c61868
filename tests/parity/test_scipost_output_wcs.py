# SPDX-License-Identifier: BSD-3-Clause
"""OUTPUT_WCS in another form than a CD matrix in degrees and Angstrom, beside the C recipe."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.parity

KEYS = [f"CD{i}_{j}" for i in (1, 2) for j in (1, 2)] + ["CD3_3", "CRVAL1", "CRVAL2", "CRVAL3"]


def header(**more) -> fits.Header:
    made = fits.Header()
    for axis, (kind, unit, value, pixel, step) in enumerate(
        (
            ("RA---TAN", "deg", 150.1, 60.0, -0.4 / 3600),
            ("DEC--TAN", "deg", -30.2, 60.0, 0.4 / 3600),
            ("AWAV", "Angstrom", 7000.0, 1.0, 2.5),
        ),
        1,
    ):
        made[f"CTYPE{axis}"], made[f"CUNIT{axis}"], made[f"CDELT{axis}"] = kind, unit, step
        made[f"CRVAL{axis}"], made[f"CRPIX{axis}"] = value, pixel
    made.update(more)
    return made


TURN = {"PC1_1": 0.0, "PC1_2": 1.0, "PC2_1": -1.0, "PC2_2": 0.0}
FORMS = {
    "CDELT": header(),
    "metres": header(CUNIT3="m", CRVAL3=7e-7, CDELT3=2.5e-10),
    "arcsec": header(
        CUNIT1="arcsec", CUNIT2="arcsec", CRVAL1=150.1 * 3600, CRVAL2=-30.2 * 3600, CDELT1=-0.4, CDELT2=0.4,
    ),
    "PC": header(**TURN),
    "LINEAR": header(CTYPE3="LINEAR"),
}  # fmt: skip


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    return simulate_scipost(
        tmp_path_factory.mktemp("in"), seed=7, n_ifu=1, slices=4, columns=20, lambda_range=(7000.0, 7030.0)
    )


@pytest.mark.defect("pc_matrix_passed_over")
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_output_wcs(c_pipeline, simulation, tmp_path, form):
    fits.PrimaryHDU(np.zeros((10, 120, 120), "f4"), FORMS[form]).writeto(tmp_path / "wcs.fits")
    sof = simulation.write_sof(tmp_path / "in.sof")
    sof.write_text(sof.read_text() + f"{tmp_path / 'wcs.fits'} OUTPUT_WCS\n")
    frames = [*simulation.frames(), (tmp_path / "wcs.fits", "OUTPUT_WCS")]
    c_pipeline.run("muse_scipost", sof, tmp_path / "c", "--skymethod=none", "--save=cube")
    for name, compat in (("compat", True), ("ours", False)):
        (tmp_path / name).mkdir()
        options = {"skymethod": "none", "save": "cube", "compat": compat}
        run_recipe("muse_scipost", frames, options, workdir=tmp_path / name)
    found = {}
    for name in ("c", "compat", "ours"):
        with fits.open(tmp_path / name / "DATACUBE_FINAL.fits") as hdus:
            found[name] = {key: hdus[1].header[key] for key in KEYS}, np.isfinite(hdus[1].data)
    assert found["compat"][0] == pytest.approx(found["c"][0], rel=1e-12)
    np.testing.assert_array_equal(found["compat"][1], found["c"][1])
    passed_over = form in ("PC", "LINEAR")
    step = {True: 0.2, False: 0.4}[passed_over]
    assert abs(found["c"][0]["CD2_2"] + found["c"][0]["CD2_1"]) * 3600 == pytest.approx(step)
    ours = found["ours"][0]
    assert abs(ours["CD2_1" if form == "PC" else "CD2_2"]) * 3600 == pytest.approx(0.4)
    assert (ours["CD3_3"], ours["CRVAL3"]) == (2.5, 7000.0)
    assert found["ours"][1].any()


@pytest.mark.defect("rotated_steps")
def test_turned_grid(c_pipeline, simulation, tmp_path):
    """A quarter turn: the same voxels as without it in ours, gaps in the C recipe's."""
    found = {}
    for turn in (0, 90):
        cos, sin = round(np.cos(np.radians(turn))), round(np.sin(np.radians(turn)))
        made = header(CD1_1=-cos, CD1_2=sin + 1e-14, CD2_1=sin + 1e-14, CD2_2=cos, CD3_3=2.5)
        for i in (1, 2, 3):
            del made[f"CDELT{i}"]
        for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
            made[key] = (made[key] or 1e-14) * 0.4 / 3600
        fits.PrimaryHDU(np.zeros((10, 120, 120), "f4"), made).writeto(tmp_path / f"{turn}.fits")
        sof = simulation.write_sof(tmp_path / "in.sof")
        sof.write_text(sof.read_text() + f"{tmp_path / f'{turn}.fits'} OUTPUT_WCS\n")
        frames = [*simulation.frames(), (tmp_path / f"{turn}.fits", "OUTPUT_WCS")]
        c_pipeline.run("muse_scipost", sof, tmp_path / f"c{turn}", "--skymethod=none", "--save=cube")
        for name, compat in ((f"compat{turn}", True), (f"ours{turn}", False)):
            (tmp_path / name).mkdir()
            options = {"skymethod": "none", "save": "cube", "compat": compat}
            run_recipe("muse_scipost", frames, options, workdir=tmp_path / name)
        for name in ("c", "compat", "ours"):
            cube = fits.getdata(tmp_path / f"{name}{turn}" / "DATACUBE_FINAL.fits", 1)
            found[name, turn] = np.isfinite(cube).sum(axis=(1, 2))
    np.testing.assert_array_equal(found["compat", 90], found["c", 90])
    assert found["c", 90].sum() < 0.8 * found["c", 0].sum()
    assert abs(found["ours", 90].sum() / found["ours", 0].sum() - 1) < 0.1  # edges fall otherwise

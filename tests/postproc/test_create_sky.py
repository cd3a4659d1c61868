# SPDX-License-Identifier: BSD-3-Clause
"""muse_create_sky: the sky that was put in is found; what cannot be is refused before the first row."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, run_recipe
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.unit
RAW = "PIXTABLE_SKY"
TAGS = ("EXTINCT_TABLE", "STD_RESPONSE", "STD_TELLURIC", "SKY_LINES", "LSF_PROFILE")


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    return simulate_scipost(
        tmp_path_factory.mktemp("sky"), seed=5, n_ifu=2, slices=8, columns=24, line_error=0.2, n_stars=0,
        n_galaxies=0, lambda_range=(6270.0, 6380.0),
    )  # fmt: skip


def frames_of(simulation, *, without=(), tables=None):
    tables = simulation.paths("PIXTABLE_OBJECT") if tables is None else tables
    wanted = [tag for tag in TAGS if tag not in without]
    return [*((path, RAW) for path in tables), *simulation.frames(only=wanted)]


@pytest.fixture(scope="module")
def made(sky, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    products = run_recipe("muse_create_sky", frames_of(sky), {}, workdir=folder, report=True)
    return {product.tag: product.path for product in products}


def table(path, *names):
    with fits.open(path) as hdus:
        return [np.array(hdus[1].data[name]) for name in names]


def test_lines_are_those_that_were_put_in(sky, made):
    name, lam, flux = table(made["SKY_LINES"], "name", "lambda", "flux")
    true_name, true_lam, true_flux = table(
        sky.outdir / "truth" / "sky_lines_0001.fits", "name", "lambda", "flux"
    )
    truth = {(n, round(float(w))): f for n, w, f in zip(true_name, true_lam, true_flux, strict=True)}
    bright = flux > 0.05 * flux.max()
    ratio = [f / truth[n, round(float(w))] for n, w, f in zip(name[bright], lam[bright], flux[bright])]
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=0.02)
    assert np.median(ratio) == pytest.approx(1.0, abs=0.02)


def test_continuum_is_that_which_was_put_in(sky, made):
    lam, flux = table(made["SKY_CONTINUUM"], "lambda", "flux")
    true_lam, true_flux = table(sky.outdir / "truth" / "sky_continuum_0001.fits", "lambda", "flux")
    ratio = np.median(flux / np.interp(lam, true_lam, true_flux))
    assert ratio == pytest.approx(1.0, abs=0.01)


def test_keywords(made):
    header = fits.getheader(made["SKY_MASK"])
    assert header["ESO QC SKY LOWLIMIT"] < header["ESO QC SKY THRESHOLD"]
    assert header["ESO QC SKY CONVERGED"] is True
    assert fits.getheader(made["SKY_LINES"])["ESO QC SKY LINE1 FLUX"] > 0
    assert fits.getheader(made["SKY_CONTINUUM"])["ESO QC SKY CONT FLUX"] > 0
    assert "ESO DRS MUSE PIXTABLE LIMITS X LOW" in fits.getheader(made["SKY_SPECTRUM"])


def test_page(made):
    (page,) = made["SKY_MASK"].parent.glob("*.html")
    text = page.read_text()
    assert "% of the field is taken for sky" in text
    assert "lines</h2>" in text
    assert text.count("data:image/png") == 2


def changed(path, folder, **cards):
    copy = folder / f"changed_{path.name}"
    with fits.open(path) as hdus:
        for key, value in cards.items():
            hdus[0].header[f"HIERARCH ESO DRS MUSE PIXTABLE {key}"] = value
        hdus.writeto(copy)
    return copy


@pytest.mark.parametrize(
    ("without", "cards", "told"),
    [
        (("STD_RESPONSE",), {}, "Pixel table not flux calibrated"),
        (("LSF_PROFILE",), {}, "input LSF_PROFILE: expected a frame"),
        (("SKY_LINES",), {}, "input SKY_LINES: expected a frame"),
        ((), {"SKYSUB": True}, "Pixel table already sky subtracted"),
        ((), {"FLUXCAL": True}, "Leave STD_RESPONSE and EXTINCT_TABLE and STD_TELLURIC out"),
    ],
)
def test_refused(without, cards, told, sky, tmp_path):
    tables = [changed(path, tmp_path, **cards) for path in sky.paths("PIXTABLE_OBJECT")]
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError, match=told):
        run_recipe("muse_create_sky", frames_of(sky, without=without, tables=tables), {}, workdir=out)
    assert not list(out.iterdir())


def test_flagged_rows_leave_no_trace(sky, made, tmp_path):
    """A row that is flagged counts as removed: neither its place nor its value matters."""
    tables = []
    for path in sky.paths("PIXTABLE_OBJECT"):
        copy = tmp_path / path.name
        with fits.open(path) as hdus:
            for name, value in (("xpos", 900.0), ("data", 1e9), ("dq", 256)):
                column = hdus[name].data
                new = np.vstack([column, np.full((1, 1), value, column.dtype)])
                hdus[name].data = new
            for name in ("ypos", "lambda", "stat", "origin"):
                hdus[name].data = np.vstack([hdus[name].data, hdus[name].data[-1:]])
            hdus.writeto(copy)
        tables.append(copy)
    out = tmp_path / "out"
    out.mkdir()
    run_recipe("muse_create_sky", frames_of(sky, tables=tables), {}, workdir=out)
    for tag in ("SKY_SPECTRUM", "SKY_LINES", "SKY_CONTINUUM"):
        np.testing.assert_array_equal(fits.getdata(out / f"{tag}.fits", 1), fits.getdata(made[tag], 1))

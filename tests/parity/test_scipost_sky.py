# SPDX-License-Identifier: BSD-3-Clause
"""Sky subtraction of muse_scipost beside the C recipe on simulated observations.

The line fit is judged by what it is: it ends in one of many minima next to each other, in the C recipe as in
ours. So chi-square must never be larger, and fluxes and wavelengths must agree unless ours is clearly
smaller. All before the fit, and the subtraction with given lines and continuum, must be equal.
"""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.data.slices import rows_by_slice
from muse_core.framework import run_recipe
from muse_core.postproc.lsf.images import average_lsf
from muse_core.postproc.lsf.load import load_lsf
from muse_core.postproc.sky.line_fit import FAINT_IN_FIT, line_spectrum
from muse_core.postproc.sky.line_list import load_sky_lines
from muse_core.simulate.scipost import simulate_scipost
from tests.parity.compare import assert_same_product

pytestmark = pytest.mark.parity
RANGE = (6270.0, 6400.0)
COMMON = {"n_ifu": 2, "slices": 8, "columns": 30, "lambda_range": RANGE, "line_error": 0.2, "seed": 21}
FIELDS = {
    "image": {**COMMON, "lsf": "image"},
    "merged": {**COMMON, "lsf": "image", "oh_table": True, "seed": 22},
    "table": {**COMMON, "lsf": "table", "seed": 23},
    "natural": {**COMMON, "lsf": "table", "seed": 24},  # rows as on the detector, not sorted by wavelength
    "tilted": {**COMMON, "lsf": "image", "sky_tilt": 0.4, "n_stars": 0, "n_galaxies": 0, "seed": 24},
    "crowded": {**COMMON, "lsf": "image", "n_stars": 40, "brightness": 3.0, "seed": 25},
    "celestial": {**COMMON, "lsf": "image", "sky_mask": "celestial", "seed": 26},
    "pixel": {**COMMON, "lsf": "image", "sky_mask": "pixel", "seed": 27},
    "two": {**COMMON, "n_ifu": 1, "n_exposures": 2, "lsf": "image", "posang": (0.0, 90.0), "seed": 28},
}
MODEL = {
    "image": ("image", {}),
    "merged": ("merged", {}),
    "tilted": ("tilted", {"skymodel_fraction": 0.75}),
    "crowded": ("crowded", {"skymodel_fraction": 0.3, "skymodel_ignore": 0.1}),
    "celestial": ("celestial", {"skymodel_fraction": 0.5}),
    "pixel": ("pixel", {}),
    "samplings": ("image", {"skymodel_sampling": 0.5, "skymodel_csampling": 1.0, "sky_crsigma": "10.,4."}),
    "two": ("two", {"rvcorr": "helio"}),
}


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    """Simulated observations, made once each."""
    made = {}

    def get(field):
        if field not in made:
            made[field] = simulate_scipost(tmp_path_factory.mktemp(field), **FIELDS[field])
            if field == "table":
                for path in made[field].paths("PIXTABLE_OBJECT"):
                    sort_rows(path)
        return made[field]

    return get


def sort_rows(path):
    """Sort a pixel table by slice and wavelength.

    With LSF parameter tables the C recipe sorts the rows, but still takes the sky rows by their old numbers,
    so that its continuum contains objects. With sorted tables this does not matter.
    """
    with fits.open(path, mode="update") as hdus:
        columns = {hdu.name.upper(): hdu for hdu in hdus[1:] if isinstance(hdu, fits.ImageHDU)}
        origin, lam = (columns[name].data.ravel() for name in ("ORIGIN", "LAMBDA"))
        order = np.lexsort((lam, origin & 0x3F))
        for hdu in columns.values():
            hdu.data = hdu.data[order].copy()


def run_both(c_pipeline, simulation, tmp_path, options, without=(), more=()):
    """Run both recipes; return the products by name: (C, ours)."""
    sof = simulation.write_sof(tmp_path / "in.sof", without=without)
    sof.write_text(sof.read_text() + "".join(f"{path} {tag}\n" for path, tag in more))
    c_pipeline.run("muse_scipost", sof, tmp_path / "c", *(f"--{k}={v}" for k, v in options.items()))
    (tmp_path / "ours").mkdir()
    frames = [*simulation.frames(without=without), *more]
    products = run_recipe("muse_scipost", frames, options, workdir=tmp_path / "ours")
    ours = {product.path.name: product.path for product in products}
    peer = {path.name: path for path in (tmp_path / "c").glob("*.fits")}
    assert set(ours) == set(peer)
    return {name: (peer[name], ours[name]) for name in sorted(peer)}


def merged_profiles(simulation, path):
    """Write all profiles into one file; the C recipe only takes such a file if it has all 24 IFUs."""
    profiles = {}
    for profile in simulation.paths("LSF_PROFILE"):
        with fits.open(profile) as hdus:
            profiles[int(hdus[0].header["EXTNAME"][4:])] = hdus["LSF_PROFILE"].copy()
    out = fits.HDUList([fits.PrimaryHDU()])
    for ifu in range(1, 25):
        hdu = profiles.get(ifu, next(iter(profiles.values()))).copy()
        hdu.header["EXTNAME"] = f"CHAN{ifu:02d}.LSF_PROFILE"
        out.append(hdu)
    out.writeto(path)
    return path


def table(path, *names):
    with fits.open(path) as hdus:
        return [np.array(hdus[1].data[name], float) for name in names]


def average_profile(simulation, sampling, exposure):
    rows = np.zeros(1152, np.int64)
    for path in simulation.paths("PIXTABLE_OBJECT"):
        with fits.open(path) as hdus:
            if f"_{exposure:04d}" in path.name:
                rows += rows_by_slice(np.bincount(hdus["origin"].data.ravel() & 0x7FF, minlength=2048))
    assert rows.any()
    return average_lsf(load_lsf(simulation.paths("LSF_PROFILE")), rows, sampling)


def compare_fits(products, simulation, sampling, exposure):
    """Compare SKY_LINES; return the relative flux difference of bright lines plus the largest shift."""
    peer, ours = (load_sky_lines(path) for path in products[f"SKY_LINES_{exposure:04d}.fits"])
    lam, data, stat = table(products[f"SKY_SPECTRUM_{exposure:04d}.fits"][0], "lambda", "data", "stat")
    lsf = average_profile(simulation, sampling, exposure)

    def chi2(lines):
        model = line_spectrum(lam, lines.lam, lines.flux, lsf, FAINT_IN_FIT)
        return ((np.diff(model) - np.diff(data)) ** 2 / (stat[1:] + stat[:-1])).sum()

    def errors(lines):
        """Standard error of each flux, from the change of the model when its group is scaled alone."""
        out = np.empty(len(lines))
        for group in np.unique(lines.group):
            mine = lines.group == group
            model = line_spectrum(lam, lines.lam[mine], lines.flux[mine], lsf, 0.0)
            weight = (np.diff(model) ** 2 / (stat[1:] + stat[:-1])).sum()
            out[mine] = lines.flux[mine] / np.sqrt(max(weight, 1e-300))
        return out

    assert chi2(ours) <= chi2(peer) * (1 + 1e-5)
    # lines of the same name and wavelength belong together; nearly equal fluxes may change places
    a, b = peer.take(np.lexsort((peer.lam, peer.name))), ours.take(np.lexsort((ours.lam, ours.name)))
    assert (a.name, a.group.tolist()) == (b.name, b.group.tolist())
    bright = a.flux > 1e-3 * a.flux.max()
    difference = np.abs(b.flux[bright] / a.flux[bright] - 1).max()
    if chi2(ours) > chi2(peer) * (1 - 1e-5):
        # 5e-4 of the flux, or a small part of its error where a group hardly shows
        assert (np.abs(b.flux - a.flux)[bright] <= np.maximum(5e-4 * a.flux, 0.05 * errors(a))[bright]).all()
        np.testing.assert_allclose(b.lam, a.lam, atol=1e-3)
    return difference + np.abs(b.lam - a.lam)[bright].max()


def assert_same_rows(peer, ours):
    """Pixel tables must be equal but for 1e-3 of the noise in 99.9 per cent of the rows."""
    with fits.open(peer) as a, fits.open(ours) as b:
        for name in ("xpos", "ypos", "lambda"):
            np.testing.assert_allclose(b[name].data, a[name].data, rtol=5e-7)
        for name in ("dq", "origin"):
            np.testing.assert_array_equal(b[name].data, a[name].data)
        np.testing.assert_allclose(b["stat"].data, a["stat"].data, rtol=1e-6)
        off = np.abs(b["data"].data - a["data"].data) > 1e-3 * np.sqrt(a["stat"].data)
        assert off.mean() < 1e-3


@pytest.mark.parametrize("name", MODEL)
def test_model(name, c_pipeline, compat, observation, tmp_path):
    field, options = MODEL[name]
    simulation = observation(field)
    options = {"skymethod": "model", "save": "skymodel,individual", "rvcorr": "none", **options}
    without, more = ("SKY_CONTINUUM",), ()
    if name == "merged":
        merged = merged_profiles(simulation, tmp_path / "LSF_PROFILE.fits")
        without, more = ("SKY_CONTINUUM", "LSF_PROFILE"), ((merged, "LSF_PROFILE"),)
    products = run_both(c_pipeline, simulation, tmp_path, options, without, more)
    sampling = options.get("skymodel_sampling", 0.3125)
    differences = {
        e: compare_fits(products, simulation, sampling, e) for e in range(1, 3 if field == "two" else 2)
    }
    for filename, (peer, ours) in products.items():
        agreement = differences[int(filename[-9:-5])]
        if filename.startswith(("SKY_IMAGE", "SKY_MASK", "SKY_SPECTRUM")):
            assert_same_product(peer, ours)
        elif filename.startswith("SKY_CONTINUUM"):
            (lam, flux), (lam2, flux2) = table(peer, "lambda", "flux"), table(ours, "lambda", "flux")
            np.testing.assert_array_equal(lam, lam2)
            top = table(products[filename.replace("CONTINUUM", "SPECTRUM")][0], "data")[0].max()
            assert np.abs(flux - flux2).max() <= (1e-5 + 2 * agreement) * top
            assert_same_product(peer, ours, rtol=1e30, ignore=("ESO QC SCIPOST CONT",))
        elif filename.startswith("SKY_LINES"):
            assert_same_product(
                peer, ours, rtol=1e30, ignore=("ESO QC SCIPOST LINE",)
            ) if agreement < 1e-6 else None
        elif agreement < 1e-4:
            assert_same_rows(peer, ours)


def test_a_given_continuum_is_used_and_not_written(c_pipeline, compat, observation, tmp_path):
    options = {"skymethod": "model", "save": "skymodel,individual", "rvcorr": "none"}
    products = run_both(c_pipeline, observation("image"), tmp_path, options)
    assert "SKY_CONTINUUM_0001.fits" not in products
    compare_fits(products, observation("image"), 0.3125, 1)


@pytest.mark.parametrize("field", ["table", "natural"])
def test_model_with_profile_table(field, c_pipeline, compat, observation, tmp_path):
    options = {"skymethod": "model", "save": "skymodel,individual", "rvcorr": "none"}
    products = run_both(c_pipeline, observation(field), tmp_path, options, ("SKY_CONTINUUM",))
    for filename, (peer, ours) in products.items():
        if filename.startswith("SKY_CONTINUUM"):
            (lam, flux), (lam2, flux2) = table(peer, "lambda", "flux"), table(ours, "lambda", "flux")
            np.testing.assert_array_equal(lam, lam2)
            top = table(products[filename.replace("CONTINUUM", "SPECTRUM")][0], "data")[0].max()
            np.testing.assert_allclose(flux2, flux, atol=1e-5 * top)
        elif filename.startswith("SKY_LINES"):
            assert_same_product(peer, ours, rtol=5e-4, ignore=("ESO QC SCIPOST LINE",))
        elif filename.startswith("PIXTABLE"):
            assert_same_rows(peer, ours)
        else:
            assert_same_product(peer, ours)


@pytest.mark.parametrize("field", ["image", "tilted", "table"])
def test_subtract_model_is_equal_to_float32(field, c_pipeline, compat, observation, tmp_path):
    simulation = observation(field)
    options = {"skymethod": "subtract-model", "save": "individual", "rvcorr": "none"}
    tables = {"SKY_LINES", "SKY_CONTINUUM"} & {tag for _, tag in simulation.sof}
    assert tables == {"SKY_LINES", "SKY_CONTINUUM"}
    products = run_both(c_pipeline, simulation, tmp_path, options)
    peer, ours = products["PIXTABLE_REDUCED_0001.fits"]
    assert_same_product(peer, ours, rtol=0.0, nsigma=1e-6)
    with fits.open(peer) as a, fits.open(ours) as b:
        assert np.count_nonzero(a["data"].data != b["data"].data) <= 1e-3 * a["data"].data.size


@pytest.mark.parametrize(
    ("without", "tag"), [(("LSF_PROFILE",), "LSF_PROFILE"), (("SKY_LINES",), "SKY_LINES")]
)
def test_both_refuse_missing_frames(without, tag, c_pipeline, observation, tmp_path):
    from muse_core.framework import InputError

    simulation = observation("image")
    sof = simulation.write_sof(tmp_path / "in.sof", without=without)
    result = c_pipeline.run("muse_scipost", sof, tmp_path / "c", "--skymethod=model", check=False)
    assert result.returncode > 0
    (tmp_path / "ours").mkdir()
    with pytest.raises(InputError, match=tag):
        run_recipe(
            "muse_scipost",
            simulation.frames(without=without),
            {"skymethod": "model"},
            workdir=tmp_path / "ours",
        )
    assert not list((tmp_path / "ours").glob("*.fits"))


@pytest.mark.parametrize("field", ["image", "table"])
def test_of_two_profiles_of_a_slice_the_first_counts(field, c_pipeline, compat, observation, tmp_path):
    more = []
    for path in observation(field).paths("LSF_PROFILE"):
        other = tmp_path / f"other_{path.name}"
        with fits.open(path) as hdus:
            if field == "image":  # a profile with a second peak
                hdus["LSF_PROFILE"].data += np.roll(hdus["LSF_PROFILE"].data, 25, axis=-1)
            else:
                hdus["SLICE_PARAM"].data["lsf_width"] *= 1.5
            hdus.writeto(other)
        more.append((other, "LSF_PROFILE"))
    options = {"skymethod": "subtract-model", "save": "individual", "rvcorr": "none"}
    products = run_both(c_pipeline, observation(field), tmp_path, options, more=more)
    assert_same_rows(*products["PIXTABLE_REDUCED_0001.fits"])

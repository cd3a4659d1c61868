# SPDX-License-Identifier: BSD-3-Clause
"""muse_flat: search and fit of slices, bad pixels, and the recipe on simulated lamp flats."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.detector.statistics import StreamedStatistics, image_statistics
from muse_core.framework import InputError, RecipeError, run_recipe
from muse_core.masters.flat_pixels import flag_flat_pixels
from muse_core.masters.slice_search import find_slices
from muse_core.masters.trace_fit import SliceTrace, Trace, fit_slice, polynomial
from muse_core.masters.trace_samples import TraceSamples, edges_of_profile
from muse_core.simulate.raw_instrument import RawSetup, trace_polynomials
from muse_core.simulate.raw_masters import simulate_masters

SETUP = RawSetup(seed=8, nx=2048, ny=64, ifus=(1, 2), cosmics=0)
OPTIONS = {"overscan": "vpoly:3", "ovscreject": "none", "nsum": 8, "order": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return simulate_masters(tmp_path_factory.mktemp("flat"), SETUP, biases=0, darks=())


@pytest.fixture(scope="module")
def frames(made):
    return made.frames("FLAT", "MASTER_BIAS", "MASTER_DARK", "BADPIX_TABLE")


def lamp(edges, nx=4096, ny=64):
    """Image of slices with soft edges."""
    x = np.arange(1.0, nx + 1)
    row = sum(0.5 * (np.tanh((x - a) / 0.55) - np.tanh((x - b) / 0.55)) for a, b in edges)
    return np.tile(1000 * row + 3, (ny, 1)).astype(np.float32)


EDGES = [(20.3 + 84.4 * i, 96.1 + 84.4 * i) for i in range(48)]


def test_streamed_statistics_are_those_of_the_image():
    rng = np.random.default_rng(2)
    image = rng.gamma(2.0, 300.0, (400, 300)).astype(np.float32)
    stream = StreamedStatistics(image[::16, ::3], image.size)
    for part in np.split(image, 20):
        stream.add(part)
    expected, found = image_statistics(image), stream.finish()
    assert found["MEDIAN"] == expected["MEDIAN"]
    assert found == pytest.approx(expected, rel=1e-12)
    wrong = StreamedStatistics(image[:1, :3] + 1e6, image.size)
    wrong.add(image)
    assert wrong.finish() is None


def test_all_slices_are_found():
    guess = find_slices(lamp(EDGES), 32, 0.5)
    assert guess.first.size == 48 and guess.fraction == 0.5
    assert np.abs(guess.middle - [0.5 * (a + b) for a, b in EDGES]).max() < 2


def test_a_faint_slice_lowers_the_limit():
    image = lamp(EDGES)
    image[:, 84 * 20 : 84 * 20 + 100] *= 0.3
    assert find_slices(image, 32, 0.5).first.size == 48


def test_a_missing_slice_is_told():
    without = EDGES[:20] + EDGES[21:]
    with pytest.raises(InputError, match=r"expected 48, found 47; a gap between columns 1661 and 1830"):
        find_slices(lamp(without), 32, 0.5)


def test_no_lamp_flat_is_told():
    with pytest.raises(InputError, match="first slice of the flat: expected 73 to 83 pixels wide"):
        find_slices(np.ones((64, 4096), np.float32), 32, 0.5)


@pytest.mark.parametrize("dark", [0, 3, 4, 5])
def test_edges_lie_where_the_light_falls_fastest(dark):
    """Up to four dark pixels inside are stepped over; with more the sample is lost."""
    image = lamp([(18.3, 93.6)], nx=111)[0]
    image[25 : 25 + dark] = 0
    left, right = edges_of_profile(image, 500.0, 55)
    if dark > 4:
        assert np.isnan(left) and np.isnan(right)
    else:
        # the derivative between pixels, of a profile that is sampled at pixels: some hundredths of a pixel
        assert (left + 1, right + 1) == pytest.approx((18.3, 93.6), abs=0.03)


def test_polynomials_keep_their_digits():
    y = np.arange(16.5, 4112, 32)
    powers = np.array([500.0, 1e-3, -2e-6, 3e-10, 1e-14, -5e-18])
    found = polynomial(y, np.polynomial.polynomial.polyval(y, powers), 5)
    rows = np.arange(1.0, 4113)
    values = [np.polynomial.polynomial.polyval(rows, p) for p in (powers, found)]
    assert np.abs(values[0] - values[1]).max() < 1e-9


def test_outliers_do_not_bend_a_trace():
    rng = np.random.default_rng(3)
    y = np.arange(16.5, 4112, 32)
    middle = 700 + 1e-3 * y + 0.005 * rng.standard_normal(y.size)
    left, right = middle - 38, middle + 38 + 0.01 * rng.standard_normal(y.size)
    middle[[10, 60]] += 0.8
    left[[10, 60]] += 0.8
    right[[10, 60]] += 0.8
    right[90] += 4
    own = fit_slice(y, left, right, 2)
    assert own.samples == y.size - 3
    rows = np.linspace(1, 4112, 50)
    assert np.abs(own.edge(0, rows) - (700 + 1e-3 * rows)).max() < 0.01
    assert fit_slice(y[:2], left[:2], right[:2], 2) is None


def test_bad_pixels_of_a_flat():
    rng = np.random.default_rng(4)
    data = (1 + 0.002 * rng.standard_normal((30, 120))).astype(np.float32)
    data[:, 20:24] = 0.3  # the shadowed edge of the slice
    data[5, 50], data[7, 60], data[9, 70], data[11, 119] = 0.5, 0.1, 1.5, -1.0
    dq = np.zeros((30, 120), np.int32)
    powers = np.array([[60.0], [21.0], [100.0]])
    samples = TraceSamples(np.zeros(0, np.int32), *np.zeros((3, 0)))
    trace = Trace((SliceTrace(powers, np.zeros(3), 79.0, 9),), samples, 0)
    found = flag_flat_pixels(data, dq, trace, (6.0, 8.0))
    assert (found.dark, found.low, found.bright, found.not_positive) == (2, 1, 1, 1)
    assert dq[5, 50] == 0x200 and dq[7, 60] == 0x240 and dq[9, 70] == 0x100 and dq[11, 119] == 0x4000
    assert np.count_nonzero(dq) == 4


def test_recipe_finds_the_traces(made, frames, tmp_path):
    products = run_recipe(
        "muse_flat", frames, OPTIONS | {"samples": True}, workdir=tmp_path, threads=2, report=True
    )
    names = {product.path.name for product in products}
    assert names == {
        f"{tag}-0{i}.fits" for i in (1, 2) for tag in ("MASTER_FLAT", "TRACE_TABLE", "TRACE_SAMPLES")
    }
    rows = np.arange(1.0, 129.0)
    for ifu in (1, 2):
        table = fits.getdata(tmp_path / f"TRACE_TABLE-0{ifu}.fits")
        truth = trace_polynomials(SETUP, ifu)
        for which in (1, 2):
            powers = np.array([table[f"tc{which}_{k:02d}"] for k in range(4)])
            found = np.polynomial.polynomial.polyval(rows, powers)
            true = np.polynomial.polynomial.polyval(rows, truth[:, which].T)
            # noise of the light, and slopes and waves of the profile beside the edges
            assert np.sqrt(np.mean((found - true) ** 2)) < 0.03
        image = fits.getdata(tmp_path / f"MASTER_FLAT-0{ifu}.fits", "DATA")
        assert image.mean() == pytest.approx(1.0, abs=1e-6)
        flags = fits.getdata(tmp_path / f"MASTER_FLAT-0{ifu}.fits", "DQ")
        poor = fits.getdata(made.truth, f"CHAN0{ifu}.WRONG")
        poor = poor[poor["kind"] == "poor"]
        bright = image[poor["first"], poor["x"]] > 0.15  # others lie between the slices
        assert (flags[poor["first"], poor["x"]][bright] != 0).mean() > 0.8
    page = (tmp_path / "muse_flat_report.html").read_text()
    assert "flat fields with the traces" in page


def test_flat_that_cannot_be_traced_takes_no_other_down(frames, tmp_path):
    dark = []
    for path, tag in frames:
        if tag == "FLAT":
            with fits.open(path) as hdus:
                hdus[2].data[:, 971:1057] = 1450
                hdus.writeto(tmp_path / path.name)
            path = tmp_path / path.name
        dark.append((path, tag))
    out = tmp_path / "out"
    out.mkdir()
    products = run_recipe("muse_flat", dark, OPTIONS | {"merge": True}, workdir=out)
    assert {p.path.name for p in products} == {"MASTER_FLAT.fits", "TRACE_TABLE.fits"}
    assert not any(p.complete for p in products)
    with fits.open(out / "TRACE_TABLE.fits") as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["CHAN01"]
    with fits.open(out / "MASTER_FLAT.fits") as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["CHAN01.DATA", "CHAN01.DQ", "CHAN01.STAT"]
        assert hdus[0].header["ESO QC FLAT COMPLETE"] is False
    with pytest.raises(RecipeError, match="slices in the middle rows of the flat: expected 48"):
        run_recipe("muse_flat", dark, OPTIONS | {"nifu": 2}, workdir=out)


def test_without_traces(frames, tmp_path):
    products = run_recipe("muse_flat", frames, OPTIONS | {"trace": False, "nifu": 1}, workdir=tmp_path)
    assert [p.path.name for p in products] == ["MASTER_FLAT-01.fits"]


def test_bias_of_another_read_out_is_refused(frames, tmp_path):
    path = tmp_path / "bias.fits"
    with fits.open({tag: path for path, tag in frames}["MASTER_BIAS"]) as hdus:
        hdus[0].header["ESO DET READ CURNAME"] = "SCI2.0"
        hdus.writeto(path)
    changed = [(path if tag == "MASTER_BIAS" else file, tag) for file, tag in frames]
    with pytest.raises(InputError, match="READ CURNAME"):
        run_recipe("muse_flat", changed, OPTIONS, workdir=tmp_path)

# SPDX-License-Identifier: BSD-3-Clause
"""muse_wavecal on simulated arcs: truth, products, what is told."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, ParameterError, RecipeError, run_recipe
from tests.arcs.runs import (
    IFU,
    changed_copy,
    errors_of_slices,
    hot_pixel,
    make_set,
    one,
    place_of,
    polynomials,
    replaced,
    run,
)

TABLE = f"WAVECAL_TABLE-{IFU:02d}.fits"
RESIDUALS = f"WAVECAL_RESIDUALS-{IFU:02d}.fits"


def test_wavelengths_are_the_true_ones(arcs, solved):
    rms, worst = errors_of_slices(arcs.setup, polynomials(solved[TABLE]))
    # slices of six columns, one exposure: 70 lines with errors of some thousandths of a pixel
    assert np.median(rms) < 0.035
    assert rms.max() < 0.08
    assert worst.max() < 0.3


def test_products_and_their_headers(solved):
    images = {f"ARC_RED_LAMP_{n:04d}-{IFU:02d}.fits" for n in (1, 2, 3)}
    assert set(solved) == {TABLE, RESIDUALS, *images}
    with fits.open(solved[TABLE]) as hdus:
        header, table = hdus[0].header, hdus[1].data
        assert header["EXTNAME"] == f"CHAN{IFU:02d}"
        assert header["ESO PRO CATG"] == "WAVECAL_TABLE"
        assert header["ESO PRO DATANCOM"] == 3
        assert (table["SliceNo"] == np.arange(1, 49)).all()
        assert header["ESO QC WAVECAL SLICE7 FIT RMS"] == pytest.approx(np.sqrt(table["MSE"][6]), rel=1e-6)
        assert header["ESO QC WAVECAL SLICE7 FIT NLINES"] > 60
        assert header["ESO QC WAVECAL NSATURATED LAMP4"] == 0
    rows = fits.getdata(solved[RESIDUALS])
    assert set(rows["slice"]) == set(range(1, 49))
    assert rows["iteration"].min() == 1
    assert np.abs(rows["residual"]).max() < 1
    header = fits.getheader(solved[f"ARC_RED_LAMP_0002-{IFU:02d}.fits"])
    assert header["ESO PRO REC1 RAW1 NAME"] == "arc_Ne_0.fits"
    assert header["ESO PRO DATANCOM"] == 1


def test_merged_is_the_same(arcs, solved, tmp_path):
    options = {"merge": True, "threads": 1, "resample": True, "wavemap": True}
    merged = run("muse_wavecal", arcs.frames, tmp_path / "merged", **options)
    assert set(merged) == {"WAVECAL_TABLE.fits", "ARC_RESAMPLED_0001.fits", "WAVE_MAP_0001.fits"}
    for name in ("ARC_RESAMPLED_0001.fits", "WAVE_MAP_0001.fits"):
        with fits.open(merged[name]) as hdus:
            assert [hdu.name for hdu in hdus[1:]] == [f"CHAN{IFU:02d}"]
    same = polynomials(merged["WAVECAL_TABLE.fits"], f"CHAN{IFU:02d}")
    np.testing.assert_array_equal(same, polynomials(solved[TABLE]))
    header = fits.getheader(merged["WAVECAL_TABLE.fits"], f"CHAN{IFU:02d}")
    assert header["ESO QC WAVECAL SLICE1 LINES NDET"] > 70


def test_a_slice_without_trace_is_left_out(arcs, solved, tmp_path, caplog):
    def lose(hdus):
        for name in hdus[1].columns.names:
            if name.startswith("tc"):
                hdus[1].data[name][4] = np.nan

    trace = one(arcs.frames, "TRACE_TABLE")
    frames = replaced(arcs.frames, trace, changed_copy(trace, tmp_path / "in", lose))
    products = run("muse_wavecal", frames, tmp_path / "out")
    with fits.open(products[TABLE]) as hdus:
        assert hdus[1].header["TNULL1"] == 0
        assert hdus[1].data["SliceNo"].tolist() == [1, 2, 3, 4, 0, *range(6, 49)]
        assert np.isnan(hdus[1].data["wlc00"][4])
        assert "ESO QC WAVECAL SLICE5 LINES NDET" not in hdus[0].header
    assert "slice 5 of IFU 2: no wavelength solution" in caplog.text
    new, old = polynomials(products[TABLE]), polynomials(solved[TABLE])
    np.testing.assert_array_equal(np.delete(new, 4, axis=0), np.delete(old, 4, axis=0))


@pytest.mark.parametrize("recipe", ["muse_wavecal", "muse_lsf"])
def test_an_ifu_that_fails_leaves_the_others_alone(recipe, tmp_path, caplog):
    def drop(hdus):
        del hdus["CHAN01"]

    both = make_set(tmp_path / "in", nx=244, ifus=(1, 2))
    frames = both.also("WAVECAL_TABLE") if recipe == "muse_lsf" else both.frames
    trace = one(frames, "TRACE_TABLE")
    frames = replaced(frames, trace, changed_copy(trace, tmp_path / "changed", drop))
    (name,) = run(recipe, frames, tmp_path / "out")
    assert name.endswith("-02.fits")
    assert "IFU 1: no product: HgCd: no TRACE_TABLE with CHAN01" in caplog.text
    assert "1 of 2 IFUs failed, see above: 1" in caplog.text


def test_one_lamp_is_enough_but_told(arcs, tmp_path, caplog):
    frames = [(path, tag) for path, tag in arcs.frames if tag != "ARC" or "Ne" in path.name]
    run("muse_wavecal", frames, tmp_path / "out")
    assert "wavelengths beyond are extrapolated" in caplog.text


def test_no_lamp_is_an_error_at_once(arcs, tmp_path):
    def off(hdus):
        for i in range(1, 7):
            hdus[0].header[f"ESO INS LAMP{i} ST"] = False

    dark = changed_copy(one(arcs.frames, "ARC"), tmp_path / "in", off)
    frames = [(dark, "ARC"), *((path, tag) for path, tag in arcs.frames if tag != "ARC")]
    with pytest.raises(InputError, match="expected an arc lamp that is switched on"):
        run("muse_wavecal", frames, tmp_path / "out")


def test_no_light_ends_with_a_reason(tmp_path):
    dim = make_set(tmp_path / "dim", scale=0.0005)
    with pytest.raises(RecipeError, match=r"no slice has a wavelength solution \(LINE_CATALOG .*TRACE"):
        run("muse_wavecal", dim.frames, tmp_path / "out")


def test_what_is_refused(arcs, tmp_path):
    with pytest.raises(ParameterError, match="sigma"):
        run("muse_wavecal", arcs.frames, tmp_path / "out", sigma=1e300)
    again = [(changed_copy(path, tmp_path / "in", lambda _: None), tag) for path, tag in arcs.frames[:3]]
    with pytest.raises(RecipeError, match="2 usable exposures"):
        run("muse_wavecal", [*arcs.frames, *again], tmp_path / "two")


def test_bad_pixels_are_left_out_of_the_fits(arcs, solved, tmp_path):
    """A hot pixel in a line, known by the BADPIX_TABLE: the line stays where it is."""
    frames, x, lam, kept = hot_pixel(arcs, solved, tmp_path / "in")
    options = {"residuals": True, "linesigma": 100.0}
    ours = run("muse_wavecal", frames, tmp_path / "ours", **options)
    as_c = run("muse_wavecal", frames, tmp_path / "as-c", compat=True, **options)
    assert abs(place_of(ours[RESIDUALS], x, lam) - kept) < 0.05
    assert abs(place_of(as_c[RESIDUALS], x, lam) - kept) > 0.1


def test_page_and_map(arcs, tmp_path):
    options = {"residuals": True, "saveimages": True, "wavemap": True, "report": True}
    folder = tmp_path / "out"
    folder.mkdir()
    report = options.pop("report")
    products = run_recipe("muse_wavecal", arcs.frames, options, workdir=folder, threads=1, report=report)
    text = (folder / "muse_wavecal_report.html").read_text()
    for words in ("slices of 1 IFU(s), rms", "Residuals", "Lamps", "resolution"):
        assert words in text
    image = fits.getdata(folder / f"WAVE_MAP_0001-{IFU:02d}.fits")
    assert len(products) == 6
    assert image.shape == arcs.setup.shape
    assert 4480 < image[image > 0].min() < 4530
    assert 9560 < image.max() < 9640


def test_lines_in_the_image_of_all_lamps(arcs, solved, tmp_path):
    options = {"lampwise": False, "saveimages": True, "resample": True}
    products = run("muse_wavecal", arcs.frames, tmp_path / "out", **options)
    images = [fits.getdata(products[f"ARC_RED_LAMP_{n:04d}-{IFU:02d}.fits"]) for n in (1, 2, 3)]
    with fits.open(products[f"ARC_RED_0001-{IFU:02d}.fits"]) as hdus:
        good = hdus["DQ"].data == 0
        np.testing.assert_allclose(hdus["DATA"].data[good], sum(images)[good], rtol=1e-5, atol=1e-3)
    # lines of other lamps are near some lines: a little less exact than lamp by lamp
    rms, _ = errors_of_slices(arcs.setup, polynomials(products[TABLE]))
    lampwise, _ = errors_of_slices(arcs.setup, polynomials(solved[TABLE]))
    assert np.median(rms) < 1.5 * np.median(lampwise)
    # in the image of the slices a line is at its wavelength in all columns with light
    with fits.open(products[f"ARC_RESAMPLED_0001-{IFU:02d}.fits"]) as hdus:
        image, header = hdus[0].data, hdus[0].header
    plane = round((6929.467 - header["CRVAL2"]) / header["CD2_2"])
    seen = np.flatnonzero(image[plane] > 0.5 * image[plane].max())
    assert seen.size > 5 * 46
    peaks = plane - 5 + image[plane - 5 : plane + 6, seen].argmax(axis=0)
    assert np.abs(header["CRVAL2"] + peaks * header["CD2_2"] - 6929.467).max() < 1.3 * header["CD2_2"]

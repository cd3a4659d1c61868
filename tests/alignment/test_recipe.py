# SPDX-License-Identifier: BSD-3-Clause
"""The recipe from files to products, and the faults of the C recipe that are mended."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.data.tangent_plane import TanWcs
from muse_core.framework import InputError
from muse_core.simulate.fields import FieldPlan, field_hdus, iterate_fields, true_offsets, write_fields
from tests.alignment.conftest import sky_error_arcsec, small_fields

pytestmark = pytest.mark.unit


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def edited(tmp_path, image, primary=None, data=None, dq=None):
    """Write an image with changed headers; a value of None removes the keyword."""
    hdus = field_hdus(image, dq)
    for header, changes in ((hdus[0].header, primary or {}), (hdus[1].header, data or {})):
        for key, value in changes.items():
            header.remove(key, ignore_missing=True)
            if value is not None:
                header[key] = value
    path = tmp_path / f"edited_{image.number}.fits"
    hdus.writeto(path, overwrite=True)
    return path


def test_products_and_their_contents(align):
    images = small_fields()
    aligned = align(images, expmap=True)
    assert sorted(aligned.paths) == ["EXPOSURE_MAP", "OFFSET_LIST", "PREVIEW_FOV", "SOURCE_LIST"]
    assert [p.name for p in aligned.paths["SOURCE_LIST"]] == [f"SOURCE_LIST_{n:04d}.fits" for n in (1, 2, 3)]
    table = aligned.table()
    assert table.columns.names == ["DATE_OBS", "MJD_OBS", "RA_OFFSET", "DEC_OFFSET", "FLUX_SCALE"]
    assert table["DATE_OBS"].tolist() == [image.date for image in images]
    assert np.isnan(table["FLUX_SCALE"]).all()
    header = aligned.header()
    assert header["ESO PRO CATG"] == "OFFSET_LIST"
    assert header["ESO PRO REC1 RAW3 NAME"] == "image_0003.fits"
    assert "EXPTIME" not in header
    own = aligned.header("SOURCE_LIST", 1)
    assert own["ESO PRO REC1 RAW1 NAME"] == "image_0002.fits"
    assert own["ESO PRO DATANCOM"] == 1
    assert own["ESO QC EXPALIGN SRC POSITIONS"] == "detection"
    rows = aligned.table("SOURCE_LIST", 1)
    np.testing.assert_allclose(rows["RA"] - rows["RA_CORR"], table["RA_OFFSET"][1], atol=1e-13)
    assert np.nanmax(fits.getdata(aligned.paths["EXPOSURE_MAP"][0], 1)) == 2700.0
    assert aligned.header("EXPOSURE_MAP")["ESO QC EXPALIGN EXPTIME MAX"] == 2700.0


def test_every_product_has_valid_checksums(align):
    for paths in align(small_fields(exposures=2), expmap=True).paths.values():
        for path in paths:
            with fits.open(path, checksum=True) as hdus:  # a wrong sum is a warning, and warnings are errors
                assert all(hdu.verify_checksum() == 1 and hdu.verify_datasum() == 1 for hdu in hdus)


def test_offsets_are_recovered(align):
    images = small_fields(shape=(200, 200), stars=40)
    error = sky_error_arcsec(images, align(images).offsets())
    assert rms(error[1:]) < 0.001


@pytest.mark.parametrize("angles", [(0.0, 90.0, 180.0, 270.0), (0.0, 2.0, 3.5, 5.0)])
def test_rotated_exposures_are_aligned_and_the_c_recipe_is_not_copied(align, angles):
    images = small_fields(exposures=4, shape=(200, 200), stars=60, angles_deg=angles)
    right = rms(sky_error_arcsec(images, align(images).offsets())[1:])
    copied = rms(sky_error_arcsec(images, align(images, compat=True).offsets())[1:])
    assert right < 0.001
    assert copied > 5 * right


def test_unrotated_offsets_do_not_depend_on_the_compatibility(align):
    images = small_fields()
    fixed, copied = align(images).offsets(), align(images, compat=True).offsets()
    # one pixel at this declination: the frames differ by a second-order term only
    assert np.abs(fixed - copied).max() * 3600 < 1e-5


def test_positions_are_those_of_the_right_pixel(align):
    images = small_fields(exposures=2)
    rows = align(images).table("SOURCE_LIST", 0)
    ra, dec = images[0].wcs.sky(images[0].x + 1, images[0].y + 1)  # true, without header error
    for row in rows:
        distance = np.hypot((ra - row["RA"]) * np.cos(np.radians(row["DEC"])), dec - row["DEC"]) * 3600
        assert distance.min() < 0.02
    copied = align(images, compat=True).table("SOURCE_LIST", 0)
    np.testing.assert_allclose((copied["DEC"] - rows["DEC"]) * 3600, -0.2, atol=1e-4)


def test_fields_on_both_sides_of_right_ascension_zero(align):
    images = small_fields(centre=(0.00005, 5.0), exposures=4)
    images = [
        replace(i, wcs=TanWcs(i.wcs.crpix, (i.wcs.crval[0] % 360.0, i.wcs.crval[1]), i.wcs.cd))
        for i in images
    ]
    assert min(i.wcs.crval[0] for i in images) < 1 < 359 < max(i.wcs.crval[0] for i in images)
    aligned = align(images)
    assert rms(sky_error_arcsec(images, aligned.offsets())[1:]) < 0.001
    assert aligned.header("PREVIEW_FOV", ext=1)["NAXIS1"] < 160
    assert 0 <= aligned.header("PREVIEW_FOV", ext=1)["CRVAL1"] < 360
    assert align(images, compat=True).qc("NOMATCH") > 0


def test_preview_of_a_rotated_first_exposure_is_whole(align):
    images = small_fields(exposures=2, angles_deg=(30.0, 0.0))
    shape = align(images).header("PREVIEW_FOV", ext=1)
    cut = align(images, compat=True).header("PREVIEW_FOV", ext=1)
    assert shape["NAXIS1"] > 140
    assert shape["NAXIS2"] > 140
    assert min(cut["NAXIS1"], cut["NAXIS2"]) < 120


def test_an_exposure_without_matches_keeps_its_header(align):
    images = small_fields()
    images[2] = replace(small_fields(seed=77, stars=15)[2])
    params = {"rsearch": "3.,0.3"}
    images[2] = replace(
        images[2], wcs=TanWcs(images[2].wcs.crpix, (images[2].wcs.crval[0] + 0.02, -27.8), images[2].wcs.cd)
    )
    aligned = align(images, params)
    assert aligned.offsets()[2].tolist() == [0.0, 0.0]
    assert aligned.qc("TRUST3") is False
    assert aligned.qc("NMATCH3") == 0
    copied = align(images, params, compat=True).offsets()
    np.testing.assert_allclose(copied[2], copied[1] / 2, rtol=1e-6)


def test_whole_number_exposure_times_count(align, tmp_path):
    paths = [edited(tmp_path, i, {"EXPTIME": 900}) for i in small_fields(exposures=2)]
    assert align(paths, expmap=True).header("EXPOSURE_MAP")["ESO QC EXPALIGN EXPTIME MAX"] == 1800.0
    copied = align(paths, expmap=True, compat=True).header("EXPOSURE_MAP")
    assert copied["ESO QC EXPALIGN EXPTIME MAX"] == 0.0


def test_negative_exposure_times_count_as_zero(align, tmp_path, caplog):
    paths = [edited(tmp_path, i, {"EXPTIME": -5.0}) for i in small_fields(exposures=2)]
    assert align(paths, expmap=True).header("EXPOSURE_MAP")["ESO QC EXPALIGN EXPTIME MAX"] == 0.0
    assert "EXPTIME is negative" in caplog.text


def test_source_lists_in_place_of_the_detection(align, tmp_path):
    images = small_fields(border=0)  # no bad pixel at all: the C recipe fails
    first = align(images)
    lists = []
    for n, path in enumerate(first.paths["SOURCE_LIST"]):
        lists.append((path.rename(tmp_path / f"sources_{n}.fits"), "SOURCE_LIST"))
    wanted = first.offsets() if "OFFSET_LIST" in first.paths else None
    again = align([*images, *lists[::-1]], override_detection=True)  # order is free, MJD-OBS counts
    np.testing.assert_allclose(again.offsets(), wanted, atol=1e-13)
    assert np.isnan(again.table("SOURCE_LIST", 0)["Flux"]).all()
    header = again.header("SOURCE_LIST", 0)
    assert header["ESO QC EXPALIGN SRC POSITIONS"] == "catalog"
    assert header["ESO QC EXPALIGN THRESHOLD"] == 0.0
    assert header["ESO PRO REC1 CAL3 CATG"] == "SOURCE_LIST"


@pytest.mark.parametrize("kind", ["rounded MJD-OBS", "only DATE-OBS", "only MJD-OBS", "in the extension"])
def test_source_lists_are_matched_by_what_is_left_of_their_dates(align, tmp_path, kind):
    images = small_fields(exposures=2)
    first = align(images)
    wanted, lists = first.offsets(), []
    for n, path in enumerate(first.paths["SOURCE_LIST"]):
        target = tmp_path / f"sources_{n}.fits"
        with fits.open(path) as hdus:
            header = hdus[0].header
            if kind == "rounded MJD-OBS":
                header["MJD-OBS"] = round(header["MJD-OBS"], 5)
            elif kind == "only DATE-OBS":
                del header["MJD-OBS"]
            elif kind == "only MJD-OBS":
                del header["DATE-OBS"]
            else:
                hdus[1].header["MJD-OBS"] = header.pop("MJD-OBS")
            hdus.writeto(target)
        lists.append((target, "SOURCE_LIST"))
    again = align([*images, *lists[::-1]], override_detection=True)
    np.testing.assert_allclose(again.offsets(), wanted, atol=1e-13)
    if kind != "rounded MJD-OBS":
        with pytest.raises(InputError, match="-OBS"):
            align([*images, *lists], override_detection=True, compat=True)


def test_lists_are_ignored_without_the_flag_and_not_needed_with_it(align, tmp_path):
    images = small_fields(exposures=2)
    plain = align(images).offsets()
    junk = tmp_path / "junk.fits"
    junk.write_text("not a list")
    np.testing.assert_array_equal(align([*images, (junk, "SOURCE_LIST")]).offsets(), plain)
    np.testing.assert_array_equal(align(images, override_detection=True).offsets(), plain)


def test_flagged_pixels_and_doubles_and_a_primary_image(align, tmp_path):
    images = small_fields(exposures=2)
    plain = align(images)
    flagged = np.isnan(images[0].data)
    filled = replace(images[0], data=np.where(flagged, 1e5, images[0].data).astype(np.float32))
    dq = np.where(flagged, 1 << 30, 0)
    variants = [edited(tmp_path, filled, dq=dq)]
    double = field_hdus(images[1])
    double[1].data = double[1].data.astype(np.float64)
    one = fits.HDUList([fits.PrimaryHDU(double[1].data, double[0].header)])
    for key in list(double[1].header)[list(double[1].header).index("BUNIT") :]:
        one[0].header[key] = double[1].header[key]
    variants.append(tmp_path / "primary.fits")
    one.writeto(variants[1])
    np.testing.assert_array_equal(align(variants).offsets(), plain.offsets())


@pytest.mark.parametrize("kind", ["gzip", "tiles"])
def test_compressed_images(align, tmp_path, kind):
    images = small_fields(exposures=2)
    plain = align(images).offsets()
    paths = []
    for image in images:
        hdus = field_hdus(image)
        if kind == "tiles":
            packed = fits.CompImageHDU(
                hdus[1].data, hdus[1].header, compression_type="GZIP_1", quantize_level=0
            )
            hdus = fits.HDUList([hdus[0], packed])
        paths.append(tmp_path / f"packed_{image.number}.fits{'.gz' if kind == 'gzip' else '.fz'}")
        hdus.writeto(paths[-1])
    np.testing.assert_array_equal(align(paths).offsets(), plain)


@pytest.mark.parametrize("style", ["cdelt", "crota", "pc", "diagonal"])
def test_other_ways_to_write_the_projection(align, tmp_path, style):
    images = small_fields(exposures=2)
    plain = align(images).offsets()
    none = {f"CD{i}_{j}": None for i in (1, 2) for j in (1, 2)}
    cd = images[0].wcs.cd
    changes = {
        "cdelt": {**none, "CDELT1": cd[0][0], "CDELT2": cd[1][1]},
        "crota": {**none, "CDELT1": cd[0][0], "CDELT2": cd[1][1], "CROTA2": 0.0},
        "pc": {**none, "CDELT1": cd[0][0], "CDELT2": cd[1][1], "PC1_1": 1.0, "PC2_2": 1.0, "CUNIT1": None},
        "diagonal": {"CD1_2": None, "CD2_1": None},
    }[style]
    paths = [edited(tmp_path, image, data=changes) for image in images]
    np.testing.assert_allclose(align(paths).offsets(), plain, atol=1e-14)


def test_the_first_exposure_is_the_reference_in_the_order_given(align):
    images = small_fields()
    forward, backward = align(images).offsets(), align(images[::-1]).offsets()
    np.testing.assert_allclose(backward[::-1] - backward[2], forward, atol=2e-8)


def test_keywords_of_the_inputs_reach_the_products(align, tmp_path):
    extra = {
        "HIERARCH ESO DPR CATG": "SCIENCE",
        "HIERARCH ESO QC FOO": 1.5,
        "ARCFILE": "MUSE.x.fits",
        "FREE": "k",
    }
    more = {"HIERARCH ESO TEL BAR": 5}
    paths = [edited(tmp_path, i, extra, more) for i in small_fields(exposures=2)]
    aligned = align(paths)
    for tag in ("OFFSET_LIST", "SOURCE_LIST", "PREVIEW_FOV"):
        header = aligned.header(tag)
        assert header["ESO PRO SCIENCE"] is True
        assert ("ESO TEL BAR" in header) == (tag != "OFFSET_LIST")  # only there the extension counts
        assert header["ESO PRO ANCESTOR"] == "MUSE.x.fits"
        assert "ESO DPR CATG" not in header
        assert ("ESO QC FOO" in header) == (tag == "PREVIEW_FOV")
        assert ("FREE" in header) == (tag != "OFFSET_LIST")
        assert ("ESO DRS MUSE FILTER NAME" in header) == (tag != "OFFSET_LIST")


def test_compatible_products_have_only_the_keywords_of_the_c_recipe(align):
    images = small_fields(exposures=2)
    ours, copied = align(images).header(), align(images, compat=True).header()
    assert "ESO QC EXPALIGN TRUST1" in ours
    assert not [key for key in copied if "TRUST" in key or "ERR" in key or "ROT" in key]


def test_equal_inputs_give_equal_offsets_on_every_run(align):
    images = small_fields()
    np.testing.assert_array_equal(align(images).offsets(), align(images).offsets())


def test_identical_images_have_no_offset(align):
    image = small_fields(exposures=1)[0]
    twins = [replace(image, number=n) for n in range(3)]
    aligned = align(twins)
    assert np.abs(aligned.offsets()).max() * 3600 < 1e-9
    assert aligned.qc("UNTRUSTED") == 0


def test_report_shows_every_part(align):
    import matplotlib

    matplotlib.use("Agg")
    images = small_fields(exposures=3)
    images[2] = replace(small_fields(stars=0, noise=(2.0,), seed=9)[2], number=2)
    align(images, report=True)
    page = (align.out / "muse_exp_align_report.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert "image_0003.fits" in page
    assert "cannot be trusted" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_file_names_are_text_in_the_report(align, tmp_path):
    images = small_fields(exposures=2)
    evil = tmp_path / "a<b>&'c.fits"
    field_hdus(images[0]).writeto(evil)
    align([evil, images[1]], report=True)
    page = (align.out / "muse_exp_align_report.html").read_text()
    assert "a<b>" not in page
    assert "a&lt;b&gt;" in page


def test_truth_of_the_simulator_is_relative_to_the_first_exposure():
    images = small_fields()
    assert true_offsets(images)[0].tolist() == [0.0, 0.0]
    assert np.abs(true_offsets(images)[1:]).min() > 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc for the peak of one process")
@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_exposures(tmp_path):
    import subprocess
    import sys

    def peak(count):
        lines = []
        for image in iterate_fields(FieldPlan(exposures=count, shape=(256, 256), stars=25, seed=2)):
            lines.append(f"{write_fields([image], tmp_path)[0]} IMAGE_FOV\n")
        (tmp_path / "set.sof").write_text("".join(lines))
        script = (
            "import pathlib\n"
            "from muse_core.framework import run_recipe\n"
            "frames = [tuple(line.split()) for line in open('set.sof')]\n"
            "run_recipe('muse_exp_align', frames, workdir='.')\n"
            "lines = pathlib.Path('/proc/self/status').read_text().splitlines()\n"
            "print(next(line.split()[1] for line in lines if line.startswith('VmHWM')))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return float(done.stdout) / 1000.0

    few, many = peak(3), peak(63)
    # an exposure has 0.26 MB of pixels; measured: 0.2 MB per exposure for 500 of them, pairs included
    assert many < 200
    assert many - few < 15


def test_images_in_other_units_give_the_same_sources(align):
    images = small_fields(exposures=2)
    plain = align(images)
    tiny = [replace(i, data=(i.data.astype(np.float64) * 2.0**-66).astype(np.float32)) for i in images]
    scaled = align(tiny, threshold=15.0 * 2.0**-66, step=0.5 * 2.0**-66)
    np.testing.assert_allclose(scaled.offsets(), plain.offsets(), atol=1e-13)
    np.testing.assert_allclose(
        scaled.table("SOURCE_LIST", 0)["X"], plain.table("SOURCE_LIST", 0)["X"], atol=1e-10
    )


def test_wide_searches_are_possible(align):
    aligned = align(small_fields(exposures=2), rsearch="7200.,2.,0.8", nbins=2000)
    assert len(aligned.table()) == 2


def test_a_reference_pixel_far_outside_is_no_far_field(align, tmp_path):
    images = small_fields(exposures=2)
    other = images[1].wcs
    crpix = (4000.0, -3000.0)
    crval = tuple(float(v) for v in other.sky(*crpix))
    moved = replace(images[1], wcs=TanWcs(crpix, crval, other.cd))
    assert abs(crval[1] - other.crval[1]) > 0.1
    # the meridians turn by 0.1 degrees over that distance, which carries the image 10 pixels away
    assert np.abs(sky_error_arcsec(images, align([images[0], moved]).offsets())[1]).max() < 3.0

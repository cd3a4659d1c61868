# SPDX-License-Identifier: BSD-3-Clause
"""Broken inputs: refused with a message naming file and item, nothing written, nothing large allocated."""

import os
import resource
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, ParameterError, RecipeError
from muse_core.simulate.fields import field_hdus
from tests.alignment.conftest import sky_error_arcsec, small_fields
from tests.alignment.test_recipe import edited

pytestmark = pytest.mark.unit
NAN, INF = float("nan"), float("inf")


def saved(tmp_path, hdus, name="bad.fits"):
    path = tmp_path / name
    hdus.writeto(path, overwrite=True)
    return path


def raw_header(tmp_path, image, key, text):
    """Overwrite the value of a card of the DATA header byte by byte, as a faulty writer would."""
    path = saved(tmp_path, field_hdus(image))
    content = bytearray(path.read_bytes())
    start = content.index(f"{key:<8}=".encode(), content.index(b"XTENSION"))
    content[start : start + 80] = f"{key:<8}= {text}".ljust(80).encode()
    path.write_bytes(content)
    return path


def with_pixels(change):
    def build(tmp_path, image):
        hdus = field_hdus(image)
        hdus[1].data = change(hdus[1].data)
        return saved(tmp_path, hdus)

    return build


def with_keys(primary=None, data=None):
    return lambda tmp_path, image: edited(tmp_path, image, primary, data)


def with_raw(key, text):
    return lambda tmp_path, image: raw_header(tmp_path, image, key, text)


def content(data):
    def build(tmp_path, image):
        path = tmp_path / "bad.fits"
        path.write_bytes(data)
        return path

    return build


def truncated(keep):
    def build(tmp_path, image):
        path = saved(tmp_path, field_hdus(image))
        path.write_bytes(path.read_bytes()[:keep])
        return path

    return build


def directory(tmp_path, image):
    path = tmp_path / "bad.fits"
    path.mkdir()
    return path


def no_image(tmp_path, image):
    return saved(tmp_path, fits.HDUList([fits.PrimaryHDU()]))


def only_a_table(tmp_path, image):
    table = fits.BinTableHDU.from_columns([fits.Column("A", "1D", array=np.zeros(3))])
    return saved(tmp_path, fits.HDUList([field_hdus(image)[0], table]))


def wrong_dq(tmp_path, image):
    return saved(tmp_path, field_hdus(image, dq=np.zeros((5, 7))))


def all_flagged(tmp_path, image):
    return saved(tmp_path, field_hdus(image, dq=np.ones(image.data.shape)))


def cut_gzip(tmp_path, image):
    path = tmp_path / "bad.fits.gz"
    field_hdus(image).writeto(path)
    path.write_bytes(path.read_bytes()[:5000])
    return path


def far_away(degrees):
    def build(tmp_path, image):
        return edited(tmp_path, image, data={"CRVAL2": image.wcs.crval[1] + degrees})

    return build


def rough(a):
    return np.random.default_rng(0).choice([0.0, 900.0], a.shape, p=[0.999, 0.001]).astype(np.float32)


# exposures without anything to align: what the message must name
EMPTY = {
    "blank": (with_pixels(lambda a: np.zeros_like(a)), "pixels"),
    "constant": (with_pixels(lambda a: np.full_like(a, 7.5)), "pixels"),
    "all NaN": (with_pixels(lambda a: np.full_like(a, np.nan)), "pixels"),
    "all infinite": (with_pixels(lambda a: np.full_like(a, np.inf)), "pixels"),
    "all flagged": (all_flagged, "pixels"),
    "integers, constant": (with_pixels(lambda a: np.zeros(a.shape, dtype=np.int16)), "pixels"),
    "only single hot pixels": (with_pixels(rough), "sources"),
}

# what is wrong, how it is made, what the message must name
CORPUS = {
    "1-D": (with_pixels(lambda a: a[40]), "NAXIS"),
    "3-D": (with_pixels(lambda a: a[None]), "NAXIS"),
    "4-D": (with_pixels(lambda a: a[None, None]), "NAXIS"),
    "zero size": (with_pixels(lambda a: a[:0]), "NAXIS"),
    "tiny": (with_pixels(lambda a: np.random.default_rng(1).normal(size=(4, 4)).astype("f4")), "NAXIS1"),
    "one row": (with_pixels(lambda a: a[50:51]), "NAXIS1"),
    "gigantic NAXIS1": (with_raw("NAXIS1", "          9000000000"), "NAXIS1"),
    "gigantic NAXIS2": (with_raw("NAXIS2", "          2147483647"), "NAXIS1"),
    "negative NAXIS1": (with_raw("NAXIS1", "                -120"), ""),
    "text NAXIS1": (with_raw("NAXIS1", "'many'"), ""),
    "odd BITPIX": (with_raw("BITPIX", "                  17"), ""),
    "no such NAXIS": (with_raw("NAXIS", "                 999"), ""),
    "truncated pixels": (truncated(20000), "truncated"),
    "truncated header": (truncated(2880 + 700), ""),
    "truncated primary": (truncated(1000), ""),
    "zero bytes": (content(b""), "0 bytes"),
    "text": (content(b"hello, this is not FITS\n" * 99), "SIMPLE"),
    "noise": (content(bytes(range(256)) * 40), "SIMPLE"),
    "only the first card": (content(b"SIMPLE  =                    T".ljust(80) * 36), ""),
    "cut gzip": (cut_gzip, "gzip"),
    "directory": (directory, "a folder"),
    "no image": (no_image, "DATA"),
    "table": (only_a_table, "DATA"),
    "DQ of another size": (wrong_dq, "DQ"),
    "no MJD-OBS": (with_keys({"MJD-OBS": None}), "MJD-OBS"),
    "text MJD-OBS": (with_keys({"MJD-OBS": "yesterday"}), "MJD-OBS"),
    "logical MJD-OBS": (with_keys({"MJD-OBS": True}), "MJD-OBS"),
    "no DATE-OBS": (with_keys({"DATE-OBS": None}), "DATE-OBS"),
    "empty DATE-OBS": (with_keys({"DATE-OBS": "  "}), "DATE-OBS"),
    "numeric DATE-OBS": (with_keys({"DATE-OBS": 20170904}), "DATE-OBS"),
    "no WCS": (
        with_keys(
            data=dict.fromkeys(
                (
                    "CTYPE1",
                    "CTYPE2",
                    "CRVAL1",
                    "CRVAL2",
                    "CRPIX1",
                    "CRPIX2",
                    "CD1_1",
                    "CD1_2",
                    "CD2_1",
                    "CD2_2",
                )
            )
        ),
        "CTYPE1",
    ),
    "no CRVAL1": (with_keys(data={"CRVAL1": None}), "CRVAL1"),
    "no CRVAL2": (with_keys(data={"CRVAL2": None}), "CRVAL2"),
    "no CRPIX1": (with_keys(data={"CRPIX1": None}), "CRPIX1"),
    "text CRPIX2": (with_keys(data={"CRPIX2": "middle"}), "CRPIX2"),
    "no CTYPE1": (with_keys(data={"CTYPE1": None}), "CTYPE1"),
    "linear axes": (with_keys(data={"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}), "CTYPE1"),
    "SIN projection": (with_keys(data={"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"}), "CTYPE1"),
    "galactic": (with_keys(data={"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}), "CTYPE1"),
    "swapped axes": (with_keys(data={"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN"}), "CTYPE1"),
    "radians": (with_keys(data={"CUNIT1": "rad"}), "CUNIT1"),
    "no CD1_1": (with_keys(data={"CD1_1": None}), "CD1_1"),
    "no CD2_2": (with_keys(data={"CD2_2": None}), "CD2_2"),
    "singular CD": (with_keys(data={"CD1_1": 1e-5, "CD1_2": 2e-5, "CD2_1": 2e-5, "CD2_2": 4e-5}), "CDi_j"),
    "zero CD": (with_keys(data={"CD1_1": 0.0, "CD2_2": 0.0}), "CDi_j"),
    "huge CD": (with_keys(data={"CD1_1": -5.0, "CD2_2": 5.0}), "CDi_j"),
    "text CD": (with_keys(data={"CD1_1": "-5e-5"}), "CD1_1"),
    "infinite CD": (with_raw("CD2_2", "                 INF"), "CD2_2"),
    "NaN CRVAL1": (with_raw("CRVAL1", "                 NaN"), "CRVAL1"),
    "overflowing CRVAL2": (with_raw("CRVAL2", "               1E999"), "CRVAL2"),
    "declination 95": (with_keys(data={"CRVAL2": 95.0}), "CRVAL2"),
    "right ascension 1e9": (with_keys(data={"CRVAL1": 1e9}), "CRVAL1"),
    "LONPOLE 90": (with_keys(data={"LONPOLE": 90.0}), "LONPOLE"),
    "3 degrees apart": (far_away(3.0), "CRVAL1"),
    "other side of the sky": (with_keys(data={"CRVAL1": 330.0, "CRVAL2": 27.8}), "CRVAL1"),
}


@pytest.mark.parametrize("case", EMPTY)
@pytest.mark.parametrize("place", [0, 1])
def test_empty_exposures_are_left_out(align, tmp_path, caplog, case, place):
    build, item = EMPTY[case]
    images = small_fields()
    frames = list(images)
    frames[place] = build(tmp_path, images[place])
    aligned = align(frames)
    assert any(
        record.levelname == "WARNING" and "left out" in record.getMessage() and item in record.getMessage()
        for record in caplog.records
    )
    others = [n for n in range(3) if n != place]
    assert [aligned.qc(f"TRUST{n + 1}") for n in range(3)] == [n != place for n in range(3)]
    assert aligned.offsets()[place].tolist() == [0.0, 0.0]
    error = sky_error_arcsec(images, aligned.offsets())
    assert np.abs(error[others] - error[others[0]]).max() < 0.005
    assert [p.name for p in aligned.paths["SOURCE_LIST"]] == [f"SOURCE_LIST_{n + 1:04d}.fits" for n in others]
    with pytest.raises(InputError, match=item):  # as the C recipe
        align(frames, compat=True)
    with pytest.raises(InputError, match=item):  # one alone is not enough
        align([frames[place], frames[others[0]]])


@pytest.mark.parametrize("case", CORPUS)
def test_broken_images_are_refused(align, tmp_path, case):
    build, item = CORPUS[case]
    images = small_fields()
    bad = build(tmp_path, images[1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    with pytest.raises(InputError) as caught:
        align([images[0], bad, images[2]])
    assert time.perf_counter() - start < 2.0
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000
    )  # kB: nothing of the size claimed
    message = str(caught.value)
    assert str(bad) in message
    assert item in message
    assert "image_0001" not in message.split(str(bad))[0]  # the good ones are not blamed
    assert list(align.out.iterdir()) == []


def test_unreadable_file(align, tmp_path, monkeypatch):
    path = saved(tmp_path, field_hdus(small_fields()[1]))
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything: let the system call refuse
        real = type(path).open

        def refuse(self, *args, **kwargs):
            if self == path:
                raise PermissionError(13, "Permission denied")
            return real(self, *args, **kwargs)

        monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(
        InputError, match=r"bad\.fits: file: expected a readable FITS file, found Permission denied"
    ):
        align([small_fields()[0], path])
    path.chmod(0o600)


def test_all_faults_are_told_at_once(align, tmp_path):
    images = small_fields()
    one = edited(tmp_path, images[0], {"MJD-OBS": None, "DATE-OBS": None}, {"CRVAL1": None})
    two = edited(tmp_path, images[1], None, {"CTYPE1": "LINEAR"})
    with pytest.raises(InputError) as caught:
        align([one, two, images[2]])
    text = str(caught.value)
    assert [line.split(":")[0] for line in text.splitlines()] == [str(one)] * 3 + [str(two)]
    for item in ("MJD-OBS", "DATE-OBS", "CRVAL1", "CTYPE1"):
        assert item in text


def test_faults_of_pixels_are_told_at_once(align, tmp_path):
    images = small_fields()
    nothing = [replace(i, data=np.full_like(i.data, np.nan)) for i in images[:2]]
    with pytest.raises(InputError) as caught:
        align([*nothing, images[2]])
    assert len(caught.value.faults) == 2  # one exposure alone cannot be aligned


def test_one_image_or_only_other_tags_are_not_enough(align, tmp_path):
    images = small_fields()
    path = saved(tmp_path, field_hdus(images[0]))
    for frames in ([images[0]], [(path, "IMAGE"), (path, "PIXTABLE_REDUCED")], []):
        with pytest.raises(InputError, match="IMAGE_FOV"):
            align(frames)


@pytest.mark.parametrize(
    ("primary", "text"),
    [
        ({"INSTRUME": "FORS2"}, "INSTRUME"),
        ({"INSTRUME": None}, "INSTRUME"),
        ({"ESO INS MODE": None}, "INS MODE"),
        ({"HIERARCH ESO INS MODE": "NFM-AO-N"}, "INS MODE"),
        ({"MJD-OBS": 58000.1}, "MJD-OBS"),
    ],
)
def test_doubtful_headers_are_a_warning_only(align, tmp_path, caplog, primary, text):
    images = small_fields()
    odd = edited(tmp_path, images[1], primary)
    align([images[0], odd, images[2]])
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert any(str(odd) in w and text in w for w in warnings)


@pytest.mark.parametrize("compat", [False, True])
def test_the_preview_is_checked_against_the_memory(align, tmp_path, monkeypatch, compat):
    monkeypatch.setenv("MUSE_RECIPES_MEMORY", "20")
    images = small_fields(exposures=2)
    far = edited(tmp_path, images[1], None, {"CRVAL2": images[1].wcs.crval[1] + 0.45})
    with pytest.raises(
        InputError, match=r"edited_1\.fits: keywords CRVAL1, CRVAL2: expected a preview of at most"
    ):
        align([images[0], far], compat=compat)


def test_images_beyond_the_memory_are_not_read(align, monkeypatch):
    monkeypatch.setenv("MUSE_RECIPES_MEMORY", "1")
    with pytest.raises(InputError, match="image of 200 x 200 pixels"):
        align(small_fields(exposures=2, shape=(200, 200)))


@pytest.mark.parametrize("value", [None, "long", True])
def test_exposure_maps_need_the_exposure_time(align, tmp_path, value):
    images = small_fields(exposures=2)
    odd = edited(tmp_path, images[1], {"EXPTIME": value})
    align([images[0], odd])
    with pytest.raises(InputError, match=r"edited_1\.fits: keyword EXPTIME"):
        align([images[0], odd], expmap=True)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"srcmin": 60}, "srcmin"),
        ({"srcmin": 1, "srcmax": 1, "iterations": 5}, "srcmax"),
        ({"iterations": 1, "threshold": 1e9}, "iterations"),
        ({"bpixdistance": 500.0}, "bpixdistance"),
        ({"sharpmin": 0.99}, "sharpmin"),
        ({"fwhm": 0.5, "threshold": 300.0}, "sources"),
        ({"fwhm": 400.0, "threshold": 1e-3}, "sources"),
    ],
)
def test_searches_that_find_nothing_useful_in_c(align, params, text):
    with pytest.raises(InputError) as caught:
        align(small_fields(exposures=2), params, compat=True)
    assert "image_0001.fits: sources: expected" in str(caught.value)
    assert text in str(caught.value)
    assert list(align.out.iterdir()) == []


@pytest.mark.parametrize("params", [{"bpixdistance": 500.0}, {"sharpmin": 0.99}])
def test_searches_without_any_source(align, params):
    with pytest.raises(InputError, match=r"image_0001\.fits: sources: expected.*" + next(iter(params))):
        align(small_fields(exposures=2), params)


@pytest.mark.parametrize(
    "params", [{"srcmin": 60}, {"iterations": 1, "threshold": 1e9}, {"step": 1e6, "srcmax": 8}]
)
def test_a_search_that_fails_takes_the_brightest_sources(align, caplog, params):
    images = small_fields(exposures=2)
    aligned = align(images, params)
    assert "are wanted" in caplog.text
    assert len(aligned.table("SOURCE_LIST")) <= params.get("srcmax", 80)
    assert aligned.qc("UNTRUSTED") == 0
    assert np.abs(sky_error_arcsec(images, aligned.offsets())).max() < 0.005


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bkgignore", -0.1), ("bkgfraction", 0.0), ("fwhm", 0.49), ("fwhm", INF), ("srcmax", 4),
        ("roundmax", -1.5),
        ("sharpmin", 0.0), ("sharpmax", 0.1), ("nbins", 1), ("step", -0.5), ("threshold", NAN),
        ("threshold", INF),
        ("rsearch", ""), ("rsearch", " , "), ("rsearch", "30.,inf"), ("rsearch", "nan"), ("rsearch", "wide"),
        ("iterations", "many"), ("nosuch", 1), ("bpixdistance", INF),
        ("bpixdistance", -1.0),
    ],
)  # fmt: skip
def test_bad_parameters_are_refused(align, name, value):
    with pytest.raises(ParameterError, match=name):
        align(small_fields(exposures=2), {name: value})
    assert list(align.out.iterdir()) == []


@pytest.mark.parametrize(
    ("params"), [{"roundmin": 1.0}, {"sharpmax": 0.2}, {"srcmin": 19, "srcmax": 19, "iterations": 0}]
)
def test_equal_limits_pass_the_check_of_the_parameters(align, params):
    with pytest.raises(InputError):
        align(small_fields(exposures=2), params, compat=True)


def test_bad_radii_are_read_as_in_c_in_the_compatible_mode_only(align):
    images = small_fields(exposures=2)
    text = " 30. , 4x,, .8"
    with pytest.raises(ParameterError, match="'4x' in"):
        align(images, rsearch=text)
    with pytest.raises(ParameterError, match="not above 0"):
        align(images, rsearch="30.,-2")
    lenient = align(images, rsearch=text, compat=True).offsets()
    np.testing.assert_array_equal(lenient, align(images, rsearch="30.,4.,.8", compat=True).offsets())


@pytest.mark.parametrize(
    ("change", "item"),
    [
        (lambda h: [h[0].header.remove(key) for key in ("MJD-OBS", "DATE-OBS")], "MJD-OBS"),
        (lambda h: h[0].header.set("MJD-OBS", "today"), "MJD-OBS"),
        (lambda h: h[0].header.set("MJD-OBS", 51000.0), "MJD-OBS"),
        (lambda h: h[1].header.set("TUNIT3", "arcsec"), "unit of the column Y"),
        (lambda h: h[1].columns.del_col("Y"), "columns"),
        (lambda h: h[1].columns.del_col("RA"), "columns"),
        (lambda h: h[1].columns.del_col("Id"), "columns"),
        (lambda h: h[1].data["X"].__setitem__(2, np.nan), "columns X, Y"),
        (lambda h: setattr(h[1], "data", h[1].data[:0]), "table"),
        (lambda h: h.pop(1), "binary table"),
    ],
)
def test_broken_source_lists_are_refused(align, tmp_path, change, item):
    images = small_fields(exposures=2)
    lists = []
    for n, path in enumerate(align(images).paths["SOURCE_LIST"]):
        lists.append(path.rename(tmp_path / f"sources_{n}.fits"))
    with fits.open(lists[1]) as hdus:
        change(hdus)
        hdus.writeto(lists[1], overwrite=True)
    with pytest.raises(InputError, match=item) as caught:
        align([*images, *[(path, "SOURCE_LIST") for path in lists]], override_detection=True)
    assert "sources_1.fits" in str(caught.value) or "image_0002.fits" in str(caught.value)
    assert list(align.out.iterdir()) == []


def test_number_of_source_lists(align, tmp_path):
    images = small_fields(exposures=2)
    first = align(images).paths["SOURCE_LIST"][0].rename(tmp_path / "s.fits")
    with pytest.raises(InputError, match="one list for each of the 2 images"):
        align([*images, (first, "SOURCE_LIST")], override_detection=True)
    with pytest.raises(InputError, match="several"):
        align([*images, (first, "SOURCE_LIST"), (first, "SOURCE_LIST")], override_detection=True)


@pytest.mark.parametrize("content", [b"", b"junk" * 999])
def test_source_lists_that_are_no_fits(align, tmp_path, content):
    junk = tmp_path / "junk.fits"
    junk.write_bytes(content)
    with pytest.raises(InputError, match=r"junk\.fits"):
        align(
            [*small_fields(exposures=2), (junk, "SOURCE_LIST"), (junk, "SOURCE_LIST")],
            override_detection=True,
        )


def test_output_folder_must_exist(tmp_path):
    from muse_core.framework import run_recipe

    with pytest.raises(RecipeError, match="does not exist"):
        run_recipe("muse_exp_align", [], workdir=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("frame", "code", "text"),
    [("missing.fits", 9, "missing.fits"), ("empty.fits", 255, "0 bytes"), ("far.fits", 255, "CRVAL1")],
)
def test_the_command_ends_with_a_code_and_one_message(tmp_path, frame, code, text):
    images = small_fields(exposures=2)
    saved(tmp_path, field_hdus(images[0]), "good.fits")
    (tmp_path / "empty.fits").write_bytes(b"")
    far_away(3.0)(tmp_path, images[1]).rename(tmp_path / "far.fits")
    (tmp_path / "set.sof").write_text(f"good.fits IMAGE_FOV\n{frame} IMAGE_FOV\n")
    (tmp_path / "out").mkdir()
    command = [
        sys.executable,
        "-m",
        "muse_core.hosts.muserun",
        "--output-dir=out",
        "muse_exp_align",
        "set.sof",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code
    output = done.stdout + done.stderr
    assert text in output
    assert frame in output
    assert "Traceback" not in output
    assert list((tmp_path / "out").iterdir()) == []

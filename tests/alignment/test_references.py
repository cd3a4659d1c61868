# SPDX-License-Identifier: BSD-3-Clause
"""Alignment to a reference that is no exposure: a deep image, or a catalogue."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from muse_core.framework import InputError
from muse_core.simulate.fields import write_fields
from tests.alignment.conftest import exposures_of, random_stars

pytestmark = pytest.mark.law
CENTRE = (150.1, -27.8)
ERRORS = [(1.2, 0.7), (0.8, -0.5), (-0.6, 0.3)]
STARS = random_stars(3, 30)


def sky_errors(images, offsets):
    """Recovered minus true offsets in arcsec on the sky; the first exposure counts, too."""
    error = (offsets - np.array([image.error for image in images])) * 3600.0
    return error * [np.cos(np.radians(CENTRE[1])), 1.0]


def catalogue(path, **columns):
    stars = np.array(STARS)
    ra = CENTRE[0] + stars[:, 0] / 3600.0 / np.cos(np.radians(CENTRE[1]))
    table = Table({"ra": ra, "dec": CENTRE[1] + stars[:, 1] / 3600.0, **columns})
    table["ra"].unit = table["dec"].unit = "deg"
    table.write(path, overwrite=True)
    return path, "REFERENCE_CATALOG"


def reference_image(folder, *, scale=1.0, **changes):
    """A deep image without error, in a unit of its own."""
    (image,) = exposures_of(STARS, [(0.0, 0.0)], noise=0.05, fwhm=3.0, levels=(scale,), **changes)
    (path,) = write_fields([image], folder)
    target = folder / "reference.fits"
    path.rename(target)
    with fits.open(target, mode="update") as hdus:
        for key in ("MJD-OBS", "DATE-OBS", "INSTRUME"):
            del hdus[0].header[key]
        hdus[1].header["BUNIT"] = "electron/s"
    return target, "REFERENCE_IMAGE"


@pytest.mark.parametrize("count", [1, 3])
def test_a_deep_image(align, tmp_path, count):
    images = exposures_of(STARS, ERRORS[:count], shifts=[(0, 0), (2, 1), (-1, 3)][:count])
    aligned = align([*images, reference_image(tmp_path, scale=1e-3)])
    assert aligned.qc("UNTRUSTED") == 0
    assert len(aligned.table()) == count
    # a twentieth of a pixel: centroids of the sharper image depend on where in a pixel its stars are
    assert np.abs(sky_errors(images, aligned.offsets())).max() < 0.01
    header = aligned.header()
    assert header["ESO PRO REC1 CAL1 CATG"] == "REFERENCE_IMAGE"
    assert 0.0 < header["ESO QC EXPALIGN ERR DEC1"] < 0.01


@pytest.mark.parametrize("suffix", ["fits", "csv", "ecsv"])
@pytest.mark.parametrize("brightness", [True, False])
def test_a_catalogue(align, tmp_path, suffix, brightness):
    images = exposures_of(STARS, ERRORS)
    columns = {"phot_g_mean_mag": 25.0 - 2.5 * np.log10(np.array(STARS)[:, 2])} if brightness else {}
    aligned = align([*images, catalogue(tmp_path / f"gaia.{suffix}", **columns)])
    assert aligned.qc("UNTRUSTED") == 0
    assert np.abs(sky_errors(images, aligned.offsets())).max() < 0.005


def test_a_catalogue_of_one_star(align, tmp_path):
    stars = [(4.0, -3.0, 1000.0)]
    images = exposures_of(stars, ERRORS)
    ra = CENTRE[0] + 4.0 / 3600.0 / np.cos(np.radians(CENTRE[1]))
    path = tmp_path / "gaia.fits"
    Table({"RA": [ra], "DEC": [CENTRE[1] - 3.0 / 3600.0]}).write(path)
    aligned = align([*images, (path, "REFERENCE_CATALOG")])
    assert aligned.qc("UNTRUSTED") == 0
    assert np.abs(sky_errors(images, aligned.offsets())).max() < 0.01


def test_proper_motions_are_applied(align, tmp_path):
    images = exposures_of(STARS, ERRORS)
    years = 2000.0 + (images[1].mjd - 51544.5) / 365.25 - 2016.0
    path, tag = catalogue(
        tmp_path / "gaia.fits",
        pmra=np.full(len(STARS), -300.0),
        pmdec=np.full(len(STARS), 200.0),
        ref_epoch=np.full(len(STARS), 2016.0),
    )
    aligned = align([*images, (path, tag)])
    moved = sky_errors(images, aligned.offsets())
    np.testing.assert_allclose(moved, np.tile([0.3 * years, -0.2 * years], (3, 1)), atol=0.01)


def test_rotations_are_told_against_the_reference(align, tmp_path):
    images = exposures_of(STARS, ERRORS, turns=(3.0, -2.0, 0.0))
    aligned = align([*images, catalogue(tmp_path / "gaia.fits")], rotation=True)
    assert aligned.qc("UNTRUSTED") == 0
    np.testing.assert_allclose(aligned.table()["ROT_OFFSET"], [-3.0, 2.0, 0.0], atol=0.05)
    assert np.abs(sky_errors(images, aligned.offsets())).max() < 0.02


def test_an_unrelated_catalogue_is_not_trusted(align, tmp_path):
    images = exposures_of(random_stars(8, 30), ERRORS)
    aligned = align([*images, catalogue(tmp_path / "gaia.fits")])
    assert aligned.qc("UNTRUSTED") == 3
    assert not aligned.offsets().any()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t.rename_column("ra", "alpha"), "columns of the position"),
        (lambda t: t["dec"].__setattr__("unit", "pix"), "unit of the column dec"),
        (lambda t: t.__setitem__("ra", t["ra"] + 40.0), "none among 30"),
        (lambda t: t.__setitem__("ra", np.full(30, np.nan)), "positions in degrees"),
        (lambda t: t.__setitem__("ra", ["x"] * 30), "numbers"),
        (lambda t: t.remove_rows(slice(None)), "positions in degrees"),
    ],
)
def test_catalogues_that_are_no_use(align, tmp_path, change, text):
    path, tag = catalogue(tmp_path / "gaia.fits")
    table = Table.read(path)
    change(table)
    table.write(path, overwrite=True)
    with pytest.raises(InputError, match=rf"gaia\.fits: .*{text}"):
        align([*exposures_of(STARS, ERRORS), (path, tag)])


def test_right_ascension_in_hours(align, tmp_path):
    path, tag = catalogue(tmp_path / "gaia.fits")
    table = Table.read(path)
    table["ra"] = table["ra"] / 15.0
    table["ra"].unit = "h"
    table.write(path, overwrite=True)
    images = exposures_of(STARS, ERRORS)
    assert np.abs(sky_errors(images, align([*images, (path, tag)]).offsets())).max() < 0.005


def test_files_that_are_no_reference(align, tmp_path):
    images = exposures_of(STARS, ERRORS)
    for name, tag in (
        ("x.fits", "REFERENCE_CATALOG"),
        ("x.csv", "REFERENCE_CATALOG"),
        ("x.fits", "REFERENCE_IMAGE"),
    ):
        (tmp_path / name).write_bytes(b"junk" * 999)
        with pytest.raises(InputError, match=name):
            align([*images, (tmp_path / name, tag)])
    with pytest.raises(InputError, match="one reference"):
        align([*images, catalogue(tmp_path / "gaia.fits"), reference_image(tmp_path)])
    blank = exposures_of([], [(0.0, 0.0)], noise=0.0)
    (path,) = write_fields(blank, tmp_path)
    with pytest.raises(InputError, match="an image of the sky"):
        align([*images, (path, "REFERENCE_IMAGE")])


@pytest.mark.parametrize(
    ("unit", "factor"), [(None, 1.0), ("mas/yr", 1.0), ("arcsec/yr", 1e-3), ("deg yr-1", 1 / 3.6e6)]
)
@pytest.mark.parametrize("names", [("pmRA", "pmDE"), ("pmra", "pmdec")])
def test_units_of_proper_motions(align, tmp_path, unit, factor, names):
    images = exposures_of(STARS, ERRORS)
    years = 2000.0 + (images[1].mjd - 51544.5) / 365.25 - 2016.0
    path, tag = catalogue(tmp_path / "gaia.fits", ref_epoch=np.full(len(STARS), 2016.0))
    table = Table.read(path)
    for name, value in zip(names, (-300.0, 200.0), strict=True):
        table[name] = np.full(len(STARS), value * factor)
        table[name].unit = unit
    table.write(path, overwrite=True)
    moved = sky_errors(images, align([*images, (path, tag)]).offsets())
    np.testing.assert_allclose(moved, np.tile([0.3 * years, -0.2 * years], (3, 1)), atol=0.01)


def test_proper_motions_that_are_not_applied_are_told(align, tmp_path, caplog):
    images = exposures_of(STARS, ERRORS)
    motions = {"pmra": np.full(len(STARS), -300.0), "pmdec": np.zeros(len(STARS))}
    aligned = align([*images, catalogue(tmp_path / "gaia.fits", **motions)])
    assert "proper motions are not applied" in caplog.text
    assert np.abs(sky_errors(images, aligned.offsets())).max() < 0.005
    frame = catalogue(tmp_path / "gaia.fits", ref_epoch=np.full(len(STARS), 57388.0), **motions)
    with pytest.raises(InputError, match="column ref_epoch: expected years of 1800 to 2200, found 57388"):
        align([*images, frame])
    path, tag = catalogue(tmp_path / "gaia.fits", ref_epoch=np.full(len(STARS), 2016.0), **motions)
    table = Table.read(path)
    table["pmra"].unit = "km/s"
    table.write(path, overwrite=True)
    with pytest.raises(InputError, match="unit of the column pmra"):
        align([*images, (path, tag)])


@pytest.mark.parametrize("suffix", ["txt", "dat"])
def test_catalogues_in_plain_text(align, tmp_path, suffix):
    images = exposures_of(STARS, ERRORS)
    path, tag = catalogue(tmp_path / "gaia.csv")
    text = tmp_path / f"gaia.{suffix}"
    Table.read(path).write(text, format="ascii.basic")
    assert np.abs(sky_errors(images, align([*images, (text, tag)]).offsets())).max() < 0.005
    text.write_bytes(bytes(range(256)) * 30)
    with pytest.raises(InputError, match=rf"gaia\.{suffix}"):
        align([*images, (text, tag)])


def test_flux_scales_have_nothing_to_do_with_a_catalogue(align, tmp_path, caplog):
    images = exposures_of(STARS, ERRORS, levels=(1.0, 0.8, 1.25))
    aligned = align([*images, catalogue(tmp_path / "gaia.fits")], flux_scale=True)
    np.testing.assert_allclose(aligned.table()["FLUX_SCALE"], [1.0, 1.25, 0.8], rtol=0.01)
    one = align([images[0], catalogue(tmp_path / "gaia.fits")], flux_scale=True)
    assert np.isfinite(one.table()["FLUX_SCALE"]).all() or "FLUX_SCALE is not measured" in caplog.text
    assert "ESO QC EXPALIGN OFFSET RA STDEV" not in one.header()


def test_a_reference_larger_than_the_memory(align, tmp_path, monkeypatch):
    path, tag = reference_image(tmp_path)
    images = exposures_of(STARS, ERRORS)
    with fits.open(path, mode="update") as hdus:
        hdus[1].data = np.pad(hdus[1].data, 900)
    monkeypatch.setenv("MUSE_RECIPES_MEMORY", "100")
    with pytest.raises(InputError, match=r"reference\.fits: image of 2000 x 2000 pixels: expected at most"):
        align([*images, (path, tag)])


@pytest.mark.parametrize("mjd", [0.0, -5.0, 2457800.5, 1e300])
def test_dates_that_cannot_be(align, mjd, tmp_path):
    (image,) = exposures_of(STARS, [(0.0, 0.0)])
    (path,) = write_fields([image], tmp_path)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["MJD-OBS"] = mjd
    with pytest.raises(InputError, match="keyword MJD-OBS: expected a number of 50000 to 100000 d"):
        align([*exposures_of(STARS, ERRORS), path])


def test_words_of_any_length_in_headers(align, tmp_path):
    images = exposures_of(STARS, ERRORS)
    paths = write_fields(images, tmp_path)
    with fits.open(paths[0], mode="update") as hdus:
        hdus[1].header["BUNIT"] = "erg " * 30
        hdus[0].header["OBJECT"] = "a long name of a field " * 10
    aligned = align(paths)
    assert aligned.header("PREVIEW_FOV", ext=1)["BUNIT"].startswith("erg erg")

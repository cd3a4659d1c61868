# SPDX-License-Identifier: BSD-3-Clause
"""muse_exp_combine for deep fields: exposures counted, judged, weighted by their noise, added later."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from muse_core.framework import InputError, ParameterError, RecipeError, run_recipe
from muse_core.simulate.scipost import simulate_scipost

TIMES = (600.0, 600.0, 600.0, 150.0, 600.0)
GRID = {"crsigma": 0.0, "filter": "white"}


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    """Five reduced exposures, the fourth a short one, and their OFFSET_LIST."""
    folder = tmp_path_factory.mktemp("deep")
    simulation = simulate_scipost(
        folder / "in",
        seed=8,
        n_ifu=1,
        n_exposures=5,
        slices=24,
        lambda_range=(7160.0, 7170.0),
        posang=(0.0,) * 5,
        exptime=TIMES,
        dithers=((0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (-0.3, 0.0), (0.0, -0.3)),
        offsets=((0.0, 0.0), (0.1, -0.1), (-0.1, 0.05), (0.0, 0.1), (0.1, 0.0)),
    )
    (folder / "out").mkdir()
    options = {"skymethod": "none", "save": "individual"}
    products = run_recipe("muse_scipost", simulation.frames(), options, workdir=folder / "out")
    tables = [(p.path, p.tag) for p in products if p.tag == "PIXTABLE_REDUCED"]
    for path, _ in tables:  # the level of the sky is another one in each exposure
        with fits.open(path, mode="update") as hdus:
            hdus["data"].data -= np.median(hdus["data"].data)
    return sorted(tables), [(path, tag) for path, tag in simulation.frames() if tag == "OFFSET_LIST"]


def combine(frames, folder, **options):
    folder.mkdir(exist_ok=True)
    products = run_recipe("muse_exp_combine", frames, {**GRID, **options}, workdir=folder)
    return {p.tag: p.path for p in products}


def cube(path, name="DATA"):
    with fits.open(path) as hdus:
        return hdus[name].data.copy()


def test_exposures_are_counted(reduced, tmp_path):
    """The counts change no value; the image is their mean along wavelength."""
    tables, offsets = reduced
    plain = combine([*tables, *offsets], tmp_path / "plain")["DATACUBE_FINAL"]
    counted = combine([*tables, *offsets], tmp_path / "cube", exposures="cube")["DATACUBE_FINAL"]
    image = combine([*tables, *offsets], tmp_path / "image", exposures="image")["DATACUBE_FINAL"]
    counts = cube(counted, "EXPOSURES")
    assert counts.dtype.kind == "i"
    assert counts.max() == 5
    np.testing.assert_array_equal(counts > 0, np.isfinite(cube(plain)))
    np.testing.assert_allclose(cube(counted), cube(plain), rtol=3e-7)
    np.testing.assert_allclose(cube(image, "EXPOSURES"), counts.mean(axis=0), rtol=1e-6)
    with fits.open(plain) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "DATA", "STAT"]
    assert subprocess.run(["fitscheck", "-c", str(counted)], capture_output=True).returncode in (0, 127)
    nearest = combine([*tables, *offsets], tmp_path / "n", exposures="cube", resample="nearest")
    assert cube(nearest["DATACUBE_FINAL"], "EXPOSURES").max() == 5


def test_exposures_added_later_give_the_same_bits(reduced, tmp_path):
    """Two steps on one grid are the same as all at once: values, variances, counts and sums."""
    tables, offsets = reduced
    grid = combine([*tables, *offsets], tmp_path / "grid")["DATACUBE_FINAL"]
    wcs = (grid, "OUTPUT_WCS")
    for weight in ("exptime", "invvar"):
        folder = tmp_path / weight
        options = {"save": "cube,sums", "exposures": "cube", "weight": weight}
        whole = combine([*tables, *offsets, wcs], folder, **options)
        first = combine([*tables[:3], *offsets, wcs], tmp_path / f"{weight}1", **options)
        sums = (first["DATACUBE_SUMS"], "DATACUBE_SUMS")
        second = combine([*tables[3:], *offsets, sums], tmp_path / f"{weight}2", **options)
        for name in ("DATA", "STAT", "EXPOSURES"):
            a, b = (cube(p["DATACUBE_FINAL"], name) for p in (second, whole))
            assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for name in ("SUM_WD", "SUM_W", "SUM_WWS", "EXPOSURES", "GRID"):
            assert np.array_equal(cube(second["DATACUBE_SUMS"], name), cube(whole["DATACUBE_SUMS"], name))
        with fits.open(second["DATACUBE_SUMS"], checksum=True) as hdus:
            dates = [hdus[0].header[f"ESO DRS MUSE SUMS EXP{n} DATE-OBS"] for n in range(1, 6)]
            assert len(set(dates)) == 5
        with fits.open(second["DATACUBE_FINAL"]) as hdus:
            assert not any("SUMS" in key for key in hdus[0].header if "PRO" not in key)


def test_what_does_not_fit_to_the_sums_is_refused(reduced, tmp_path):
    tables, offsets = reduced
    first = combine([*tables[:3], *offsets], tmp_path / "first", save="sums")
    sums = (first["DATACUBE_SUMS"], "DATACUBE_SUMS")
    with pytest.raises(InputError) as caught:
        combine([*tables[2:4], *offsets, sums], tmp_path, weight="none", pixfrac="0.8,0.8")
    text = str(caught.value)
    assert "parameter weight: expected exptime as in the sums, found none" in text
    assert "parameter resample: expected drizzle pixfrac=0.6,0.6 ld=1" in text
    assert "an exposure that is not in the sums" in text
    with pytest.raises(InputError, match="the sums of a combination"):
        combine([*tables[3:], (first["DATACUBE_FINAL"], "DATACUBE_SUMS")], tmp_path)
    short = tmp_path / "short.fits"
    short.write_bytes(sums[0].read_bytes()[:-5000])
    with pytest.raises(InputError, match=r"short\.fits"):
        combine([*tables[3:], (short, "DATACUBE_SUMS")], tmp_path)
    with pytest.raises(InputError, match="a method that averages"):
        combine(tables, tmp_path, resample="nearest", save="sums")
    with pytest.raises(RecipeError, match="expected at least 1 frame"):
        combine([sums, offsets[0]], tmp_path)
    with pytest.raises(ParameterError):
        combine(tables, tmp_path, exposure_sigma=-1.0)


def test_a_trail_in_one_exposure_is_removed(reduced, tmp_path):
    """A line of light in the third exposure, as bright as six deviations of a row."""
    tables, offsets = reduced
    trail = tmp_path / "trail.fits"
    shutil.copy(tables[2][0], trail)
    with fits.open(trail, mode="update") as hdus:
        angle, radius = hdus["xpos"].data[:, 0].astype(float), -hdus["ypos"].data[:, 0].astype(float)
        across = np.degrees(radius * np.sin(angle)) * 3600.0
        noise = np.sqrt(np.median(hdus["stat"].data))
        hdus["data"].data[:, 0] += 6.0 * noise * np.exp(-0.5 * ((across - 4.0) / 0.3) ** 2)
    frames = [*tables[:2], (trail, "PIXTABLE_REDUCED"), *tables[3:], *offsets]
    clean = combine([*tables, *offsets], tmp_path / "clean", exposures="cube")["DATACUBE_FINAL"]
    spoilt = combine(frames, tmp_path / "spoilt")["DATACUBE_FINAL"]
    mended = combine(frames, tmp_path / "mended", exposure_sigma=4.0, exposures="cube")["DATACUBE_FINAL"]
    off = cube(spoilt) - cube(clean)
    noise = np.sqrt(cube(clean, "STAT"))
    on = (off > 0.5 * noise) & (cube(clean, "EXPOSURES") == 5)
    assert on.sum() > 300
    before, after = (float(np.nanmean(((cube(p) - cube(clean)) / noise)[on])) for p in (spoilt, mended))
    assert before > 1.2
    assert abs(after) < 0.25
    with fits.open(mended) as hdus:
        assert hdus[0].header["ESO QC EXPCOMB NREJ EXP"] > 0


def test_weights_by_the_noise_of_the_background(reduced, tmp_path):
    """An exposure with more noise than its exposure time tells counts as much less as is best."""
    tables, offsets = reduced
    cloudy = tmp_path / "cloudy.fits"
    shutil.copy(tables[1][0], cloudy)
    with fits.open(cloudy, mode="update") as hdus:
        stat = hdus["stat"].data
        hdus["data"].data[:] += np.random.default_rng(1).normal(size=stat.shape) * np.sqrt(8.0 * stat)
        stat *= 9.0
    frames = [tables[0], (cloudy, "PIXTABLE_REDUCED"), *tables[2:], *offsets]
    middle = {}
    for weight in ("invvar", "exptime", "none"):
        made = combine(frames, tmp_path / weight, weight=weight, exposures="cube")["DATACUBE_FINAL"]
        middle[weight] = float(np.median(cube(made, "STAT")[cube(made, "EXPOSURES") == 5]))
    # variances in units of an exposure of full length: 1, 9, 1, 4, 1 (a little above for read-out noise)
    best = 1.0 / (3.0 + 1.0 / 9.0 + 1.0 / 4.0)
    by_time = (3.0 + 9.0 + 4.0 / 16.0) / 4.25**2
    assert middle["invvar"] / middle["exptime"] == pytest.approx(best / by_time, rel=0.05)
    assert middle["invvar"] < 0.6 * middle["none"]


def test_a_hundred_exposures_with_few_files_open(reduced, tmp_path):
    """File handles do not grow with the number of exposures."""
    tables, _ = reduced
    frames = []
    for number in range(100):
        path = tmp_path / f"t{number:03d}.fits"
        shutil.copy(tables[number % 5][0], path)
        date = f"2026-01-{number // 24 + 1:02d}T{number % 24:02d}:00:00.000"
        fits.setval(path, "DATE-OBS", value=date)
        fits.setval(path, "MJD-OBS", value=61041.0 + number / 24.0)
        frames.append(f"{path} PIXTABLE_REDUCED\n")
    (tmp_path / "in.sof").write_text("".join(frames))
    command = [sys.executable, "-m", "muse_core.hosts.muserun", "muse_exp_combine", "--crsigma=0", "in.sof"]

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 0, done.stderr[-2000:]
    broken = tmp_path / "t057.fits"
    broken.write_bytes(broken.read_bytes()[:-40000])
    (tmp_path / "DATACUBE_FINAL.fits").unlink()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "t057.fits" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "DATACUBE_FINAL.fits").exists()


def image_and_wcs(path):
    with fits.open(path) as hdus:
        return hdus["DATA"].data.copy(), WCS(hdus["DATA"].header).celestial


def test_a_mosaic_of_two_pointings(tmp_path):
    """Stars of two fields 40 arcsec apart lie where they are on the sky, in one grid that covers both."""
    tables = []
    places = []
    for number, east in enumerate((0.0, 40.0)):
        centre = (150.1 + east / 3600.0 / np.cos(np.radians(-30.2)), -30.2)
        simulation = simulate_scipost(
            tmp_path / f"in{number}",
            seed=31 + number,
            n_ifu=1,
            slices=24,
            lambda_range=(7160.0, 7166.0),
            center=centre,
            mjd=57800.25 + number / 24.0,
            n_stars=2,
            n_galaxies=0,
            brightness=20.0,
        )
        (tmp_path / f"out{number}").mkdir()
        options = {"skymethod": "none", "save": "individual,cube"}
        products = run_recipe("muse_scipost", simulation.frames(), options, workdir=tmp_path / f"out{number}")
        tables += [(p.path, p.tag) for p in products if p.tag == "PIXTABLE_REDUCED"]
        places.append(next(p.path for p in products if p.tag == "IMAGE_FOV"))
    mosaic = combine(tables, tmp_path / "mosaic", exposures="image")
    white, wcs = image_and_wcs(mosaic["IMAGE_FOV"])
    covered = cube(mosaic["DATACUBE_FINAL"], "EXPOSURES")
    assert white.shape[1] > 40.0 / 0.2 + 150
    assert covered.max() <= 1.0  # each voxel is of one exposure
    for single in places:
        image, own = image_and_wcs(single)
        y, x = np.unravel_index(np.nanargmax(image), image.shape)
        there = wcs.world_to_array_index(own.pixel_to_world(x, y))
        box = white[there[0] - 2 : there[0] + 3, there[1] - 2 : there[1] + 3]
        assert np.nanmax(box) == pytest.approx(np.nanmax(image), rel=0.15)


def test_sums_alone_are_on_the_grid_asked_for(reduced, tmp_path):
    """save=sums makes the cube, too: with OUTPUT_WCS and the images of the filters."""
    tables, offsets = reduced
    grid = combine([*tables[:2], *offsets], tmp_path / "grid", dx=0.4, dy=0.4)["DATACUBE_FINAL"]
    made = combine([*tables[:2], *offsets, (grid, "OUTPUT_WCS")], tmp_path / "sums", save="sums")
    assert cube(made["DATACUBE_SUMS"], "SUM_W").shape == cube(grid).shape
    assert "IMAGE_FOV" in made


def test_what_needs_all_exposures_is_refused_with_sums(reduced, tmp_path, caplog):
    tables, offsets = reduced
    first = combine([*tables[:3], *offsets], tmp_path / "first", save="sums", pixfrac="0.6, 0.6")
    sums = (first["DATACUBE_SUMS"], "DATACUBE_SUMS")
    asked = {"covariance": True, "collapse_pixtable": True, "save": "cube,combined", "format": "sdpCube"}
    with pytest.raises(InputError) as caught:
        combine([*tables[3:], *offsets, sums], tmp_path, **asked)
    for name in asked:
        assert f"parameter {name}: expected the pixel tables of all exposures" in str(caught.value)
    wcs = (first["DATACUBE_FINAL"], "OUTPUT_WCS")
    made = combine([*tables[3:], *offsets, sums, wcs], tmp_path / "second", dx=0.4)
    assert cube(made["DATACUBE_FINAL"]).shape == cube(first["DATACUBE_FINAL"]).shape
    assert "dx, OUTPUT_WCS: not used" in caplog.text
    with fits.open(made["DATACUBE_FINAL"]) as hdus:
        assert "OUTPUT_WCS" not in [value for key, value in hdus[0].header.items() if key.endswith(" CATG")]
    broken = tmp_path / "broken.fits"
    shutil.copy(sums[0], broken)
    with fits.open(broken, mode="update") as hdus:
        hdus["GRID"].data[6] = np.nan
    with pytest.raises(InputError, match="no grid of a cube"):
        combine([*tables[3:], *offsets, (broken, "DATACUBE_SUMS")], tmp_path)

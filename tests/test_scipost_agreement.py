# SPDX-License-Identifier: BSD-3-Clause
"""Exposures that are combined: a warning if their stars do not lie on each other, by whatever offsets."""

import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from muse_core.alignment.disagreement import disagreements, measure_disagreement
from muse_core.framework import run_recipe
from muse_core.simulate.fields import render_stars
from muse_core.simulate.scene import Scene, Star
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.law
OPTIONS = {"skymethod": "none", "save": "cube", "rvcorr": "none"}
STARS = (Star(-8.0, 0.5, 30000.0), Star(9.0, -0.6, 20000.0), Star(0.5, 0.0, 25000.0))


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    return simulate_scipost(
        tmp_path_factory.mktemp("stars"),
        seed=3,
        ifus=(11, 12, 13),
        n_ifu=3,
        n_exposures=2,
        lambda_range=(6290.0, 6300.0),
        lsf=None,
        scene=Scene(STARS),
        center=(150.1, -30.2),
        dithers=[(0.0, 0.0), (1.3, -0.8)],
    )


@pytest.fixture
def warnings_of(observation, tmp_path, caplog):
    """Return a function that combines the exposures, the second one with an error of its header in arcsec."""

    def run(error, *, listed=None, **options):
        frames = []
        for path, tag in observation.frames(without=("OFFSET_LIST",)):
            if "_0002-" in path.name:
                path = shutil.copy(path, tmp_path / path.name)
                with fits.open(path, mode="update") as hdus:
                    hdus[0].header["RA"] += error / 3600.0 / np.cos(np.radians(30.2))
            frames.append((path, tag))
        if listed is not None:
            headers = [fits.getheader(path) for path, tag in frames if tag == "PIXTABLE_OBJECT"]
            dates = sorted({header["DATE-OBS"] for header in headers})
            offsets = Table(
                {"DATE_OBS": dates, "RA_OFFSET": [0.0, listed / 3600.0], "DEC_OFFSET": [0.0, 0.0]}
            )
            offsets.write(tmp_path / "offsets.fits")
            frames.append((tmp_path / "offsets.fits", "OFFSET_LIST"))
        folder = tmp_path / "out"
        folder.mkdir()
        run_recipe("muse_scipost", frames, {**OPTIONS, **options}, workdir=folder)
        run.header = fits.getheader(next(folder.glob("*.fits")))
        return [r.getMessage() for r in caplog.records if "not aligned" in r.getMessage()]

    return run


@pytest.mark.parametrize("error", [0.6, -1.5])
def test_exposures_beside_each_other_are_a_warning_with_the_distance(warnings_of, error):
    (text,) = warnings_of(error)
    assert "exposures 1 and 2 are not aligned" in text
    assert "OFFSET_LIST" in text
    measured = float(text.split("disagree by ")[1].split()[0])
    assert measured == pytest.approx(abs(error), abs=0.06)


def test_exposures_on_each_other_are_not(warnings_of):
    assert warnings_of(0.0) == []
    assert warnings_of.header["ESO QC SCIPOST EXPOSURES ALIGNED"] is True


def test_nor_are_those_of_a_right_offset_list(warnings_of):
    assert warnings_of(0.6, listed=0.6 / np.cos(np.radians(30.2))) == []


def test_an_offset_list_that_the_stars_contradict_is_a_warning(warnings_of):
    (text,) = warnings_of(0.0, listed=0.8)
    assert "the OFFSET_LIST contradicts the data" in text
    assert warnings_of.header["ESO QC SCIPOST EXPOSURES ALIGNED"] is False


def test_nor_those_that_are_only_saved_one_by_one(warnings_of):
    assert warnings_of(0.6, save="individual") == []


def field(stars, seed=0, fwhm=4.0, shape=(120, 160), noise=2.0):
    x, y, peak = np.array(stars, dtype=float).reshape(-1, 3).T
    data = render_stars(shape, x, y, peak, fwhm) + np.random.default_rng(seed).normal(0.0, noise, shape)
    return data.astype(np.float32)


MANY = [(x, y, 100.0 + 10 * x) for x, y in zip([30, 70, 110, 140], [40, 90, 30, 80], strict=True)]


def moved(stars, dx, dy):
    return [(x + dx, y + dy, peak) for x, y, peak in stars]


@pytest.mark.parametrize("stars", [MANY[:1], MANY[:2], MANY])
def test_distance_and_seeing(stars):
    found = measure_disagreement(field(stars), field(moved(stars, 2.0, -1.5), 1), 0.2, "WFM")
    assert found.distance == pytest.approx(0.5, abs=0.02)
    assert found.seeing == pytest.approx(0.8, abs=0.15)
    assert found.stars == len(stars)


@pytest.mark.parametrize("alone", [0, 1, 2])
def test_a_star_alone_is_not_taken_for_its_neighbour(alone):
    stars = [(60.0, 60.0, 900.0), (74.5, 60.0, 1000.0), (60.0, 81.0, 800.0)]  # 2.9 to 4.2 arcsec apart
    for one, other in ((stars, stars[alone : alone + 1]), (stars[alone : alone + 1], stars)):
        found = measure_disagreement(field(one), field(other, 1), 0.2, "WFM")
        assert found is None or found.distance < 0.05


def test_fields_that_tell_nothing():
    assert measure_disagreement(field([]), field(MANY), 0.2, "WFM") is None
    assert measure_disagreement(field([]), field([], 1), 0.2, "WFM") is None
    assert measure_disagreement(np.full((50, 60), np.nan, "f4"), field(MANY), 0.2, "WFM") is None
    # another star, and one of another brightness
    assert measure_disagreement(field(MANY[:1]), field([(90.0, 90.0, 300.0)], 1), 0.2, "WFM") is None
    assert measure_disagreement(field(MANY[:1]), field([(33.0, 41.0, 5000.0)], 1), 0.2, "WFM") is None


def test_unrelated_fields_are_no_warning():
    rng = np.random.default_rng(4)
    images = [
        field(
            np.column_stack([rng.uniform(10, 150, 9), rng.uniform(10, 110, 9), rng.uniform(50, 5000, 9)]), n
        )
        for n in range(6)
    ]
    assert disagreements(images, range(1, 7), 0.2, "WFM")[0] == []


def test_each_exposure_is_compared_with_the_first_that_shows_its_stars():
    images = [field([], 1), field(MANY, 2), field(moved(MANY, 3.0, 0.0), 3)]
    texts, compared = disagreements(images, (1, 2, 3), 0.2, "WFM")
    assert compared == 1
    assert len(texts) == 1
    assert "exposures 2 and 3 are not aligned" in texts[0]


def to_the_north(table, folder, arcsec):
    """A copy of a table whose header points to the north of where it was."""
    path = folder / f"north{arcsec:g}.fits"
    shutil.copy(table[0], path)
    fits.setval(path, "DEC", value=fits.getval(path, "DEC") + arcsec / 3600.0)
    return path, table[1]


def test_new_exposures_are_compared_with_the_sums(tmp_path, caplog):
    """Stars of a new exposure that lie elsewhere are told, and how much of it is beyond the grid."""
    simulation = simulate_scipost(
        tmp_path / "in",
        seed=3,
        ifus=(11, 12, 13),
        n_ifu=3,
        n_exposures=3,
        lambda_range=(6290.0, 6300.0),
        lsf=None,
        scene=Scene(STARS),
        center=(150.1, -30.2),
        dithers=[(0.0, 0.0), (1.3, -0.8), (0.5, -0.4)],
        posang=(0.0,) * 3,
    )
    (tmp_path / "out").mkdir()
    options = {"skymethod": "none", "save": "individual"}
    products = run_recipe("muse_scipost", simulation.frames(), options, workdir=tmp_path / "out")
    *tables, last = sorted((p.path, p.tag) for p in products if p.tag == "PIXTABLE_REDUCED")

    def combined(frames, folder, **more):
        folder.mkdir()
        made = run_recipe("muse_exp_combine", frames, {"crsigma": 0.0, **more}, workdir=folder)
        return {product.tag: product.path for product in made}

    sums = combined(tables, tmp_path / "first", save="sums")["DATACUBE_SUMS"], "DATACUBE_SUMS"
    caplog.clear()
    made = combined([last, sums], tmp_path / "right")
    assert fits.getval(made["DATACUBE_FINAL"], "ESO QC EXPCOMB EXPOSURES ALIGNED") is True
    assert "beyond the grid" not in caplog.text
    made = combined([to_the_north(last, tmp_path, 3.0), sums], tmp_path / "wrong")
    assert fits.getval(made["DATACUBE_FINAL"], "ESO QC EXPCOMB EXPOSURES ALIGNED") is False
    assert "exposures of the sums and 1 are not aligned" in caplog.text
    assert "of its field lies beyond the grid of the sums and is lost" in caplog.text

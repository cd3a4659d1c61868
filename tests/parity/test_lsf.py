# SPDX-License-Identifier: BSD-3-Clause
"""muse_lsf beside the C recipe: images, defects, its profiles in the other's muse_create_sky."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.arcs.profile_image import profile_grid, profile_image
from muse_core.arcs.profile_rows import LineRows, ProfilePlan
from muse_core.framework import RecipeError
from muse_core.simulate.scipost import simulate_scipost
from tests.arcs.runs import IFU, changed_copy, make_set, one, replaced, run
from tests.arcs.test_lsf import true_profile
from tests.parity.arc_pairs import both
from tests.parity.conftest import CPipeline
from tests.parity.night_sky import FIELDS, as_sky, run_both

pytestmark = pytest.mark.parity
SLICES_WITH_HITS = 6
CUBE, TABLE = f"LSF_PROFILE-{IFU:02d}.fits", f"PIXTABLE_SUBTRACTED-{IFU:02d}.fits"


@pytest.fixture(scope="module")
def arcs(tmp_path_factory):
    """The left edge of the first slice leaves the detector: there are no rows of it."""
    folder = tmp_path_factory.mktemp("arcs")
    made = make_set(folder, seed=5, nx=256)

    def shift(hdus):
        hdus[1].data["tc1_00"][0] = 0.5

    trace = one(made.frames, "TRACE_TABLE")
    frames = replaced(made.also("WAVECAL_TABLE"), trace, changed_copy(trace, folder / "moved", shift))
    return made, frames


@pytest.fixture(scope="module")
def pair(arcs, c_pipeline, tmp_path_factory):
    options = {"nifu": IFU, "save_subtracted": True}
    # C writes the products, and then stumbles over the empty plane (exit 255)
    return both(c_pipeline, "muse_lsf", arcs[1], tmp_path_factory.mktemp("pair"), check=False, **options)


def columns(path):
    with fits.open(path) as hdus:
        return {hdu.name.lower(): np.array(hdu.data).ravel() for hdu in hdus[1:]}


def by_row(table):
    """Order of the rows of a table by pixel and line."""
    return np.lexsort((np.round(table["line_lambda"], 0), table["origin"]))


def slices_of_other_rows(c, ours):
    """Slices (from 1) of which tables have other rows, or other numbers in them."""
    left, right = columns(c / TABLE), columns(ours / TABLE)
    own, other = left["origin"] & 0x3F, right["origin"] & 0x3F
    differ = set()
    for s in np.union1d(own, other):
        mine, theirs = np.flatnonzero(other == s), np.flatnonzero(own == s)
        a = theirs[by_row({name: column[theirs] for name, column in left.items()})]
        b = mine[by_row({name: column[mine] for name, column in right.items()})]
        same = np.array_equal(left["origin"][a], right["origin"][b])
        names = ("lambda", "line_lambda", "line_background", "line_flux", "orig", "stat")
        if not same or not all(np.allclose(right[n][b], left[n][a], rtol=3e-6, atol=2e-4) for n in names):
            differ.add(int(s))
    return differ


def assert_same_profiles(c, ours, apart=0):
    """The same rows, numbers, images and widths in all slices but ``apart`` (those of hits at most).

    Planes are those of the slices with rows, one after the other.
    """
    differ = slices_of_other_rows(c, ours)
    assert len(differ) <= apart, differ
    seen = np.unique(columns(c / TABLE)["origin"] & 0x3F)
    same = [plane for plane, s in enumerate(seen) if s not in differ]
    theirs, mine = (fits.getdata(path / CUBE)[same] for path in (c, ours))
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)
    header, own = fits.getheader(c / CUBE), fits.getheader(ours / CUBE)
    names = [key for key in header if key.startswith("ESO QC LSF")]
    assert names == [key for key in own if key.startswith("ESO QC LSF")]
    for key in names:
        if int(key.split()[3].removeprefix("SLICE")) - 1 in same:
            assert own[key] == pytest.approx(header[key], rel=2e-5, abs=2e-5), key


@pytest.mark.defect("lsf_planes_move_up", "lsf_background_too_small")
def test_images_rows_and_widths(pair, arcs, tmp_path):
    c, ours = pair
    assert_same_profiles(c, ours)
    mine = fits.getdata(ours / CUBE)
    assert (mine[47] == 0).all()
    right_one = run("muse_lsf", arcs[1], tmp_path / "right", save_subtracted=True)
    cube = fits.getdata(right_one[CUBE])
    assert (cube[0] == 0).all()
    # the same profiles, each in the plane of its slice, with a background that is right by 1 in 40
    np.testing.assert_allclose(cube[1:], mine[:47], atol=0.02)
    right, table = columns(ours / TABLE), columns(right_one[TABLE])
    shares = np.median(right["line_background"]) / np.median(table["line_background"])
    assert 0.95 < shares < 0.995


@pytest.mark.defect("lsf_background_of_other_sign")
def test_a_background_makes_c_lose_its_lines(c_pipeline, tmp_path):
    """100 counts in all pixels are beyond 0.075 of the flux of faint lines: no pixel of them is left."""
    arcs = make_set(tmp_path / "in", seed=6, nx=256)

    def raise_level(hdus):
        half = arcs.setup.nx + arcs.setup.prescan + arcs.setup.overscan
        hdus[1].data[:, arcs.setup.prescan : half - arcs.setup.overscan] += 100

    lamp = one(arcs.frames, "ARC", "Xe")
    frames = replaced(arcs.also("WAVECAL_TABLE"), lamp, changed_copy(lamp, tmp_path / "raised", raise_level))
    options = {"nifu": IFU, "save_subtracted": True}
    c, ours = both(c_pipeline, "muse_lsf", frames, tmp_path / "pair", **options)
    assert_same_profiles(c, ours)
    right = run("muse_lsf", frames, tmp_path / "right", **options)
    kept, lost = columns(right[TABLE])["line_lambda"], columns(c / TABLE)["line_lambda"]
    assert kept.size > 1.02 * lost.size


@pytest.mark.defect("lsf_windows_at_the_ends")
def test_from_the_rows_of_c_its_images(pair):
    """Every sample of every slice within the rounding of the file, those at the ends of the range, too."""
    c, _ = pair
    table, cube = columns(c / TABLE), fits.getdata(c / CUBE)
    names = ("lambda", "orig", "stat", "origin", "line_lambda", "line_flux", "line_background")
    native = [table[name].astype(table[name].dtype.newbyteorder("=")) for name in names]
    rows = LineRows(*native)
    slices = rows.origin & 0x3F
    grid = profile_grid(ProfilePlan())
    off = {}
    for uneven in (True, False):
        plan = ProfilePlan(uneven_ends=uneven)
        images = [profile_image(rows.chosen(slices == s), grid, plan)[0] for s in np.unique(slices)]
        off[uneven] = np.array(
            [np.abs(image - plane).max() for image, plane in zip(images, cube, strict=False)]
        )
    assert off[True].max() < 1e-7
    assert (off[False] > 1e-6).sum() > 5


def draw(rng: np.random.Generator) -> tuple[dict[str, object], dict[str, object]]:
    """Arcs and options of a random set.

    Lines of quality 3: which blends of quality 2 are taken hangs on where C stops its fits.
    """
    arcs = {
        "seed": int(rng.integers(1000)), "nx": int(rng.choice([240, 256, 288, 320])),
        "cosmics": int(rng.choice([0, 6, 30])), "exposures": int(rng.choice([1, 1, 3])),
        "scale": float(rng.choice([0.5, 1.0, 2.0])),
    }  # fmt: skip
    options = {
        "nifu": IFU, "save_subtracted": True, "lsf_range": float(rng.choice([6.0, 7.5, 9.0])),
        "lsf_size": int(rng.choice([100, 150, 151])), "lambda_size": int(rng.choice([12, 30, 41])),
        "lsf_regression_window": float(rng.choice([0.5, 0.7, 1.0])),
        "combine": str(rng.choice(["median", "average", "sigclip"])),
        "ovscreject": str(rng.choice(["dcr", "none", "fit"])), "ovscignore": int(rng.choice([3, 5])),
        "line_quality": int(rng.choice([3, 3, 5])),
    }  # fmt: skip
    return arcs, options


def errors_of_profiles(cube, options):
    """Rms over peak of each profile in the range of the lines beside the truth."""
    reach, (_, height, width) = options["lsf_range"], cube.shape
    offsets, lam = np.linspace(-reach, reach, width), np.linspace(4650, 9300, height)
    inner = np.flatnonzero((lam > 4900) & (lam < 9200))
    true = np.array([[true_profile(offsets, lam[k], s) for k in inner] for s in range(48)])
    return np.sqrt(np.mean((cube[:, inner] - true) ** 2, axis=2)) / true.max(axis=2)


def compare(number: int, folder: Path, c_pipeline: CPipeline) -> None:
    """One random set through both.

    Where a hit is near a line C's fit may end early, or fail: such a line has other numbers, or is lost.
    """
    arcs, options = draw(np.random.default_rng([5, number]))
    made = make_set(folder / "in", **arcs)
    frames = made.also("WAVECAL_TABLE")  # of slices without lines C makes products, and then fails
    c, ours = both(c_pipeline, "muse_lsf", frames, folder / "out", check=False, **options)
    assert_same_profiles(c, ours, apart=SLICES_WITH_HITS if arcs["cosmics"] else 0)
    theirs, mine = (errors_of_profiles(fits.getdata(path / CUBE), options) for path in (c, ours))
    assert np.median(mine / theirs) <= 1.001


@pytest.mark.parametrize("number", range(2))
def test_random_sets(number, c_pipeline, tmp_path):
    """More of them: ``python -m tests.parity.test_lsf FIRST LAST FOLDER``."""
    compare(number, tmp_path, c_pipeline)


@pytest.mark.parametrize("maker", ["c", "ours"])
def test_profiles_of_one_in_the_sky_of_the_other(maker, c_pipeline, pair, tmp_path):
    """The same lines of the sky, whoever made the profiles and whoever reads them."""
    field = simulate_scipost(tmp_path / "field", **{**FIELDS["plain"], "ifus": (IFU,)})
    cube = (pair[0] if maker == "c" else pair[1]) / CUBE
    frames = as_sky(field, without=("SKY_CONTINUUM", "SKY_MASK"))
    frames = [(cube if tag == "LSF_PROFILE" else path, tag) for path, tag in frames]
    theirs, mine = run_both(c_pipeline, frames, {}, tmp_path / "run")["SKY_LINES.fits"]
    with fits.open(theirs) as left, fits.open(mine) as right:
        a, b = left[1].data, right[1].data
        np.testing.assert_allclose(
            np.sort(b["flux"]), np.sort(a["flux"]), rtol=0.02, atol=1e-2 * a["flux"].max()
        )


def main() -> None:
    """Run random sets FIRST to LAST in FOLDER and tell which differ."""
    first, last, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    bad = []
    for number in range(first, last + 1):
        own = folder / f"lsf{number}"
        own.mkdir(parents=True)
        try:
            compare(number, own, CPipeline())
        except (AssertionError, RecipeError) as error:
            bad.append(number)
            print(number, draw(np.random.default_rng([5, number])), str(error)[:900], flush=True)  # noqa: T201
        shutil.rmtree(own)
    print(f"muse_lsf: {last - first + 1} sets, {len(bad)} differ: {bad}")  # noqa: T201


if __name__ == "__main__":
    main()

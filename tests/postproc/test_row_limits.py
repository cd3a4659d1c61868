# SPDX-License-Identifier: BSD-3-Clause
"""Limits of moved rows, found from few of them, beside the limits of all rows."""

import numpy as np
import pytest
from astropy.io import fits

from muse_core.data.block import Block
from muse_core.data.exposure import POSITIONS, Exposure
from muse_core.data.kernels import shift_positions
from muse_core.data.pixtable import open_pixtable
from muse_core.data.pixtable_writer import PixelTableWriter, column_units
from muse_core.postproc.astrometry.position_kernels import rotate_rows
from muse_core.postproc.astrometry.projection import AstrometryModel, apply_astrometry
from muse_core.postproc.exposure.row_limits import find_limits
from muse_core.postproc.refraction.dar import DarModel, apply_dar
from muse_core.postproc.refraction.refractive_index import Air, refractive_index

pytestmark = pytest.mark.law
SCALE = 0.2 / 3600
CUT = (4760.0, 9340.0)


def write(path, rng, ifu, *, bad_rows, order):
    """A table of 4 slices with the geometry of the instrument, not too regular."""
    number, line, column = (a.ravel() for a in np.mgrid[0:4, 0:190, 0:37])
    n = number.size
    lam = 4750 + 24.2 * line - 0.5 * column + rng.normal(0, 0.1, n)
    x = 74 * (number - 1.5) + 2 * (column - 18) + rng.normal(0, 0.3, n) + 1e-3 * line
    y = 24 * (ifu - 2.5) + 5 * number + 1e-3 * column + rng.normal(0, 0.05, n)
    if bad_rows:
        x[rng.integers(0, n, 50)] = np.nan
        y[rng.integers(0, n, 50)] = np.nan
        x[-2000:] = np.nan
        x[rng.integers(0, n, 5)] += 40.0
    places = {"file": np.arange(n), "lambda": np.argsort(lam), "random": rng.permutation(n)}[order]
    x, y, lam = (a.astype("f4")[places] for a in (x, y, lam))
    header = fits.Header()
    header["SIMPLE"], header["BITPIX"], header["NAXIS"], header["EXTEND"] = True, 8, 0, True
    header["HIERARCH ESO DRS MUSE PIXTABLE TYPE"] = "GEOFULL"
    writer = PixelTableWriter(path, header, n, column_units("pix", "count"))
    zeros = np.zeros(n, np.int32)
    origin = (ifu << 6 | number + 1).astype("i4")[places]
    writer.write_all([Block(x, y, lam, x, zeros, x, origin, np.arange(n))])
    return open_pixtable(path)


def make_exposure(folder, seed=0, *, bad_rows=False, order="file"):
    rng = np.random.default_rng(seed)
    files = [write(folder / f"{ifu}.fits", rng, ifu, bad_rows=bad_rows, order=order) for ifu in (1, 2, 3, 4)]
    exposure = Exposure(files, (1.0,) * 4, CUT)
    exposure.scan()
    return exposure


def refraction(angle=70.0, size=3e4):
    angle = np.radians(angle)
    model = DarModel(
        7000.0,
        "Filippenko",
        refractive_index("Filippenko", Air()),
        size * np.sin(angle),
        size * np.cos(angle),
        1.5,
    )
    return lambda block: apply_dar(block.xpos, block.ypos, block.lam, model)


def velocity(factor=1.00007):
    def move(block):
        block.lam[:] = (block.lam.astype("f8") * factor).astype("f4")

    return move


def sky(dec, cd=None, angle=0.0, reference=(0.3, -0.2), scale=SCALE):
    p = np.radians(angle)
    turned = ((-scale * np.cos(p), -scale * np.sin(p)), (-scale * np.sin(p), scale * np.cos(p)))
    model = AstrometryModel(cd or turned, *reference)

    def project(block):
        apply_astrometry(block.xpos, block.ypos, model)

    return project, lambda block: rotate_rows(block.xpos, block.ypos, dec)


def of_all_rows(exposure, moves):
    blocks = [exposure.read_range(piece, columns=POSITIONS) for piece in exposure.chunk_ranges()]
    for block in blocks:
        for move in moves:
            move(block)
    columns = [np.concatenate([getattr(b, name) for b in blocks]) for name in ("xpos", "ypos", "lam")]
    origin = np.concatenate([b.origin for b in blocks])
    numbers = [((v.min(), v.max())) for v in ((origin >> 6) & 31, origin & 63)]
    return [(float(np.nanmin(v)), float(np.nanmax(v))) for v in columns] + numbers


def assert_exact(exposure, moves, *, smooth=True, threads=2):
    found = find_limits(exposure, moves, threads, smooth=smooth)
    expected = of_all_rows(exposure, moves)
    assert [found.x, found.y, found.lam, found.ifu, found.slices] == expected


SKEW = ((-5e-5, 3e-5), (1e-5, 6e-5))
MIRROR = ((5e-5, 0.0), (0.0, 5.6e-5))
FLAT = ((-5e-5, 0.0), (0.0, 1e-9))


@pytest.mark.parametrize("bad_rows", [False, True])
@pytest.mark.parametrize("order", ["file", "lambda", "random"])
def test_limits_are_those_of_all_rows(tmp_path, order, bad_rows):
    exposure = make_exposure(tmp_path, bad_rows=bad_rows, order=order)
    chains = [
        [],
        [refraction()],
        [velocity(), refraction(angle=-20.0, size=3e5)],
        [refraction(), *sky(-30.2), velocity(0.9999)],
        [refraction(), *sky(61.0, SKEW), lambda b: shift_positions(b.xpos, b.ypos, 0.1, -0.02)],
        list(sky(0.0, MIRROR, reference=(400.0, 300.0))),
        list(sky(20.0, FLAT)),
        list(sky(45.0, angle=33.0, scale=1e-2)),  # a field of several degrees
    ]
    for chain in chains:
        assert_exact(exposure, chain)


@pytest.mark.parametrize("dec", [79.0, -81.0, 89.0, 89.99, 89.999, -89.9995, 90.0, -90.0])
def test_limits_near_the_celestial_pole(tmp_path, dec):
    exposure = make_exposure(tmp_path)
    for angle in (0.0, 100.0, 215.0):
        for reference in ((0.3, -0.2), (30.0, 20.0), (500.0, -300.0)):
            assert_exact(exposure, [refraction(), *sky(dec, angle=angle, reference=reference)])


def test_limits_of_polar_coordinates_are_those_of_all_rows(tmp_path):
    exposure = make_exposure(tmp_path)
    for reference in ((0.3, -0.2), (500.0, -300.0)):
        project, _ = sky(10.0, angle=20.0, reference=reference)
        assert_exact(exposure, [refraction(), project], smooth=False)


@pytest.mark.parametrize("seed", range(6))
def test_limits_of_random_chains(tmp_path, seed):
    rng = np.random.default_rng(seed + 100)
    exposure = make_exposure(tmp_path, seed, bad_rows=bool(seed % 2))
    for _ in range(5):
        matrix = rng.normal(0, SCALE, (2, 2))
        cd = tuple(map(tuple, matrix))
        dec = float(np.degrees(np.arcsin(rng.uniform(-1, 1))))
        chain = [refraction(rng.uniform(0, 360), 10 ** rng.uniform(2, 6))]
        chain += sky(dec, cd, reference=tuple(rng.normal(0, 100, 2)))
        assert_exact(exposure, chain)
        low = rng.uniform(4500, 7000)
        narrow = exposure.narrowed(low, low + rng.uniform(1, 3000))
        assert_exact(narrow, chain)


def test_few_rows_are_read(tmp_path, monkeypatch):
    exposure = make_exposure(tmp_path)
    read = []
    original = Exposure.read_boxes

    def counted(self, *args, **kwargs):
        block = original(self, *args, **kwargs)
        read.append(len(block))
        return block

    monkeypatch.setattr(Exposure, "read_boxes", counted)
    find_limits(exposure, [], smooth=True)
    assert read == []
    find_limits(exposure, [refraction(), *sky(-30.2)], smooth=True)
    assert 0 < sum(read) < 0.6 * exposure.rows  # boxes are large here: a seventh of a slice
    read.clear()
    find_limits(exposure, [refraction(), *sky(-30.2)], smooth=False)
    assert sum(read) == exposure.rows


def test_a_single_row(tmp_path):
    exposure = make_exposure(tmp_path)
    value = float(exposure.gather(7000.0, 7100.0).lam[17])
    single = exposure.narrowed(value, value)
    assert 1 <= single.rows < 5
    assert_exact(single, [refraction(), *sky(-30.2)])

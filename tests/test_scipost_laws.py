# SPDX-License-Identifier: BSD-3-Clause
"""Laws that muse_scipost keeps for any data: nothing depends on slabs, threads, order of files or rows."""

from __future__ import annotations

import time

import numpy as np
import pytest
from astropy.io import fits

from muse_core.data.block import Block
from muse_core.data.tangent_plane import deproject, project
from muse_core.framework import run_recipe
from muse_core.framework.defects import Defects
from muse_core.framework.team import Threads
from muse_core.resampling import slabs
from muse_core.resampling.cosmics import MEDIAN, NOT_SAME_Y, flag_cosmics
from muse_core.resampling.grid import pixel_grid
from muse_core.resampling.plan import CosmicRejection, CubePlan
from muse_core.resampling.schedule import cube_slabs
from muse_core.resampling.voxel_layers import Contribution
from muse_core.resampling.weights import METHODS, Resampling
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.law
OPTIONS = {"skymethod": "simple", "save": "cube,combined,skymodel", "crsigma": 5.0}


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    return simulate_scipost(
        tmp_path_factory.mktemp("laws"),
        seed=5,
        n_ifu=2,
        n_exposures=2,
        slices=8,
        lambda_range=(6285.0, 6345.0),
    )


def reduce(frames, folder, **options):
    folder.mkdir()
    threads = options.pop("threads", 2)
    products = run_recipe("muse_scipost", frames, {**OPTIONS, **options}, workdir=folder, threads=threads)
    return {product.path.name: product.path for product in products}


def same_bits(first, second):
    assert first.keys() == second.keys()
    for name in first:
        with fits.open(first[name]) as a, fits.open(second[name]) as b:
            for x, y in zip(a, b):
                if x.data is not None:
                    assert np.asarray(x.data).tobytes() == np.asarray(y.data).tobytes(), f"{name}[{x.name}]"


def test_threads_change_no_bit(observation, tmp_path):
    one = reduce(observation.frames(), tmp_path / "one", threads=1)
    four = reduce(observation.frames(), tmp_path / "four", threads=4)
    same_bits(one, four)


def test_memory_budget_changes_no_bit(observation, tmp_path, monkeypatch):
    large = reduce(observation.frames(), tmp_path / "large")
    monkeypatch.setenv("MUSE_RECIPES_MEMORY", "8")  # slabs of one plane
    small = reduce(observation.frames(), tmp_path / "small")
    same_bits(large, small)


def test_order_of_files_changes_no_bit(observation, tmp_path):
    given = reduce(observation.frames(), tmp_path / "given")
    turned = reduce(observation.frames()[::-1], tmp_path / "turned")
    same_bits(given, turned)


def test_order_of_rows_changes_only_the_rounding(observation, tmp_path):
    rng = np.random.default_rng(1)
    frames = []
    for path, tag in observation.frames():
        if tag == "PIXTABLE_OBJECT":
            with fits.open(path) as hdus:
                order = rng.permutation(hdus[1].data.shape[0])
                for hdu in hdus[1:]:
                    hdu.data = hdu.data[order]
                path = tmp_path / path.name
                hdus.writeto(path)
        frames.append((path, tag))
    first = reduce(observation.frames(), tmp_path / "a", save="cube")["DATACUBE_FINAL.fits"]
    second = reduce(frames, tmp_path / "b", save="cube")["DATACUBE_FINAL.fits"]
    with fits.open(first) as a, fits.open(second) as b:
        for name in ("DATA", "STAT"):
            # float64 sums in another order, stored as float32
            np.testing.assert_allclose(b[name].data, a[name].data, rtol=3e-7, atol=1e-4)


def test_opening_tables_reads_no_rows(observation, tmp_path):
    """A table of 28 GB (of nothing: the file has holes) is opened as quickly as a small one."""
    from muse_core.data.pixtable import open_pixtable

    rows, path = 10**9, tmp_path / "large.fits"
    with fits.open(observation.paths("PIXTABLE_OBJECT")[0]) as hdus, path.open("wb") as stream:
        stream.write(hdus[0].header.tostring().encode("ascii"))
        for hdu in hdus[1:8]:
            header = hdu.header.copy()
            header["NAXIS2"] = rows
            stream.write(header.tostring().encode("ascii"))
            stream.seek(-(-4 * rows // 2880) * 2880, 1)
        stream.truncate()
    started = time.process_time()
    assert open_pixtable(path).rows == rows
    assert time.process_time() - started < 2.0  # 28 GB take some ten seconds


def random_rows(n, nx, ny, nz, seed=0, value=None):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-0.4, nx - 0.6, n).astype(np.float32)
    y = rng.uniform(-0.4, ny - 0.6, n).astype(np.float32)
    lam = (5000 + 1.25 * rng.uniform(-0.4, nz - 0.6, n)).astype(np.float32)
    data = rng.normal(100, 3, n).astype(np.float32) if value is None else np.full(n, value, np.float32)
    stat = rng.uniform(1, 2, n).astype(np.float32)
    zero = np.zeros(n, np.int32)
    return Block(x, y, lam, data, zero, stat, zero, np.arange(n))


def make(block, nx, ny, nz, resampling, planes=None, cosmics=None, **kwargs):
    grid = pixel_grid(((0.0, nx - 1.0), (0.0, ny - 1.0), (5000.0, 5000.0 + 1.25 * (nz - 1))))
    plan = CubePlan(grid, (0.0, 0.0), resampling, cosmics, **kwargs)

    def gather(low, high):
        return block.select((block.lam >= low) & (block.lam <= high))

    slabs = list(
        cube_slabs(
            [Contribution(gather, len(block))], plan, team=Threads(2), memory_bytes=10**8, planes=planes
        )
    )
    return np.concatenate([s.data for s in slabs]), np.concatenate([s.stat for s in slabs]), slabs


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("planes", [1, 3, None])
def test_slab_height_changes_no_bit(method, planes):
    block = random_rows(6000, 9, 8, 10)
    cosmics = CosmicRejection("median", 4.0, NOT_SAME_Y)
    whole = make(block, 9, 8, 10, Resampling(method, ld=2), cosmics=cosmics)
    parts = make(block, 9, 8, 10, Resampling(method, ld=2), planes, cosmics=cosmics)
    assert whole[0].tobytes() == parts[0].tobytes()
    assert whole[1].tobytes() == parts[1].tobytes()


@pytest.mark.parametrize("statistics", ["median", "mean", "iraf"])
@pytest.mark.parametrize("as_c", [False, True])
def test_lines_looked_at_together_change_no_cosmic_ray(statistics, as_c, monkeypatch):
    block = random_rows(9000, 9, 23, 10)
    block.data[::97] += 30.0
    block.data[5:400:90] = np.nan
    kwargs = {
        "cosmics": CosmicRejection(statistics, 4.0, NOT_SAME_Y),
        "defects": Defects(rejection_by_bare_statistics=as_c, flagged_rows_in_rejection=as_c),
    }
    whole = make(block, 9, 23, 10, Resampling("drizzle"), 3, **kwargs)
    monkeypatch.setattr(slabs, "_ROWS_AT_ONCE", 1)
    monkeypatch.setattr(slabs, "_LEAST_LINES", 4)
    parts = make(block, 9, 23, 10, Resampling("drizzle"), 3, **kwargs)
    assert sum(slab.cosmics for slab in whole[2]) > 20
    assert [slab.cosmics for slab in whole[2]] == [slab.cosmics for slab in parts[2]]
    assert whole[0].tobytes() == parts[0].tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_constant_field_stays_constant(method):
    data, _, _ = make(random_rows(8000, 9, 8, 10, value=7.5), 9, 8, 10, Resampling(method))
    assert np.isfinite(data).mean() > 0.99
    np.testing.assert_allclose(data[np.isfinite(data)], 7.5, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_variance_scales_with_the_square(method):
    block = random_rows(4000, 6, 6, 6)
    data, stat, _ = make(block, 6, 6, 6, Resampling(method))
    scaled = block.copy()
    scaled.data *= 4
    scaled.stat *= 16
    data4, stat4, _ = make(scaled, 6, 6, 6, Resampling(method))
    np.testing.assert_array_equal(data4, 4 * data)
    np.testing.assert_array_equal(stat4, 16 * stat)


def test_drizzle_with_full_pixels_conserves_flux():
    """One row per voxel on its centre, pixfrac 1: the cube is the input."""
    z, y, x = np.mgrid[0:5, 0:6, 0:7]
    values = np.random.default_rng(3).normal(size=x.size).astype(np.float32)
    zero = np.zeros(x.size, np.int32)
    block = Block(
        x.ravel().astype(np.float32), y.ravel().astype(np.float32),
        (5000 + 1.25 * z.ravel()).astype(np.float32),
        values, zero, np.ones(x.size, np.float32), zero, np.arange(x.size),
    )  # fmt: skip
    data, stat, _ = make(block, 7, 6, 5, Resampling("drizzle", (1.0, 1.0, 1.0)))
    np.testing.assert_array_equal(data.ravel(), values)
    np.testing.assert_array_equal(stat, 1.0)


def test_drizzle_weights_by_hand():
    """Two rows in a voxel, offset in x by 0 and 0.5 pixels, pixfrac 0.6: overlaps 0.6 and 0.3 of it."""
    f4 = np.float32
    rows = Block(
        np.array([1.0, 1.49], f4), np.array([1.0, 1.0], f4), np.array([5001.25, 5001.25], f4),
        np.array([10.0, 40.0], f4), np.zeros(2, np.int32), np.array([1.0, 4.0], f4), np.zeros(2, np.int32),
        np.arange(2),
    )  # fmt: skip
    data, stat, _ = make(rows, 3, 3, 3, Resampling("drizzle", (0.6, 0.6, 0.6)))
    w = np.array([0.6, 0.8 - float(np.float32(1.49) - 1)])
    assert data[1, 1, 1] == pytest.approx((w @ [10.0, 40.0]) / w.sum(), rel=1e-6)
    assert stat[1, 1, 1] == pytest.approx((w**2 @ [1.0, 4.0]) / w.sum() ** 2, rel=1e-6)
    assert np.isnan(data[0]).all()


def slow_flags(block, nx, ny, nz, sigma):
    """Twin of the median rule in plain numpy."""
    ix, iy = np.floor(block.xpos + 0.5).astype(int), np.floor(block.ypos + 0.5).astype(int)
    iz = np.floor((block.lam.astype(float) - 5000) / 1.25 + 0.5).astype(int)
    found = np.zeros(len(block), bool)
    for x, y, z in {*zip(ix, iy, iz)}:
        own = (ix == x) & (iy == y) & (iz == z)
        near = (abs(ix - x) < 2) & (abs(iy - y) == 1) & (abs(iz - z) < 2)
        sample = block.data[(own | near) & (block.dq == 0)].astype(float)
        if sample.size >= 2:
            centre = np.median(sample)
            limit = centre + sigma * np.median(np.abs(sample - centre))
            found |= own & (block.data > limit)
    return found


def test_cosmic_rays_equal_the_slow_twin():
    block = random_rows(1500, 7, 6, 5, seed=4)
    block.dq[::17] = 1
    block.data[::101] += 60
    _, _, slabs = make(
        block, 7, 6, 5, Resampling(), 2, CosmicRejection("median", 6.0, NOT_SAME_Y), report_flags=True
    )
    flagged = np.sort(np.concatenate([s.flagged[0] for s in slabs]))
    np.testing.assert_array_equal(flagged, np.flatnonzero(slow_flags(block, 7, 6, 5, 6.0)))
    assert flagged.size > 10


def test_cosmic_rays_hidden_in_one_voxel():
    """Many rows in one voxel (more than the kernel's first buffer)."""
    n = 700
    data = np.ones(n, np.float32)
    data[5] = 100.0
    flags = np.zeros(n, np.uint8)
    starts = np.array([0, n], np.int32)
    flag_cosmics(data, data, np.zeros(n, np.int32), starts, 1, 1, 1, 0, 1, MEDIAN, 5.0, 0, flags)
    assert np.flatnonzero(flags).tolist() == [5]


def test_projection_round_trip():
    xi, eta = np.meshgrid(np.linspace(-0.02, 0.02, 5), np.linspace(-0.02, 0.02, 5))
    for ra0, dec0 in ((150.0, -30.0), (0.001, 89.0), (359.999, 0.0)):
        ra, dec = deproject(xi, eta, ra0, dec0)
        back = project(ra, dec, ra0, dec0)
        np.testing.assert_allclose(back[0], xi, atol=1e-12)
        np.testing.assert_allclose(back[1], eta, atol=1e-12)


def test_identity_offsets_change_nothing(observation, tmp_path):
    dates = [fits.getheader(p)["DATE-OBS"] for p in observation.paths("PIXTABLE_OBJECT")]
    columns = [
        fits.Column("DATE_OBS", "23A", array=sorted(set(dates))),
        fits.Column("RA_OFFSET", "D", unit="deg", array=np.zeros(2)),
        fits.Column("DEC_OFFSET", "D", unit="deg", array=np.zeros(2)),
        fits.Column("FLUX_SCALE", "D", array=[1.0, np.nan]),
    ]
    path = tmp_path / "offsets.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(path)
    plain = reduce(observation.frames(without=("OFFSET_LIST",)), tmp_path / "plain")
    zero = reduce([*observation.frames(without=("OFFSET_LIST",)), (path, "OFFSET_LIST")], tmp_path / "zero")
    same_bits(plain, zero)

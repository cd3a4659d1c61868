# SPDX-License-Identifier: BSD-3-Clause
"""Errors of apertures on simulated cubes against the truth: STAT alone, and STAT with COVARIANCE.

``python benchmarks/truth_noise.py [--draws 1000] [--methods drizzle ...]`` prints a table in Markdown for
docs/validation.md. A cube of an empty field is made by muse_scipost, then the noise of its rows is drawn many
times from their variances and sent through the same resampling. Each cell is the root mean square of (sum /
error) over apertures and draws; ``worst`` is the largest deviation from 1 of that for one aperture.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core import aperture_variance, noise_factor
from muse_core.framework import run_recipe
from muse_core.framework.team import Threads
from muse_core.postproc.cube import make_cube
from muse_core.resampling.schedule import cube_slabs
from muse_core.resampling.voxel_layers import Contribution
from muse_core.resampling.weights import METHODS
from muse_core.simulate.exposure import Detector
from muse_core.simulate.scene import Scene
from muse_core.simulate.scipost import Simulation, simulate_scipost

STEPS = [(0.0, 0.0), (0.73, -0.41), (-0.57, 0.66)]
FIELD = {
    "ifus": (11, 12, 13), "slices": 12, "columns": 60, "lambda_range": (7070.0, 7130.0), "scene": Scene(),
    "lsf": None, "telluric": False, "detector": Detector(cosmic_rate=0.0, bad_fraction=0.0),
}  # fmt: skip
SIZES = ((1, 1), (3, 1), (5, 1), (9, 1), (1, 4), (1, 16), (3, 4), (3, 16), (9, 4), (9, 16))
APERTURES = 60


def apertures(stat: npt.NDArray, n: int, planes: int, rng: np.random.Generator) -> list[tuple[slice, ...]]:
    """Choose places of apertures that have values, and three voxels with values around them."""
    chosen: list[tuple[slice, ...]] = []
    for _ in range(100 * APERTURES):
        size = (planes, n, n)
        first = [int(rng.integers(3, side - 3 - own)) for side, own in zip(stat.shape, size)]
        box = tuple(slice(a, a + own) for a, own in zip(first, size))
        if np.isfinite(stat[tuple(slice(side.start - 3, side.stop + 3) for side in box)]).all():
            chosen.append(box)
        if len(chosen) == APERTURES:
            break
    return chosen


def held_in_memory(part: Contribution) -> Contribution:
    """Return a contribution whose rows have been read."""
    block = part.gather(-np.inf, np.inf)
    return Contribution(lambda *_: block, part.rows, part.weight)


def drawn_sums(parts: Sequence[Contribution], plan, boxes: list, draws: int, seed: int) -> npt.NDArray:
    """Draw the noise of all rows and resample them: sums of each aperture, float64[draws, apertures]."""
    blocks = [part.gather(-np.inf, np.inf) for part in parts]

    def noisy(block, part: Contribution) -> Contribution:
        return Contribution(
            lambda low, high: block.select((block.lam >= low) & (block.lam <= high)), len(block), part.weight
        )

    again = [noisy(block, part) for block, part in zip(blocks, parts)]
    errors = [np.sqrt(np.where(block.stat > 0, block.stat, 0.0)) for block in blocks]
    sums = np.empty((draws, len(boxes)))
    rng = np.random.default_rng(seed)
    for row in sums:
        for block, error in zip(blocks, errors):
            block.data[:] = error * rng.standard_normal(error.size)
        slabs = list(cube_slabs(again, plan, team=Threads(1), memory_bytes=10**9))
        cube = np.concatenate([slab.data for slab in slabs])
        row[:] = [cube[box].sum(dtype=float) for box in boxes]
    return sums


def measure(method: str, sim: Simulation, folder: Path, draws: int) -> None:
    """Print the lines of one method."""
    made: dict = {}

    def keep(parts, plan, **settings):
        made["plan"] = plan
        made["parts"] = [held_in_memory(part) for part in parts]
        return cube_slabs(parts, plan, **settings)

    options = {"skymethod": "none", "rvcorr": "none", "save": "cube", "resample": method, "crsigma": 0.0}
    folder.mkdir()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        with patch.object(make_cube, "cube_slabs", keep):
            run_recipe("muse_scipost", sim.frames(), {**options, "covariance": True}, workdir=folder)
    with fits.open(folder / "DATACUBE_FINAL.fits") as hdus:
        hdus = fits.HDUList([hdu.copy() for hdu in hdus[1:]])
    stat = hdus["STAT"].data.astype(float)
    boxes = {size: apertures(stat, *size, np.random.default_rng(size)) for size in SIZES}
    every = [box for chosen in boxes.values() for box in chosen]
    sums = drawn_sums(made["parts"], made["plan"], every, draws, seed=1)
    true = np.mean(np.square(sums), axis=0)
    lines: dict[str, list[str]] = {"STAT": [], "COVARIANCE": [], "worst": [], "noise_factor": []}
    at = 0
    for (n, planes), chosen in boxes.items():
        own, at = true[at : at + len(chosen)], at + len(chosen)
        summed, expected = [], []
        for box in chosen:
            mask = np.zeros(stat.shape, bool)
            mask[box] = True
            summed.append(stat[box].sum())
            expected.append(aperture_variance(hdus, mask))
        naive, chi = np.sqrt(np.mean(own / summed)), np.sqrt(own / expected)
        worst = chi[np.argmax(np.abs(chi - 1.0))]
        factor = noise_factor(hdus, n, planes)
        for kind, value in zip(lines, (naive, np.sqrt(np.mean(own / expected)), worst, naive / factor)):
            lines[kind].append(f"{value:.2f}" if kind == "STAT" else f"{value:.3f}")
    exposures = len(made["parts"])
    for kind, cells in lines.items():
        print(f"| {method} | {exposures} | {kind} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--exposures", nargs="*", type=int, default=[1, 3])
    arguments = parser.parse_args()
    names = " | ".join(f"{n} x {n} x {planes}" for n, planes in SIZES)
    print(f"| method | exposures | error from | {names} |")
    print("|---" * (3 + len(SIZES)) + "|")
    for exposures in arguments.exposures:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            sim = simulate_scipost(
                folder / "sim", seed=0, n_exposures=exposures, dithers=STEPS[:exposures], **FIELD
            )
            for method in arguments.methods:
                measure(method, sim, folder / method, arguments.draws)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: BSD-3-Clause
"""Errors of apertures on simulated cubes against the truth: STAT alone, and STAT with COVARIANCE.

``python benchmarks/truth_noise.py [--draws 6] [--methods drizzle ...]`` prints a table in Markdown for
docs/validation.md: the rms of (sum - truth) / error over apertures in an empty field of which only the noise
differs from draw to draw, and the mean of (data - truth) / error of single voxels.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

from muse_core import aperture_variance
from muse_core.framework import run_recipe
from muse_core.resampling.weights import METHODS
from muse_core.simulate.exposure import Detector
from muse_core.simulate.scene import Scene
from muse_core.simulate.scipost import simulate_scipost

STEPS = [(0.0, 0.0), (0.73, -0.41), (-0.57, 0.66)]
FIELD = {
    "ifus": (11, 12, 13), "slices": 12, "columns": 60, "lambda_range": (7070.0, 7130.0), "scene": Scene(),
    "lsf": None, "telluric": False,
}  # fmt: skip
SIZES = ((1, 1), (3, 1), (5, 1), (9, 1), (1, 4), (1, 16), (3, 4), (3, 16), (9, 4), (9, 16))


def cube(sim, folder: Path, method: str, covariance: bool) -> fits.HDUList:
    """Reduce and return what is needed of the cube."""
    folder.mkdir(parents=True)
    options = {"skymethod": "none", "rvcorr": "none", "save": "cube", "resample": method, "crsigma": 0.0}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run_recipe("muse_scipost", sim.frames(), {**options, "covariance": covariance}, workdir=folder)
    with fits.open(folder / "DATACUBE_FINAL.fits") as hdus:
        return fits.HDUList([hdu.copy() for hdu in hdus[1:]])


def apertures(shape: tuple[int, ...], n: int, planes: int, rng: np.random.Generator):
    """Yield places of apertures inside of the field."""
    for _ in range(60):
        first = [int(rng.integers(3, size - 3 - own)) for size, own in zip(shape, (planes, n, n))]
        yield tuple(slice(a, a + own) for a, own in zip(first, (planes, n, n)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    arguments = parser.parse_args()
    names = " | ".join(f"{n} x {n} x {planes}" for n, planes in SIZES)
    print(f"| method | exposures | error from | mean of single voxels | {names} |")
    print("|---" * (4 + len(SIZES)) + "|")
    for exposures in (1, 3):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            common = {**FIELD, "n_exposures": exposures, "dithers": STEPS[:exposures]}
            quiet = Detector(cosmic_rate=0.0, bad_fraction=0.0)
            still = Detector(noise=False, cosmic_rate=0.0, bad_fraction=0.0)
            # the sky differs from seed to seed
            pairs = [
                [
                    simulate_scipost(folder / f"{kind}{seed}", seed=seed, detector=detector, **common)
                    for kind, detector in (("noisy", quiet), ("still", still))
                ]
                for seed in range(arguments.draws)
            ]
            for method in arguments.methods:
                measure(method, exposures, pairs, folder / method)


def measure(method: str, exposures: int, pairs: list, folder: Path) -> None:
    """Print the lines of one method."""
    chi: dict[str, dict] = {"STAT": {size: [] for size in SIZES}, "COVARIANCE": {size: [] for size in SIZES}}
    single = []
    for seed, (noisy, still) in enumerate(pairs):
        hdus = cube(noisy, folder / f"n{seed}", method, covariance=True)
        truth = cube(still, folder / f"s{seed}", method, covariance=False)
        error = hdus["DATA"].data.astype(float) - truth["DATA"].data
        stat = hdus["STAT"].data.astype(float)
        single.append(np.nanmean(error / np.sqrt(stat)))
        for n, planes in SIZES:
            for box in apertures(stat.shape, n, planes, np.random.default_rng([seed, n, planes])):
                if not np.isfinite(error[box]).all():
                    continue
                mask = np.zeros(stat.shape, bool)
                mask[box] = True
                chi["STAT"][n, planes].append(error[box].sum() / np.sqrt(stat[box].sum()))
                chi["COVARIANCE"][n, planes].append(error[box].sum() / np.sqrt(aperture_variance(hdus, mask)))
    for kind, values in chi.items():
        cells = " | ".join(f"{np.sqrt(np.mean(np.square(v))):.2f}" if v else "-" for v in values.values())
        print(f"| {method} | {exposures} | {kind} | {np.mean(single):.3f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()

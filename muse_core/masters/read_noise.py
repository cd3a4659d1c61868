# SPDX-License-Identifier: BSD-3-Clause
"""Read-out noise of the four quadrants from differences of bias frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.detector.calibrate import ExposureModel, QuadrantModel
from muse_core.detector.rawframe import RawFile
from muse_core.framework.errors import InputError
from muse_core.framework.kernels import njit
from muse_core.masters.sampling import seeded_centres

WINDOWS = 100
HALF = 9  # windows are 19 pixels wide
SEEDS = (1, 101, 201, 301, 401)
LARGE_ERROR = 0.1
SMALLEST = 22  # pixels of a quadrant in which the windows have room
PIXELS = WINDOWS * (2 * HALF + 1) ** 2
USUAL = (1.0, 5.0)  # count


@dataclass(frozen=True)
class ReadNoise:
    """Noise of one quadrant and its error (count), and the variance of a frame (adu**2)."""

    noise: float
    error: float
    variance: float

    @property
    def usual(self) -> bool:
        """Whether it is that of a MUSE detector."""
        return USUAL[0] <= self.noise <= USUAL[1]


@njit(cache=True, nogil=True)
def _window_deviations(
    a: np.ndarray, b: np.ndarray, level_a: np.ndarray, level_b: np.ndarray, shift_a: float, shift_b: float,
    y0: int, x0: int, centres: np.ndarray, half: int,
) -> np.ndarray:  # fmt: skip
    """Standard deviations (n-1) of the difference of two frames in windows.

    Parameters
    ----------
    a, b : uint16[ny, nx]
        Raw frames.
    level_a, level_b : float64[ny]
        Subtracted from their rows; then ``shift_a``, ``shift_b`` are added.
    y0, x0 : int
        Raw pixel at which the trimmed image begins in this quadrant.
    centres : int64[n, 2]
        x and y from 1, in the trimmed image.
    """
    n = centres.shape[0]
    size = (2 * half + 1) * (2 * half + 1)
    values = np.empty(size)
    out = np.empty(n)
    for i in range(n):
        k = 0
        total = 0.0
        for y in range(centres[i, 1] - 1 - half + y0, centres[i, 1] + half + y0):
            for x in range(centres[i, 0] - 1 - half + x0, centres[i, 0] + half + x0):
                first = np.float32(np.float32(np.float32(a[y, x]) - level_a[y]) + shift_a)
                second = np.float32(np.float32(np.float32(b[y, x]) - level_b[y]) + shift_b)
                values[k] = np.float64(np.float32(first - second))
                total += values[k]
                k += 1
        mean = total / size
        square = 0.0
        for v in values:
            square += (v - mean) ** 2
        out[i] = np.sqrt(square / (size - 1))
    return out


def row_levels(model: QuadrantModel) -> npt.NDArray[np.float64]:
    """Level that is subtracted from each row of the raw frame, zero outside of the quadrant (float64[ny])."""
    levels = np.zeros(model.quadrant.frame_shape[0])
    vertical = model.vertical
    if vertical is not None:
        levels[vertical.first : vertical.first + vertical.level.size] = vertical.level
    return levels


def _noise_of_pair(
    a: npt.NDArray[np.uint16], b: npt.NDArray[np.uint16], models: tuple[QuadrantModel, QuadrantModel]
) -> tuple[float, float]:
    """Median and scatter of the deviations in the windows.

    Measured against 2.8.7: with a large scatter other windows are tried, and the last ones count.
    """
    quadrant = models[0].quadrant
    (ty, tx), (dy, dx) = quadrant.trimmed, quadrant.data
    zone = (tx.start + 1, tx.stop, ty.start + 1, ty.stop)
    levels = [row_levels(model) for model in models]
    noise = error = 0.0
    for seed in SEEDS:
        centres = seeded_centres(zone, WINDOWS, seed)
        found = _window_deviations(
            a, b, levels[0], levels[1], models[0].shift, models[1].shift, dy.start - ty.start,
            dx.start - tx.start, centres, HALF,
        )  # fmt: skip
        noise, error = float(np.median(found)), float(found.std(ddof=1))
        if error <= LARGE_ERROR * noise:
            break
    return noise, error


def read_noise(ifu: int, raws: Sequence[RawFile], models: Sequence[ExposureModel]) -> dict[int, ReadNoise]:
    """Read-out noise by quadrant, from each bias frame and the next one.

    Parameters
    ----------
    ifu : int
    raws : sequence of RawFile
        At least two.
    models : sequence of ExposureModel
        Their overscan corrections.

    Raises
    ------
    InputError
        If the detector is too small for the windows.
    """
    small = min(min(m.quadrant.nx, m.quadrant.ny) for m in models[0].quadrants)
    if small < SMALLEST:
        raise InputError(
            raws[0].path,
            f"CHAN{ifu:02d}",
            expected=f"quadrants of at least {SMALLEST} pixels, to measure the read-out noise",
            found=small,
        )
    pairs: dict[int, list[tuple[float, float]]] = {m.quadrant.number: [] for m in models[0].quadrants}
    before = raws[0].read(ifu)
    for i in range(1, len(raws)):
        pixels = raws[i].read(ifu)
        for first, second in zip(models[i - 1].quadrants, models[i].quadrants, strict=True):
            pairs[first.quadrant.number].append(_noise_of_pair(before, pixels, (first, second)))
        before = pixels
    found = {}
    for model in models[0].quadrants:
        noises, errors = np.transpose(pairs[model.quadrant.number])
        gain = model.quadrant.gain
        noise, error = (float(gain * values.mean() / np.sqrt(2.0)) for values in (noises, errors))
        # measured against 2.8.7: the variance of a value and that of the mean of all windows
        found[model.quadrant.number] = ReadNoise(noise, error, (noise / gain) ** 2 * (1.0 + 1.0 / PIXELS))
    return found

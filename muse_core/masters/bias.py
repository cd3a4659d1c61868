# SPDX-License-Identifier: BSD-3-Clause
"""muse_bias for one IFU: overscan, levels, read-out noise, combination, bad columns, QC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from muse_core.data.header_values import single_precision
from muse_core.detector.calibrate import DQ_SATURATED, SATURATION, ExposureModel, fit_exposure
from muse_core.detector.combine import CombinePlan, combine_images
from muse_core.detector.combined import RawRows, raw_rows_of
from muse_core.detector.headers import overscan_cards
from muse_core.detector.image import BAND_ROWS, Image, MemoryImage, bands_of_halves
from muse_core.detector.overscan import OverscanStats
from muse_core.detector.plan import OverscanPlan, combine_plan, overscan_plan
from muse_core.detector.quadrants import Quadrant
from muse_core.detector.raw_sets import RawJob
from muse_core.detector.statistics import image_statistics
from muse_core.framework.defects import Defects
from muse_core.framework.errors import InputError
from muse_core.framework.kernels import njit
from muse_core.framework.products import Card
from muse_core.framework.spec import ParamValues
from muse_core.masters.bad_columns import flag_bad_columns
from muse_core.masters.read_noise import ReadNoise, read_noise, row_levels

LEAST = 3
"""Frames that make a master."""
FAR_FROM_HEADER = 10.0
"""Factor by which the noise may differ from that in the header."""


@dataclass(frozen=True)
class BiasPlan:
    """Parameters of muse_bias."""

    overscan: OverscanPlan
    combine: CombinePlan
    limits: tuple[float, float]

    @classmethod
    def from_parameters(cls, p: ParamValues) -> BiasPlan:
        """Take the plan from the recipe's parameters."""
        return cls(overscan_plan(p), combine_plan(p), (p.losigmabadpix, p.hisigmabadpix))


@dataclass(frozen=True)
class QuadrantBias:
    """Figures of one quadrant (adu; noise in count).

    Attributes
    ----------
    noise : ReadNoise
    statistics : dict of str to float
        Of the master: see `image_statistics`.
    slope : tuple of float
        Of the profiles along x and y, adu per pixel.
    levels : tuple of float
        Median of each raw frame.
    """

    noise: ReadNoise
    statistics: dict[str, float]
    slope: tuple[float, float]
    levels: tuple[float, ...]


@dataclass(frozen=True)
class BiasResult:
    """Master bias of one IFU; ``preview`` is for the quality page.

    Attributes
    ----------
    ifu : int
    image : MemoryImage
        adu.
    models : tuple of ExposureModel
        Overscan of each frame.
    quadrants : dict of int to QuadrantBias
    bad : int
        Pixels of bad columns.
    notes : tuple of str
    """

    ifu: int
    image: MemoryImage
    models: tuple[ExposureModel, ...]
    quadrants: dict[int, QuadrantBias]
    bad: int
    notes: tuple[str, ...]


def make_bias(job: RawJob, plan: BiasPlan, defects: Defects = Defects()) -> BiasResult:
    """Combine the bias frames of one IFU and find its bad columns.

    Raises
    ------
    InputError
        With the reason why it cannot be made.
    """
    models, levels = _measure(job, plan.overscan, defects)
    noise = read_noise(job.ifu, job.raws, models)
    image = _combine(job, models, noise, plan.combine)
    layout = [model.quadrant for model in models[0].quadrants]
    figures = {
        q.number: QuadrantBias(
            noise[q.number], image_statistics(image.data[q.trimmed]), slopes(image.data[q.trimmed]),
            tuple(levels[q.number]),
        )
        for q in layout
    }  # fmt: skip
    in_adu = {q.number: noise[q.number].noise / q.gain for q in layout}
    if defects.column_noise_in_count:
        in_adu = {number: own.noise for number, own in noise.items()}
    bad = flag_bad_columns(image.data, image.dq, layout, in_adu, plan.limits)
    notes = dict.fromkeys(note for model in models for note in model.notes)
    told = (*notes, *_unlike_the_header(job, layout, noise))
    return BiasResult(
        job.ifu, MemoryImage(image), models, figures, bad, tuple(f"IFU {job.ifu}: {note}" for note in told)
    )


def _unlike_the_header(
    job: RawJob, quadrants: Sequence[Quadrant], noise: Mapping[int, ReadNoise]
) -> Iterator[str]:
    """Tell quadrants whose noise is far from what the headers say: one of the frames is no bias."""
    for quadrant in quadrants:
        own, stated = noise[quadrant.number].noise, quadrant.ron
        if stated > 0.0 and not stated / FAR_FROM_HEADER < own < stated * FAR_FROM_HEADER:
            yield (
                f"read-out noise of {own:.3g} count in quadrant {quadrant.number}, {stated:.3g} stated "
                f"(ESO DET OUT{quadrant.number} RON): a frame is unlike the others, or none is a bias; "
                f"look at {', '.join(raw.path.name for raw in job.raws)}"
            )


def _measure(
    job: RawJob, plan: OverscanPlan, defects: Defects
) -> tuple[tuple[ExposureModel, ...], dict[int, list[float]]]:
    """Overscan corrections of all frames, and the median level of each quadrant of the raw frames."""
    models: list[ExposureModel] = []
    levels: dict[int, list[float]] = {}
    for raw in job.raws:
        pixels = raw.read(job.ifu)
        model = fit_exposure(pixels, raw.quadrants[job.ifu], job.own.bad, plan)
        if models and plan.correct.method == "none":
            _check_level(raw.path.name, model, models[0], plan.sigma)
        models.append(model)
        for quadrant in raw.quadrants[job.ifu]:
            levels.setdefault(quadrant.number, []).append(integer_median(pixels[quadrant.data]))
    if plan.correct.method == "offset":
        models = _shifted(models, defects)
    return tuple(models), levels


def _check_level(name: str, model: ExposureModel, first: ExposureModel, sigma: float) -> None:
    """Without a correction the levels of all frames must be those of the first one."""
    for own, reference in zip(model.quadrants, first.quadrants, strict=True):
        limit = abs(sigma) * reference.stats.stdev
        if abs(own.stats.mean - reference.stats.mean) > limit:
            raise InputError(
                name,
                f"overscan level of quadrant {own.quadrant.number}",
                expected=f"{reference.stats.mean:.2f} adu as in the first frame, within {limit:.2f}",
                found=f"{own.stats.mean:.2f}",
                remedy="Leave the frame out, or use overscan=vpoly or overscan=offset.",
            )


def _shifted(models: Sequence[ExposureModel], defects: Defects) -> list[ExposureModel]:
    """Bring the frames to the level of the first one (``overscan=offset``).

    Measured against 2.8.7: there the first frame is brought to the level of the last one, and the others stay
    as they are.
    """
    first, last = models[0], models[-1]
    shifted = []
    for i, model in enumerate(models):
        if defects.first_bias_shifted_only:
            target, source = (last, first) if i == 0 else (model, model)
        else:
            target, source = first, model
        quadrants = tuple(
            replace(own, shift=to.stats.mean - now.stats.mean)
            for own, to, now in zip(model.quadrants, target.quadrants, source.quadrants, strict=True)
        )
        shifted.append(replace(model, quadrants=quadrants))
    return shifted


def integer_median(pixels: npt.NDArray[np.uint16]) -> float:
    """Median of 16-bit numbers, from their histogram.

    >>> integer_median(np.array([[3, 1], [2, 9]], np.uint16))
    2.5
    """
    below = np.cumsum(np.bincount(pixels.reshape(-1), minlength=1 << 16))
    low, high = np.searchsorted(below, [(pixels.size - 1) // 2, pixels.size // 2], side="right")
    return 0.5 * (float(low) + float(high))


@njit(cache=True, nogil=True)
def _prepare(
    raw: np.ndarray, level: np.ndarray, shift: float, variance: float, x0: int, nx: int, to: int,
    data: np.ndarray, stat: np.ndarray, dq: np.ndarray,
) -> None:  # fmt: skip
    """Rows of one quadrant: uint16 to float32, overscan level away, saturated pixels flagged."""
    v = np.float32(variance)
    for y in range(raw.shape[0]):
        for x in range(nx):
            value = raw[y, x0 + x]
            data[y, to + x] = np.float32(np.float32(np.float32(value) - level[y]) + shift)
            stat[y, to + x] = v
            saturated = (value > np.uint16(SATURATION)) | (value == np.uint16(0))
            dq[y, to + x] = np.int32(DQ_SATURATED) if saturated else np.int32(0)


def _combine(
    job: RawJob, models: Sequence[ExposureModel], noise: dict[int, ReadNoise], plan: CombinePlan
) -> Image:
    """Combine the frames; all values of a quadrant have the variance that its noise gives."""
    ny, nx = job.own.shape
    n = len(job.raws)
    image = Image.empty((ny, nx))
    rows = RawRows(job.ifu, job.raws)
    levels = [{m.quadrant.number: row_levels(m) for m in model.quadrants} for model in models]
    shape = (n, min(BAND_ROWS, ny), nx)
    data, stat, dq = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.int32)
    for first, last in bands_of_halves(ny):
        count = last - first
        part = Image(data[:, :count], stat[:, :count], dq[:, :count])
        for i, model in enumerate(models):
            quadrants = [own.quadrant for own in model.quadrants]
            begin, end = raw_rows_of(quadrants, first, last)
            raw = rows.of(i, begin, end)
            for own in model.quadrants:
                q = own.quadrant
                if not q.trimmed[0].start <= first < q.trimmed[0].stop:
                    continue
                _prepare(
                    raw, levels[i][q.number][begin:end], own.shift, noise[q.number].variance,
                    q.data[1].start, q.nx, q.trimmed[1].start, part.data[i], part.stat[i], part.dq[i],
                )  # fmt: skip
                _add_bad_pixels(model, q, (begin, end), part.dq[i])
        combine_images(*part, plan, *image.rows(first, last))
    return image


def _add_bad_pixels(
    model: ExposureModel, quadrant: Quadrant, rows: tuple[int, int], dq: npt.NDArray[np.int32]
) -> None:
    """Flag known bad pixels in some raw rows of a quadrant."""
    for table in model.bad:
        y, x = table.y - 1 - rows[0], table.x - 1 - quadrant.data[1].start
        inside = (y >= 0) & (y < rows[1] - rows[0]) & (x >= 0) & (x < quadrant.nx)
        place = y[inside], x[inside] + quadrant.trimmed[1].start
        np.bitwise_or.at(dq, place, table.status[inside])


def slopes(part: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Slopes of the mean profiles along x and y (float32[ny, nx]), per pixel.

    Measured against 2.8.7: the profile along x comes from sums in single precision, row by row, the one
    along y from sums in double precision.
    """
    along_x = np.zeros(part.shape[1], np.float32)
    for row in part:
        along_x += row
    along_x /= np.float32(part.shape[0])
    along_y = part.mean(axis=1, dtype=np.float64).astype(np.float32)
    return _slope(along_x), _slope(along_y)


def _slope(profile: npt.NDArray[np.float32]) -> float:
    place = np.arange(profile.size) - (profile.size - 1) / 2
    return float((place * profile).sum() / max((place * place).sum(), 1.0))


STATISTICS = {
    "MEDIAN": "Median value of master bias",
    "MEAN": "Mean value of master bias",
    "STDEV": "Standard deviation of master bias",
    "MIN": "Minimum value of master bias",
    "MAX": "Maximum value of master bias",
}


def bias_cards(result: BiasResult) -> list[Card]:
    """QC and DRS keywords of a master bias."""
    qc = "ESO QC BIAS"
    cards: list[Card] = [
        (f"{qc} INPUT{i} NSATURATED", model.nsaturated, f"Number of saturated pixels in raw bias {i}")
        for i, model in enumerate(result.models, 1)
    ]
    for number, own in result.quadrants.items():
        name, where = f"{qc} MASTER{number}", f"in quadrant {number}"
        cards += [
            (f"{name} RON", single_precision(own.noise.noise), f"[count] Read-out noise {where}"),
            (f"{name} RONERR", single_precision(own.noise.error), f"[count] Its error {where}"),
        ]
        for key, text in STATISTICS.items():
            cards.append((f"{name} {key}", single_precision(own.statistics[key]), f"{text} {where}"))
        for axis, slope in zip("XY", own.slope, strict=True):
            text = f"[adu/pix] Slope along {axis.lower()} {where}"
            cards.append((f"{name} SLOPE {axis}", single_precision(slope), text))
        levels = np.array(own.levels)
        for key, value, text in (
            ("MEAN", levels.mean(), "Mean"),
            ("STDEV", levels.std(ddof=1), "Standard deviation"),
            ("MEDIAN", np.median(levels), "Median"),
        ):
            comment = f"[adu] {text} of the raw median values {where}"
            cards.append((f"{qc} LEVEL{number} {key}", single_precision(float(value)), comment))
    cards += [
        (f"{qc} MASTER NBADPIX", result.bad, "Pixels of bad columns"),
        (f"{qc} MASTER NSATURATED", result.image.nsaturated, "Number of saturated pixels in output data"),
    ]
    return [*cards, *overscan_cards(_level_of_master(result.models))]


def _level_of_master(models: Sequence[ExposureModel]) -> ExposureModel:
    """Overscan that the header of the master tells.

    Measured against 2.8.7: that of the first frame (after its shift), but for ``overscan=none`` the mean
    level of all frames, and an error that holds their drift.
    """
    first = models[0]
    if any(own.vertical is not None or own.shift for model in models for own in model.quadrants):
        return first
    quadrants = []
    for k, own in enumerate(first.quadrants):
        mean = np.array([model.quadrants[k].stats.mean for model in models])
        stdev = np.array([model.quadrants[k].stats.stdev for model in models])
        error = np.sqrt((stdev**2).sum() + ((mean - mean[0]) ** 2).sum()) / len(models)
        stats = OverscanStats(float(mean.mean()), float(error), own.stats.count)
        quadrants.append(replace(own, stats=stats))
    return replace(first, quadrants=tuple(quadrants))

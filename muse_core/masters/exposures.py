# SPDX-License-Identifier: BSD-3-Clause
"""Exposures of one IFU to one image in memory, with the statistics of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muse_core.data.header_values import single_precision
from muse_core.detector.calibrate import ExposureModel
from muse_core.detector.combine import CombinePlan
from muse_core.detector.combined import (
    combined_bands,
    exposure_notes,
    measure_overscan,
    scale_factors,
)
from muse_core.detector.image import BAND_ROWS, Image
from muse_core.detector.plan import DetectorPlan
from muse_core.detector.raw_sets import RawJob
from muse_core.detector.statistics import StreamedStatistics, image_statistics
from muse_core.framework.products import Card

SAMPLED_BANDS = 16


@dataclass(frozen=True)
class CombinedExposures:
    """The combined image of an IFU.

    Attributes
    ----------
    image : Image
        In count, in the scale of the first exposure.
    models : tuple of ExposureModel
    statistics : tuple of dict
        Of each exposure as it was combined (`image_statistics`); empty if they were not asked for.
    notes : tuple of str
        Warnings.
    """

    image: Image
    models: tuple[ExposureModel, ...]
    statistics: tuple[dict[str, float], ...]
    notes: tuple[str, ...]


def combine_exposures(job: RawJob, plan: DetectorPlan, *, statistics: bool) -> CombinedExposures:
    """Calibrate and combine the exposures of an IFU.

    Raises
    ------
    InputError
        With the reason why it cannot be made.
    """
    factors = scale_factors(job, plan.scale)
    models = measure_overscan(job, plan.overscan)
    image = Image.empty(job.own.shape)
    streams = _streams(job, models, plan.combine, factors) if statistics else []
    for first, exposures, combined in combined_bands(job, models, plan.combine, factors):
        for plane, new in zip(image, combined, strict=True):
            plane[first : first + new.shape[0]] = new
        for stream, data in zip(streams, exposures.data, strict=False):
            stream.add(np.ascontiguousarray(data))
    found = tuple(
        stream.finish() or _all_at_once(job, models, plan.combine, factors, i)
        for i, stream in enumerate(streams)
    )
    return CombinedExposures(image, models, found, tuple(exposure_notes(job, models)))


def _streams(
    job: RawJob, models: Sequence[ExposureModel], plan: CombinePlan, factors: Sequence[float]
) -> list[StreamedStatistics]:
    """Look at some bands, to know where the medians are."""
    ny, nx = job.own.shape
    every = max(ny // (BAND_ROWS * SAMPLED_BANDS), 1)
    samples: list[list[np.ndarray]] = [[] for _ in models]
    for _, exposures, _ in combined_bands(job, models, plan, factors, every):
        for sample, data in zip(samples, exposures.data, strict=True):
            sample.append(data[::4, ::3].ravel())
    return [StreamedStatistics(np.concatenate(sample), ny * nx) for sample in samples]


def _all_at_once(
    job: RawJob,
    models: Sequence[ExposureModel],
    plan: CombinePlan,
    factors: Sequence[float],
    number: int,
) -> dict[str, float]:
    """Statistics of one exposure whose median is not where the sample says."""
    data = np.empty(job.own.shape, np.float32)
    for first, exposures, combined in combined_bands(job, models, plan, factors):
        data[first : first + combined.data.shape[0]] = exposures.data[number]
    return image_statistics(data)


NAMES = {
    "MEDIAN": "Median value of",
    "MEAN": "Mean value of",
    "STDEV": "Standard deviation of",
    "MIN": "Minimum value of",
    "MAX": "Maximum value of",
}


def statistics_cards(prefix: str, found: dict[str, float], what: str) -> list[Card]:
    """QC keywords of the statistics of one image."""
    return [
        (f"{prefix} {key}", single_precision(found[key]), f"{text} {what}") for key, text in NAMES.items()
    ]

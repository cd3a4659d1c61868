# SPDX-License-Identifier: BSD-3-Clause
"""muse_dark for one IFU: combination, hot pixels, normalisation, dark current, QC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from muse_core.data.header_values import single_precision
from muse_core.detector.headers import IfuHeader, overscan_cards
from muse_core.detector.image import Image, MemoryImage
from muse_core.detector.plan import DetectorPlan
from muse_core.detector.quadrants import Quadrant
from muse_core.detector.raw_sets import RawJob
from muse_core.framework.errors import InputError, ParameterError
from muse_core.framework.products import Card, set_card
from muse_core.framework.spec import ParamValues
from muse_core.masters.exposures import (
    CombinedExposures,
    combine_exposures,
    statistics_cards,
)
from muse_core.masters.sampling import centres_of_run, window_means

DQ_HOT, DQ_LOW = 0x100, 0x2000
WINDOWS, HALF = 300, 9
HOUR = 3600.0
SMALLEST = 24  # pixels of a detector in which the windows have room


@dataclass(frozen=True)
class DarkPlan:
    """Parameters of muse_dark; a ``normalize`` of zero or less leaves the time of the first exposure."""

    detector: DetectorPlan
    normalize: float
    hotsigma: float

    @classmethod
    def from_parameters(cls, p: ParamValues) -> DarkPlan:
        """Take the plan from the recipe's parameters."""
        return cls(DetectorPlan.from_parameters(p), p.normalize, p.hotsigma)


def check_model(p: ParamValues) -> None:
    """Refuse the model of the dark (``model``), which is not made here.

    Raises
    ------
    ParameterError
    """
    if p.model:
        raise ParameterError(
            "parameter model=true: a MODEL_DARK is not made here. The C recipe fits two stripes, a plane and "
            "the four corners one after the other, and rejects pixels between these fits by rules that are "
            "not known (docs/algorithms/masters.md). Leave model=false, or use the C recipe; MASTER_DARK is "
            "the same"
        )


@dataclass(frozen=True)
class DarkResult:
    """Master dark of one IFU.

    Attributes
    ----------
    ifu : int
    image : MemoryImage
        In count, per `exptime`.
    exposures : CombinedExposures
        Their image is the same memory, normalised by now.
    exptime : float
        Seconds.
    bad : int
        Hot pixels (and flagged ones below all good ones).
    statistics : dict of str to float
        Of good pixels.
    current, error : float
        Count per hour: median and scatter of the means of 300 windows.
    """

    ifu: int
    image: MemoryImage
    exposures: CombinedExposures
    exptime: float
    bad: int
    statistics: dict[str, float]
    current: float
    error: float


def make_dark(job: RawJob, plan: DarkPlan, number: int = 0) -> DarkResult:
    """Combine the darks of one IFU, find its hot pixels and measure the dark current.

    Parameters
    ----------
    job : RawJob
    plan : DarkPlan
    number : int
        Sets of windows that were drawn before (see `centres_of_run`).

    Raises
    ------
    InputError
        With the reason why it cannot be made.
    """
    first = job.raws[0]
    if not first.exptime > 0:
        raise InputError(first.path, "EXPTIME", expected="a positive time", found=first.exptime)
    if min(job.own.shape) < SMALLEST:
        raise InputError(
            first.path, f"CHAN{job.ifu:02d}", expected=f"at least {SMALLEST} pixels", found=job.own.shape
        )
    exposures = combine_exposures(job, plan.detector, statistics=False)
    image = exposures.image
    layout = [model.quadrant for model in exposures.models[0].quadrants]
    bad = flag_hot_pixels(image, layout, plan.hotsigma)
    exptime = first.exptime
    if plan.normalize > 0:
        factor = plan.normalize / exptime
        image.data[...] = image.data * factor
        image.stat[...] = image.stat * (factor * factor)
        exptime = plan.normalize
    good = image.data[image.dq == 0].astype(np.float64)
    if good.size < 2:
        raise InputError("", f"IFU {job.ifu}: combined dark", expected="unflagged pixels", found="none")
    statistics = {
        "MEDIAN": float(np.median(good)),
        "MEAN": float(good.mean()),
        "STDEV": float(good.std(ddof=1)),
        "MIN": float(good.min()),
        "MAX": float(good.max()),
    }
    del good
    ny, nx = image.data.shape
    means = window_means(image.data, image.dq, centres_of_run((0, nx, 0, ny), WINDOWS, number), HALF)
    means = means[np.isfinite(means)] * (HOUR / exptime)
    current, error = (float(np.median(means)), float(means.std(ddof=1))) if means.size > 1 else (0.0, 0.0)
    return DarkResult(
        job.ifu, MemoryImage(image), exposures, exptime, bad, statistics, current, error
    )  # fmt: skip


def flag_hot_pixels(image: Image, quadrants: Sequence[Quadrant], sigma: float) -> int:
    """Flag hot pixels in place (DQ 0x100) and return the number of pixels that were found.

    Measured against 2.8.7: the limit of a quadrant is its median and ``sigma`` mean absolute deviations of
    the good pixels; pixels that are flagged already are found, too, and of these the ones below all good
    ones get 0x2000.
    """
    found = 0
    for quadrant in quadrants:
        data: npt.NDArray[np.float32] = image.data[quadrant.trimmed]
        dq: npt.NDArray[np.int32] = image.dq[quadrant.trimmed]
        good = data[dq == 0].astype(np.float64)
        if not good.size:
            continue
        centre = float(np.median(good))
        spread = float(np.abs(good - centre).mean())
        hot, low = data > centre + sigma * spread, data < good.min()
        dq[hot] |= DQ_HOT
        dq[low] |= DQ_LOW
        found += int(np.count_nonzero(hot)) + int(np.count_nonzero(low))
    return found


def dark_header(header: IfuHeader, result: DarkResult, plan: DarkPlan) -> IfuHeader:
    """The header with the exposure time of the master."""
    base = header.base.copy()
    text = "[s] Master dark normalized to this exposure time" if plan.normalize > 0 else ""
    set_card(base, "EXPTIME", result.exptime, text)
    return replace(header, base=base)


def dark_cards(result: DarkResult) -> list[Card]:
    """QC and DRS keywords of a master dark."""
    qc = "ESO QC DARK"
    cards: list[Card] = [
        (f"{qc} INPUT{i} NSATURATED", model.nsaturated, f"Number of saturated pixels in raw dark {i}")
        for i, model in enumerate(result.exposures.models, 1)
    ]
    cards.append((f"{qc} MASTER NBADPIX", result.bad, "Number of hot pixels"))
    cards += statistics_cards(f"{qc} MASTER", result.statistics, "good pixels of the master dark")
    cards += [
        (f"{qc} MASTER DC", single_precision(result.current), "[count/pix/h] Dark current"),
        (f"{qc} MASTER DCERR", single_precision(result.error), "[count/pix/h] Its scatter over the detector"),
    ]
    text = "Number of saturated pixels in output data"
    cards.append((f"{qc} MASTER NSATURATED", result.image.nsaturated, text))
    return [*cards, *overscan_cards(result.exposures.models[0])]

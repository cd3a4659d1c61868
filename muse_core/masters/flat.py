# SPDX-License-Identifier: BSD-3-Clause
"""muse_flat for one IFU: combination, traces of the slices, normalisation, bad pixels, QC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.data.header_values import single_precision
from muse_core.detector.combine import interpolate_bad
from muse_core.detector.headers import overscan_cards
from muse_core.detector.image import Image, MemoryImage
from muse_core.detector.master_products import Column
from muse_core.detector.plan import DetectorPlan
from muse_core.detector.raw_sets import RawJob
from muse_core.detector.statistics import image_statistics
from muse_core.detector.tables import NSLICE
from muse_core.framework.defects import Defects
from muse_core.framework.errors import InputError
from muse_core.framework.products import Card
from muse_core.framework.spec import ParamValues
from muse_core.masters.exposures import (
    CombinedExposures,
    combine_exposures,
    statistics_cards,
)
from muse_core.masters.flat_pixels import FlatPixels, flag_flat_pixels
from muse_core.masters.slice_search import find_slices
from muse_core.masters.trace_fit import USUAL_WIDTH, SliceTrace, Trace, fit_traces, steepest
from muse_core.masters.trace_samples import trace_samples

QC_ROWS = 100  # above and below the middle row, for the level of a slice
STEEP = 0.015  # slope of a trace from which it is told
NAMED_WIDTHS = (3, 10, 39, 46)  # slices at the corners of the field
NULL_SLICE = 0


@dataclass(frozen=True)
class FlatPlan:
    """Parameters of muse_flat."""

    detector: DetectorPlan
    normalize: bool
    trace: bool
    nsum: int
    order: int
    edgefrac: float
    limits: tuple[float, float]

    @classmethod
    def from_parameters(cls, p: ParamValues) -> FlatPlan:
        """Take the plan from the recipe's parameters."""
        return cls(
            DetectorPlan.from_parameters(p), p.normalize, p.trace, p.nsum, p.order, p.edgefrac,
            (p.losigmabadpix, p.hisigmabadpix),
        )  # fmt: skip


@dataclass(frozen=True)
class FlatResult:
    """Master flat of one IFU.

    Attributes
    ----------
    ifu : int
    image : MemoryImage
    exposures : CombinedExposures
        Their image is the same memory, normalised by now.
    statistics : dict of str to float
        Of the combined image in count.
    levels : dict of int to tuple of float
        Mean and scatter (count) of each slice about the middle row.
    trace : Trace or None
    pixels : FlatPixels or None
    notes : tuple of str
    """

    ifu: int
    image: MemoryImage
    exposures: CombinedExposures
    statistics: dict[str, float]
    levels: dict[int, tuple[float, float]]
    trace: Trace | None
    pixels: FlatPixels | None
    notes: tuple[str, ...]


def make_flat(job: RawJob, plan: FlatPlan, defects: Defects = Defects()) -> FlatResult:
    """Combine the lamp flats of one IFU, trace its slices and find its bad pixels.

    Raises
    ------
    InputError
        With the reason why it cannot be made.
    """
    exposures = combine_exposures(job, plan.detector, statistics=True)
    image = exposures.image
    statistics = image_statistics(image.data)
    mean = statistics["MEAN"]
    if not (np.isfinite(mean) and mean > 0):
        raise InputError("", f"IFU {job.ifu}: mean of the combined flat", expected="light", found=f"{mean:g}")
    notes = list(exposures.notes)
    trace, levels = None, {}
    if plan.trace:
        trace = _trace(image, plan, defects)
        notes += [f"IFU {job.ifu}: {note}" for note in _trace_notes(trace, job.own.shape[0])]
        levels = slice_levels(image.data, trace)
    if plan.normalize:
        image.data[...] = image.data / mean
        image.stat[...] = image.stat / (mean * mean)
    pixels = None
    if trace is not None:
        scale = 1.0 if plan.normalize else mean
        pixels = flag_flat_pixels(image.data, image.dq, trace, plan.limits, scale)
    return FlatResult(job.ifu, MemoryImage(image), exposures, statistics, levels, trace, pixels, tuple(notes))


def _trace(image: Image, plan: FlatPlan, defects: Defects) -> Trace:
    """Find the slices and fit their edges; flagged pixels are filled first."""
    filled = image.data.copy()
    interpolate_bad(filled, image.dq)
    guess = find_slices(filled, plan.nsum, plan.edgefrac)
    samples = trace_samples(
        filled, guess, plan.nsum, plan.edgefrac, border_lost=defects.slices_at_border_lost
    )
    trace = fit_traces(samples, plan.order, widths_shift=defects.widths_of_other_rows)
    if trace.lost and not defects.lost_slices_written:
        raise InputError(
            "",
            f"traces of slice {', '.join(map(str, trace.lost))}",
            expected=f"more than {plan.order} places where both edges are found (order={plan.order})",
            found="fewer",
            remedy="Are there flats with more light? Else lower order or nsum.",
        )
    return trace


def _trace_notes(trace: Trace, ny: int) -> list[str]:
    """What is odd about the traces."""
    notes = []
    for number, own in enumerate(trace.slices, 1):
        if own is None:
            notes.append(f"slice {number}: the edges could not be traced")
            continue
        slope = steepest(own, ny)
        if abs(slope) > STEEP:
            notes.append(f"slice {number}: unusual slope of {slope:.4f}")
        if not USUAL_WIDTH[0] <= own.width <= USUAL_WIDTH[1]:
            notes.append(f"slice {number}: unusual width of {own.width:.2f} pixels")
    return notes


def slice_levels(data: npt.NDArray[np.float32], trace: Trace) -> dict[int, tuple[float, float]]:
    """Mean and standard deviation (n-1) of each slice about the middle row."""
    ny, nx = data.shape
    middle = ny // 2
    first, last = max(middle - QC_ROWS, 1) - 1, min(middle + QC_ROWS, ny)
    found = {}
    for number, own in enumerate(trace.slices, 1):
        if own is None:
            continue
        left, right = (round(float(own.edge(which, float(middle)))) for which in (1, 2))
        # measured against 2.8.7: a pixel inside of both edges
        part = data[first:last, max(left, 0) : min(right - 1, nx)].astype(np.float64)
        if part.size > 1:
            found[number] = float(part.mean()), float(part.std(ddof=1))
    return found


def flat_cards(result: FlatResult) -> list[Card]:
    """QC and DRS keywords of a master flat."""
    qc = "ESO QC FLAT"
    cards: list[Card] = []
    pairs = zip(result.exposures.statistics, result.exposures.models, strict=True)
    for i, (found, model) in enumerate(pairs, 1):
        cards += statistics_cards(f"{qc} INPUT{i}", found, f"raw flat {i}")
        text = f"Number of saturated pixels in raw flat {i}"
        cards.append((f"{qc} INPUT{i} NSATURATED", model.nsaturated, text))
    cards += statistics_cards(f"{qc} MASTER", result.statistics, "the master flat before it is normalised")
    text = "Flux integrated over the whole master flat before it is normalised"
    cards.append((f"{qc} MASTER INTFLUX", single_precision(result.statistics["SUM"]), text))
    for number, (mean, scatter) in result.levels.items():
        name, where = f"{qc} MASTER SLICE{number}", f"slice {number} about its middle"
        cards.append((f"{name} MEAN", single_precision(mean), f"Mean value of {where}"))
        cards.append((f"{name} STDEV", single_precision(scatter), f"Standard deviation of {where}"))
    text = "Number of saturated pixels in output data"
    cards.append((f"{qc} MASTER NSATURATED", result.image.nsaturated, text))
    return [*cards, *overscan_cards(result.exposures.models[0])]


def trace_cards(trace: Trace, ny: int) -> list[Card]:
    """QC keywords of a trace table; places are those at the middle row."""
    qc = "ESO QC TRACE"
    cards: list[Card] = []
    middle = float(ny // 2)
    for number, own in enumerate(trace.slices, 1):
        if own is None:
            continue
        side = {1: "SLICE_L", NSLICE: "SLICE_R"}.get(number)
        if side:
            place = float(own.edge(0, middle))
            tilt = np.degrees(np.arctan((own.edge(0, float(ny)) - own.edge(0, 1.0)) / (ny - 1)))
            which = "leftmost" if number == 1 else "rightmost"
            cards += [
                (f"{qc} {side} XPOS", single_precision(place), f"[pix] Middle of the {which} slice"),
                (f"{qc} {side} TILT", single_precision(float(tilt)), f"[deg] Tilt of the {which} slice"),
            ]
        text = f"Largest slope of the edges of slice {number}"
        cards.append((f"{qc} SLICE{number} MAXSLOPE", single_precision(steepest(own, ny)), text))
        if number in NAMED_WIDTHS:
            text = f"[pix] Width of slice {number}"
            cards.append((f"{qc} SLICE{number} WIDTH", single_precision(own.width), text))
    gaps = [
        float(after.edge(1, middle) - before.edge(2, middle))
        for before, after in zip(trace.slices, trace.slices[1:], strict=False)
        if before is not None and after is not None
    ]
    widths = [own.width for own in trace.slices if own is not None]
    for name, values, what in (("GAPS", gaps, "gaps between slices"), ("WIDTHS", widths, "widths of slices")):
        found = np.array(values)
        if found.size < 2:
            continue
        for key, value, text in (
            ("MEDIAN", np.median(found), "Median of the"),
            ("MEAN", found.mean(), "Mean of the"),
            ("STDEV", found.std(ddof=1), "Standard deviation of the"),
            ("MIN", found.min(), "Smallest of the"),
            ("MAX", found.max(), "Largest of the"),
        ):
            cards.append((f"{qc} {name} {key}", single_precision(float(value)), f"[pix] {text} {what}"))
    return cards


def trace_columns(trace: Trace) -> list[Column]:
    """Columns of a TRACE_TABLE; a slice without traces is undefined."""
    empty = SliceTrace(np.full((3, trace.order + 1), np.nan), np.full(3, np.nan), float("nan"), 0)
    slices = [own or empty for own in trace.slices]
    numbers = np.ma.array(np.arange(1, NSLICE + 1, dtype=np.int32))
    numbers[[own is None for own in trace.slices]] = np.ma.masked
    columns: list[Column] = [
        ("SliceNo", numbers, "No"),
        ("Width", np.array([own.width for own in slices], np.float32), "pix"),
    ]
    for which in range(3):
        columns += [
            (f"tc{which}_{k:02d}", np.array([own.powers[which, k] for own in slices]), "pix")
            for k in range(trace.order + 1)
        ]
        columns.append((f"MSE{which}", np.array([own.square[which] for own in slices]), "pix"))
    return columns


def sample_columns(trace: Trace) -> list[Column]:
    """Columns of TRACE_SAMPLES."""
    samples = trace.samples
    middle = 0.5 * (samples.left + samples.right)
    return [
        ("slice", samples.number, ""),
        ("y", samples.y.astype(np.float32), "pix"),
        ("mid", middle.astype(np.float32), "pix"),
        ("left", samples.left.astype(np.float32), "pix"),
        ("right", samples.right.astype(np.float32), "pix"),
    ]

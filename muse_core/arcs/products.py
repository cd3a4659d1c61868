# SPDX-License-Identifier: BSD-3-Clause
"""Products of muse_wavecal: the table of solutions, residuals, images of the lamps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from muse_core.arcs.images import LampImage
from muse_core.arcs.inputs import SliceTraces
from muse_core.arcs.slices import SliceResult
from muse_core.data.header_values import single_precision
from muse_core.detector.headers import IfuHeader, overscan_cards, raw_header
from muse_core.detector.master_products import Column
from muse_core.framework.frames import Frame, Frames
from muse_core.framework.products import Card

QC = "ESO QC WAVECAL"
OF_IMAGES = ("MASTER_BIAS", "MASTER_DARK", "MASTER_FLAT", "BADPIX_TABLE")
ALL_LAMPS = 99  # the number of the image of all lamps in its keyword (as in 2.8.7)
FAILED = 0  # SliceNo of a slice without solution (undefined by TNULL, as in 2.8.7)


def header_of(made: Sequence[LampImage], frames: Frames, tags: Sequence[str]) -> IfuHeader:
    """Start the headers of the products of all lamps from the first raw frame."""
    first, ifu = made[0].job.raws[0], made[0].job.ifu
    return IfuHeader(ifu, raw_header(first.primary, first.headers[ifu]), used_by(made, frames, tags))


def named(frames: Frames, tags: Sequence[str]) -> str:
    """Return tag and file of the first frame of each of some tags, for a message."""
    return ", ".join(f"{tag} {frames[tag][0].path}" for tag in tags if frames[tag])


def used_by(made: Sequence[LampImage], frames: Frames, tags: Sequence[str]) -> list[Frame]:
    """Return the raw frames (``tags``) of some lamps, and all calibrations."""
    paths = {raw.path for one in made for raw in one.job.raws}
    return [frame for frame in frames if frame.path in paths or frame.tag not in tags]


def header_of_lamp(one: LampImage, frames: Frames) -> IfuHeader:
    """Start the headers of the image of one lamp; it names what went into it."""
    paths = {raw.path for raw in one.job.raws}
    used = [frame for frame in frames if frame.path in paths or frame.tag in OF_IMAGES]
    first, ifu = one.job.raws[0], one.job.ifu
    return IfuHeader(ifu, raw_header(first.primary, first.headers[ifu]), used)


def table_columns(slices: Sequence[SliceResult], orders: tuple[int, int]) -> list[Column]:
    """Columns of WAVECAL_TABLE: SliceNo, wlcij, MSE; NaN for a slice without solution."""
    numbers = np.array([one.number if one.solution else FAILED for one in slices], np.int32)
    powers = solutions(slices, orders)
    squares = np.array([one.solution.rms**2 if one.solution else np.nan for one in slices])
    columns: list[Column] = [("SliceNo", numbers, "No")]
    for i in range(orders[0] + 1):
        for j in range(orders[1] + 1):
            columns.append((f"wlc{i}{j}", np.ascontiguousarray(powers[:, i, j]), "Angstrom"))
    return [*columns, ("MSE", squares, "")]


def solutions(slices: Sequence[SliceResult], orders: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Coefficients of the powers of x and y: float64[48, i, j]; NaN for a slice without solution."""
    nothing = np.full((orders[0] + 1, orders[1] + 1), np.nan)
    return np.stack([one.solution.surface.powers() if one.solution else nothing for one in slices])


def failed_card(slices: Sequence[SliceResult]) -> list[Card]:
    """What marks a slice without solution in the table."""
    if all(one.solution for one in slices):
        return []
    return [("TNULL1", FAILED, "")]


def wave_map(
    slices: Sequence[SliceResult], traces: SliceTraces, shape: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Wavelength (Angstrom) of each pixel that a slice covers as a whole, 0 between them: float32[ny, nx]."""
    ny, nx = shape
    image = np.zeros(shape, np.float32)
    rows = np.arange(1, ny + 1, dtype=np.float64)
    for one in slices:
        if one.solution is None:
            continue
        left, right = traces.left[one.number - 1], traces.right[one.number - 1]
        first, last = np.maximum(np.ceil(left), 1), np.minimum(np.floor(right), nx)
        for x in range(int(first.min()), int(last.max()) + 1):
            inside = (first <= x) & (x <= last)
            image[inside, x - 1] = one.solution.surface(np.full(int(inside.sum()), float(x)), rows[inside])
    return image


def residual_columns(slices: Sequence[SliceResult]) -> list[Column]:
    """Columns of WAVECAL_RESIDUALS: all fits of all slices, one after the other."""
    rounds = [
        (one.number, number, fit)
        for one in slices
        if one.solution
        for number, fit in enumerate(one.solution.rounds, 1)
    ]

    def joined(parts: list[npt.NDArray[np.generic]], kind: type) -> npt.NDArray[np.generic]:
        return np.concatenate([part.astype(kind) for part in parts])

    sizes = [fit.points.x.size for _, _, fit in rounds]
    return [
        ("slice", np.repeat([s for s, _, _ in rounds], sizes).astype(np.uint8), ""),
        ("iteration", np.repeat([n for _, n, _ in rounds], sizes).astype(np.int32), ""),
        ("x", joined([fit.points.x for _, _, fit in rounds], np.int32), "pix"),
        ("y", joined([fit.points.y for _, _, fit in rounds], np.float32), "pix"),
        ("lambda", joined([fit.points.lam for _, _, fit in rounds], np.float32), "Angstrom"),
        ("residual", joined([fit.residuals for _, _, fit in rounds], np.float64), "Angstrom"),
        ("rejlimit", np.repeat([fit.limit for _, _, fit in rounds], sizes), "Angstrom"),
    ]


def _statistics(name: str, values: npt.NDArray[np.float64], unit: str, what: str) -> list[Card]:
    deviation = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return [
        (f"{name} MEAN", single_precision(float(values.mean())), f"{unit}Mean {what}"),
        (f"{name} STDEV", single_precision(deviation), f"{unit}Standard deviation of the {what}"),
        (f"{name} MIN", single_precision(float(values.min())), f"{unit}Smallest {what}"),
        (f"{name} MAX", single_precision(float(values.max())), f"{unit}Largest {what}"),
    ]


def slice_cards(one: SliceResult, *, lampwise: bool = True) -> list[Card]:
    """QC of one slice, in the order of 2.8.7; of a failed one what was found of it."""
    name = f"{QC} SLICE{one.number}"
    cards: list[Card] = []
    if one.column == 0:
        return cards
    cards.append((f"{name} LINES NDET", one.detected, "Detected arc lines"))
    if one.identified.peak.size:
        cards += _statistics(f"{name} LINES PEAK", one.identified.peak, "[count] ", "peak of arc lines")
    identified: Card = (f"{name} LINES NID", int(one.identified.lam.size), "Identified arc lines")
    resolution: list[Card] = []
    if one.widths.size:
        lam, fwhm = one.widths.T
        value = single_precision(float(np.mean(lam / fwhm)))
        resolution.append((f"{name} RESOL", value, "Mean spectral resolution"))
    if lampwise:
        cards += [identified, *resolution]
        if one.widths.size:
            cards += _statistics(
                f"{name} LINES FWHM", one.widths[:, 1], "[Angstrom] ", "FWHM of reference lines"
            )
    else:
        if one.identified.fwhm.size:
            cards += _statistics(
                f"{name} LINES FWHM", one.identified.fwhm, "[Angstrom] ", "FWHM of identified lines"
            )
        cards += [*resolution, identified]
    if one.solution is not None:
        numbers = (
            ("FIT NLINES", one.solution.lines, "Arc lines in the final fit"),
            ("DWLEN BOTTOM", one.ends[0], "[Angstrom] Left minus right edge, first row"),
            ("DWLEN TOP", one.ends[1], "[Angstrom] Left minus right edge, last row"),
            ("WLPOS", one.place[0], "[pix] Row of WLEN"),
            ("WLEN", one.place[1], "[Angstrom] Wavelength in the middle of the slice"),
            ("FIT RMS", one.solution.rms, "[Angstrom] Rms of the wavelength solution"),
        )
        for key, value, comment in numbers:
            plain = value if isinstance(value, int) else single_precision(value)
            cards.append((f"{name} {key}", plain, comment))
    return cards


def saturated_cards(made: Sequence[LampImage]) -> list[Card]:
    """Saturated pixels of the image of each lamp."""
    text = "Saturated pixels of the image of this lamp"
    return [
        (f"{QC} NSATURATED LAMP{number}", one.image.nsaturated, text)
        for one in made
        for number in one.lamps.numbers[:1]
    ]


def saturated_sum(together: LampImage) -> Card:
    """Saturated pixels of the image of all lamps, which 2.8.7 gives the number of a lamp."""
    text = "Saturated pixels of the image of all lamps"
    return f"{QC} NSATURATED LAMP{ALL_LAMPS}", together.image.nsaturated, text


def table_cards(
    made: Sequence[LampImage], slices: Sequence[SliceResult], summed: Sequence[Card], *, lampwise: bool
) -> list[Card]:
    """QC and DRS keywords of WAVECAL_TABLE; ``summed``: those of the image of all lamps."""
    of_slices = [card for one in slices for card in slice_cards(one, lampwise=lampwise)]
    return [*of_slices, *summed, *saturated_cards(made), *overscan_cards(made[0].models[0])]


def lamp_cards(one: LampImage) -> list[Card]:
    """QC and DRS keywords of the image of one lamp."""
    return [*_input_cards(one, QC), _saturated_card(one), *overscan_cards(one.models[0])]


def sum_cards(together: LampImage, made: Sequence[LampImage]) -> list[Card]:
    """QC and DRS keywords of the image of all lamps; of its own exposures it names those of the first."""
    of_lamps = [card for i, one in enumerate(made, 1) for card in _input_cards(one, f"{QC} LAMP{i}")]
    overscan = overscan_cards(together.models[0])
    return [*_input_cards(together, QC), _saturated_card(together), *of_lamps, *overscan]


def _input_cards(one: LampImage, name: str) -> list[Card]:
    text = "Saturated pixels of raw exposure"
    return [(f"{name} INPUT{i} NSATURATED", model.nsaturated, text) for i, model in enumerate(one.models, 1)]


def _saturated_card(one: LampImage) -> Card:
    return f"{QC} NSATURATED", one.image.nsaturated, "Saturated pixels of the combined image"

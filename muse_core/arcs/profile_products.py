# SPDX-License-Identifier: BSD-3-Clause
"""Products of muse_lsf: images of the line profiles, and the rows of the lines without them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.arcs.profile_image import FIRST_LAM, ProfileGrid
from muse_core.arcs.profile_rows import LineRows
from muse_core.data.header_values import single_precision
from muse_core.detector.headers import IfuHeader
from muse_core.detector.master_products import MasterFiles, file_of_ifu
from muse_core.detector.pixels import PixelMap
from muse_core.detector.planes import write_unit
from muse_core.framework.execution import RunContext
from muse_core.framework.products import Card, add_checksum_placeholders, set_card

EXTENSION = "LSF_PROFILE"
TABLE = "ESO DRS MUSE PIXTABLE"
COLUMNS = (
    ("xpos", "pix"), ("ypos", "pix"), ("lambda", "Angstrom"), ("data", "count"), ("dq", ""),
    ("stat", "count**2"), ("origin", ""), ("line_lambda", ""), ("line_flux", ""), ("line_background", ""),
    ("orig", "count"),
)  # fmt: skip


def cube_header(grid: ProfileGrid, name: str) -> list[Card]:
    """Axes of the images: offset and wavelength, as 2.8.7 writes them."""
    return [
        ("WCSAXES", 2, ""), ("CD1_1", grid.step, ""), ("CD1_2", 0.0, ""), ("CD2_1", 0.0, ""),
        ("CD2_2", grid.lam_step, ""), ("CRPIX1", 1.0, ""), ("CRPIX2", 1.0, ""),
        ("CRVAL1", float(grid.offsets[0]), ""), ("CRVAL2", FIRST_LAM, ""), ("CTYPE1", "PARAM", ""),
        ("CTYPE2", "AWAV", ""), ("CUNIT1", "Angstrom", ""), ("CUNIT2", "Angstrom", ""), ("EXTNAME", name, ""),
    ]  # fmt: skip


def save_profiles(
    files: MasterFiles,
    cube: npt.NDArray[np.float32],
    grid: ProfileGrid,
    header: IfuHeader,
    qc: Sequence[Card],
) -> None:
    """Write the images of one IFU (float32[48, wavelengths, offsets])."""
    name = f"CHAN{header.ifu:02d}.{EXTENSION}" if files.merge else EXTENSION
    unit = fits.ImageHDU(np.broadcast_to(np.zeros(1, np.float32), cube.shape)).header
    for card in cube_header(grid, name):
        set_card(unit, *card)
    files.extension("LSF_PROFILE", unit, cube.astype(">f4"), header, qc)


def width_cards(planes: Sequence[tuple[int, npt.NDArray[np.float64]]]) -> list[Card]:
    """QC of the widths of each plane (its number from 1, and FWHM in Angstrom of its wavelengths)."""
    cards: list[Card] = []
    for number, fwhm in planes:
        good = fwhm[np.isfinite(fwhm)]
        if not good.size:
            continue
        name = f"ESO QC LSF SLICE{number} FWHM"
        deviation = float(good.std(ddof=1)) if good.size > 1 else 0.0
        for key, value, text in (
            ("MEAN", float(good.mean()), "Mean FWHM of the profile"),
            ("STDEV", deviation, "Standard deviation of the FWHM"),
            ("MIN", float(good.min()), "Smallest FWHM"),
            ("MAX", float(good.max()), "Largest FWHM"),
        ):
            cards.append((f"{name} {key}", single_precision(value), f"[Angstrom] {text}"))
    return cards


def save_rows(
    rows: LineRows, left: npt.NDArray[np.float32], pixels: PixelMap, header: IfuHeader, ctx: RunContext
) -> None:
    """Write PIXTABLE_SUBTRACTED of one IFU.

    Parameters
    ----------
    rows : LineRows
        Of all slices.
    left : float32[n]
        Data without the lines.
    pixels : PixelMap
        For the offsets of the column origin.
    header : IfuHeader
    ctx : RunContext
    """
    slices = rows.origin & 0x3F
    values = {
        "xpos": _positions(rows.origin, pixels), "ypos": np.zeros(len(rows), np.float32), "lambda": rows.lam,
        "data": left, "dq": np.zeros(len(rows), np.int32), "stat": rows.stat, "origin": rows.origin,
        "line_lambda": rows.line, "line_flux": rows.flux, "line_background": rows.background,
        "orig": rows.data,
    }  # fmt: skip
    cards: list[Card] = [(f"{TABLE} TYPE", "SIMPLE", "")]
    for s, start in enumerate(pixels.offset, 1):
        cards.append((f"{TABLE} EXP0 IFU{header.ifu:02d} SLICE{s:02d} XOFFSET", int(start), ""))
    for name, column in (("X", "xpos"), ("Y", "ypos"), ("LAMBDA", "lambda")):
        low, high = (float(end) for end in (values[column].min(), values[column].max()))
        cards.append((f"{TABLE} LIMITS {name} LOW", single_precision(low), ""))
        cards.append((f"{TABLE} LIMITS {name} HIGH", single_precision(high), ""))
    for name, ends in (("IFU", (header.ifu, header.ifu)), ("SLICE", (int(slices.min()), int(slices.max())))):
        cards += [(f"{TABLE} LIMITS {name} LOW", ends[0], ""), (f"{TABLE} LIMITS {name} HIGH", ends[1], "")]
    with file_of_ifu(ctx, "PIXTABLE_SUBTRACTED", header, cards, header.ifu) as stream:
        for name, unit in COLUMNS:
            own = values[name]
            head = fits.ImageHDU(np.broadcast_to(np.zeros(1, own.dtype), (own.size, 1))).header
            set_card(head, "EXTNAME", name, "")
            if unit:
                set_card(head, "BUNIT", unit, "")
            add_checksum_placeholders(head)
            write_unit(stream, head, own.astype(own.dtype.newbyteorder(">")))


def _positions(origin: npt.NDArray[np.int32], pixels: PixelMap) -> npt.NDArray[np.float32]:
    """Places of rows in the nominal row of slices (pixels; float32[n]), see `nominal_geometry`."""
    s, y = (origin & 0x3F) - 1, ((origin >> 11) & 0x1FFF) - 1
    x = ((origin >> 24) & 0x7F) + pixels.offset[s]
    left, right = pixels.left[s, y], pixels.right[s, y]
    geometry = pixels.geometry
    distance = (x - 0.5 * (left + right)) / (right - left) * geometry.width[s]
    # measured against 2.8.7: the distance from the middle is rounded to single precision
    return (geometry.x[s] - distance.astype(np.float32)).astype(np.float32)

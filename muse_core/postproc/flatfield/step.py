# SPDX-License-Identifier: BSD-3-Clause
"""The data get back the spectral shape of the flat-field lamp, if the tables have its spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from muse_core.data.curves import make_curve
from muse_core.framework import RecipeError
from muse_core.framework.binary_table import BinaryTable
from muse_core.framework.fits_file import open_fits
from muse_core.postproc.exposure.correction import Card, Skipped
from muse_core.postproc.flatfield.spectrum import (
    EXTENSION,
    FLAT_KEY,
    FlatSpectrum,
    cut_table,
    fit_flat_spectrum,
    response_wants_flat,
)
from muse_core.postproc.inputs.calibration_frames import read_header

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames


@dataclass(frozen=True)
class FlatfieldCalibrations:
    """What decides whether the spectrum is to be multiplied."""

    response_header: fits.Header | None
    """Of STD_RESPONSE."""


def load(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> FlatfieldCalibrations:
    """Read the header of STD_RESPONSE."""
    return FlatfieldCalibrations(frames.read("STD_RESPONSE", read_header))


def correct(
    exposure: Reduction,
    calibrations: FlatfieldCalibrations,
    p: ParamValues,
    ctx: RunContext,
) -> FlatSpectrum | Skipped:
    """Multiply the data by the smoothed flat-field spectrum, if there is one and the response wants it."""
    files = exposure.chain.files
    if FLAT_KEY in exposure.product.header:
        keep_table(exposure)
        return Skipped(FlatSpectrum.name, "made before", earlier=True)
    tables = [table.flat_field for table in files.files]
    found = [
        table if zone.rows == file.rows else cut_table(table, None, *files.cut)
        for table, file, zone in zip(tables, files.files, files.zones, strict=True)
        if table is not None
    ]
    if not found:
        return Skipped(FlatSpectrum.name, "no spectrum in the pixel tables")
    if len(found) < len(tables):
        raise RecipeError(
            f"exposure {exposure.number}: Only {len(found)} of {len(tables)} pixel tables came with a "
            "flat-field spectrum, cannot continue!"
        )
    model = fit_flat_spectrum(
        [(table["lambda"], table["data"]) for table in found],
        exposure.keywords.text("ESO INS MODE") or "",
        ctx.log,
        zero_outside_flat_spectrum=ctx.defects.zero_outside_flat_spectrum,
        flat_spectrum_first_node_lost=ctx.defects.flat_spectrum_first_node_lost,
    )
    exposure.chain.sorted_slices = True  # the C recipe leaves the rows of a slice in order of wavelength
    if calibrations.response_header is not None and not response_wants_flat(calibrations.response_header):
        return Skipped(FlatSpectrum.name, "STD_RESPONSE was made without it", wanted=True)
    exposure.product.tables.append(flat_product(model))
    return model


def flat_product(model: FlatSpectrum) -> fits.BinTableHDU:
    """Build the extension of the pixel tables that holds the spectrum that was used."""
    columns = {"lambda": model.curve.nodes, "data": model.curve.values, "data_unsm": model.unsmoothed}
    return BinaryTable.from_columns(
        [fits.Column(name, "1D", array=values) for name, values in columns.items()], name=EXTENSION
    )


def keep_table(exposure: Reduction, *_: object) -> None:
    """Let the products have the spectrum that came with the (first) pixel table, cut as the rows are."""
    files = exposure.chain.files
    file, zone = files.files[0], files.zones[0]
    if file.flat_field is None:
        return
    with open_fits(file.path, memmap=True) as hdus:
        table = hdus[EXTENSION]
        values = table.data if zone.rows == file.rows else cut_table(table.data, None, *files.cut)
        columns = [
            fits.Column(
                c.name, c.format if c.format[0].isdigit() else f"1{c.format}", c.unit, array=values[c.name]
            )
            for c in table.columns
        ]
        exposure.product.tables.append(BinaryTable.from_columns(columns, name=EXTENSION))


def revert(
    exposure: Reduction, calibrations: FlatfieldCalibrations, p: ParamValues, ctx: RunContext
) -> FlatSpectrum | None:
    """Take the spectrum out of the data again if STD_RESPONSE was made without it."""
    product, response = exposure.product, calibrations.response_header
    if response is None or response_wants_flat(response) or FLAT_KEY not in product.header:
        return None
    ctx.log.warning("The flat-field spectrum is taken out of the data again: STD_RESPONSE was made without")
    table = product.tables.pop().data
    del product.header[FLAT_KEY]
    inverse = make_curve(table["lambda"], 1.0 / np.asarray(table["data"], float))
    return TakenOut(inverse, table["data"], 0, drop_to_zero=False)


class TakenOut(FlatSpectrum):
    """The inverse of a spectrum, of which nothing is told."""

    def cards(self) -> list[Card]:
        """Nothing to tell."""
        return []

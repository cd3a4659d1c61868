# SPDX-License-Identifier: BSD-3-Clause
"""The data get back the spectral shape of the flat-field lamp, if the tables have its spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from astropy.io import fits

from muse_core.framework import RecipeError
from muse_core.postproc.exposure.correction import Skipped
from muse_core.postproc.exposure.reduction import PIXTABLE
from muse_core.postproc.flatfield.spectrum import (
    EXTENSION,
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
) -> FlatSpectrum | Skipped | None:
    """Multiply the data by the smoothed flat-field spectrum, if there is one and the response wants it."""
    header, files = exposure.product.header, exposure.chain.files
    if f"{PIXTABLE} FFCORR" in header:
        ctx.log.info("pixel table is already corrected for the flat-field spectrum")
        return None
    tables = [table.flat_field for table in files.files]
    if all(table is None for table in tables):
        return None
    spectra = [
        table if table is None or zone.rows == file.rows else cut_table(table, None, *files.cut)
        for table, file, zone in zip(tables, files.files, files.zones, strict=True)
    ]
    try:
        model = fit_flat_spectrum(
            [None if s is None else (s["lambda"], s["data"]) for s in spectra],
            header,
            ctx.log,
            compat=ctx.compat,
        )
    except ValueError as error:
        raise RecipeError(f"exposure {exposure.number}: {error}") from error
    if model is None:
        return None
    exposure.chain.sorted_slices = True  # the C recipe leaves the rows of a slice in order of wavelength
    if calibrations.response_header is not None and not response_wants_flat(calibrations.response_header):
        return Skipped("flatfield", "STD_RESPONSE was made without it", wanted=True)
    exposure.product.tables.append(flat_product(model))
    return model


def flat_product(model: FlatSpectrum) -> fits.BinTableHDU:
    """Build the extension of the pixel tables that holds the spectrum that was used."""
    columns = {"lambda": model.curve.nodes, "data": model.curve.values, "data_unsm": model.unsmoothed}
    return fits.BinTableHDU.from_columns(
        [fits.Column(name, "1D", array=values) for name, values in columns.items()], name=EXTENSION
    )

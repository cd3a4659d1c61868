# SPDX-License-Identifier: BSD-3-Clause
"""The step of muse_scipost that gives the data back the spectral shape of the flat-field lamp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astropy.io import fits

from muse_core.data.block import Block
from muse_core.framework import RecipeError
from muse_core.postproc.exposure.reduction import PIXTABLE, Reduction, Step
from muse_core.postproc.flatfield.spectrum import (
    EXTENSION,
    FlatSpectrum,
    apply_flat_spectrum,
    cut_table,
    fit_flat_spectrum,
    response_wants_flat,
)

if TYPE_CHECKING:
    from muse_core.framework import RunContext
    from muse_core.postproc.inputs.calibrations import Calibrations


def multiply_flat_spectrum(reduction: Reduction, calib: Calibrations, ctx: RunContext) -> None:
    """Multiply the data by the smoothed flat-field spectrum, if there is one and the response wants it."""
    if f"{PIXTABLE} FFCORR" in reduction.header:
        ctx.log.info("pixel table is already corrected for the flat-field spectrum")
        return
    tables = [table.flat_field for table in reduction.exposure.files]
    if all(table is None for table in tables):
        return
    spectra = [
        table if table is None or zone.rows == file.rows else cut_table(table, None, *reduction.exposure.cut)
        for table, file, zone in zip(tables, reduction.exposure.files, reduction.exposure.zones, strict=True)
    ]
    try:
        model = fit_flat_spectrum(
            [None if s is None else (s["lambda"], s["data"]) for s in spectra],
            reduction.header,
            ctx.log,
            compat=ctx.compat,
        )
    except ValueError as error:
        raise RecipeError(f"exposure {reduction.number}: {error}") from error
    if model is None:
        return
    reduction.sorted_slices = True  # the C recipe leaves the rows of a slice in order of wavelength
    if calib.response_header is not None and not response_wants_flat(calib.response_header):
        ctx.log.warning(
            "STD_RESPONSE was made without the flat-field spectrum (no ESO DRS MUSE FLUX FFCORR), "
            "data not corrected by it"
        )
        return

    def apply(block: Block) -> None:
        apply_flat_spectrum(block.lam, block.data, block.stat, model)

    reduction.add(Step("flat-field spectrum", apply))
    reduction.tables.append(flat_product(model))
    for key, value, comment in model.cards():
        reduction.set_card(key, value, comment)


def flat_product(model: FlatSpectrum) -> fits.BinTableHDU:
    """Build the extension of the pixel tables that holds the spectrum that was used."""
    columns = {"lambda": model.curve.nodes, "data": model.curve.values, "data_unsm": model.unsmoothed}
    return fits.BinTableHDU.from_columns(
        [fits.Column(name, "1D", array=values) for name, values in columns.items()], name=EXTENSION
    )

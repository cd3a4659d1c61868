# SPDX-License-Identifier: BSD-3-Clause
"""What is saved of a single exposure: its pixel tables, and the products that its corrections have left."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from muse_core.data.header_values import get_str
from muse_core.data.pixtable_writer import PixelTableWriter, column_units
from muse_core.framework.products import header_without
from muse_core.postproc.exposure.reduction import PIXTABLE, WCS_KEYS, limit_cards
from muse_core.postproc.exposure.table_pieces import counts_of_good, good_rows, write_rows

if TYPE_CHECKING:
    import logging

    from astropy.io.fits import Header

    from muse_core.framework import Frame, ParamValues, RunContext
    from muse_core.postproc.exposure.correction import Card
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.exposure.row_limits import RowLimits


def log_exposure(exposure: Reduction, log: logging.Logger) -> None:
    """Say which exposure comes next."""
    log.info(
        "Starting to process exposure %d (DATE-OBS=%s): %d rows of %d IFUs",
        exposure.number,
        get_str(exposure.product.header, "DATE-OBS"),
        exposure.chain.rows,
        len(exposure.chain.files.files),
    )


def table_limits(exposure: Reduction, ctx: RunContext) -> RowLimits:
    """Return the limits of an exposure for the headers of tables and the grid of the cube.

    In pixel coordinates the C recipe keeps the limits in wavelength that hold before the velocity correction.
    """
    limits = exposure.chain.limits()
    if ctx.defects.stale_wavelength_limits and exposure.product.position_unit == "pix":
        return replace(limits, lam=exposure.chain.files.lambda_limits())
    return limits


def save_reduced(exposure: Reduction, used: Iterable[Frame], p: ParamValues, ctx: RunContext) -> None:
    """Write what the corrections have left (sky, autocalibration, Raman), and PIXTABLE_REDUCED if asked for.

    Parameters
    ----------
    used : calibrations that the products name in their headers
    """
    used = (*exposure.product.frames, *used)
    save_pending(exposure, used, ctx)
    if "individual" in p.save:
        save_pixtable(exposure, "PIXTABLE_REDUCED", table_limits(exposure, ctx), used, p, ctx)
        if ctx.defects.superflat_forgotten:
            exposure.keywords = exposure.keywords.without_replacements()


def save_positioned(exposure: Reduction, used: Iterable[Frame], p: ParamValues, ctx: RunContext) -> None:
    """Write PIXTABLE_POSITIONED if asked for; its limits are full coordinates (pixels without astrometry)."""
    if "positioned" not in p.save:
        return
    used = (*exposure.product.frames, *used)
    model = exposure.position
    if model is None:
        save_pixtable(exposure, "PIXTABLE_POSITIONED", table_limits(exposure, ctx), used, p, ctx)
        return
    limits = exposure.chain.limits().shifted(model.crval1, model.crval2)
    save_pixtable(exposure, "PIXTABLE_POSITIONED", limits, used, p, ctx, model.offset_cards(1))


@dataclass(frozen=True)
class KeptData:
    """The data before the last correction, in a column of their own."""

    column: str


def save_pixtable(
    exposure: Reduction,
    tag: str,
    limits: RowLimits,
    used: Iterable[Frame],
    p: ParamValues,
    ctx: RunContext,
    extra: Iterable[Card] = (),
    *,
    index: int | tuple[int, int] | None = None,
    kept: KeptData | None = None,
    good_only: bool = False,
) -> None:
    """Write the exposure as it is now.

    Parameters
    ----------
    index : number, or numbers, in the name of the file; None: that of the exposure
    kept : write the data before the last correction, too
    good_only : leave out the flagged rows
    """
    index = exposure.number if index is None else index
    ctx.log.info('Saving pixel table as "%s"', ctx.file_name(tag, index))
    if not ctx.take_kept(tag, index):
        with ctx.clock.step("tables of the exposures"):
            _write_pixtable(exposure, tag, limits, used, p, ctx, extra, index, kept, good_only=good_only)


def _write_pixtable(
    exposure: Reduction,
    tag: str,
    limits: RowLimits,
    used: Iterable[Frame],
    p: ParamValues,
    ctx: RunContext,
    extra: Iterable[Card],
    index: int | tuple[int, int],
    kept: KeptData | None,
    *,
    good_only: bool,
) -> None:
    state, chain = exposure.product, exposure.chain
    counts = counts_of_good(chain) if good_only else None
    rows = chain.rows if counts is None else int(counts.sum())
    with ctx.stream(
        tag, base=state.header, used=used, extra=(*extra, *limit_cards(limits)), index=index, resumable=True
    ) as product:
        units = column_units(state.position_unit, state.data_unit)
        writer = PixelTableWriter(
            product.path,
            product.header,
            rows,
            units,
            as_table=p.table_layout == "table",
            further=None if kept is None else (kept.column, state.data_unit),
        )
        with writer:
            if kept is not None:
                *earlier, last = chain.corrections
                write_rows(writer, replace(chain, corrections=earlier), last=last)
            else:
                write_rows(writer, chain, counts=counts, finish=good_rows if good_only else None)
        state.append_tables(product.path)


def save_pending(exposure: Reduction, used: Iterable[Frame], ctx: RunContext) -> None:
    """Write the products that the corrections of an exposure have left."""
    for product in exposure.product.pending:
        base = product.base
        if base is None:
            base = _inherited(exposure.product.header, with_wcs=product.with_wcs)
        ctx.save(product.tag, product.hdus, base=base, used=used, qc=product.qc, index=exposure.number)
    exposure.product.pending.clear()


def _inherited(header: Header, *, with_wcs: bool) -> Header:
    """Return what products of an exposure that are no pixel tables inherit of its header."""
    dropped = (PIXTABLE,) if with_wcs else (PIXTABLE, *WCS_KEYS)
    return header_without(header, lambda key: key.startswith(dropped))

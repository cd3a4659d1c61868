# SPDX-License-Identifier: BSD-3-Clause
"""The last part of muse_scipost: all exposures together become a cube, images, and tables."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from muse_core.data.header_values import get_str, is_narrow_field
from muse_core.data.pixtable_writer import PixelTableWriter, column_units
from muse_core.data.row_set import RowSet
from muse_core.framework import RecipeError
from muse_core.framework.products import header_without, set_card
from muse_core.postproc.combination.combine import Combination
from muse_core.postproc.cube import formats as cube_products
from muse_core.postproc.exposure.pointing import position_angle
from muse_core.postproc.exposure.products import WCS_KEYS
from muse_core.postproc.exposure.reduction import PIXTABLE, limit_cards
from muse_core.postproc.flatfield.spectrum import FLAT_CORRECTED
from muse_core.postproc.inputs.calibrations import Calibrations, Settings
from muse_core.resampling.collapse import FilterSet, white_filter
from muse_core.resampling.cosmics import COSMIC_RAY, neighbourhood
from muse_core.resampling.grid import (
    ARCSEC,
    NFM_STEP,
    NOMINAL_STEP_A,
    WFM_STEP,
    OutputGrid,
    celestial_grid,
    override_grid,
    pixel_grid,
)
from muse_core.resampling.plan import CosmicRejection, CubePlan, Slab
from muse_core.resampling.quality import pixel_steps_arcsec, qc_from_plane, quality_plane
from muse_core.resampling.row_images import row_images_requested
from muse_core.resampling.schedule import cube_slabs
from muse_core.resampling.voxel_layers import Contribution

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astropy.io.fits import Header

    from muse_core.framework import ParamValues, RunContext
    from muse_core.resampling.cube_file import CubeWriter


def output_grid(combination: Combination, calib: Calibrations, p: ParamValues, ctx: RunContext) -> OutputGrid:
    """Return the grid of the final cube: fit to the data, steps from the parameters, OUTPUT_WCS on top."""
    limits = (combination.limits.x, combination.limits.y, combination.limits.lam)
    dlambda = p.dlambda or NOMINAL_STEP_A
    if not combination.celestial:
        grid = pixel_grid(limits, (p.dx or 1.0, p.dy or 1.0, dlambda))
    else:
        header = combination.header
        nominal = NFM_STEP if is_narrow_field(header) else WFM_STEP
        cd = [float(header.get(key, 0.0)) for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")]
        scale = (float(np.hypot(cd[0], cd[1])), float(np.hypot(cd[2], cd[3])))
        if not all(scale):
            scale = (nominal[0] * ARCSEC, nominal[1] * ARCSEC)
        grid = celestial_grid(
            limits, combination.reference, (p.dx or nominal[0], p.dy or nominal[1], dlambda), scale
        )
    how = "fit to data"
    if calib.output_wcs is not None:
        grid, how = override_grid(grid, calib.output_wcs), "overridden"
    ctx.log.info("  Output cube size %d x %d x %d (%s)", grid.nx, grid.ny, grid.nz, how)
    if grid.nx * grid.ny > 2_000_000_000 // 40:
        raise RecipeError(
            f"the output cube would have {grid.nx} x {grid.ny} spaxels; check the coordinates of the "
            "exposures and the OFFSET_LIST, or give an OUTPUT_WCS"
        )
    return grid


def cube_plan(
    combination: Combination, grid: OutputGrid, settings: Settings, p: ParamValues, ctx: RunContext
) -> CubePlan:
    """Return how the final cube is made."""
    cosmics = None
    if p.crsigma > 0:
        angle = None
        if combination.celestial:
            angle = position_angle(combination.members[0].pointing, ctx.log, compat=ctx.compat)
        cosmics = CosmicRejection(p.crtype, p.crsigma, neighbourhood(angle))
        ctx.log.info("  Using %s statistics (%.3f sigma level) for cosmic-ray rejection", p.crtype, p.crsigma)
    ctx.log.info(
        '  Starting resampling, using method "%s" (pixfrac f=%.3f,%.3f,%.3f, loop distance ld=%d)',
        p.resample,
        *settings.resampling.pixfrac,
        settings.resampling.ld,
    )
    return CubePlan(
        grid,
        combination.reference,
        settings.resampling,
        cosmics,
        defects=ctx.defects,
        report_flags=bool({"combined", "stacked"} & settings.save) or row_images_requested(),
    )


def contributions(combination: Combination) -> list[Contribution]:
    """Return the exposures as the slab loop takes them."""
    weights = combination.weights or (None,) * len(combination.members)
    return [
        Contribution(member.gather, member.exposure.rows, weight)
        for member, weight in zip(combination.members, weights)
    ]


def product_base(combination: Combination) -> Header:
    """Return the header that cubes and images inherit: without pixel-table and WCS keywords."""
    header = header_without(combination.header, lambda key: key.startswith((PIXTABLE, *WCS_KEYS)))
    if f"{PIXTABLE} FFCORR" in combination.header:
        set_card(header, *FLAT_CORRECTED)
    return header


def make_cube(
    combination: Combination, calib: Calibrations, settings: Settings, p: ParamValues, ctx: RunContext
) -> None:
    """Resample to the final cube, collapse it to images, measure its quality, and save all that."""
    grid = output_grid(combination, calib, p, ctx)
    plan = cube_plan(combination, grid, settings, p, ctx)
    base = product_base(combination)
    unit = combination.members[0].data_unit
    name = get_str(base, "OBJECT") or ""
    nominal = NFM_STEP if is_narrow_field(base) else WFM_STEP
    images = FilterSet(calib.filters, grid, euro3d=cube_products.is_euro3d(p.format))
    white = FilterSet([white_filter()] if p.format == "sdpCube" else [], grid)  # for its limiting magnitude
    flagged = [RowSet(member.exposure.total_rows) for member in combination.members]
    qc: list[tuple[str, object, str]] = []
    n_cosmics = 0
    with ctx.stream("DATACUBE_FINAL", base=base, used=combination.image_frames) as product:
        with cube_products.open_cube(product.path, product.header, grid, unit, name, p.format) as writer:
            is_product = writer.path == product.path
            slabs = cube_slabs(
                contributions(combination),
                plan,
                threads=ctx.threads,
                memory_bytes=ctx.memory_bytes,
                cluster=ctx.cluster,
            )
            for slab in ctx.progress(written(slabs, writer, is_product, ctx.threads), "cube"):
                end = slab.first + len(slab.data)
                images.add_planes(slab.first, slab.data, slab.stat)
                white.add_planes(slab.first, slab.data, slab.stat)
                n_cosmics += slab.cosmics
                for rows, found in zip(flagged, slab.flagged):
                    rows.add(found)
                if slab.first <= quality_plane(grid.nz) < end:
                    qc = measure_quality(slab.data[quality_plane(grid.nz) - slab.first], grid, nominal, ctx)
            if plan.cosmics:
                ctx.log.info("  %d rows flagged as cosmic rays", n_cosmics)
                combination.cosmics = flagged
            if row_images_requested():
                images = cube_products.images_from_rows(combination, calib.filters, grid, settings, ctx)
            if cube_products.is_euro3d(p.format):
                qc = []
            for image in images:
                if not image.covers_any_plane:
                    ctx.log.warning("filter %s does not overlap the wavelength range of the cube", image.name)
            if cube_products.writes_image_files(p.format):
                save_images(images, combination, base, qc, unit, name, p.format, ctx)
            cube_products.finish_cube(
                writer, product.path, product.header, qc, images, white, combination, grid, name, p, ctx
            )
            if is_product:
                product.sums = writer.sums


def written(slabs: Iterator[Slab], writer: CubeWriter, is_product: bool, threads: int) -> Iterator[Slab]:
    """Yield the slabs while a thread writes their planes in order (none with `threads` = 1).

    Parameters
    ----------
    is_product : bool
        the planes go into the MD5 of the file's data
    """

    def write(slab: Slab) -> None:
        writer.write_planes(slab.first, slab.data, slab.stat)
        if is_product:
            writer.hash_rows(slab.first + len(slab.data))

    if threads <= 1:
        for slab in slabs:
            write(slab)
            yield slab
        return
    with ThreadPoolExecutor(1) as pool:
        before: Future[None] | None = None
        for slab in slabs:
            now = pool.submit(write, slab)
            if before:
                before.result()
            before = now
            yield slab
        if before:
            before.result()


def measure_quality(  # type: ignore[no-untyped-def]
    plane, grid: OutputGrid, nominal: tuple[float, float], ctx: RunContext
) -> list[tuple[str, object, str]]:
    """Return the QC keywords of the cube, from the sources in its central plane.

    Parameters
    ----------
    nominal : (float, float)
        size of a detector pixel [arcsec], for grids in pixel coordinates
    """
    # the C recipe takes the nominal size for pixels of any step (measured)
    steps = nominal if ctx.compat and not grid.celestial else pixel_steps_arcsec(grid, nominal)
    number = quality_plane(grid.nz)
    cards = qc_from_plane(plane, float(grid.wavelength(number)), steps)
    detected = next((value for key, value, _ in cards if key.endswith("NDET")), 0)
    if not detected:
        ctx.log.warning("No sources found for FWHM measurement on plane %d", number + 1)
    else:
        ctx.log.info("Computed FWHM QC parameters of %s source(s) found on plane %d", detected, number + 1)
    return cards


def save_images(  # type: ignore[no-untyped-def]
    images: FilterSet,
    combination: Combination,
    base: Header,
    qc,
    unit: str,
    name: str,
    cube_format: str,
    ctx: RunContext,
) -> None:
    """Write IMAGE_FOV for each filter."""
    from astropy.io import fits

    header = base.copy()
    header.remove("SPECSYS", ignore_missing=True)
    for key, value, comment in cube_products.image_keywords(cube_format):
        set_card(header, key, value, comment)
    for number, image in enumerate(images, 1):
        header["OBJECT"] = image.object_name(name)
        ctx.save(
            "IMAGE_FOV",
            fits.HDUList([fits.PrimaryHDU(), *image.hdus(unit, sdp=cube_format == "sdpCube")]),
            base=header,
            used=combination.frames if image.name == "white" and number == 1 else combination.image_frames,
            extra=image.drs_cards(),
            qc=qc,
            index=number,
        )


def save_combined(combination: Combination, settings: Settings, ctx: RunContext) -> None:
    """Write PIXTABLE_COMBINED: all rows of all exposures, with weights and cosmic-ray flags."""
    if "combined" not in settings.save:
        return
    members = combination.members
    extra: list[tuple[str, object, str]] = []
    first_row = 0
    if len(members) > 1:
        if combination.weights is not None:
            extra.append(
                (f"{PIXTABLE} WEIGHTED", True, "Pixel table was weighted relative to other exposures")
            )
        for member in members:
            head = f"{PIXTABLE} EXP{member.number}"
            for key in member.header:
                if key.startswith(f"{PIXTABLE} EXP0 "):
                    extra.append(
                        (
                            key.replace("EXP0", f"EXP{member.number}"),
                            member.header[key],
                            "x-offset of given slice",
                        )
                    )
            last = first_row + member.exposure.rows - 1
            extra += [
                (f"{head} FIRST", first_row, f"Exposure {member.number} first row index"),
                (f"{head} LAST", last, f"Exposure {member.number} last row index"),
            ]
            first_row = last + 1
        extra.append((f"{PIXTABLE} COMBINED", len(members), "Combined exposures that went into this table"))
    extra += limit_cards(combination.limits)
    first = members[0]
    units = column_units(first.position_unit, first.data_unit)
    weighted = combination.weights is not None
    with ctx.stream(
        "PIXTABLE_COMBINED", base=combination.header, used=combination.image_frames, extra=extra
    ) as product:
        rows = sum(member.exposure.rows for member in members)
        writer = PixelTableWriter(product.path, product.header, rows, units, weighted=weighted)
        for i, member in enumerate(members):
            weight = combination.weights[i] if combination.weights else None
            for block in member.blocks():
                if combination.cosmics:
                    hit = combination.cosmics[i].contains(block.row)
                    block.dq[hit] |= COSMIC_RAY
                writer.write(block, weight)
        writer.close()
        first.append_tables(product.path)


def save_stacked(combination: Combination, settings: Settings, p: ParamValues, ctx: RunContext) -> None:
    """Write OBJECT_RESAMPLED: all slices side by side."""
    if "stacked" in settings.save:
        cube_products.save_stacked(combination, product_base(combination), p, ctx)

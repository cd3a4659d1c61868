# SPDX-License-Identifier: BSD-3-Clause
"""All exposures together become a cube and its images."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.header_values import get_str, is_narrow_field
from muse_core.data.row_set import RowSet
from muse_core.framework import InputError
from muse_core.framework.errors import names_of
from muse_core.framework.log import UNDONE
from muse_core.framework.products import header_without, set_card
from muse_core.postproc.combination.combine import Combination
from muse_core.postproc.cube import formats
from muse_core.postproc.cube.calibrations import CubeCalibrations
from muse_core.postproc.cube.exposure_options import NO_OPTIONS, ExposureOptions, MeanExposures
from muse_core.postproc.cube.plan import contributions, cube_plan, output_grid
from muse_core.postproc.exposure.reduction import FLAT_CORRECTED, PIXTABLE, WCS_KEYS
from muse_core.resampling.collapse import FilterSet, white_filter
from muse_core.resampling.grid import NFM_STEP, WFM_STEP, OutputGrid
from muse_core.resampling.kept_planes import KeptPlanes
from muse_core.resampling.plan import CubePlan, Slab
from muse_core.resampling.quality import pixel_steps_arcsec, qc_from_plane, quality_plane
from muse_core.resampling.row_images import RowImages
from muse_core.resampling.schedule import cube_slabs
from muse_core.resampling.stored_sums import SumsHeader, SumsWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astropy.io.fits import Header

    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.correction import Card
    from muse_core.resampling.covariance import Covariance
    from muse_core.resampling.cube_file import CubeWriter

_NREJ = "values that the other exposures do not confirm"


SPECTRAL_AXIS = ("DISPAXIS", 3, "axis of the wavelength")
"""By this card, in the primary header, specutils knows a cube of spectra."""


def product_base(combination: Combination) -> Header:
    """Return the header that cubes and images inherit: without pixel-table and WCS keywords."""
    header = header_without(combination.header, lambda key: key.startswith((PIXTABLE, *WCS_KEYS)))
    if f"{PIXTABLE} FFCORR" in combination.header:
        set_card(header, *FLAT_CORRECTED)
    return header


def make_cube(
    combination: Combination,
    calibrations: CubeCalibrations,
    p: ParamValues,
    ctx: RunContext,
    options: ExposureOptions = NO_OPTIONS,
) -> None:
    """Resample to the final cube, collapse it to images, measure its quality, and save all that."""
    earlier = combination.earlier
    grid = earlier.head.grid if earlier else output_grid(combination, calibrations.output_wcs, p, ctx)
    plan = replace(cube_plan(combination, grid, p, ctx), by_exposure=options.plan(combination, ctx))
    base = product_base(combination)
    unit = combination.data_unit
    name = get_str(base, "OBJECT") or ""
    nominal = NFM_STEP if is_narrow_field(base) else WFM_STEP
    weighted = p.collapse_use_variance
    from_cube = FilterSet(calibrations.filters, grid, weighted, euro3d=formats.is_euro3d(p.format))
    images: FilterSet | RowImages = from_cube
    # the white image of a Phase 3 cube is for its limiting magnitude
    white = FilterSet([white_filter()] if p.format == "sdpCube" else [], grid, weighted)
    flagged = [RowSet(member.chain.files.total_rows) for member in combination.members]
    qc: list[Card] = []
    n_cosmics = 0
    hits = np.zeros(grid.ny * grid.nx, np.int64)
    is_empty, has_variances = True, False
    n_disagreeing = 0
    coverage = MeanExposures(grid) if options.count == "image" else None
    counts = options.count == "cube"
    axis = () if ctx.defects.unreadable_units or formats.is_euro3d(p.format) else (SPECTRAL_AXIS,)
    covariance = covariance_of_cube(combination, plan, p, ctx)

    def slabs_from(first: int) -> Iterator[Slab]:
        slabs = cube_slabs(
            contributions(combination),
            plan,
            team=ctx.team,
            memory_bytes=ctx.memory_bytes,
            first=first,
        )
        if covariance is not None and covariance.stat_aperture > 1:
            return scaled(slabs, covariance.stat_factors(grid.nz))
        return slabs

    with ctx.stream("DATACUBE_FINAL", base=base, used=combination.image_frames, own=axis) as product:
        with (
            closing(KeptPlanes(ctx.kept)) as kept,
            formats.open_cube(
                product.path, product.header, grid, unit, name, p.format, counts=counts, kept=kept
            ) as writer,
            sums_writer(combination, grid, base, p, ctx, wanted=options.keep_sums) as sums,
        ):
            is_product = writer.path == product.path
            done = written(kept.then(slabs_from), writer, is_product, ctx.threads, kept)
            for slab in ctx.progress(done, "planes of the cube", grid.nz, lambda slab: len(slab.data)):
                end = slab.first + len(slab.data)
                is_empty = is_empty and not np.isfinite(slab.data).any()
                has_variances = has_variances or bool(np.isfinite(slab.stat).any())
                from_cube.add_planes(slab.first, slab.data, slab.stat)
                white.add_planes(slab.first, slab.data, slab.stat)
                n_cosmics += slab.cosmics
                if ctx.report_requested and slab.hits is not None:
                    hits += np.bincount(slab.hits % hits.size, minlength=hits.size)
                n_disagreeing += slab.disagreeing
                if coverage and slab.exposures is not None:
                    coverage.add(slab.exposures)
                if sums and slab.sums is not None and slab.exposures is not None:
                    sums.write_planes(slab.first, slab.sums, slab.exposures)
                for rows, found in zip(flagged, slab.flagged):
                    rows.add(found)
                if slab.first <= quality_plane(grid.nz) < end:
                    values = slab.data if slab.with_flagged is None else slab.with_flagged
                    qc = measure_quality(values[quality_plane(grid.nz) - slab.first], grid, nominal, ctx)
            if is_empty:
                tell_empty(calibrations, combination, ctx)
            elif not has_variances:
                ctx.log.warning("no value of the cube has a variance: see rc (renka), and STAT of the tables")
            if plan.cosmics:
                ctx.log.info("  %d rows flagged as cosmic rays", n_cosmics)
                combination.cosmics = flagged
                ctx.shown["cosmic rays"] = hits.reshape(grid.ny, grid.nx)
            if plan.by_exposure and plan.by_exposure.rejection:
                text = "  %d values of single exposures left out that the others do not confirm"
                ctx.log.info(text, n_disagreeing)
                qc.append((f"{ctx.spec.qc_prefix} NREJ EXP", n_disagreeing, _NREJ))
            if p.collapse_pixtable:
                images = formats.images_from_rows(combination, calibrations.filters, grid, p, ctx)
            if formats.is_euro3d(p.format) or ctx.defects.cube_without_qc:
                qc = []
            for image in images:
                if not image.covers_any_plane:
                    text = "FILTER_LIST: filter %s does not overlap the wavelength range of the cube"
                    ctx.log.warning(text, image.name)
            if formats.writes_image_files(p.format):
                save_images(images, combination, base, qc, unit, name, p.format, ctx)
            more = [coverage.hdu()] if coverage else []
            if covariance is not None:
                from muse_core.resampling.covariance_file import covariance_extension

                more.append(covariance_extension(covariance))
            formats.finish_cube(
                writer,
                product.path,
                product.header,
                qc,
                images,
                white,
                combination,
                grid,
                name,
                p,
                ctx,
                more,
            )
            if is_product:
                product.sums = writer.sums


def covariance_of_cube(
    combination: Combination, plan: CubePlan, p: ParamValues, ctx: RunContext
) -> Covariance | None:
    """Return how the voxels of the cube are correlated, if that is asked for."""
    if not p.covariance and p.stat_aperture <= 1:
        return None
    from muse_core.resampling.covariance import assemble, count_blocks, measure_covariance

    measured = measure_covariance(
        contributions(combination), plan, team=ctx.team, memory_bytes=ctx.memory_bytes
    )
    blocks = ctx.kept.once(
        "covariance", lambda: list(ctx.progress(measured, "covariance of the cube", count_blocks(plan)))
    )
    covariance = assemble(blocks, plan, p.stat_aperture)
    for n in (3, 9):
        factor = float(np.sqrt(np.mean(covariance.noise_factors(n) ** 2)))
        ctx.log.info("  errors of %d x %d spaxels are %.2f times what STAT alone says", n, n, factor)
    return covariance


def scaled(slabs: Iterator[Slab], factors: npt.NDArray[np.float64]) -> Iterator[Slab]:
    """Multiply the variances of each plane."""
    for slab in slabs:
        own = factors[slab.first : slab.first + len(slab.stat)]
        slab.stat *= own.astype(np.float32)[:, None, None]
        yield slab


@contextmanager
def sums_writer(
    combination: Combination, grid: OutputGrid, base: Header, p: ParamValues, ctx: RunContext, *, wanted: bool
) -> Iterator[SumsWriter | None]:
    """Open the product that takes the sums behind the cube; None if it is not wanted."""
    if not wanted:
        yield None
        return
    from muse_core.postproc.combination.earlier_sums import TAG, sums_cards

    dates = list(combination.earlier.dates if combination.earlier else ())
    dates += [member.keywords.text("DATE-OBS") or "" for member in combination.members]
    relative_to = combination.weight_reference
    head = SumsHeader(grid, combination.reference, relative_to.amount, relative_to.fwhm)
    with ctx.stream(TAG, base=base, used=combination.image_frames, extra=sums_cards(dates, p)) as product:
        with SumsWriter(product.path, product.header, head, combination.data_unit) as writer:
            yield writer
            writer.finish(product.header)
            product.sums = writer.sums


def tell_empty(calibrations: CubeCalibrations, combination: Combination, ctx: RunContext) -> None:
    """Refuse a cube without a value on a grid of the user; warn of one on a grid of ours."""
    if calibrations.output_wcs is None or ctx.defects.pc_matrix_passed_over:
        ctx.log.warning("the cube has no value at all: every row is flagged", extra=UNDONE)
        return
    raise InputError(
        "", "OUTPUT_WCS",
        expected=f"a grid on the data ({names_of(combination.files)})", found="a grid that no row lies on",
        remedy="Check CRVAL, CRPIX and the steps, and the coordinates of the exposures (OFFSET_LIST).",
    )  # fmt: skip


def written(
    slabs: Iterator[Slab], writer: CubeWriter, is_product: bool, threads: int, kept: KeptPlanes
) -> Iterator[Slab]:
    """Yield the slabs while a thread writes their planes in order (none with `threads` = 1).

    Parameters
    ----------
    is_product : bool
        the planes go into the MD5 of the file's data
    kept : KeptPlanes
        notes what is in the file
    """

    def write(slab: Slab) -> None:
        words = writer.write_planes(slab.first, slab.data, slab.stat, slab.exposures, stored=slab.stored)
        kept.note(slab, words)
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


def measure_quality(
    plane: npt.NDArray[np.float32],
    grid: OutputGrid,
    nominal: tuple[float, float],
    ctx: RunContext,
) -> list[Card]:
    """Return the QC keywords of the cube, from the sources in its central plane.

    Parameters
    ----------
    nominal : (float, float)
        size of a detector pixel [arcsec], for grids in pixel coordinates
    """
    # the C recipe takes the nominal size for pixels of any step (measured)
    steps = (
        nominal
        if ctx.defects.nominal_pixel_in_qc and not grid.celestial
        else pixel_steps_arcsec(grid, nominal)
    )
    number = quality_plane(grid.nz)
    cards = qc_from_plane(plane, float(grid.wavelength(number)), steps, ctx.spec.qc_prefix)
    detected = next((value for key, value, _ in cards if key.endswith("NDET")), 0)
    if not detected:
        ctx.log.warning("No sources found for FWHM measurement on plane %d", number + 1)
    else:
        ctx.log.info("Computed FWHM QC parameters of %s source(s) found on plane %d", detected, number + 1)
    return cards


def save_images(
    images: FilterSet | RowImages,
    combination: Combination,
    base: Header,
    qc: list[Card],
    unit: str,
    name: str,
    cube_format: str,
    ctx: RunContext,
) -> None:
    """Write IMAGE_FOV for each filter."""
    from astropy.io import fits

    header = base.copy()
    header.remove("SPECSYS", ignore_missing=True)
    for key, value, comment in formats.image_keywords(cube_format):
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

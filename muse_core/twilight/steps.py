# SPDX-License-Identifier: BSD-3-Clause
"""The steps of muse_twilight between opening the inputs and writing the products."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.data.header_values import single_precision
from muse_core.detector.left_out import flag_as_missing
from muse_core.detector.plan import DetectorPlan
from muse_core.framework.defects import Defects
from muse_core.framework.errors import InputError, RecipeError
from muse_core.framework.execution import RunContext
from muse_core.framework.log import UNDONE
from muse_core.framework.spec import ParamValues
from muse_core.framework.work_plan import Pass, WorkPlan
from muse_core.resampling.grid import OutputGrid
from muse_core.twilight.cube import SkyCube, SkyCubePlan, build_cube, check_planes, cube_grid
from muse_core.twilight.inputs import IfuInputs, TwilightInputs
from muse_core.twilight.levels import field_map, fit_levels
from muse_core.twilight.model import TwilightModel, fit_twilight, white_image
from muse_core.twilight.prepare import PreparedIfu, QualityCard, forget_buffers, memory_per_ifu, prepare_ifu
from muse_core.twilight.quick_cube import quick_cube
from muse_core.twilight.store import BYTES_PER_ROW, KeptIfu, RowStore
from muse_core.twilight.vignetting import EdgeSmoothing, align_mask, nfm_mask

PREPARE_BYTES = 3_500_000_000  # IFUs worked on at the same time fit in this, whatever the budget
RESAMPLED = "sky flat"
"""Name of the resampled IFUs among the kept results."""
PREPARE_RATE, CUBE_RATE = 0.08, 0.15
"""Seconds per million pixels, and rows, with one thread on a usual machine."""
IMPORTS_BYTES = 250e6
LEVEL_PASSES = 4
LEVEL_TOLERANCE = 1e-4
FEW_IFUS = 8  # of fewer the smooth model of the field cannot tell levels from its own curvature
ROWS_PER_DETECTOR = 0.9  # part of the pixels of a detector that lie inside slices
Fluxes = dict[int, float]


@dataclass(frozen=True)
class SkyFlat:
    """The combined sky flat: its IFUs, their fluxes, and the cube of them all.

    Attributes
    ----------
    ifus : dict of int to PreparedIfu
    measured : dict of int to float
        Integrated flux of each IFU, for ``QC INTFLUX``.
    fluxes : dict of int to float
        Fluxes whose ratios put the IFUs on one level, for ``FLAT FLUX SKY``.
    cube : SkyCube
    """

    ifus: dict[int, PreparedIfu]
    measured: Fluxes
    fluxes: Fluxes
    cube: SkyCube

    def quality_cards(self) -> list[QualityCard]:
        """QC keywords of all IFUs, the integrated flux last."""
        cards: list[QualityCard] = []
        for ifu, part in self.ifus.items():
            name = f"ESO QC TWILIGHT{ifu} INTFLUX"
            text = f"Flux integrated over all slices of IFU {ifu}"
            cards += [*part.qc, (name, single_precision(self.measured[ifu]), text)]
        return cards


def open_store(inputs: TwilightInputs, p: ParamValues, ctx: RunContext) -> RowStore:
    """Make the store for all rows between ``lambdamin`` and ``lambdamax``."""
    expected = sum(int(np.prod(job.calibration.shape) * ROWS_PER_DETECTOR) for job in inputs.ifus)
    return RowStore(ctx.workdir, p.lambdamin, p.lambdamax, ctx.memory_bytes, expected)


def _at_once(inputs: TwilightInputs, ctx: RunContext) -> tuple[int, int]:
    """Return the bytes that an IFU takes, and how many are worked on at the same time."""
    size = max(memory_per_ifu(job) for job in inputs.ifus)
    return size, int(np.clip(max(ctx.memory_bytes, PREPARE_BYTES) // size, 1, max(ctx.threads, 1)))


def plan_of(inputs: TwilightInputs, p: ParamValues, ctx: RunContext) -> WorkPlan:
    """Return what the run is going to do."""
    size, workers = _at_once(inputs, ctx)
    shapes = [float(np.prod(job.calibration.shape)) for job in inputs.ifus]
    frames = [len(job.exposures) + (job.illum is not None) for job in inputs.ifus]
    pixels = sum(shape * number for shape, number in zip(shapes, frames))
    masters = 3 * 12.0 * sum(shapes)
    rows = ROWS_PER_DETECTOR * sum(shapes)
    stored = BYTES_PER_ROW * rows
    passes = (
        Pass("IFUs", pixels, 2.0 * pixels + masters, PREPARE_RATE, "pixels"),
        Pass("cube", rows, 0.0, CUBE_RATE),
    )
    in_memory = stored if stored <= ctx.memory_bytes else 0.0
    check_planes(p.lambdamin, p.lambdamax, p.dlambda)
    planes = max(1.0, (p.lambdamax - p.lambdamin) / p.dlambda)
    cube = 8.0 * 320 * 320 * planes
    return WorkPlan(
        passes,
        len({frame.path for job in inputs.ifus for frame in job.exposures}) + len(inputs.ifus),
        IMPORTS_BYTES + size * workers + in_memory,
        IMPORTS_BYTES + size,
        1.5 * cube + (0.0 if in_memory else stored),
    )


@dataclass(frozen=True)
class Outcome:
    """What came of an IFU: nothing, for a reason; or what was found, and the rows if they are elsewhere."""

    prepared: PreparedIfu | None = None
    rows: KeptIfu | None = None
    reason: str = ""


@dataclass(frozen=True)
class Preparation:
    """Calibrates and combines the exposures of an IFU.

    Parameters
    ----------
    store : RowStore
        takes the rows; in another process each IFU has one of its own, from which they come here
    """

    plan: DetectorPlan
    store: RowStore

    def __call__(self, job: IfuInputs) -> Outcome:
        """Prepare an IFU."""
        store = self.store.for_one_ifu() if self.store.is_elsewhere else self.store
        try:
            prepared = prepare_ifu(job, self.plan, store)
        except InputError as error:
            return Outcome(reason=str(error))
        return Outcome(prepared, store.exported(job.ifu) if self.store.is_elsewhere else None)


def combine_exposures(
    inputs: TwilightInputs, store: RowStore, p: ParamValues, ctx: RunContext
) -> dict[int, PreparedIfu]:
    """Calibrate and combine the exposures of all IFUs; the rows go to the store.

    An IFU that fails goes to ``inputs.failed`` with its reason; the run goes on as long as one is left.
    """
    plan = DetectorPlan.from_parameters(p)
    _, workers = _at_once(inputs, ctx)
    prepared = _kept_ifus(inputs, store, ctx)
    unkept: list[int] = []
    missing = [job for job in inputs.ifus if job.ifu not in prepared]
    done = ctx.team.map(Preparation(plan, store), missing, workers)
    for job, outcome in zip(missing, ctx.progress(done, "IFUs", total=len(missing)), strict=True):
        if outcome.prepared is None:
            inputs.failed[job.ifu] = outcome.reason
            continue
        prepared[job.ifu] = outcome.prepared
        if outcome.rows is not None:
            store.restore(outcome.rows)
        unkept.append(job.ifu)
        if ctx.kept.is_worth():
            for number in unkept:
                ctx.kept.save(f"IFU {number}", (prepared[number], store.exported(number)))
            unkept.clear()
    forget_buffers()
    prepared = dict(sorted(prepared.items()))
    _log_notes(prepared, ctx.log)
    _report_failures(inputs, ctx.log)
    ctx.flag("COMPLETE", not inputs.failed, "all IFUs of the sky flats were used")
    used = [job for job in inputs.ifus if job.ifu in prepared]
    for tag, one_lacks in (
        ("MASTER_DARK", any(job.calibration.dark is None for job in used)),
        ("ILLUM", any(prepared[job.ifu].illum is None for job in used)),
    ):
        if one_lacks:
            flag_as_missing(tag, ctx)
    if not prepared:
        raise RecipeError("no IFU could be processed, see the reasons above")
    if ctx.defects.first_ifu_required and 1 not in prepared:
        raise RecipeError("no pixels for cube reconstruction are left: IFU 1 failed (MUSE_RECIPES_COMPAT)")
    rows = sum(part.stored.rows for part in prepared.values())
    ctx.log.info("%d IFUs, %d pixel-table rows", len(prepared), rows)
    return prepared


def _kept_ifus(inputs: TwilightInputs, store: RowStore, ctx: RunContext) -> dict[int, PreparedIfu]:
    """Return the IFUs that a killed run has prepared; their rows go to the store, if they are needed."""
    found = {}
    for job in inputs.ifus:
        kept = ctx.kept.load(f"IFU {job.ifu}")
        if kept is not None:
            found[job.ifu], rows = kept
            if not ctx.kept.has(RESAMPLED):
                store.restore(rows)
    return found


def _log_notes(prepared: dict[int, PreparedIfu], log: logging.Logger) -> None:
    notes: dict[str, list[int]] = {}
    for ifu, part in prepared.items():
        for note in part.notes:
            notes.setdefault(note, []).append(ifu)
    for note, ifus in notes.items():
        log.warning("IFU %s: %s", ", ".join(map(str, ifus)), note)


def _report_failures(inputs: TwilightInputs, log: logging.Logger) -> None:
    """Warn once per IFU that could not be used, and sum up."""
    for ifu, reason in sorted(inputs.failed.items()):
        log.warning("IFU %d not used: %s", ifu, reason)
    if inputs.failed:
        log.warning(
            "%d of %d IFUs not used: %s",
            len(inputs.failed),
            len(set(inputs.failed) | {job.ifu for job in inputs.ifus}),
            ", ".join(str(i) for i in sorted(inputs.failed)),
            extra=UNDONE if inputs.ifus else {},
        )


def integrated_fluxes(
    prepared: dict[int, PreparedIfu], narrow_field: bool, defects: Defects = Defects()
) -> Fluxes:
    """Flux of each IFU that scales its data; in the narrow field IFU 24 takes that of its neighbour 23.

    The top rows of IFU 24 are vignetted in the narrow field, so its own flux says nothing of its throughput.
    Without IFU 23 the C pipeline takes 0 and does not scale the data of IFU 24.
    """
    fluxes = {ifu: part.stored.flux for ifu, part in prepared.items()}
    if narrow_field and 24 in fluxes and (23 in fluxes or defects.ifu24_without_ifu23):
        fluxes[24] = fluxes.get(23, 0.0)
    return fluxes


def fluxes_of_pixels(prepared: dict[int, PreparedIfu], fluxes: Fluxes) -> Fluxes:
    """Fluxes that do not count pixels: each IFU has as many as the first one.

    An IFU that took the flux of its neighbour has the pixels of that neighbour, too.
    """
    rows = {part.stored.flux: part.stored.rows for part in prepared.values()}
    first = rows.get(fluxes[min(fluxes)], 1)
    return {ifu: flux * first / rows.get(flux, first) for ifu, flux in fluxes.items()}


def scaled_fluxes(fluxes: Fluxes, scales: tuple[float, ...], defects: Defects = Defects()) -> Fluxes:
    """Fluxes whose ratios are those of the scales.

    Measured against 2.8.7: the data of IFU n are divided by its scale, and ``FLAT FLUX SKYn`` is the scale
    times F / scale_1, with F measured in IFU 1; but ``SKY1`` is F / scale_1, which belongs to the data only
    if the first scale is 1 (``defects.sky1_unscaled``).
    """
    first = min(fluxes)
    unit = fluxes[first] / scales[first - 1]
    out = {ifu: unit * scales[ifu - 1] for ifu in fluxes}
    if defects.sky1_unscaled:
        out[first] = unit
    return out


def merge(
    store: RowStore, prepared: dict[int, PreparedIfu], fluxes: Fluxes, scales: Fluxes | None = None
) -> None:
    """Put all IFUs on the flux of the first one (or divide by the scales given) and settle the extent."""
    reference = fluxes[min(fluxes)]
    limits = np.array([part.stored.limits for part in prepared.values()])
    store.freeze(
        scales or {ifu: flux / reference or 1.0 for ifu, flux in fluxes.items()},
        [f(limits[:, i]) for i, f in enumerate((np.min, np.max) * 3)],
    )


def resample(
    store: RowStore, prepared: dict[int, PreparedIfu], inputs: TwilightInputs, p: ParamValues, ctx: RunContext
) -> SkyFlat:
    """Put the IFUs on one level (or divide by the scales given) and resample them into one cube."""
    return ctx.kept.once(RESAMPLED, lambda: _resampled(store, prepared, inputs, p, ctx))


def _resampled(
    store: RowStore, prepared: dict[int, PreparedIfu], inputs: TwilightInputs, p: ParamValues, ctx: RunContext
) -> SkyFlat:
    measured = integrated_fluxes(prepared, inputs.narrow_field, ctx.defects)
    plan = SkyCubePlan(p.resample, p.crtype, p.crsigma, p.dlambda)
    if p.scales:
        own = {ifu: p.scales[ifu - 1] for ifu in measured}
        measured = scaled_fluxes(measured, p.scales, ctx.defects)
        merge(store, prepared, measured, own)
        fluxes = measured
    else:
        merge(store, prepared, measured)
        fluxes = _settle_levels(store, prepared, measured, inputs, p, ctx)
    cube = build_cube(store, plan, ctx.memory_bytes, ctx.threads)
    ctx.log.info("cube of %d x %d x %d, %d cosmic rays", *cube.data.shape[::-1], cube.rejected)
    return SkyFlat(prepared, measured, fluxes, cube)


def _settle_levels(
    store: RowStore,
    prepared: dict[int, PreparedIfu],
    fluxes: Fluxes,
    inputs: TwilightInputs,
    p: ParamValues,
    ctx: RunContext,
) -> Fluxes:
    """Fluxes that put all IFUs on one level outside of the vignetted area (see `fit_levels`).

    Found from quick cubes: a measured flux counts pixels, of which IFUs have more or fewer. In a field of few
    IFUs those outside of the vignetted area keep the mean flux of their pixels. Fluxes as C takes them are
    those measured.
    """
    vignetted = inputs.narrow_field or inputs.vignetting_mask is not None
    settle = vignetted and not ctx.defects.levels_with_vignetted_slices
    if not settle and ctx.defects.levels_count_pixels:
        return fluxes
    grid = cube_grid(store.limits, p.dlambda)
    ifus = field_map(
        store.geometries,
        np.asarray(grid.crval[0] + np.arange(grid.nx), np.float64),
        np.asarray(grid.crval[1] + np.arange(grid.ny), np.float64),
    )
    settled = fluxes if ctx.defects.levels_count_pixels else fluxes_of_pixels(prepared, fluxes)
    merge(store, prepared, settled)
    few = len(fluxes) < FEW_IFUS
    for _ in range(0 if few and not vignetted else LEVEL_PASSES):
        quick = quick_cube(store, grid, ctx.threads)
        model = fit_model(quick, inputs, p, ctx)
        area = _vignetted_area(inputs, model.white.shape, p.vignnfmmask)
        area = np.zeros(model.white.shape, bool) if area is None else area
        levels = fit_levels(model.ratio, model.good, area, ifus)
        if few:
            touched = np.unique(ifus[area & model.good])
            levels = {ifu: level for ifu, level in levels.items() if ifu in touched}
        settled = {ifu: flux * levels.get(ifu, 1.0) for ifu, flux in settled.items()}
        merge(store, prepared, settled)
        if all(abs(level - 1) < LEVEL_TOLERANCE for level in levels.values()):
            break
    changed = {ifu: 100 * (settled[ifu] / fluxes[ifu] - 1) for ifu in fluxes}
    largest = max(changed, key=lambda ifu: abs(changed[ifu]))
    ctx.log.info(
        "levels of the IFUs taken from the %s: fluxes changed by up to %.2f %% (IFU %d)",
        "mean of their pixels" if few and not vignetted else "cube",
        changed[largest],
        largest,
    )
    return settled


def _vignetted_area(
    inputs: TwilightInputs, shape: tuple[int, ...], rows: int
) -> npt.NDArray[np.bool_] | None:
    """Area of the edge correction: the aligned mask (wide field), the top rows (narrow field), or None."""
    ny, nx = shape
    if inputs.narrow_field:
        return nfm_mask((ny, nx), rows)
    return None if inputs.vignetting_mask is None else align_mask(inputs.vignetting_mask, (ny, nx))


def fit_model(
    cube: npt.NDArray[np.float32],
    inputs: TwilightInputs,
    p: ParamValues,
    ctx: RunContext,
    white: npt.NDArray[np.float32] | None = None,
) -> TwilightModel:
    """Fit the smooth illumination; the white image is made from the cube if it is not given."""
    white = white_image(cube) if white is None else white
    return fit_twilight(
        cube,
        white,
        _vignetted_area(inputs, white.shape, p.vignnfmmask),
        xorder=p.xorder,
        yorder=p.yorder,
        narrow_field=inputs.narrow_field,
        defects=ctx.defects,
        smoothing=EdgeSmoothing(p.vignsmooth, p.vignxpar, p.vignypar, p.vignmaskedges),
        threads=ctx.threads,
    )


def smooth(sky: SkyFlat, inputs: TwilightInputs, p: ParamValues, ctx: RunContext) -> TwilightModel:
    """Fit the smooth illumination to the cube of the sky flat."""
    model = fit_model(sky.cube.data, inputs, p, ctx)
    tell_filled(model, sky.cube.grid, ctx)
    return model


def tell_filled(model: TwilightModel, grid: OutputGrid, ctx: RunContext) -> None:
    """Warn of planes that the model has no data of."""
    if model.filled:
        planes = ", ".join(f"{grid.wavelength(k):.0f}" for k in model.filled)
        ctx.log.warning("no data in the planes at %s Angstrom, interpolated between neighbours", planes)

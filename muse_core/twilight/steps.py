# SPDX-License-Identifier: BSD-3-Clause
"""The steps of muse_twilight between opening the inputs and writing the products."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np

from muse_core.twilight.cube import cube_grid
from muse_core.twilight.environment import external_scales, scaled_fluxes
from muse_core.twilight.inputs import TwilightInputs, parse_detector
from muse_core.twilight.levels import field_map, fit_levels
from muse_core.twilight.model import TwilightModel, fit_twilight, white_image
from muse_core.twilight.prepare import PreparedIfu, memory_per_ifu, prepare_ifu, rounded
from muse_core.twilight.preview import quick_cube
from muse_core.twilight.store import RowStore
from muse_core.twilight.vignetting import align_mask, nfm_mask

PREPARE_BYTES = 3_500_000_000  # IFUs worked on at the same time fit in this, whatever the budget
LEVEL_PASSES = 4
LEVEL_TOLERANCE = 1e-4
ROWS_PER_DETECTOR = 0.9  # part of the pixels of a detector that lie inside slices


def open_store(inputs: TwilightInputs, folder, p, memory_bytes: int) -> RowStore:
    """Make the store for all rows between ``lambdamin`` and ``lambdamax``."""
    expected = sum(int(np.prod(job.shape) * ROWS_PER_DETECTOR) for job in inputs.ifus)
    return RowStore(folder, p.lambdamin, p.lambdamax, memory_bytes, expected)


def prepare_all(
    inputs: TwilightInputs, p, store: RowStore, threads: int, memory_bytes: int, progress, log
) -> dict[int, PreparedIfu]:
    """Prepare all IFUs on several threads; failures go to ``inputs.failed`` with their reason."""
    plan = parse_detector(p)
    size = max(memory_per_ifu(job) for job in inputs.ifus)
    workers = int(np.clip(max(memory_bytes, PREPARE_BYTES) // size, 1, max(threads, 1)))
    prepared: dict[int, PreparedIfu] = {}
    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(prepare_ifu, job, plan, store): job.ifu for job in inputs.ifus}
        for future in progress(as_completed(futures), "IFUs", total=len(futures)):
            ifu = futures[future]
            try:
                prepared[ifu] = future.result()
            except ValueError as error:
                inputs.failed[ifu] = str(error)
    notes: dict[str, list[int]] = {}
    for ifu in sorted(prepared):
        for note in prepared[ifu].notes:
            notes.setdefault(note, []).append(ifu)
    for note, ifus in notes.items():
        log.warning("IFU %s: %s", ", ".join(map(str, ifus)), note)
    return dict(sorted(prepared.items()))


def integrated_fluxes(
    prepared: dict[int, PreparedIfu], narrow_field: bool, compat: bool = False
) -> dict[int, float]:
    """Flux of each IFU that scales its data; in the narrow field IFU 24 takes that of its neighbour 23.

    The top rows of IFU 24 are vignetted in the narrow field, so its own flux says nothing of its throughput.
    Without IFU 23 the C pipeline takes 0 and does not scale the data of IFU 24 (here with ``compat``).
    """
    fluxes = {ifu: part.stored.flux for ifu, part in prepared.items()}
    if narrow_field and 24 in fluxes and (23 in fluxes or compat):
        fluxes[24] = fluxes.get(23, 0.0)
    return fluxes


def quality_cards(prepared: dict[int, PreparedIfu], fluxes: dict[int, float]) -> list[tuple[str, float, str]]:
    """QC keywords of all IFUs, the integrated flux last."""
    cards = []
    for ifu, part in prepared.items():
        name = f"ESO QC TWILIGHT{ifu} INTFLUX"
        cards += [*part.qc, (name, rounded(fluxes[ifu]), f"Flux integrated over all slices of IFU {ifu}")]
    return cards


def merge(
    store: RowStore,
    prepared: dict[int, PreparedIfu],
    fluxes: dict[int, float],
    scales: dict[int, float] | None = None,
) -> None:
    """Put all IFUs on the flux of the first one (or divide by the scales given) and settle the extent."""
    reference = fluxes[min(fluxes)]
    limits = np.array([part.stored.limits for part in prepared.values()])
    store.freeze(
        scales or {ifu: flux / reference or 1.0 for ifu, flux in fluxes.items()},
        [f(limits[:, i]) for i, f in enumerate((np.min, np.max) * 3)],
    )


def vignetted_area(inputs: TwilightInputs, shape: tuple[int, int], rows: int) -> np.ndarray | None:
    """Area of the edge correction: the aligned mask (wide field), the top rows (narrow field), or None."""
    if inputs.narrow_field:
        return nfm_mask(shape, rows)
    return None if inputs.vignetting_mask is None else align_mask(inputs.vignetting_mask, shape)


def smooth_cube(
    cube: np.ndarray, white: np.ndarray, inputs: TwilightInputs, p, threads: int = 1, compat: bool = False
) -> TwilightModel:
    """Fit the smooth illumination with the recipe's parameters."""
    return fit_twilight(
        cube,
        white,
        vignetted_area(inputs, white.shape, p.vignnfmmask),
        xorder=p.xorder,
        yorder=p.yorder,
        narrow_field=inputs.narrow_field,
        method=p.vignsmooth,
        xpar=p.vignxpar,
        ypar=p.vignypar,
        edge_limit=p.vignmaskedges,
        level_outside=not compat,
        end_at_empty=compat,
        compat=compat,
        threads=threads,
    )


def merge_on_one_level(store, prepared, measured, plan, inputs, p, ctx) -> tuple[dict, dict]:
    """Scale the IFUs to each other; returns the fluxes for ``QC INTFLUX`` and those for ``FLAT FLUX SKY``."""
    scales = external_scales(ctx.log)
    if scales is None:
        merge(store, prepared, measured)
        return measured, settle_levels(store, prepared, measured, plan, inputs, p, ctx)
    own = {ifu: scales[ifu - 1] for ifu in measured}
    fluxes = scaled_fluxes(measured, scales, ctx.compat)
    merge(store, prepared, fluxes, own)
    return fluxes, fluxes


def settle_levels(store, prepared, fluxes, plan, inputs, p, ctx) -> dict[int, float]:
    """Fluxes that put all IFUs on one level outside of the vignetted area (see `fit_levels`).

    Found from quick cubes, if there is a vignetted area or slices have lost pixels; otherwise, or with
    compat, the fluxes are those measured.
    """
    if ctx.compat or not (inputs.narrow_field or inputs.vignetting_mask is not None or store.incomplete):
        return fluxes
    grid = cube_grid(store.limits, plan.dlambda)
    ifus = field_map(
        store.geometries, *(grid.crval[i] + np.arange(n) for i, n in enumerate((grid.nx, grid.ny)))
    )
    settled = fluxes
    for _ in range(LEVEL_PASSES):
        cube = quick_cube(store, grid, ctx.threads)
        white = white_image(cube)
        model = smooth_cube(cube, white, inputs, p, ctx.threads)
        area = vignetted_area(inputs, white.shape, p.vignnfmmask)
        area = np.zeros(white.shape, bool) if area is None else area
        levels = fit_levels(model.ratio, model.good, area, ifus)
        settled = {ifu: flux * levels.get(ifu, 1.0) for ifu, flux in settled.items()}
        merge(store, prepared, settled)
        if all(abs(level - 1) < LEVEL_TOLERANCE for level in levels.values()):
            break
    changed = {ifu: 100 * (settled[ifu] / fluxes[ifu] - 1) for ifu in fluxes}
    largest = max(changed, key=lambda ifu: abs(changed[ifu]))
    ctx.log.info(
        "levels of the IFUs taken from the cube: fluxes changed by up to %.2f %% (IFU %d)",
        changed[largest],
        largest,
    )
    return settled


def report_failures(inputs: TwilightInputs, log) -> None:
    """Warn once per IFU that could not be used, and sum up."""
    for ifu, reason in sorted(inputs.failed.items()):
        log.warning("IFU %d not used: %s", ifu, reason)
    if inputs.failed:
        log.warning(
            "%d of %d IFUs not used: %s",
            len(inputs.failed),
            len(set(inputs.failed) | {job.ifu for job in inputs.ifus}),
            ", ".join(str(i) for i in sorted(inputs.failed)),
        )

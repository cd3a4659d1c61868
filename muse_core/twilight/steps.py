# SPDX-License-Identifier: BSD-3-Clause
"""The steps of muse_twilight between opening the inputs and writing the products."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np

from .cube import build_cube
from .inputs import TwilightInputs, parse_detector
from .levels import field_map, fit_levels
from .model import TwilightModel, fit_twilight, white_image
from .prepare import PreparedIfu, memory_per_ifu, prepare_ifu, rounded
from .store import RowStore
from .vignetting import align_mask, nfm_mask

PREPARE_BYTES = 3_500_000_000  # IFUs worked on at the same time fit in this, whatever the budget
LEVEL_PASSES = 2
LEVEL_TOLERANCE = 1e-3
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


def integrated_fluxes(prepared: dict[int, PreparedIfu], narrow_field: bool) -> dict[int, float]:
    """Flux of each IFU that scales its data; in the narrow field IFU 24 takes that of its neighbour 23.

    The top rows of IFU 24 are vignetted in the narrow field, so its own flux says nothing of its throughput.
    """
    fluxes = {ifu: part.stored.flux for ifu, part in prepared.items()}
    if narrow_field and 24 in fluxes and 23 in fluxes:
        fluxes[24] = fluxes[23]
    return fluxes


def quality_cards(prepared: dict[int, PreparedIfu], fluxes: dict[int, float]) -> list[tuple[str, float, str]]:
    """QC keywords of all IFUs, the integrated flux last."""
    cards = []
    for ifu, part in prepared.items():
        name = f"ESO QC TWILIGHT{ifu} INTFLUX"
        cards += [*part.qc, (name, rounded(fluxes[ifu]), f"Flux integrated over all slices of IFU {ifu}")]
    return cards


def merge(store: RowStore, prepared: dict[int, PreparedIfu], fluxes: dict[int, float]) -> None:
    """Put all IFUs on the flux of the first one and settle the extent of the data."""
    reference = fluxes[min(fluxes)]
    limits = np.array([part.stored.limits for part in prepared.values()])
    store.freeze(
        {ifu: flux / reference for ifu, flux in fluxes.items()},
        [f(limits[:, i]) for i, f in enumerate((np.min, np.max) * 3)],
    )


def vignetted_area(inputs: TwilightInputs, shape: tuple[int, int], rows: int) -> np.ndarray | None:
    """Area of the edge correction: the aligned mask (wide field), the top rows (narrow field), or None."""
    if inputs.narrow_field:
        return nfm_mask(shape, rows)
    return None if inputs.vignetting_mask is None else align_mask(inputs.vignetting_mask, shape)


def smooth_cube(
    cube: np.ndarray, white: np.ndarray, inputs: TwilightInputs, p, compat: bool = False
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
    )


def level_changes(model: TwilightModel, grid, store: RowStore) -> dict[int, float]:
    """Levels of the IFUs (see `fit_levels`) if the field has a vignetted area."""
    if model.vignetted is None:
        return {}
    x, y = (grid.crval[axis] + np.arange(size) for axis, size in enumerate((grid.nx, grid.ny)))
    ifus = field_map(store.geometries, x, y)
    return fit_levels(model.ratio, model.good, model.vignetted, ifus)


def cube_and_model(store, prepared, fluxes, plan, inputs, p, ctx):
    """Resample the rows and fit the illumination; with a vignetted area, settle the levels of the IFUs, too.

    Returns
    -------
    cube : SkyCube
    model : TwilightModel
    fluxes : dict of int to float
        What the data of each IFU were divided with (in units of the first one).
    """
    for attempt in range(LEVEL_PASSES + 1):
        merge(store, prepared, fluxes)
        cube = build_cube(store, plan, ctx.memory_bytes, ctx.threads)
        model = smooth_cube(cube.data, white_image(cube.data), inputs, p, ctx.compat)
        if ctx.compat or attempt == LEVEL_PASSES:
            break
        levels = level_changes(model, cube.grid, store)
        largest = max(levels, key=lambda ifu: abs(levels[ifu] - 1), default=0)
        if not largest or abs(levels[largest] - 1) < LEVEL_TOLERANCE:
            break
        ctx.log.info(
            "outside of the vignetted area the IFUs differ by up to %.2f %% (IFU %d): levels changed",
            100 * (levels[largest] - 1),
            largest,
        )
        fluxes = {ifu: flux * levels.get(ifu, 1.0) for ifu, flux in fluxes.items()}
    return cube, model, fluxes


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

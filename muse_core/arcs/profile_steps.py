# SPDX-License-Identifier: BSD-3-Clause
"""The steps of muse_lsf for one IFU, and the loop over all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.arcs import profile_products as products
from muse_core.arcs.images import LampImage, lamp_images, slice_window
from muse_core.arcs.inputs import ArcInputs, SliceTraces
from muse_core.arcs.line_fits import SliceWindow
from muse_core.arcs.products import header_of
from muse_core.arcs.profile_image import ProfileGrid, clean_profile, profile_grid, widths
from muse_core.arcs.profile_kernels import subtract_lines
from muse_core.arcs.profile_rows import (
    LineRows,
    ProfilePlan,
    RowsOfSlice,
    SliceRowsOfLamp,
    rows_of_lines,
)
from muse_core.arcs.steps import share_memory
from muse_core.arcs.wavelength_ranges import line_ranges
from muse_core.detector.image import ImageRoom
from muse_core.detector.masters_run import IfuRun, finish, run_ifus, tell_absent
from muse_core.detector.pixels import PixelMap, build_pixel_map
from muse_core.detector.rows import fill_wavelengths, gather_slice
from muse_core.detector.tables import NSLICE, SliceGeometry
from muse_core.framework.errors import InputError, ParameterError
from muse_core.framework.execution import RunContext
from muse_core.framework.frames import Frames
from muse_core.framework.spec import ParamValues
from muse_core.postproc.lsf.images import LsfImage, pad_samples

Floats = npt.NDArray[np.float64]
NOWHERE = np.zeros(NSLICE)


@dataclass(frozen=True)
class IfuProfiles:
    """What came of one IFU.

    Attributes
    ----------
    ifu : int
    lines : int64[48]
        Lines of all lamps in each slice.
    rows : int64[48]
    fwhm : float64[48, wavelengths]
        Angstrom; NaN for a slice without profile.
    left_out : tuple of str
        Lines that were left out, with the slice and the reason.
    notes : tuple of str
    """

    ifu: int
    lines: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    fwhm: Floats
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def refuse(p: ParamValues) -> None:
    """Refuse what cannot be made right.

    Raises
    ------
    ParameterError
    """
    if p.method == "hermit":
        raise ParameterError(
            "parameter method=hermit: not available; its parameters are degenerate (slit width and bin width "
            "cannot be told apart) and its profiles no better. Use method=interpolate, whose LSF_PROFILE all "
            "recipes read"
        )
    if p.lsf_regression_window > p.lsf_range:
        raise ParameterError(
            f"parameter lsf_regression_window={p.lsf_regression_window:g}: expected at most lsf_range = "
            f"{p.lsf_range:g}"
        )


def profile_plan(p: ParamValues, mode: str, ctx: RunContext) -> ProfilePlan:
    """Take the plan from the recipe's parameters."""
    return ProfilePlan(
        p.line_quality,
        p.lsf_range,
        p.lsf_size,
        p.lambda_size,
        p.lsf_regression_window,
        line_ranges(mode),
        one_more=ctx.defects.lsf_background_too_small,
    )


def process(inputs: ArcInputs, frames: Frames, p: ParamValues, ctx: RunContext) -> IfuRun[IfuProfiles]:
    """Make the products of all IFUs, several at a time; an IFU that fails does not stop the others."""
    plan = profile_plan(p, inputs.mode, ctx)
    with products.ProfileFiles(ctx, merge=p.merge) as files:
        workers, on_disk = share_memory(inputs, ctx)
        worker = ProfileWorker(inputs, plan, frames, files, p, ctx, on_disk)
        run = run_ifus(worker.process, inputs.found.ifus, workers, ctx, lambda result: tell(result, ctx))
        files.finish(complete=not run.failed)
    tell_absent(inputs.found.absent, inputs.found.files.found["TRACE_TABLE"], ctx)
    finish(run, ctx)
    return run


@dataclass
class ProfileWorker:
    """Makes all products of one IFU; several threads call `process`."""

    inputs: ArcInputs
    plan: ProfilePlan
    frames: Frames
    files: products.ProfileFiles
    p: ParamValues
    ctx: RunContext
    on_disk: bool = False

    def process(self, ifu: int) -> IfuProfiles:
        """Return the widths of an IFU, its products written.

        Raises
        ------
        InputError
            With the reason why there are none.
        """
        grid = profile_grid(self.plan)
        with ImageRoom(self.ctx.workdir, on_disk=self.on_disk) as room:
            made = lamp_images(ifu, self.inputs, self.p, room)
            pixels, notes = self._pixels(ifu, made)
            found = [self._rows(s, made, pixels) for s in range(NSLICE)]
        if not any(len(one.rows) for one in found):
            reasons = sorted({text for one in found for text in one.left_out})[:5]
            raise InputError("", "no line can be used for a profile", found="; ".join(reasons) or "none")
        images = np.zeros((NSLICE, self.plan.wavelengths, self.plan.samples))
        for s, one in enumerate(found):
            if len(one.rows):
                images[s], rows, failed = clean_profile(one.rows, grid, self.plan)
                found[s] = one.with_rows(rows)
                if failed:
                    text = f"{failed} of {self.plan.samples} samples of its profile have too few rows"
                    notes.append(f"slice {s + 1} of IFU {ifu}: {text}")
        planes = self._planes(found)
        cube = np.zeros(images.shape, np.float32)
        for plane, s in enumerate(planes):
            if s >= 0:
                cube[plane] = images[s]
        fwhm = np.stack([widths(image, grid.step) for image in cube])
        if self.ctx.defects.lsf_planes_move_up:
            fwhm[[k for k, s in enumerate(planes) if s < 0]] = 2 * self.plan.reach  # of nothing, says C
        qc = products.width_cards([(k + 1, fwhm[k]) for k in range(NSLICE)])
        header = header_of(made, self.frames, self.inputs.found.tags)
        self.files.save(cube, grid, header, qc)
        if self.p.save_subtracted:
            rows = _joined([one.rows.sorted() for one in found if len(one.rows)])
            left = self._without_lines(rows, cube, grid)
            products.save_rows(rows, left, pixels, header, self.ctx)
        notes += [note for one in made for note in one.notes]
        left_out = tuple(f"slice {s + 1}: {text}" for s, one in enumerate(found) for text in one.left_out)
        counts = np.array([one.lines for one in found]), np.array([len(one.rows) for one in found])
        return IfuProfiles(ifu, *counts, fwhm, left_out, tuple(dict.fromkeys(notes)))

    def _planes(self, found: list[RowsOfSlice]) -> list[int]:
        """Return the slice (from 0) of each plane of the cube; -1: none."""
        seen = [s for s, one in enumerate(found) if len(one.rows)]
        if self.ctx.defects.lsf_planes_move_up:
            return seen + [-1] * (NSLICE - len(seen))
        return [s if s in seen else -1 for s in range(NSLICE)]

    def _pixels(self, ifu: int, made: list[LampImage]) -> tuple[PixelMap, list[str]]:
        """Return wavelengths and slices of an IFU; slices without trace or solution have no rows."""
        tables: dict[str, dict[int, Any]] = self.inputs.found.files.found
        shape = made[0].job.own.shape
        for tag in ("TRACE_TABLE", "WAVECAL_TABLE"):
            if ifu not in tables[tag]:
                raise InputError("", f"no {tag} with CHAN{ifu:02d} among the inputs")
        trace, wave = tables["TRACE_TABLE"][ifu].copy(), tables["WAVECAL_TABLE"][ifu].copy()
        notes = []
        for s in range(NSLICE):
            for name, values in (("trace", trace[s]), ("wavelength solution", wave[s])):
                if not np.isfinite(values).all():
                    notes.append(f"slice {s + 1} of IFU {ifu}: no profile: its {name} is missing")
                    trace[s], wave[s] = 0.0, 0.0
        rows = np.array([1.0, 0.5 * shape[0], float(shape[0])])
        lam = np.stack([_wavelengths(trace[s], wave[s], rows) for s in range(NSLICE)])
        wrong = np.flatnonzero((np.diff(lam, axis=1) <= 0).any(axis=1) & (lam[:, 1] != 0))
        if wrong.size:
            raise InputError(
                "WAVECAL_TABLE",
                f"CHAN{ifu:02d} slice {int(wrong[0]) + 1}",
                expected="wavelengths that rise with y",
                found=f"a wavelength that is not monotonic in {wrong.size} slices",
            )
        nowhere = SliceGeometry(NOWHERE, NOWHERE, NOWHERE, NOWHERE)
        pixels = build_pixel_map(ifu, shape, trace, wave, nowhere, self.inputs.mode)
        for s in range(NSLICE):
            if (pixels.last[s] == 0).all() and np.isfinite(trace[s]).all() and trace[s].any():
                notes.append(f"slice {s + 1} of IFU {ifu}: no profile: its first row leaves the detector")
        return pixels, notes

    def _rows(self, s: int, made: list[LampImage], pixels: PixelMap) -> RowsOfSlice:
        """Return the rows of the lines of slice ``s`` (from 0)."""
        first, last = pixels.first[s], pixels.last[s]
        if (last < first).all():
            return rows_of_lines([], self.inputs.catalog, self.plan)
        window = _window(s, pixels, made)
        counts = np.maximum(last - first + 1, 0)
        size = int(counts.sum())
        lam = np.empty(size, np.float32)
        fill_wavelengths(first, last, pixels.wave[s], 0.0, lam)
        row = np.repeat(np.arange(1, first.size + 1), counts)
        begin = np.repeat(np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
        column = np.repeat(first, counts) + np.arange(size) - begin
        code = pixels.ifu << 6 | (s + 1)
        origin = ((column - pixels.offset[s]) << 24 | row << 11 | code).astype(np.int32)
        images = []
        for one in made:
            image = window.images[str(one.lamps)]
            data, stat, dq = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.int32)
            gather_slice(image.data, image.stat, image.dq, window.x0, first, last, data, stat, dq)
            images.append(SliceRowsOfLamp(lam, data, stat, dq, origin, one.lamps.names))
        return rows_of_lines(images, self.inputs.catalog, self.plan)

    def _without_lines(
        self, rows: LineRows, cube: npt.NDArray[np.float32], grid: ProfileGrid
    ) -> npt.NDArray[np.float32]:
        """Return the data without their lines; by the plane of the slice's number, whatever it holds."""
        left = rows.data.copy()
        slices = (rows.origin & 0x3F) - 1
        axes = float(grid.offsets[0]), grid.step, float(grid.wavelengths[0]), grid.lam_step
        image = LsfImage(pad_samples(cube), *axes, np.arange(NSLICE, dtype=np.int32))
        for s in np.unique(slices):
            own = slices == s
            part = left[own]
            subtract_lines(
                image.samples[s], image.total[s], image.moment[s], *axes, rows.lam[own], rows.line[own],
                rows.flux[own], part,
            )  # fmt: skip
            left[own] = part
        return left


def _wavelengths(trace: Floats, wave: Floats, rows: Floats) -> Floats:
    """Wavelengths along the left edge of a slice."""
    left = np.polynomial.polynomial.polyval(rows, trace[0])
    return np.asarray(np.polynomial.polynomial.polyval2d(left, rows, wave), np.float64)


def _window(s: int, pixels: PixelMap, made: list[LampImage]) -> SliceWindow:
    """Read the part of all images that slice ``s`` covers."""
    edges = pixels.left, pixels.right
    traces = SliceTraces(0.5 * (edges[0] + edges[1]), *edges, np.ones(NSLICE, bool))
    return slice_window(s, traces, {str(one.lamps): one for one in made}, made[0].job.own.shape[1])


def _joined(parts: list[LineRows]) -> LineRows:
    names = LineRows.__dataclass_fields__
    return LineRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def tell(result: IfuProfiles, ctx: RunContext) -> None:
    """Log what came of one IFU."""
    for note in result.notes:
        ctx.log.warning("%s", note)
    for text in result.left_out:
        ctx.log.debug("IFU %d, %s", result.ifu, text)
    seen = result.rows > 0
    fwhm = result.fwhm[np.isfinite(result.fwhm)]
    ctx.log.info(
        "IFU %d: profiles of %d slices from %d to %d lines, %d rows; FWHM %.2f Angstrom (%.2f to %.2f)",
        result.ifu, seen.sum(), result.lines[seen].min(), result.lines[seen].max(), result.rows.sum(),
        fwhm.mean(), fwhm.min(), fwhm.max(),
    )  # fmt: skip

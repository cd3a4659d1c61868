# SPDX-License-Identifier: BSD-3-Clause
"""The steps of muse_lsf for one IFU, and the loop over all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.arcs import profile_products as products
from muse_core.arcs.images import LampImage, lamp_images, slice_window
from muse_core.arcs.inputs import ArcInputs, SliceTraces, slice_traces
from muse_core.arcs.line_fits import SliceWindow
from muse_core.arcs.products import header_of, named
from muse_core.arcs.profile_image import ProfileGrid, clean_profile, profile_grid, widths
from muse_core.arcs.profile_kernels import subtract_lines
from muse_core.arcs.profile_rows import (
    LineRows,
    ProfilePlan,
    RowsOfSlice,
    SlicePixels,
    joined_rows,
    rows_of_lines,
)
from muse_core.arcs.steps import share_memory
from muse_core.arcs.straight import nominal_geometry
from muse_core.arcs.wavelength_ranges import line_ranges
from muse_core.detector.image import ImageRoom
from muse_core.detector.master_products import MasterFiles
from muse_core.detector.masters_run import IfuRun, finish, run_ifus, spread, tell_absent, threads_within
from muse_core.detector.merged import is_merged
from muse_core.detector.pixels import PixelMap, build_pixel_map
from muse_core.detector.rows import fill_row_limits, fill_wavelengths
from muse_core.detector.tables import NSLICE, check_wavecal, missing_ifu
from muse_core.framework.errors import InputError, ParameterError
from muse_core.framework.execution import RunContext
from muse_core.framework.frames import Frames
from muse_core.framework.spec import ParamValues
from muse_core.postproc.lsf.images import LsfImage, pad_samples

Floats = npt.NDArray[np.float64]
CAUSES = (
    "LINE_CATALOG", "TRACE_TABLE", "WAVECAL_TABLE", "MASTER_BIAS", "MASTER_DARK", "MASTER_FLAT",
)  # fmt: skip
"""Inputs that may be the cause where no line is left."""


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


@dataclass(frozen=True)
class SliceProfile:
    """What came of one slice.

    Attributes
    ----------
    image : float64[wavelengths, offsets] or None
        None without rows.
    lines, size, failed : int
        Lines, their rows, and samples without enough of them.
    left_out : tuple of str
        Lines that were left out, and why.
    rows : LineRows or None
        Kept only if they are saved.
    """

    image: Floats | None
    lines: int
    size: int
    failed: int
    left_out: tuple[str, ...]
    rows: LineRows | None = None


def refuse(p: ParamValues) -> None:
    """Refuse what cannot be made right.

    Raises
    ------
    ParameterError
    """
    if p.method == "hermit":
        raise ParameterError(
            "parameter method=hermit: not available; its parameters are degenerate (slit width and bin width "
            "cannot be told apart) and its profiles further from the truth. Use method=interpolate, whose "
            "LSF_PROFILE all recipes read"
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
        uneven_ends=ctx.defects.lsf_windows_at_the_ends,
        far_from_gaussian=ctx.defects.lsf_background_of_other_sign,
    )


def process(inputs: ArcInputs, frames: Frames, p: ParamValues, ctx: RunContext) -> IfuRun[IfuProfiles]:
    """Make the products of all IFUs, several at a time; an IFU that fails does not stop the others."""
    plan = profile_plan(p, inputs.mode, ctx)
    workers, on_disk = share_memory(inputs, ctx)
    within = threads_within(inputs.found.ifus, workers, ctx)
    maker = ProfileMaker(inputs, plan, frames, p, ctx.defects.lsf_planes_move_up, on_disk, within)
    run = run_ifus(
        maker, inputs.found.ifus, workers, ctx, lambda result: tell(result, ctx), merge=is_merged(p)
    )
    tell_absent(inputs.found.absent, inputs.found.files.found["TRACE_TABLE"], ctx)
    finish(run, ctx)
    return run


@dataclass(frozen=True)
class ProfileMaker:
    """Makes all products of one IFU (see `IfuMaker`)."""

    inputs: ArcInputs
    plan: ProfilePlan
    frames: Frames
    p: ParamValues
    planes_move_up: bool
    on_disk: bool = False
    threads: int = 1

    def __call__(self, ifu: int, files: MasterFiles, ctx: RunContext) -> IfuProfiles:
        """Return the widths of an IFU, its products written.

        Raises
        ------
        InputError
            With the reason why there are none.
        """
        grid = profile_grid(self.plan)
        with ImageRoom(ctx.workdir, on_disk=self.on_disk) as room:
            made = lamp_images(ifu, self.inputs, self.p, room, self.threads)
            pixels, notes = self._pixels(ifu, made)
            found = spread(lambda s: self._profile(s, made, pixels, grid), range(NSLICE), self.threads)
        if not any(one.size for one in found):
            reasons = sorted({text for one in found for text in one.left_out})[:5]
            given = named(self.frames, CAUSES)
            text = f"no line can be used for a profile ({given})"
            raise InputError("", text, found="; ".join(reasons) or "none")
        for s, one in enumerate(found):
            if one.failed:
                text = f"{one.failed} of {self.plan.samples} samples of its profile have too few rows"
                notes.append(f"slice {s + 1} of IFU {ifu}: {text}")
        planes = self._planes(found)
        cube = np.zeros((NSLICE, self.plan.wavelengths, self.plan.samples), np.float32)
        for plane, s in enumerate(planes):
            if s >= 0:
                cube[plane] = found[s].image
        fwhm = np.stack([widths(image, grid.step) for image in cube])
        if not np.isfinite(fwhm).any():
            raise InputError(
                "", "profiles of the lines", expected="a maximum in the middle of some of them", found="none",
                remedy="Check the levels of the ARC exposures and masters, and the wavelengths.",
            )  # fmt: skip
        if self.planes_move_up:
            fwhm[[k for k, s in enumerate(planes) if s < 0]] = 2 * self.plan.reach  # of nothing, says C
        qc = products.width_cards([(k + 1, fwhm[k]) for k in range(NSLICE)])
        header = header_of(made, self.frames, self.inputs.found.tags)
        products.save_profiles(files, cube, grid, header, qc)
        if self.p.save_subtracted:
            rows = joined_rows([one.rows.sorted() for one in found if one.rows is not None])
            left = self._without_lines(rows, cube, grid)
            products.save_rows(rows, left, pixels, header, ctx)
        notes += [note for one in made for note in one.notes]
        left_out = tuple(f"slice {s + 1}: {text}" for s, one in enumerate(found) for text in one.left_out)
        counts = np.array([one.lines for one in found]), np.array([one.size for one in found])
        return IfuProfiles(ifu, *counts, fwhm, left_out, tuple(dict.fromkeys(notes)))

    def _profile(self, s: int, made: list[LampImage], pixels: PixelMap, grid: ProfileGrid) -> SliceProfile:
        """Return the profile of slice ``s`` (from 0)."""
        found = self._rows(s, made, pixels)
        if not len(found.rows):
            return SliceProfile(None, 0, 0, 0, found.left_out)
        image, rows, failed = clean_profile(found.rows, grid, self.plan)
        kept = rows if self.p.save_subtracted else None
        return SliceProfile(image, found.lines, len(rows), failed, found.left_out, kept)

    def _planes(self, found: list[SliceProfile]) -> list[int]:
        """Return the slice (from 0) of each plane of the cube; -1: none."""
        seen = [s for s, one in enumerate(found) if one.size]
        if self.planes_move_up:
            return seen + [-1] * (NSLICE - len(seen))
        return [s if s in seen else -1 for s in range(NSLICE)]

    def _pixels(self, ifu: int, made: list[LampImage]) -> tuple[PixelMap, list[str]]:
        """Return wavelengths and slices of an IFU; slices without trace or solution have no rows."""
        tables: dict[str, dict[int, Any]] = self.inputs.found.files.found
        shape = made[0].job.own.shape
        for tag in ("TRACE_TABLE", "WAVECAL_TABLE"):
            if ifu not in tables[tag]:
                raise missing_ifu(tag, self.inputs.found.files.paths.get(tag, ()), ifu)
        trace, wave = tables["TRACE_TABLE"][ifu].copy(), tables["WAVECAL_TABLE"][ifu].copy()
        files = self.inputs.found.files
        slice_traces(self.inputs.traces[ifu], shape, files.file_of("TRACE_TABLE", ifu), ifu)
        check_wavecal(wave, trace, shape, files.file_of("WAVECAL_TABLE", ifu), ifu)
        notes = []
        for s in range(NSLICE):
            for name, values in (("trace", trace[s]), ("wavelength solution", wave[s])):
                if not np.isfinite(values).all():
                    notes.append(f"slice {s + 1} of IFU {ifu}: no profile: its {name} is missing")
                    trace[s], wave[s] = 0.0, 0.0
        pixels = build_pixel_map(ifu, shape, trace, wave, nominal_geometry(), self.inputs.mode)
        for s in range(NSLICE):
            if (pixels.last[s] == 0).all() and np.isfinite(trace[s]).all() and trace[s].any():
                notes.append(f"slice {s + 1} of IFU {ifu}: no profile: its first row leaves the detector")
        return pixels, notes

    def _rows(self, s: int, made: list[LampImage], pixels: PixelMap) -> RowsOfSlice:
        """Return the rows of the lines of slice ``s`` (from 0)."""
        first, last = pixels.first[s], pixels.last[s]
        if (last < first).all():
            return RowsOfSlice(joined_rows([]), 0, ())
        window = _window(s, pixels, made)
        lam = np.empty(int(np.maximum(last - first + 1, 0).sum()), np.float32)
        fill_wavelengths(first, last, pixels.wave[s], 0.0, lam)
        limits = np.empty((first.size, 2), np.float32)
        fill_row_limits(first, last, pixels.wave[s], 0.0, limits)
        code = pixels.ifu << 6 | (s + 1)
        places = SlicePixels(first, last, lam, limits, int(pixels.offset[s]), code)
        images = [(one.lamps.names, window.images[str(one.lamps)]) for one in made]
        return rows_of_lines(places, images, window.x0, self.inputs.catalog, self.plan)

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


def _window(s: int, pixels: PixelMap, made: list[LampImage]) -> SliceWindow:
    """Read the part of all images that slice ``s`` covers."""
    edges = pixels.left, pixels.right
    traces = SliceTraces(0.5 * (edges[0] + edges[1]), *edges, np.ones(NSLICE, bool))
    return slice_window(s, traces, {str(one.lamps): one for one in made}, made[0].job.own.shape[1])


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

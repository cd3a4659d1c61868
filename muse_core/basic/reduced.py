# SPDX-License-Identifier: BSD-3-Clause
"""Pixel tables from images that were reduced before (input REDUCED)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from muse_core.basic import products
from muse_core.basic.inputs import Exposure, check_parameters
from muse_core.basic.merged import MergedFiles
from muse_core.basic.results import (
    BasicResults,
    Failure,
    IfuOutcome,
    IfuResult,
    run_all,
    sum_up,
    workers_for,
)
from muse_core.basic.slice_image import slice_image
from muse_core.basic.steps import IMAGE_BYTES, RESAMPLED_BYTES, WORK_BYTES, BasicPlan
from muse_core.basic.table import EVERYTHING, IfuPixels, ifu_pixels, make_table
from muse_core.basic.twilight_cube import TwilightCube, check_twilight_cube, read_twilight_cube
from muse_core.data.extension_keywords import with_extension_keywords
from muse_core.data.input_rules import rules_of
from muse_core.data.pixel_rules import check_pixels
from muse_core.data.rules import check
from muse_core.detector.calibration_rules import check_geometry, check_traces_apart
from muse_core.detector.calibrations import attempt
from muse_core.detector.image import DetectorImage, MemoryImage, bands, count_saturated_flags, thumbnail
from muse_core.detector.left_out import OF_TABLES, cards_without
from muse_core.detector.masters import MasterImage, find_masters
from muse_core.detector.merged import is_merged
from muse_core.detector.pixels import build_pixel_map, crop_range
from muse_core.detector.tables import (
    IFUS,
    SliceGeometry,
    check_traces,
    check_wavecal,
    file_of,
    missing_ifu,
    read_geometry,
    read_traces,
    read_wavecals,
)
from muse_core.framework.errors import InputError
from muse_core.framework.execution import RunContext
from muse_core.framework.frames import Frame, Frames
from muse_core.framework.spec import ParamValues

TAG = "REDUCED"
TABLES = ("TRACE_TABLE", "WAVECAL_TABLE", "GEOMETRY_TABLE")
OVERSCAN_KEY = "ESO DRS MUSE OVSC"


@dataclass
class ReducedInputs:
    """Checked inputs: images by IFU, tables, and what is wrong with single IFUs."""

    exposures: tuple[Exposure, ...]
    images: dict[int, list[tuple[Exposure, MasterImage]]]
    traces: dict[int, npt.NDArray[Any]]
    wavecals: dict[int, npt.NDArray[Any]]
    geometry: dict[int, SliceGeometry]
    cubes: tuple[TwilightCube, ...]
    faults: dict[int, list[InputError]] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)

    @property
    def ifus(self) -> list[int]:
        """IFUs with images."""
        return sorted(self.images)


def open_reduced(frames: Frames, p: ParamValues, ctx: RunContext) -> ReducedInputs:
    """Find the images in all files and read the tables.

    Raises
    ------
    InputError
        With all faults that concern the whole run.
    """
    problems = ctx.problems
    check_parameters(p)
    others = sorted({frame.tag for frame in frames} - {TAG, *TABLES, "TWILIGHT_CUBE"})
    if others:
        ctx.log.warning("REDUCED images given: the frames %s are not used", ", ".join(others))
    for tag in TABLES:
        if not frames[tag]:
            problems.add("", f"input {tag}", expected="at least one frame with this tag", found="none")
    faults: dict[int, list[InputError]] = {}
    images: dict[int, list[tuple[Exposure, MasterImage]]] = {}
    exposures: dict[int, Exposure] = {}
    taken: set[tuple[int, int]] = set()
    dates: dict[str, int] = {}
    for frame in frames[TAG]:
        nothing: dict[int, MasterImage] = {}
        found = attempt(problems, find_masters, [frame.path], faults, default=nothing)
        for image in list(found.values())[:1]:
            check(frame.path, rules_of(ctx.spec.name, TAG), image.primary, ctx)
        for ifu, image in found.items():
            if p.nifu in (0, -1, ifu):
                number = exposure_number(image, dates, taken)
                exposure = exposures.get(number) or Exposure(TAG, number, (frame.path,))
                exposures[number] = Exposure(TAG, number, (*dict.fromkeys((*exposure.paths, frame.path)),))
                images.setdefault(ifu, []).append((exposures[number], image))
    paths: dict[str, list[Path]] = {tag: [frame.path for frame in frames[tag]] for tag in TABLES}
    empty: dict[int, npt.NDArray[Any]] = {}
    traces = attempt(problems, read_traces, paths["TRACE_TABLE"], faults, default=empty)
    wavecals = attempt(problems, read_wavecals, paths["WAVECAL_TABLE"], faults, default=empty)
    check_traces_apart(traces, paths["TRACE_TABLE"], ctx)
    geometry: dict[int, SliceGeometry] = {}
    if paths["GEOMETRY_TABLE"]:
        none: tuple[dict[int, SliceGeometry], dict[int, InputError]] = {}, {}
        geometry, wrong = attempt(problems, read_geometry, paths["GEOMETRY_TABLE"][0], default=none)
        for ifu, error in wrong.items():
            faults.setdefault(ifu, []).append(error)
        check_geometry(paths["GEOMETRY_TABLE"][0], geometry, ctx)
    for frame in frames[TAG]:
        check_pixels(frame.path, TAG, ctx)
    cubes = [
        attempt(problems, read_twilight_cube, frame.path, default=None) for frame in frames["TWILIGHT_CUBE"]
    ]
    for cube in (cube for cube in cubes if cube is not None):
        check_twilight_cube(cube, ctx)
    if not images:
        named = ", ".join(frame.path.name for frame in frames[TAG])
        problems.add(
            "", f"input {TAG}, parameter nifu", expected="images of the IFUs asked for",
            found=f"none in {named}",
        )  # fmt: skip
    problems.raise_if_any()
    inputs = ReducedInputs(
        tuple(exposures.values()),
        images,
        traces,
        wavecals,
        geometry,
        tuple(cube for cube in cubes if cube is not None),
        faults,
    )
    wanted = IFUS if p.nifu in (0, -1) else (p.nifu,)
    inputs.failed = {ifu: "no image" for ifu in wanted if ifu not in images}
    for ifu in sorted(set(inputs.failed) & set(faults)):
        ctx.log.warning("IFU %d: no product: %s", ifu, faults[ifu][0])
    return inputs


def exposure_number(image: MasterImage, dates: dict[str, int], taken: set[tuple[int, int]]) -> int:
    """Return the number of the exposure that an image belongs to; its date tells.

    IFUs of which an exposure lacks one keep their numbers; without dates, and for images that come twice, the
    next free number of the IFU is taken.

    Parameters
    ----------
    image : MasterImage
    dates : dict of str to int
        Numbers by date, updated.
    taken : set of (number, ifu)
        Updated.
    """
    date = image.primary.get("DATE-OBS")
    number = 1
    if isinstance(date, str):
        number = dates.setdefault(date, len(dates) + 1)
    while (number, image.ifu) in taken:
        number += 1
    taken.add((number, image.ifu))
    return number


def process_reduced(inputs: ReducedInputs, frames: Frames, p: ParamValues, ctx: RunContext) -> BasicResults:
    """Make the pixel tables of all images."""
    results = BasicResults()
    shapes = [image.shape for parts in inputs.images.values() for _, image in parts]
    plain = all(image.plain for parts in inputs.images.values() for _, image in parts)
    per_pixel = WORK_BYTES + RESAMPLED_BYTES * p.resample + (0 if plain else IMAGE_BYTES)
    size = max(ny * nx for ny, nx in shapes) * per_pixel
    run_all(_Ifus(inputs, frames, p), inputs.ifus, workers_for(size, ctx), results, ctx)
    sum_up(inputs.ifus, inputs.failed, inputs.traces, results, ctx)
    return results


@dataclass(frozen=True)
class _Ifus:
    """How IFUs are made, by the threads here or by others."""

    inputs: ReducedInputs
    frames: Frames
    p: ParamValues

    def __call__(self, ifu: int, ctx: RunContext) -> IfuOutcome:
        merged = MergedFiles(ctx)
        worker = ReducedWorker(self.inputs, self.frames, merged, self.p, ctx)
        parts: list[IfuResult | Failure] = []
        for exposure, master in self.inputs.images[ifu]:
            try:
                parts.append(worker.make(exposure, master))
            except InputError as error:
                parts.append(Failure(exposure, ifu, str(error)))
        return IfuOutcome(tuple(parts), tuple(merged.kept.parts))


@dataclass
class ReducedWorker:
    """Makes the products of one IFU."""

    inputs: ReducedInputs
    frames: Frames
    merged: MergedFiles
    p: ParamValues
    ctx: RunContext

    def _pixels(self, master: MasterImage, mode: str) -> IfuPixels:
        ifu, inputs = master.ifu, self.inputs
        if inputs.faults.get(ifu):
            raise inputs.faults[ifu][0]
        known = (set(inputs.traces), set(inputs.wavecals), set(inputs.geometry))
        for tag, ifus in zip(TABLES, known, strict=True):
            if ifu not in ifus:
                raise missing_ifu(tag, [frame.path for frame in self.frames[tag]], ifu)
        trace, wave = inputs.traces[ifu], inputs.wavecals[ifu]
        trace_file, wave_file = (file_of(tag, [f.path for f in self.frames[tag]], ifu) for tag in TABLES[:2])
        check_traces(trace, master.shape, trace_file, ifu)
        check_wavecal(wave, trace, master.shape, wave_file, ifu)
        pixels = build_pixel_map(ifu, master.shape, trace, wave, inputs.geometry[ifu], mode)
        limits = crop_range(mode) if self.p.crop else EVERYTHING
        return ifu_pixels(pixels, limits, master.shape, None)

    def make(self, exposure: Exposure, master: MasterImage) -> IfuResult:
        """Write the products of an image."""
        p, ctx = self.p, self.ctx
        image: DetectorImage = StoredMaster(master) if master.plain else MemoryImage(master.whole())
        merged_file = master.header is not master.primary
        base = master.primary
        if merged_file:
            base = with_extension_keywords(master.primary, master.header, only_eso=True)
        overscan = [(c.keyword, c.value, c.comment) for c in base.cards if c.keyword.startswith(OVERSCAN_KEY)]
        shared = self._pixels(master, str(base.get("ESO INS MODE", "")))
        header = products.ProductHeader(
            TAG, exposure.number, master.ifu, base, _used(self.frames, master.path), float("nan")
        )
        if p.saveimage:
            of_image = replace(header, flags=cards_without(OF_TABLES, ctx))
            if is_merged(p):
                self.merged.add_image(image, overscan, of_image)
            else:
                products.save_image(image, overscan, of_image, ctx)
        plan = BasicPlan.from_parameters(p, ctx).sky
        table = make_table(image, shared, plan, None, self.inputs.cubes)
        clean = products.without_overscan(header)
        products.save_table(
            table, products.saturated_card(image), None, clean, ctx, as_table=p.table_layout == "table"
        )
        if p.resample:
            slices, cards = slice_image(table, p.dlambda)
            if is_merged(p):
                self.merged.add_resampled(slices, cards, table, clean)
            else:
                products.save_resampled(products.resampled_hdu(slices, cards), table, clean, ctx)
        notes = [f"IFU {master.ifu}: {note}" for note in shared.pixels.notes]
        preview = thumbnail(image) if ctx.report_requested else None
        return IfuResult(
            exposure, master.ifu, None, image.nsaturated, None, table.rows, table.shift, preview, tuple(notes)
        )


class StoredMaster:
    """A reduced image that stays in its file."""

    def __init__(self, master: MasterImage) -> None:
        self._master = master
        self.window, self.plane = master.window, master.plane
        self.nsaturated = sum(
            count_saturated_flags(self.plane("dq", first, last)) for first, last in bands(self.shape[0])
        )

    @property
    def shape(self) -> tuple[int, int]:
        """``(ny, nx)``."""
        return self._master.shape


def _used(frames: Frames, path: Path) -> list[Frame]:
    used = {*TABLES, "TWILIGHT_CUBE"}
    return [frame for frame in frames if frame.tag in used or (frame.tag == TAG and frame.path == path)]

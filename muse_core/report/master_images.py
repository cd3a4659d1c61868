# SPDX-License-Identifier: BSD-3-Clause
"""The page of master bias, dark and flat-field images after the run, and of those of the C recipes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from muse_core.framework.fits_file import open_fits, read_header
from muse_core.report.makers import Files, facts, not_done
from muse_core.report.masters import images_figure
from muse_core.report.page import Page, Section, picture, table

MASTERS = {"MASTER_FLAT": "of its mean", "MASTER_DARK": "count", "MASTER_BIAS": "count"}
"""Products, and the unit of their values."""
PREVIEW = 160  # pixels along the longer side


@dataclass(frozen=True)
class MasterImage:
    """One IFU: its number, level, scatter, share of flagged pixels, and a small image of it."""

    ifu: int
    level: float
    scatter: float
    flagged: float
    preview: npt.NDArray[np.float32]


def page_of_files(files: Files) -> Page:
    """Describe the page of the first kind of master that is there."""
    tag = next(name for name in MASTERS if name in files)
    images = sorted((one for path in files[tag] for one in read_images(path)), key=lambda one: one.ifu)
    header = read_header(files[tag][0])
    levels = np.array([one.level for one in images])
    middle = float(np.median(levels)) if images else 0.0
    apart = 5 * max(1.4826 * float(np.median(np.abs(levels - middle))), 0.01 * abs(middle)) if images else 0.0
    strange = [number for number, one in enumerate(images) if not abs(one.level - middle) <= apart]
    looks = [f"IFU {images[number].ifu}: the level is far from that of the others." for number in strange]
    rows = [(one.ifu, f"{one.level:.4g}", f"{one.scatter:.3g}", f"{100 * one.flagged:.3f}") for one in images]
    unit = MASTERS[tag]
    parts = [table(("IFU", f"median [{unit}]", f"scatter [{unit}]", "flagged pixels [%]"), rows, strange)]
    figure = images_figure([(one.ifu, one.preview) for one in images])
    sections = [Section("levels", tuple(parts))]
    if figure is not None:
        sections.append(Section("images", (picture(figure, f"{tag} of the IFUs"),)))
    verdict = f"{tag} of {len(images)} IFU{'s' if len(images) != 1 else ''}, median {middle:.4g} {unit}."
    return Page(verdict, looks + not_done(header), facts(header), sections)


def read_images(path: Path) -> Iterator[MasterImage]:
    """Read the images of a file of one IFU, or of the IFUs of a merged file."""
    with open_fits(path, memmap=True) as hdus:
        names = [hdu.name for hdu in hdus]
        for name in names:
            if name.rpartition(".")[2] != "DATA":
                continue
            data = hdus[name].data
            flags_name = f"{name[:-4]}DQ"
            flags = hdus[flags_name].data if flags_name in names else np.zeros((1, 1), np.int32)
            good = data[(flags == 0) & np.isfinite(data)] if flags.shape == data.shape else data.ravel()
            level = float(np.median(good)) if good.size else float("nan")
            scatter = 1.4826 * float(np.median(np.abs(good - level))) if good.size else float("nan")
            step = max(1, -(-max(data.shape) // PREVIEW))
            preview = np.asarray(data[::step, ::step], np.float32)
            share = np.count_nonzero(flags) / flags.size
            yield MasterImage(_ifu(name, hdus, path), level, scatter, share, preview)


def _ifu(name: str, hdus: object, path: Path) -> int:
    """Return the number of the IFU: of the extension (CHANnn.DATA), else of the header, else of the file."""
    for text in (name, str(hdus[0].header.get("EXTNAME", "")), path.stem):  # type: ignore[index]
        if found := re.search(r"(?:CHAN|-)(\d\d)", text):
            return int(found.group(1))
    return 0

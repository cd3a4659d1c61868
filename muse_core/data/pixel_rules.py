# SPDX-License-Identifier: BSD-3-Clause
"""A sample of the pixels of a file: whether their level can be true, and their variances belong to them.

Neighbouring pixels differ by their noise at least. Where the difference is a small part of what STAT says, or
ten thousand times as much, the variances have another unit, another scale, or are those of something else.
Resampled pixels share part of their noise, and bright structures differ by more than noise: the limits are
drawn wide enough for both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from muse_core.data.input_rules import rules_of
from muse_core.data.rules import PIXELS, check
from muse_core.data.stored_image import StoredImage, is_image, name_of
from muse_core.framework.errors import InputError
from muse_core.framework.fits_file import open_fits, open_units

if TYPE_CHECKING:
    from muse_core.framework import RunContext

_NAME = re.compile(r"(?:(CHAN\d\d)\.)?(DATA|STAT|DQ)", re.IGNORECASE)
_POSITIONS = ("xpos", "ypos", "lambda")
_TABLE = ("DATA", "STAT", "DQ", *_POSITIONS)
_PIECES, _LONGEST = 48, 2048
"""Pieces of neighbouring pixels that are looked at, and pixels of each."""

Samples = npt.NDArray[np.float64]


def check_pixels(path: Path, tag: str, ctx: RunContext) -> None:
    """Look at a sample of the images of a file by the rules of its tag that are about DATA, STAT and DQ.

    A file that cannot be read is left to its reader.
    """
    rules = [rule for rule in rules_of(ctx.spec.name, tag) if rule.about == PIXELS]
    if not rules:
        return
    try:
        for where, pixels in pixel_samples(path):
            named = f"{path} ({where})" if where else path
            check(named, rules, pixels, ctx, about=PIXELS)
    except InputError:
        return


def pixel_samples(path: Path) -> Iterator[tuple[str, dict[str, Samples]]]:
    """Yield some pieces of neighbouring pixels of DATA, STAT and DQ in a file.

    Of pixel tables also of the positions of the rows (xpos, ypos, lambda).

    Yields
    ------
    where : "" or the channel, such as "CHAN02"
    pixels : dict of float64[pieces, pixels]
        DATA, STAT (if it is there) ...; of images pairs of rows that are neighbours; what fills up a piece of
        the last rows is NaN

    Raises
    ------
    InputError
        if the file cannot be read
    """
    with open_units(path, whole=False) as (stream, units):
        found: dict[str, dict[str, StoredImage]] = {}
        for unit in filter(is_image, units):
            name, image = name_of(unit), StoredImage.of(stream, unit)
            match = _NAME.fullmatch(name)
            if not image.shape or not all(image.shape):
                continue
            if match:
                found.setdefault(match[1] or "", {}).setdefault(match[2].upper(), image)
            elif name.lower() in _POSITIONS:
                found.setdefault("", {}).setdefault(name.lower(), image)
        for where, pair in found.items():
            if "DATA" in pair:
                alike = {name: image for name, image in pair.items() if image.shape == pair["DATA"].shape}
                yield where, {name: _image_sample(image) for name, image in alike.items()}
    if not found:
        yield from _table_samples(path)


def _table_samples(path: Path) -> Iterator[tuple[str, dict[str, Samples]]]:
    """The same of a binary table of pixels, which is mapped: it can be larger than the memory."""
    with open_fits(path, memmap=True, whole=False) as hdus:
        for table in hdus[1:2]:
            columns = {name.lower(): name for name in getattr(getattr(table, "columns", None), "names", ())}
            if {"data", "stat"} <= set(columns) and len(table.data):
                there = [name for name in _TABLE if name.lower() in columns]
                yield "", {name: _table_sample(table, columns[name.lower()]) for name in there}


def samples_of(path: Path, names: Sequence[str]) -> dict[str, Samples]:
    """Return some pieces of some extensions of a file, without zeros; for errors see `pixel_samples`."""
    with open_units(path, whole=False) as (stream, units):
        chosen = {name_of(unit): unit for unit in units if is_image(unit) and name_of(unit) in names}
        found = {name: _image_sample(StoredImage.of(stream, unit)) for name, unit in chosen.items()}
    return {name: np.where(sample == 0, np.nan, sample) for name, sample in found.items()}


def _image_sample(image: StoredImage) -> Samples:
    """Pieces of rows of an image of any dimensions; a column of pixels counts as a row."""
    shape = image.shape
    if shape[-1] == 1 and len(shape) == 2:
        return _stacked(image, list(_pieces(shape[0])))
    rows = math.prod(shape[:-1])
    first = np.unique(np.linspace(0, max(0, rows // 2 - 1), min(rows // 2, _PIECES // 2)).astype(np.int64))
    chosen = np.stack([2 * first, 2 * first + 1], axis=1).ravel() if rows > 1 else np.zeros(1, np.int64)
    width = min(shape[-1], _LONGEST)
    start, end = (shape[-1] - width) // 2, (shape[-1] + width) // 2
    return _stacked(image, [(row * shape[-1] + start, row * shape[-1] + end) for row in map(int, chosen)])


def _stacked(image: StoredImage, pieces: list[tuple[int, int]]) -> Samples:
    """Return pieces of an image (first pixel, one behind the last), one in a row; NaN fills up."""
    longest = max(b - a for a, b in pieces)
    out = np.empty((len(pieces), longest))
    for row, (a, b) in zip(out, pieces, strict=True):
        image.fill(a, row[: b - a])
        row[b - a :] = np.nan
    return out


def _table_sample(table: Any, name: str) -> Samples:
    """Pieces of a column of a table."""
    column = table.data[name]
    return _padded([np.asarray(column[a:b]).ravel() for a, b in _pieces(len(column))])


def _pieces(length: int) -> Iterator[tuple[int, int]]:
    """Split a length into pieces, or choose some of them where it is long."""
    count = min(_PIECES, -(-length // _LONGEST))
    for start in np.linspace(0, max(0, length - _LONGEST), max(count, 1)).astype(np.int64):
        yield int(start), min(length, int(start) + _LONGEST)


def _padded(parts: list[npt.NDArray[Any]]) -> Samples:
    out = np.full((len(parts), max(part.size for part in parts)), np.nan)
    for row, part in zip(out, parts, strict=True):
        row[: part.size] = part
    return out

# SPDX-License-Identifier: BSD-3-Clause
"""Two FITS files beside each other: what differs in their keywords, columns and pixels, and where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from muse_core.framework.fits_file import open_fits
from muse_core.report.page import Page, Section, picture, table

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from matplotlib.figure import Figure

PASSING = ("CHECKSUM", "DATASUM", "DATAMD5", "DATE", "PIPEFILE", "PROCSOFT", "COMMENT", "HISTORY", "")
"""Keywords that differ between any two runs, or hold no value."""
PLANES = 16


@dataclass
class Numbers:
    """How two arrays differ.

    Parameters
    ----------
    name : of the extension, or extension and column
    size : values compared
    different : of them, not equal
    not_finite : finite in one of them only
    largest : absolute difference
    rms : of the differences
    chi : rms of the differences over the root of the variance (STAT), NaN without one
    """

    name: str
    size: int = 0
    different: int = 0
    not_finite: int = 0
    largest: float = 0.0
    rms: float = 0.0
    chi: float = float("nan")


@dataclass
class Comparison:
    """What differs between two files.

    Parameters
    ----------
    keywords : list of (extension, keyword, first, second)
    numbers : list of Numbers
    shapes : list of str
        extensions that cannot be compared, and why
    maps : dict of float64[ny, nx]
        mean difference along wavelength, by extension
    """

    keywords: list[tuple[str, str, str, str]] = field(default_factory=list)
    numbers: list[Numbers] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    maps: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    @property
    def same_data(self) -> bool:
        """All pixels and columns are equal, bit by bit but for the kind of NaN."""
        return not self.shapes and all(not n.different for n in self.numbers)


def compare_files(first: Path, second: Path) -> Comparison:
    """Compare two files extension by extension, a few planes at a time.

    Raises
    ------
    InputError
        naming the file that cannot be read
    """
    found = Comparison()
    with open_fits(first, memmap=True) as ours, open_fits(second, memmap=True) as theirs:
        names = [_name(hdu, n) for n, hdu in enumerate(ours)]
        others = {_name(hdu, n): hdu for n, hdu in enumerate(theirs)}
        for name, hdu in zip(names, ours):
            other = others.pop(name, None)
            if other is None:
                found.shapes.append(f"{name} is only in {first.name}")
                continue
            found.keywords += [(name, *row) for row in _keywords(hdu.header, other.header)]
            stat = ours["STAT"] if name == "DATA" and "STAT" in ours else None
            _compare_data(name, hdu, other, stat, found)
        found.shapes += [f"{name} is only in {second.name}" for name in others]
    return found


def _name(hdu: Any, number: int) -> str:
    return hdu.name or f"extension {number}"


def _keywords(first: Header, second: Header) -> Iterator[tuple[str, str, str]]:
    for key in dict.fromkeys([*first, *second]):
        if key in PASSING:
            continue
        a, b = (str(h[key]) if key in h else "-" for h in (first, second))
        if a != b and not _rounded(first.get(key), second.get(key)):
            yield key, a, b


def _rounded(a: object, b: object) -> bool:
    """Tell whether two values are one number, written with other digits.

    >>> _rounded(150.099968776663, 150.09996877666288), _rounded(1.0, 1.0001), _rounded(True, 1.0)
    (True, False, False)
    """
    if not (isinstance(a, float) and isinstance(b, float)):
        return False
    return bool(np.isclose(a, b, rtol=1e-13, atol=0.0))


def _compare_data(name: str, first: Any, second: Any, stat: Any, found: Comparison) -> None:
    if getattr(first, "columns", None) is not None:
        if getattr(second, "columns", None) is None or set(first.columns.names) != set(second.columns.names):
            found.shapes.append(f"{name}: other columns")
            return
        if len(first.data) != len(second.data):
            found.shapes.append(f"{name}: {len(first.data)} and {len(second.data)} rows")
            return
        for column in first.columns.names:
            a, b = np.asarray(first.data[column]), np.asarray(second.data[column])
            numbers = Numbers(f"{name}.{column}")
            if a.dtype.kind in "fiu" and b.dtype.kind in "fiu":
                _add(numbers, [a.astype(np.float64)], [b.astype(np.float64)], None)
            else:
                numbers.size, numbers.different = a.size, int(np.count_nonzero(a != b))
            found.numbers.append(numbers)
        return
    if first.shape != second.shape:
        text = f"{name}: {first.shape} and {second.shape} pixels"
        if not _begin_alike(first, second):
            found.shapes.append(text)
            return
        found.shapes.append(f"{text}; the planes that both have are compared")
    if not first.shape:
        return
    numbers = Numbers(name)
    planes = min(first.shape[0], second.shape[0])
    step = PLANES if len(first.shape) == 3 else planes

    def parts(hdu: Any) -> Iterator[npt.NDArray[np.float64]]:
        for low in range(0, planes, step):
            yield np.asarray(hdu.section[low : min(low + step, planes)], np.float64)

    total = _add(numbers, parts(first), parts(second), parts(stat) if stat is not None else None)
    if total is not None and name in ("DATA", "STAT"):
        found.maps[name] = total
    found.numbers.append(numbers)


def _begin_alike(first: Any, second: Any) -> bool:
    """Tell whether two cubes have the same field and begin at the same wavelength."""
    if not len(first.shape) == len(second.shape) == 3 or first.shape[1:] != second.shape[1:]:
        return False
    keys = ("CRVAL3", "CRPIX3", "CD3_3")
    a, b = ([float(hdu.header.get(key, 0.0)) for key in keys] for hdu in (first, second))
    return bool(np.allclose(a, b, rtol=1e-6, atol=0.0))


def _add(numbers: Numbers, first: Any, second: Any, stat: Any) -> npt.NDArray[np.float64] | None:
    """Gather the numbers over pieces; returns the mean difference along the first axis of cubes."""
    squares, chi, count, weighted = 0.0, 0.0, 0, 0
    total: npt.NDArray[np.float64] | None = None
    planes: npt.NDArray[np.float64] | None = None
    stats = iter(stat) if stat is not None else None
    for a, b in zip(first, second):
        finite = np.isfinite(a), np.isfinite(b)
        both = finite[0] & finite[1]
        with np.errstate(invalid="ignore"):
            off = np.where(both, a - b, 0.0)
        numbers.size += a.size
        numbers.not_finite += int(np.count_nonzero(finite[0] != finite[1]))
        numbers.different += int(np.count_nonzero(off)) + int(np.count_nonzero(finite[0] != finite[1]))
        numbers.largest = max(numbers.largest, float(np.abs(off).max(initial=0.0)))
        squares += float((off**2).sum())
        count += int(both.sum())
        if stats is not None:
            variance = next(stats)
            usable = both & (variance > 0.0)
            chi += float((off[usable] ** 2 / variance[usable]).sum())
            weighted += int(usable.sum())
        if a.ndim >= 2:
            image = off.reshape(-1, *off.shape[-2:]).sum(axis=0)
            seen = both.reshape(-1, *both.shape[-2:]).sum(axis=0).astype(np.float64)
            total = image if total is None else total + image
            planes = seen if planes is None else planes + seen
    numbers.rms = float(np.sqrt(squares / count)) if count else 0.0
    numbers.chi = float(np.sqrt(chi / weighted)) if weighted else float("nan")
    if total is None or planes is None:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: npt.NDArray[np.float64] = total / planes
    return mean


def comparison_page(first: Path, second: Path, found: Comparison) -> Page:
    """Describe a page of a comparison."""
    rows = [
        (
            n.name,
            n.size,
            n.different,
            n.not_finite,
            n.largest,
            n.rms,
            "-" if np.isnan(n.chi) else f"{n.chi:.3g}",
        )
        for n in found.numbers
    ]
    head = ("data", "values", "different", "finite in one", "largest", "rms", "rms in errors")
    marked = [i for i, n in enumerate(found.numbers) if n.different]
    sections = [Section("Numbers", (table(head, rows, marked),))]
    for name, image in found.maps.items():
        if np.any(image[np.isfinite(image)]):
            text = f"Mean of {first.name} minus {second.name} along wavelength."
            sections.append(
                Section(f"Difference: {name}", (picture(_map(image), f"difference of {name}", text),))
            )
    if found.keywords:
        columns = ("extension", "keyword", first.name, second.name)
        sections.append(Section("Keywords", (table(columns, found.keywords),)))
    verdict = "The data are the same." if found.same_data else "The data differ."
    return Page(verdict, found.shapes, [("first", str(first)), ("second", str(second))], sections)


def _map(image: npt.NDArray[np.float64]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(8.0, min(9.0, 6.4 * image.shape[0] / image.shape[1] + 0.9)), layout="constrained"
    )
    axes = figure.subplots()
    spread = float(np.nanpercentile(np.abs(image), 99)) or float(np.nanmax(np.abs(image))) or 1.0
    drawn = axes.imshow(
        image, origin="lower", cmap="RdBu_r", vmin=-spread, vmax=spread, interpolation="nearest"
    )
    axes.set(xlabel="x [spaxel]", ylabel="y [spaxel]")
    figure.colorbar(drawn, ax=axes, shrink=0.8)
    return figure

# SPDX-License-Identifier: BSD-3-Clause
"""Damage to the meaning of a file: keywords and values that cannot be."""

from __future__ import annotations

import numpy as np
from astropy.io import fits

from tests.corpus.target import NotApplicableError, Target, edited, pick

NUMBERS = (0.0, -1.0, 1e30, -1e30, 1e-30, 1.0, 1e6, 360.0, 2147483647, -99999, 0.5)


def keywords(rng: np.random.Generator, target: Target) -> str:
    """A keyword that the recipe may need: gone, of another type, out of all ranges."""

    def change(hdus: fits.HDUList) -> str:
        number = int(rng.integers(len(hdus)))
        header = hdus[number].header
        told = []
        plain = [
            card.keyword
            for card in header.cards
            if card.keyword not in ("COMMENT", "HISTORY", "", "SIMPLE", "XTENSION")
            and not card.keyword.startswith(("NAXIS", "BITPIX", "TFORM", "TFIELDS", "PCOUNT", "GCOUNT"))
        ]
        for _ in range(int(rng.integers(1, 3))):
            key = str(pick(rng, plain))
            kind = int(rng.integers(5))
            if key not in header:
                continue
            old = header[key]
            if kind == 0:
                del header[key]
                told.append(f"no {key}")
                continue
            if kind == 1:
                new: object = str(pick(rng, ("nonsense", "", "NaN", "1.0", "T", "x" * 60)))
            elif kind == 2 and isinstance(old, int | float) and not isinstance(old, bool):
                new = -old
            else:
                new = pick(rng, (*NUMBERS, True))
            header[key] = new
            told.append(f"{key} = {new!r}")
        return f"header {number}: " + ", ".join(told)

    return edited(target, change)


def _spoilt(rng: np.random.Generator, data: np.ndarray) -> tuple[np.ndarray, str]:
    """Values of an image or a column that make no sense; the shape stays."""
    kinds = ["zero", "constant", "reversed", "shuffled", "negative", "large", "one"]
    if data.dtype.kind == "f":
        kinds += ["NaN", "infinite", "some NaN", "some infinite", "tiny", "NaN", "1e38"]
    kind = str(pick(rng, kinds))
    new = np.array(data)
    flat = new.reshape(-1) if new.dtype.kind in "fiub" else None
    if flat is None or not flat.size:
        raise NotApplicableError
    if kind == "zero":
        flat[:] = 0
    elif kind == "constant":
        flat[:] = flat[0]
    elif kind == "reversed":
        flat[:] = flat[::-1].copy()
    elif kind == "shuffled":
        rng.shuffle(flat)
    elif kind == "negative":
        flat[:] = np.logical_not(flat) if flat.dtype.kind == "b" else -flat
    elif kind == "large":
        flat[:] = flat * flat.dtype.type(1e6 if flat.dtype.kind == "f" else 100)
    elif kind == "one":
        flat[int(rng.integers(flat.size))] = -1 if flat.dtype.kind in "fi" else 1
    elif kind in ("NaN", "infinite", "tiny", "1e38"):
        flat[:] = {"NaN": np.nan, "infinite": np.inf, "tiny": 1e-30, "1e38": 1e38}[kind]
    else:
        flat[rng.random(flat.size) < rng.choice([0.02, 0.5, 0.98])] = (
            np.nan if kind == "some NaN" else -np.inf
        )
    return new, kind


FILLS = (np.nan, np.inf, -np.inf, 0.0, 1e30)
PATTERNS = ("rows", "columns", "chess", "border", "centre", "all but one", "one", "half", "every third")


def holes(rng: np.random.Generator, target: Target) -> str:
    """No numbers in a pattern: whole rows, every second pixel, the border, all but one."""

    def change(hdus: fits.HDUList) -> str | None:
        number = int(pick(rng, [i for i, hdu in enumerate(hdus) if hdu.data is not None]))
        hdu = hdus[number]
        name = str(pick(rng, hdu.columns.names)) if isinstance(hdu, fits.BinTableHDU) else ""
        new = np.array(hdu.data[name] if name else hdu.data)
        if new.dtype.kind not in "fiu" or not new.size or not new.ndim:
            return None
        pattern = str(pick(rng, PATTERNS))
        where = _pattern(pattern, new.shape)
        fill = pick(rng, FILLS if new.dtype.kind == "f" else (0, 1, 99))
        new[where] = fill
        if name:
            hdu.data[name] = new
        else:
            hdu.data = new
        return f"extension {number} ({hdu.name}) {name}: {fill} in {pattern}"

    return edited(target, change)


def _pattern(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Which pixels of an image, or rows of a column, are meant."""
    places = np.indices(shape)
    first, last = places[0], places[-1]
    edge = np.any([(p == 0) | (p == n - 1) for p, n in zip(places, shape, strict=True)], axis=0)
    number = np.arange(int(np.prod(shape))).reshape(shape)
    return {
        "rows": first % 4 == 1,
        "columns": last % 4 == 1,
        "chess": places.sum(axis=0) % 2 == 0,
        "border": edge,
        "centre": ~edge,
        "all but one": number != number.size // 2,
        "one": number == number.size // 3,
        "half": first < (shape[0] + 1) // 2,
        "every third": number % 3 == 0,
    }[name]


def values(rng: np.random.Generator, target: Target) -> str:
    """Pixels or columns without sense."""

    def change(hdus: fits.HDUList) -> str | None:
        number = int(pick(rng, [i for i, hdu in enumerate(hdus) if hdu.data is not None]))
        hdu = hdus[number]
        if isinstance(hdu, fits.BinTableHDU):
            name = str(pick(rng, hdu.columns.names))
            column = hdu.data[name]
            if not len(column) or not hasattr(column, "dtype"):
                return None
            hdu.data[name], told = _spoilt(rng, np.asarray(column))
            return f"table {number}, column {name}: {told}"
        hdu.data, told = _spoilt(rng, np.asarray(hdu.data))
        return f"image {number} ({hdu.name}): {told}"

    with np.errstate(all="ignore"):
        return edited(target, change)

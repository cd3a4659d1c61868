# SPDX-License-Identifier: BSD-3-Clause
"""Mistakes with a name: each input tag with what people, and broken programs, are known to put into it.

Unlike the families of `tests.corpus.damage` these are no draws: each is made for each recipe that takes the
tag, and an answer is only good if it names the file and what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from tests.corpus.target import NotApplicableError, Target, edited

Change = Callable[[fits.HDUList], None]


@dataclass(frozen=True)
class Named:
    """A mistake.

    Parameters
    ----------
    name : of the mistake
    change : makes it; `NotApplicableError` where a file cannot hold it
    words : pattern of what the message must hold beside the name of the file
    """

    name: str
    change: Change
    words: str

    def write(self, source: Path, copy: Path) -> None:
        """Write a file with the mistake."""

        def change(hdus: fits.HDUList) -> str:
            self.change(hdus)
            for hdu in hdus:  # whoever made the mistake has made the sums afterwards
                for key in ("CHECKSUM", "DATASUM", "DATAMD5"):
                    hdu.header.remove(key, ignore_missing=True)
            return self.name

        edited(Target(source, copy, ()), change)


def keyword(key: str, value: object, words: str = "") -> Named:
    def change(hdus: fits.HDUList) -> None:
        where = [hdu.header for hdu in hdus if key in hdu.header]
        if not where:
            raise NotApplicableError
        for header in where:
            header[key] = value

    return Named(f"{key} = {value!r}", change, words or re.escape(key.removeprefix("ESO ")))


def tables(hdus: fits.HDUList, name: str) -> list[tuple[fits.BinTableHDU, str]]:
    found = [
        (hdu, column)
        for hdu in hdus
        if isinstance(hdu, fits.BinTableHDU)
        for column in hdu.columns.names
        if re.fullmatch(name, column)
    ]
    if not found:
        raise NotApplicableError
    return found


def column(name: str, told: str, make: Callable[[np.ndarray], object], words: str = "") -> Named:
    """Another content of the columns of tables whose names match, or of an extension of that name."""

    def change(hdus: fits.HDUList) -> None:
        images = [hdu for hdu in hdus if re.fullmatch(name, hdu.name, re.IGNORECASE) and hdu.is_image]
        with np.errstate(all="ignore"):
            for image in images:
                old = np.array(image.data)
                image.data = np.broadcast_to(np.asarray(make(old)), old.shape).astype(
                    old.dtype.newbyteorder("=")
                )
            for table, column in () if images else tables(hdus, name):
                table.data[column] = make(np.array(table.data[column]))

    return Named(f"{name} {told}", change, words or name)


def to(value: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda old: np.full_like(old, value)


def times(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda old: old * factor


def first(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def make(old: np.ndarray) -> np.ndarray:
        new = old.copy()
        new.reshape(-1)[:1] = value
        return new

    return make


def block(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def make(old: np.ndarray) -> np.ndarray:
        new = old.copy()
        new[: max(1, old.shape[0] // 2), : max(1, old.shape[-1] // 2)] = value
        return new

    return make


def image(told: str, make: Callable[[np.ndarray], object], words: str, *, name: str = ".*") -> Named:
    """Another content of images; their shape may change."""

    def change(hdus: fits.HDUList) -> None:
        found = [h for h in hdus if h.is_image and h.data is not None and re.fullmatch(name, h.name)]
        if not found:
            raise NotApplicableError
        for hdu in found:
            hdu.data = np.asarray(make(np.array(hdu.data))).astype(
                np.asarray(hdu.data).dtype.newbyteorder("=")
            )

    return Named(f"images {name}: {told}", change, words)


def without(name: str) -> Named:
    def change(hdus: fits.HDUList) -> None:
        found = [hdu for hdu in hdus if re.fullmatch(name, hdu.name)]
        if not found or hdus[0] in found:
            raise NotApplicableError
        for hdu in found:
            hdus.remove(hdu)

    return Named(f"without {name}", change, name.replace(".*", ""))


def rows(told: str, make: Callable[[int], np.ndarray], words: str) -> Named:
    """Rows of tables in another order, or others of them."""

    def change(hdus: fits.HDUList) -> None:
        for number, hdu in enumerate(hdus):
            if isinstance(hdu, fits.BinTableHDU):
                new = fits.BinTableHDU(hdu.data[make(len(hdu.data))], hdu.header, name=hdu.name)
                hdus[number] = new

    return Named(f"rows: {told}", change, words)


def matrix(told: str, cd: tuple[float, float, float, float], words: str = "CD") -> Named:
    def change(hdus: fits.HDUList) -> None:
        found = [hdu.header for hdu in hdus if "CD1_1" in hdu.header]
        if not found:
            raise NotApplicableError
        for header in found:
            for key, value in zip(("CD1_1", "CD1_2", "CD2_1", "CD2_2"), cd, strict=True):
                header[key] = value

    return Named(f"matrix: {told}", change, words)


def origin(ifu: int | None = None, number: int | None = None) -> Named:
    def make(old: np.ndarray) -> np.ndarray:
        new = old.copy()
        if ifu is not None:
            new = (new & ~np.array(0x1F << 6, new.dtype)) | (ifu << 6)
        if number is not None:
            new = (new & ~np.array(0x3F, new.dtype)) | number
        return new

    return column("origin", f"of IFU {ifu}, slice {number}", make, "origin|IFU|slice")


def blue(old: np.ndarray) -> np.ndarray:
    """Wavelengths below those of all sets of inputs."""
    return 4700.0 + 0.01 * np.arange(old.size)


def curve(values: str, bad: tuple[float, ...], words: str = "") -> tuple[Named, ...]:
    """Mistakes of a curve over wavelength."""
    return (
        *(column(values, f"is {value:g}", to(value), words) for value in bad),
        column(values, "is NaN", to(np.nan), words),
        column(values, "starts with NaN", first(np.nan), words),
        column("lambda", "in nm", times(0.1)),
        column("lambda", "in m", times(1e-10)),
        column("lambda", "is NaN", to(np.nan), "lambda|wavelength|finite"),
        column("lambda", "is one value", to(7000.0), "lambda|wavelength|row|node|cover"),
        column("lambda", "ends before the data", blue, "lambda|cover|wavelength"),
        rows("none", lambda n: np.arange(0), "row|table|found"),
    )  # fmt: skip

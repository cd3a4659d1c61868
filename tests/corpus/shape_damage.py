# SPDX-License-Identifier: BSD-3-Clause
"""Damage to the form of a file: extensions, columns, rows and axes that are not those expected."""

from __future__ import annotations

import numpy as np
from astropy.io import fits

from tests.corpus.target import NotApplicableError, Target, edited, pick


def shapes(rng: np.random.Generator, target: Target) -> str:
    """Extensions, columns, rows and axes that are not those expected."""

    def change(hdus: fits.HDUList) -> str | None:
        number = int(rng.integers(len(hdus)))
        hdu = hdus[number]
        kind = int(rng.integers(5))
        if kind == 0 and len(hdus) > 1:
            del hdus[number]
            return f"extension {number} left out"
        if kind == 1:
            hdus.append(hdu.copy())
            return f"extension {number} twice"
        if kind == 2:
            hdu.name = str(pick(rng, ("", "NONSENSE", "DATA", "STAT", "CHAN99", "x" * 60)))
            return f"extension {number} named {hdu.name}"
        number = int(pick(rng, [i for i, hdu in enumerate(hdus) if hdu.data is not None]))
        if isinstance(hdus[number], fits.BinTableHDU):
            hdus[number], told = _other_table(rng, hdus[number])
            return f"table {number}: {told}"
        data = np.asarray(hdus[number].data)
        new, told = _other_image(rng, data)
        hdus[number].data = new
        return f"image {number}: {told}"

    return edited(target, change)


def _other_image(rng: np.random.Generator, data: np.ndarray) -> tuple[np.ndarray | None, str]:
    kind = int(rng.integers(8))
    axis = int(rng.integers(data.ndim)) if data.ndim else 0
    keep = int(rng.integers(0, max(1, data.shape[axis]))) if data.ndim else 0
    if kind == 0:
        return None, "no data"
    if kind == 1:
        return np.take(data, range(keep), axis), f"axis {axis} cut to {keep}"
    if kind == 2:
        return data.T.copy(), "transposed"
    if kind == 3:
        return data[None], "one axis more"
    if kind == 4:
        return data.reshape(-1)[:1], "one pixel"
    if kind == 5:
        return np.concatenate([data, data], axis), f"axis {axis} doubled"
    if kind == 6:
        return np.take(data, 0, axis), "one axis less"
    with np.errstate(all="ignore"):
        other = str(pick(rng, ("int16", "uint8", "float64", "int64", "int32", "float32")))
        return data.astype(other), f"as {other}"


def _other_table(rng: np.random.Generator, hdu: fits.BinTableHDU) -> tuple[fits.BinTableHDU, str]:
    kind = int(rng.integers(8))
    name = str(pick(rng, hdu.columns.names))
    rows = len(hdu.data)
    if kind in (0, 1, 2, 3):
        columns, told = [], ""
        for column in hdu.columns:
            array = hdu.data[column.name]
            if column.name != name:
                columns.append(fits.Column(column.name, column.format, column.unit, array=array))
            elif kind == 0:
                told = f"without column {name}"
            elif kind == 1:
                told = f"column {name} is text"
                columns.append(fits.Column(name, "8A", array=["nonsense"] * rows))
            elif kind == 2:
                told = f"column {name} of pairs"
                columns.append(fits.Column(name, "2D", array=np.zeros((rows, 2))))
            else:
                told = f"column {name} of integers"
                columns.append(fits.Column(name, "J", array=rng.integers(-5, 5, rows)))
        if not columns:
            raise NotApplicableError
        return fits.BinTableHDU.from_columns(columns, header=_plain(hdu.header), name=hdu.name), told
    if kind == 4:
        hdu.columns.change_name(name, "other")
        return hdu, f"column {name} has another name"
    keep = {5: 0, 6: 1, 7: int(rng.integers(0, max(1, rows)))}[kind]
    return fits.BinTableHDU(hdu.data[:keep], hdu.header, name=hdu.name), f"{keep} of {rows} rows"


def _plain(header: fits.Header) -> fits.Header:
    """Return the cards of a table's header that do not describe its columns."""
    words = "TTYPE TFORM TUNIT TDIM TNULL TSCAL TZERO TDISP NAXIS TFIELDS BITPIX XTENSION PCOUNT GCOUNT"
    return fits.Header([card for card in header.cards if not card.keyword.startswith(tuple(words.split()))])

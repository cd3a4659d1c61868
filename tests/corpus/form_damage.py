# SPDX-License-Identifier: BSD-3-Clause
"""Damage to the way in which numbers are stored: units, scales, types, packing, order and number of rows."""

from __future__ import annotations

import bz2
import gzip
import io
import warnings

import numpy as np
from astropy.io import fits

from tests.corpus.target import NotApplicableError, Target, edited, pick

UNITS = (
    "nm", "um", "m", "Hz", "pix", "arcsec", "rad", "deg", "mag", "Jy", "10**(-20)*erg/s/cm**2/Angstrom",
    "nonsense", "", "s", "h", "((", "Angstrom**",
)  # fmt: skip
TYPES = ("AWAV-LOG", "WAVE", "FREQ", "VELO-LSR", "LINEAR", "GLON-TAN", "RA---SIN", "PIXEL", "", "??")
FACTORS = (10.0, 1e3, 1e4, 1e6, 0.1, 1e-3, 1e-6, -1.0, 1e30)


def units(rng: np.random.Generator, target: Target) -> str:
    """Units of columns, images and axes, and the types of axes."""

    def change(hdus: fits.HDUList) -> str | None:
        number = int(rng.integers(len(hdus)))
        header = hdus[number].header
        words = ("TUNIT", "BUNIT", "CUNIT", "CTYPE", "RADESYS", "TIMESYS", "SPECSYS")
        there = [key for key in header if key.startswith(words)]
        key = str(pick(rng, there or ["BUNIT"]))
        value = str(pick(rng, TYPES if key.startswith("CTYPE") else UNITS))
        if header.get(key) == value:
            return None
        header[key] = value
        return f"header {number}: {key} = {value!r}"

    return edited(target, change)


def scales(rng: np.random.Generator, target: Target) -> str:
    """All numbers of an image or a column times a factor, or plus a number, as another unit would have it."""

    def change(hdus: fits.HDUList) -> str | None:
        number = int(pick(rng, [i for i, hdu in enumerate(hdus) if hdu.data is not None]))
        hdu, factor = hdus[number], float(pick(rng, FACTORS))
        name = str(pick(rng, hdu.columns.names)) if isinstance(hdu, fits.BinTableHDU) else ""
        old = np.asarray(hdu.data[name] if name else hdu.data)
        if old.dtype.kind != "f" or not old.size:
            return None
        with np.errstate(all="ignore"):
            new = (old.astype(np.float64) * factor).astype(old.dtype.newbyteorder("="))
        if name:
            hdu.data[name] = new
        else:
            hdu.data = new
        return f"extension {number} ({hdu.name}) {name}: times {factor:g}"

    return edited(target, change)


def storage(rng: np.random.Generator, target: Target) -> str:
    """The same numbers as other types: scaled integers, double precision, TNULL: most files are sound."""

    def change(hdus: fits.HDUList) -> str | None:
        number = int(pick(rng, [i for i, hdu in enumerate(hdus) if hdu.data is not None]))
        hdu = hdus[number]
        if isinstance(hdu, fits.BinTableHDU):
            return _stored_column(rng, hdus, number)
        data = np.asarray(hdu.data)
        kind = str(pick(rng, ("int16", "uint8", "float64", "int32", "scaled", "blank")))
        if kind not in ("scaled", "blank"):
            with np.errstate(all="ignore"):
                hdu.data = np.nan_to_num(data).astype(kind)
            return f"image {number}: as {kind}"
        if not data.size or data.dtype.kind != "f":
            return None
        finite = data[np.isfinite(data)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        step = (high - low) / 30000 or 1.0
        with np.errstate(all="ignore"):
            stored = np.where(np.isfinite(data), np.rint((data - low) / step), -32768).astype(np.int16)
        header = hdu.header.copy()
        make = fits.ImageHDU if number else fits.PrimaryHDU
        new = make(stored, header, do_not_scale_image_data=True)
        if kind == "scaled":
            new.header["BSCALE"], new.header["BZERO"] = step, low
        new.header["BLANK"] = -32768
        hdus[number] = new
        return f"image {number}: {kind} int16"

    return edited(target, change)


def _stored_column(rng: np.random.Generator, hdus: fits.HDUList, number: int) -> str | None:
    hdu = hdus[number]
    name = str(pick(rng, hdu.columns.names))
    kind = str(pick(rng, ("D", "J", "I", "text", "scaled", "null", "lower", "upper")))
    old = np.asarray(hdu.data[name])
    if old.dtype.kind not in "fiu" or old.ndim != 1:
        return None
    columns = []
    for column in hdu.columns:
        if column.name != name:
            columns.append(fits.Column(column.name, column.format, column.unit, array=hdu.data[column.name]))
            continue
        with np.errstate(all="ignore"):
            whole = np.nan_to_num(old).astype(np.int64).astype(np.int32)
        if kind in ("D", "J", "I"):
            columns.append(fits.Column(name, kind, column.unit, array=old if kind == "D" else whole))
        elif kind == "text":
            columns.append(fits.Column(name, "16A", column.unit, array=[f"{value:.9g}" for value in old]))
        elif kind == "scaled":
            columns.append(fits.Column(name, "J", column.unit, bscale=0.5, bzero=3.0, array=old))
        elif kind == "null":
            filled = np.where(rng.random(whole.size) < 0.3, -99, whole)
            columns.append(fits.Column(name, "J", column.unit, null=-99, array=filled))
        else:
            columns.append(fits.Column(getattr(name, kind)(), column.format, column.unit, array=old))
    words = "TTYPE TFORM TUNIT TDIM TNULL TSCAL TZERO TDISP NAXIS TFIELDS BITPIX XTENSION PCOUNT GCOUNT"
    header = fits.Header(
        [card for card in hdu.header.cards if not card.keyword.startswith(tuple(words.split()))]
    )
    hdus[number] = fits.BinTableHDU.from_columns(columns, header=header, name=hdu.name)
    return f"table {number}: column {name} as {kind}"


def rows(rng: np.random.Generator, target: Target) -> str:
    """Rows of a table twice, in another order, one of them without sense; keywords twice."""

    def change(hdus: fits.HDUList) -> str | None:
        tables = [i for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU) and len(hdu.data)]
        if not tables or rng.random() < 0.15:
            header = hdus[int(rng.integers(len(hdus)))].header
            card = pick(rng, [c for c in header.cards if c.keyword not in ("", "COMMENT", "HISTORY")][4:])
            header.append((card.keyword, pick(rng, (card.value, 1.0, "else", -7))), end=True)
            return f"keyword {card.keyword} twice"
        number = int(pick(rng, tables))
        hdu = hdus[number]
        size = len(hdu.data)
        kind = str(pick(rng, ("all twice", "one twice", "reversed", "shuffled", "one changed", "one alone")))
        order = {
            "all twice": np.concatenate([np.arange(size)] * 2),
            "one twice": np.append(np.arange(size), rng.integers(size)),
            "reversed": np.arange(size)[::-1],
            "shuffled": rng.permutation(size),
            "one changed": np.arange(size),
            "one alone": np.zeros(size, int),
        }[kind]
        new = fits.BinTableHDU(hdu.data[order], hdu.header, name=hdu.name)
        if kind == "one changed":
            names = [name for name in hdu.columns.names if np.asarray(hdu.data[name]).dtype.kind in "fi"]
            name = str(pick(rng, names))
            at = int(rng.integers(size))
            value = float(pick(rng, (np.nan, 1e38, -1.0, 0.0, np.inf, 1e6)))
            if np.asarray(new.data[name]).dtype.kind == "i":
                value = float(np.clip(np.nan_to_num(value), -32768, 32767))
            new.data[name][at] = value
            kind = f"column {name} is {value:g} in row {at + 1}"
        hdus[number] = new
        return f"table {number}: {kind}"

    return edited(target, change)


def packed(rng: np.random.Generator, target: Target) -> str:
    """Sound files in a packing, and packings with damage inside."""
    content = target.source.read_bytes()
    kind = str(pick(rng, ("gzip", "bzip2", "rice", "gzip twice", "gzip of noise", "gzip joined", "gzip cut",
                          "rice broken", "gzip tiles")))  # fmt: skip
    if kind in ("rice", "rice broken", "gzip tiles"):
        if not content.startswith(b"SIMPLE"):
            raise NotApplicableError
        out = _tiled(target, "GZIP_1" if kind == "gzip tiles" else "RICE_1")
        if kind == "rice broken":
            broken = bytearray(out)
            for at in rng.integers(len(broken) // 3, len(broken), 20):
                broken[at] = int(rng.integers(256))
            out = bytes(broken)
    elif kind == "bzip2":
        out = bz2.compress(content)
    elif kind == "gzip twice":
        out = gzip.compress(gzip.compress(content))
    elif kind == "gzip of noise":
        out = gzip.compress(rng.bytes(50_000))
    elif kind == "gzip joined":
        out = gzip.compress(content[: len(content) // 2]) + gzip.compress(content[len(content) // 2 :])
    else:
        out = gzip.compress(content)
        out = out[: int(rng.integers(1, len(out)))] if kind == "gzip cut" else out
    target.copy.write_bytes(out)
    return kind


def _tiled(target: Target, kind: str) -> bytes:
    """The file with its images in compressed tiles."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(target.source, memmap=False) as hdus:
            new = fits.HDUList([fits.PrimaryHDU(header=hdus[0].header)])
            for number, hdu in enumerate(hdus):
                if hdu.is_image and hdu.data is not None and hdu.data.ndim >= 2 and min(hdu.shape) > 1:
                    header = hdu.header
                    try:
                        new.append(fits.CompImageHDU(hdu.data, header, compression_type=kind, name=hdu.name))
                    except (ValueError, TypeError, OSError):
                        raise NotApplicableError from None
                elif number:
                    new.append(hdu.copy())
            if not any(isinstance(hdu, fits.CompImageHDU) for hdu in new):
                raise NotApplicableError
            stream = io.BytesIO()
            new.writeto(stream, output_verify="ignore")
    return stream.getvalue()

# SPDX-License-Identifier: BSD-3-Clause
"""The one door through which FITS files are read: what is wrong with a file becomes one clear message.

What is no regular file (a folder, a pipe, a device) is refused before it is opened; packed files are unpacked
into a folder of their own that is gone afterwards, up to a stated size; what the headers promise is compared
with the file before a reader sees it. A damaged file may still fail when a table or an image inside is read:
that is told with the name of the file, too.
"""

from __future__ import annotations

import contextlib
import struct
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from muse_core.framework.errors import InputError, RecipeError
from muse_core.framework.faults import ADVICE, limit_error, write_error
from muse_core.framework.fits_structure import check_structure
from muse_core.framework.input_files import check_regular, packing, plain_copy

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header

    from muse_core.framework.fits_layout import Unit

REMEDY = "Copy or make the file again."
_DAMAGED: tuple[type[Exception], ...] = (
    OSError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, struct.error,
)  # fmt: skip
"""What readers raise for files that are."""


@contextlib.contextmanager
def open_fits(
    path: Path,
    *,
    item: str = "file",
    expected: str = "a readable FITS file",
    memmap: bool = False,
    whole: bool = True,
) -> Iterator[HDUList]:
    """Open a FITS file for reading.

    Parameters
    ----------
    item, expected : what the message names where the file cannot be read
    memmap : leave the data in the file until they are asked for
    whole : refuse a file that is shorter than its headers say; else what is cut off fails when it is read

    Yields
    ------
    HDUList
        All of its units; use the data (and copy what is kept) inside of the ``with``

    Raises
    ------
    InputError
        naming the file: it is no regular file, it is no FITS file, or what is read inside of the ``with`` is
        damaged. Errors of recipes pass through as they are.

    Examples
    --------
    >>> from pathlib import Path
    >>> with open_fits(Path("absent.fits")) as hdus:
    ...     print(len(hdus))
    Traceback (most recent call last):
    muse_core.framework.errors.InputError: absent.fits: file: expected an existing file, found none. Check ...
    """
    from astropy.io import fits

    with _told(path, item, expected, fits.VerifyError), _plain(path) as plain:
        number = len(_check(plain, path, whole, item, expected))
        with plain.open("rb") as stream:  # closed whatever the reader finds
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what has been looked at, or is looked at by its reader
                hdus = fits.open(stream, memmap=memmap, lazy_load_hdus=False, ignore_missing_simple=False)
            with hdus:
                del hdus[number:]  # what follows is no extension
                yield hdus


@contextlib.contextmanager
def open_units(
    path: Path, *, item: str = "file", whole: bool = True
) -> Iterator[tuple[BinaryIO, list[Unit]]]:
    """Open a FITS file of which some bytes are read: a tenth of the time of `open_fits`.

    Parameters
    ----------
    item : what the message names where the file cannot be read
    whole : refuse a file that is shorter than its headers say

    Yields
    ------
    stream, units
        the file, unpacked, and where its headers and data lie

    Raises
    ------
    InputError
        as `open_fits`
    """
    expected = "a readable FITS file"
    with _told(path, item, expected), _plain(path) as plain:
        found = _check(plain, path, whole, item, expected)
        with plain.open("rb", buffering=0) as stream:
            yield stream, found


@contextlib.contextmanager
def _told(path: Path, item: str, expected: str, *more: type[Exception]) -> Iterator[None]:
    """Tell what reading a file raises as what is wrong with it."""
    try:
        yield
    except RecipeError:
        raise
    except (*_DAMAGED, *more) as error:
        limit = limit_error(error)
        if limit is not None:
            raise limit from error
        if isinstance(error, OSError) and error.errno in ADVICE:  # of what is written meanwhile
            raise write_error(f"a copy of {path}, or what is made of it,", error) from error
        raise InputError(path, item, expected=expected, found=_found(error), remedy=REMEDY) from error


def _found(error: Exception) -> str:
    """Say what a reader found; what the interpreter says of values of another kind is for nobody."""
    if isinstance(error, TypeError | KeyError | IndexError) or not str(error):
        return "values of another kind than their keywords and formats say"
    text = str(error).splitlines()[0]
    return "fewer data than its header says, the file is truncated" if "reshape" in text else text


def _check(plain: Path, given: Path, whole: bool, item: str, expected: str) -> list[Unit]:
    try:
        return check_structure(plain, whole=whole)
    except InputError as error:
        faults = [replace(fault, file=str(given)) for fault in error.faults]
        if faults[0].item == "file" and item != "file":
            faults[0] = replace(faults[0], item=item, expected=expected)
        raise InputError(faults=tuple(faults)) from None


@contextlib.contextmanager
def _plain(path: Path) -> Iterator[Path]:
    """Give a file that is not packed: the file itself or a copy for as long as it is needed."""
    check_regular(path)
    kind = packing(path)
    if not kind:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="muse-scratch-") as folder:
        target = Path(folder) / path.name
        plain_copy(path, target, kind)
        yield target


def read_header(path: Path, number: int = 0) -> Header:
    """Return the header of a unit of a FITS file; for errors see `open_fits`."""
    with open_fits(path, memmap=True) as hdus:
        return hdus[number].header.copy()


def number_column(
    path: Path | str, table: Any, name: str, *, item: str = "", remedy: str = REMEDY
) -> npt.NDArray[np.float64]:
    """Return a column of a FITS table as numbers (see `column_numbers`), or tell what it is instead.

    Parameters
    ----------
    item : where the table is, for the message, such as "CHAN01"

    Raises
    ------
    InputError
        naming the column: it has text, several numbers in a row, or ends behind the file
    """
    try:
        return column_numbers(table, name)
    except (OSError, TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        known = isinstance(error, _NotNumbersError)
        found = str(error) if known else "some that end behind the file, or have no such format"
        raise InputError(
            path, f"{item} column {name}".strip(), expected="a number in each row", found=found, remedy=remedy
        ) from error


class _NotNumbersError(TypeError, ValueError):
    """A column of something else."""


def column_numbers(table: Any, name: str) -> npt.NDArray[np.float64]:
    """Return a column of a FITS table as numbers, scaled (TSCAL, TZERO), NaN where it has none (TNULL).

    Parameters
    ----------
    table : an astropy ``BinTableHDU`` or ``TableHDU`` of an open file
    name : of the column

    Raises
    ------
    ValueError
        if the column has text or several numbers in a row
    """
    values = np.asarray(table.data[name])
    if values.dtype.kind not in "biuf":
        raise _NotNumbersError(f"the format {table.columns[name].format}, which is none of numbers")
    if values.ndim != 1:
        raise _NotNumbersError(f"{int(np.prod(values.shape[1:]))} numbers in each row")
    numbers = values.astype(np.float64)
    null = table.columns[name].null
    stored = table.data.view(np.ndarray)[name]
    if isinstance(null, int) and stored.dtype.kind in "iu":
        numbers[stored == null] = np.nan
    return numbers

# SPDX-License-Identifier: BSD-3-Clause
"""What the families of damage share: the file to break, and how it is read and written again."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from astropy.io import fits

T = TypeVar("T")


class NotApplicableError(Exception):
    """The damage makes no sense for this file."""


@dataclass
class Target:
    """The file to break: where it lies, where the broken one goes, and files of other tags."""

    source: Path
    copy: Path
    others: tuple[Path, ...]


Damage = Callable[[np.random.Generator, Target], str]


def pick(rng: np.random.Generator, items: Iterable[T]) -> T:
    """Return one of some things."""
    listed = list(items)
    if not listed:
        raise NotApplicableError
    return listed[int(rng.integers(len(listed)))]


def edited(target: Target, change: Callable[[fits.HDUList], str | None]) -> str:
    """Change a file through a FITS library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            source = fits.open(target.source, memmap=False)
        except OSError:
            raise NotApplicableError from None
        try:
            with source:
                hdus = fits.HDUList([hdu.copy() for hdu in source])
        except (AssertionError, fits.VerifyError):  # broken before, see `damage.twice`
            raise NotApplicableError from None
        told = change(hdus)
        if told is None:
            raise NotApplicableError
        try:
            hdus.writeto(target.copy, output_verify="ignore", overwrite=True)
        except (OSError, ValueError, TypeError, AttributeError, KeyError, IndexError, fits.VerifyError):
            with contextlib.suppress(OSError):
                target.copy.unlink()
            raise NotApplicableError from None
    return told

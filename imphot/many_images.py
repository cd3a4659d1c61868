# SPDX-License-Identifier: BSD-3-Clause
"""Many MUSE images at once: iterators over the results of worker processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from imphot.errors import UserError
from muse_core.framework.workers import CallIterator

__all__ = ["FitImageAndStarPhotometryMP", "FitImagePhotometryMP", "FitStarPhotometryMP"]


class _FitPhotometryMP(CallIterator):
    """Iterator over the results of one function for many MUSE images."""

    _function = ""

    def __init__(
        self,
        hst_filename: str | os.PathLike[str],
        muse_filenames: str | os.PathLike[str] | Iterable[Any],
        kwargs: Mapping[str, Any],
        nworker: int,
    ) -> None:
        single = isinstance(muse_filenames, (str, os.PathLike))
        names = [muse_filenames] if single else list(muse_filenames)  # type: ignore[arg-type]
        for what, name in [("HST", hst_filename), *(("MUSE", name) for name in names)]:
            if isinstance(name, (str, os.PathLike)) and not os.access(name, os.R_OK):
                raise UserError(f"Error reading {what} file: {os.fspath(name)}")
        if "hst" in kwargs or "muse" in kwargs:
            raise UserError("The images are given by file name, not in kwargs")
        self._names = names
        function = f"imphot.fitting:{self._function}"
        super().__init__([(function, (hst_filename, name), dict(kwargs)) for name in names], nworker)

    def __next__(self) -> Any:
        """The result of the next image, in the order of the files."""
        position = self._next
        try:
            return super().__next__()
        except UserError as err:
            name = self._names[position]
            if isinstance(name, (str, os.PathLike)):
                raise err.in_file(os.fspath(name)) from None
            raise

    next = __next__


class FitImagePhotometryMP(_FitPhotometryMP):
    """Run `fit_image_photometry` on many MUSE images and one HST image.

    Parameters
    ----------
    hst_filename : str
        HST image
    muse_filenames : sequence of str
        MUSE images
    kwargs : dict
        keywords of `fit_image_photometry`
    nworker : int
        processes; 0: one per CPU, -n: all CPUs but n
    """

    _function = "fit_image_photometry"

    def __init__(
        self,
        hst_filename: str | os.PathLike[str],
        muse_filenames: str | os.PathLike[str] | Iterable[Any],
        kwargs: Mapping[str, Any] = {},  # noqa: B006 - the documented default; it is only read
        nworker: int = 0,
    ) -> None:
        super().__init__(hst_filename, muse_filenames, kwargs or {}, nworker)


class _NeedsStar(_FitPhotometryMP):
    def __init__(
        self,
        hst_filename: str | os.PathLike[str],
        muse_filenames: str | os.PathLike[str] | Iterable[Any],
        kwargs: Mapping[str, Any],
        nworker: int = 0,
    ) -> None:
        if "star" not in kwargs:
            raise UserError("The keyword star=(ra, dec, radius) is missing in kwargs")
        super().__init__(hst_filename, muse_filenames, kwargs, nworker)


class FitStarPhotometryMP(_NeedsStar):
    """Run `fit_star_photometry` on many MUSE images; kwargs must hold star."""

    _function = "fit_star_photometry"


class FitImageAndStarPhotometryMP(_NeedsStar):
    """Run `fit_image_and_star_photometry` on many MUSE images; kwargs must hold star."""

    _function = "fit_image_and_star_photometry"

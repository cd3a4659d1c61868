# SPDX-License-Identifier: BSD-3-Clause
"""The two exceptions a user of imphot meets."""

from __future__ import annotations

from pathlib import Path

from muse_core.framework.errors import Fault, InputError
from muse_core.framework.workers import WorkerError

__all__ = ["UserError", "WorkerError"]


class UserError(InputError):
    """A mistake in the inputs or in the options, with a message that says how to repair it.

    Parameters
    ----------
    message : str
        one sentence; left out where the parts below say it all
    file, item, expected, found, remedy
        the parts of a fault of an input, where they are known (see `muse_core.framework.errors.Fault`)
    faults : tuple of Fault
        several faults at once

    Examples
    --------
    >>> print(UserError("The images do not overlap"))
    The images do not overlap
    >>> print(UserError(file="a.fits", item="CTYPE1", expected="RA---TAN", found="LINEAR"))
    a.fits: CTYPE1: expected RA---TAN, found LINEAR
    """

    def __init__(
        self,
        message: str = "",
        *,
        file: str | Path = "",
        item: str = "",
        expected: object = "",
        found: object = "",
        remedy: str = "",
        faults: tuple[Fault, ...] = (),
    ) -> None:
        if not faults:
            faults = (Fault(str(file), item or message, str(expected), str(found), remedy),)
        super().__init__(faults=faults)

    @property
    def message(self) -> str:
        """The text, as older versions of imphot called it."""
        return str(self)

    def in_file(self, file: str | Path) -> UserError:
        """The same faults with the file to which they belong, where none is named yet."""
        named = (Fault(f.file or str(file), f.item, f.expected, f.found, f.remedy) for f in self.faults)
        return UserError(faults=tuple(named))

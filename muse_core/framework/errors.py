# SPDX-License-Identifier: BSD-3-Clause
"""Errors a user can cause, told in plain words, and the collector that reports them together."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class RecipeError(Exception):
    """A run that cannot go on, with a message for the user (no traceback is shown for it)."""

    exit_status = 255
    """Of a command that ends with this error."""


class WriteError(RecipeError):
    """A product, or what is written on the way to it, could not be written: disk full, quota, rights."""

    exit_status = 74


class LimitError(RecipeError):
    """The machine or the process has no more memory, open files or threads."""

    exit_status = 71


class LostWorkerError(RecipeError):
    """Another process that worked for this run is gone, or does not answer; the inputs are not to blame."""

    exit_status = 75


class ParameterError(RecipeError, ValueError):
    """An unknown parameter or a value it does not take."""


@contextlib.contextmanager
def naming(files: Sequence[str | Path]) -> Iterator[None]:
    """Put the files that were worked on before an error that names no input, parameter or other cause.

    >>> with naming(["night/a.fits", "night/b.fits"]):
    ...     raise RecipeError("no star in the field")
    Traceback (most recent call last):
    muse_core.framework.errors.RecipeError: night/a.fits and 1 other: no star in the field
    """
    try:
        yield
    except (InputError, ParameterError, WriteError, LimitError, LostWorkerError):
        raise
    except RecipeError as error:
        error.args = (f"{names_of(files)}: {error}",) if files else error.args
        raise


def names_of(files: Sequence[str | Path]) -> str:
    """Return the first of some files, and how many others there are.

    >>> names_of(["night/a.fits", "night/b.fits", "c.fits"])
    'night/a.fits and 2 others'
    """
    rest = len(files) - 1
    others = f" and {rest} other{'s' if rest > 1 else ''}" if rest > 0 else ""
    return f"{files[0]}{others}" if files else ""


MOST_WARNINGS = 3
"""That are repeated in an error."""


def did_you_mean(name: str, known: Iterable[str], mark: str = "") -> str:
    """Return the end of a message that suggests the nearest known name ("" if none is near).

    Parameters
    ----------
    mark : put in front of the suggestion, for example "--"

    >>> did_you_mean("skymehod", ("skymethod", "save"))
    "; did you mean 'skymethod'?"
    """
    by_small_letters = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), by_small_letters, n=1)
    return f"; did you mean '{mark}{by_small_letters[close[0]]}'?" if close else ""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with the inputs.

    Parameters
    ----------
    file : path of the frame, or "" where no single file is to blame
    item : the keyword, column, extension or tag concerned
    expected, found, remedy : sentences or values; "" leaves the part out
    """

    file: str
    item: str
    expected: str = ""
    found: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.file}: {self.item}" if self.file else self.item
        details = [f"expected {self.expected}"] if self.expected else []
        if self.found:
            details.append(f"found {self.found}")
        if details:
            text += ": " + ", ".join(details)
        return f"{text}. {self.remedy}" if self.remedy else text


class InputError(RecipeError):
    """One or more faults of the inputs, found before anything was written."""

    def __init__(
        self,
        file: str | Path = "",
        item: str = "",
        *,
        expected: object = "",
        found: object = "",
        remedy: str = "",
        faults: tuple[Fault, ...] = (),
    ) -> None:
        self.faults = faults or (Fault(str(file), item, str(expected), str(found), remedy),)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.faults)


def _restored(kind: type[InputError], faults: tuple[Fault, ...]) -> InputError:
    """An error that comes from another process."""
    return kind(faults=faults)


def after_warnings(error: RecipeError, warnings: Iterable[str], given: Iterable[str]) -> RecipeError:
    """Return an error together with the warnings of files that it does not name: its likely cause.

    An error about a file of its own (`InputError`) is left as it is.

    Parameters
    ----------
    warnings : what the run has warned of, in turn
    given : how messages name the files that were given

    >>> print(after_warnings(RecipeError("no row is left"), ["a.fits: all values are NaN"], ["a.fits"]))
    no row is left
    warned before: a.fits: all values are NaN
    """
    names = [name for name in given if name]
    named = [name for name in names if name in str(error)]
    if type(error) not in (RecipeError, InputError) or (named and isinstance(error, InputError)):
        return error
    names = [name for name in names if name not in named]
    told = [text for text in warnings if any(name in text for name in names)][:MOST_WARNINGS]
    if not told:
        return error
    if isinstance(error, InputError):
        faults = (*error.faults, *(Fault("", f"warned before: {text}") for text in told))
        return InputError(faults=faults)
    return RecipeError("\n".join([str(error), *(f"warned before: {text}" for text in told)]))


class Problems:
    """Collects faults so that a run reports all of them at once."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self.were_raised = False
        """The check of the inputs is over: `raise_if_any` was called."""

    def add(
        self, file: str | Path, item: str, *, expected: object = "", found: object = "", remedy: str = ""
    ) -> None:
        """Note one fault; the run goes on until `raise_if_any`."""
        fault = Fault(str(file), item, str(expected), str(found), remedy)
        if fault not in self._faults:
            self._faults.append(fault)

    def extend(self, error: InputError) -> None:
        """Note the faults of an error that a loader raised."""
        for fault in error.faults:
            if fault not in self._faults:
                self._faults.append(fault)

    def __bool__(self) -> bool:
        return bool(self._faults)

    def raise_if_any(self) -> None:
        """Raise one `InputError` that lists everything noted so far."""
        self.were_raised = True
        if self._faults:
            raise InputError(faults=tuple(self._faults))

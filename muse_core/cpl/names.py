# SPDX-License-Identifier: BSD-3-Clause
"""The error for a name that is not there, and the checks of what is assigned."""

from __future__ import annotations

from collections.abc import Iterable

from muse_core.framework.errors import did_you_mean


class UnknownNameError(KeyError, AttributeError):
    """No parameter or calibration frame of that name, with a suggestion.

    It is a `KeyError`, as programs written for python-cpl expect, and an `AttributeError`, so that
    ``hasattr`` and ``getattr`` with a default work.
    """

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error for a name.

    >>> raise unknown_name("parameter", "skymehod", ["skymethod"])
    Traceback (most recent call last):
    muse_core.cpl.names.UnknownNameError: no parameter 'skymehod'; did you mean 'skymethod'?
    """
    return UnknownNameError(f"no {kind} {name!r}{did_you_mean(name, known)}")

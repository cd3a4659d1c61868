# SPDX-License-Identifier: BSD-3-Clause
"""Relative sensitivity of the IFUs of an exposure, from the flat-field fluxes in the headers."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from muse_core.data.header_values import Keywords

_KEYS = ("ESO DRS MUSE FLAT FLUX SKY", "ESO DRS MUSE FLAT FLUX LAMP")
_log = logging.getLogger(__name__)


def has_no_fluxes(keywords: Keywords) -> bool:
    """Say whether a pixel table has neither of the two flat fluxes: then it mostly holds several IFUs."""
    return all(keywords.number(key) is None for key in _KEYS)


def fit_ifu_scales(headers: Sequence[Keywords], log: logging.Logger = _log) -> tuple[float, ...]:
    """Factors that bring all IFUs to the flux level of the first one.

    Parameters
    ----------
    headers : sequence of Keywords
        Primary headers of the IFUs of one exposure, in the order of the IFUs.
    log : logging.Logger
        Takes the messages.

    Returns
    -------
    tuple of float
        One factor per header: sky-flat flux of the first IFU over that of the IFU, or the lamp flux
        if the first IFU has no sky flux; 1 where a flux is missing.
    """
    for key in _KEYS:
        first = headers[0].number(key) if headers else None
        if first is None:
            continue
        fluxes = [header.number(key) for header in headers]
        if any(flux is None or flux == 0.0 for flux in fluxes):
            log.warning("Some pixel tables lack %s, their data are not scaled", key)
        return tuple(first / flux if flux else 1.0 for flux in fluxes)
    return (1.0,) * len(headers)

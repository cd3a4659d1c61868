# SPDX-License-Identifier: BSD-3-Clause
"""Weights of exposures in a combination: exposure time and seeing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from muse_core.data.header_values import Keywords

SCHEMES = ("exptime", "fwhm", "header", "none")
WEIGHT_KEY = "ESO DRS MUSE WEIGHT"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightReference:
    """What weights are relative to.

    Parameters
    ----------
    amount : float
        exposure time [s], or background variance, of the first exposure
    fwhm : float
        its seeing [arcsec]; 0: not used
    """

    amount: float
    fwhm: float = 0.0


@dataclass(frozen=True)
class ExposureWeights:
    """Weights relative to the first exposure."""

    weights: tuple[float, ...]
    seeing: str
    """Where the seeing comes from; empty if it was not used."""
    reference: WeightReference


def _mean(header: Keywords, first: str, second: str) -> float | None:
    a = header.number(first)
    b = header.number(second)
    return None if a is None or b is None else (a + b) / 2


def _seeing(headers: Sequence[Keywords]) -> tuple[tuple[float, ...], str] | None:
    """FWHM of all exposures from the best source that all of them have."""
    agx, agy = "ESO OCS SGS AG FWHMX AVG", "ESO OCS SGS AG FWHMY AVG"
    dimm = "ESO TEL AMBI FWHM START", "ESO TEL AMBI FWHM END"
    candidates = (
        ("auto-guider info", [_mean(h, agx, agy) for h in headers]),
        ("active optics image analysis", [h.number("ESO TEL IA FWHM") for h in headers]),
        ("DIMM measurements", [_mean(h, *dimm) for h in headers]),
    )
    for name, values in candidates:
        found = tuple(value for value in values if value is not None and value > 0.0)
        if len(found) == len(headers):
            return found, name
    return None


def fit_weights(
    headers: Sequence[Keywords],
    scheme: str,
    log: logging.Logger = _log,
    before: WeightReference | None = None,
) -> ExposureWeights | None:
    """Compute the weights of exposures that are to be combined.

    Parameters
    ----------
    headers : sequence of Keywords
        Primary headers of the exposures.
    scheme : str
        One of `SCHEMES`.
    log : logging.Logger
        Takes the messages.
    before : WeightReference, optional
        What the weights of exposures combined before are relative to.

    Returns
    -------
    ExposureWeights or None
        None if no weights are to be used: a single exposure or scheme "none".
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown weighting scheme {scheme!r}, choose one of {', '.join(SCHEMES)}")
    n = len(headers)
    if n < 2 and before is None:
        return None
    if scheme == "none":
        log.info("%d tables, not weighting them", n)
        return None
    times = [header.number("EXPTIME") or 0.0 for header in headers]
    first = before.amount if before else times[0]
    if first <= 0.0:
        log.warning("First exposure has no positive EXPTIME, exposures are weighted equally")
        times = [1.0] * n
        first = 1.0
    weights = [time / first for time in times]
    if scheme == "header":
        log.info("%d tables to be weighted using HEADER & EXPTIME.", n)
        return ExposureWeights(
            tuple(t * _header_weight(header, log) for t, header in zip(weights, headers, strict=True)),
            "",
            WeightReference(first),
        )
    usable = scheme == "fwhm" and (before is None or before.fwhm > 0.0)
    seeing = _seeing(headers) if usable else None
    if seeing is not None:
        fwhm, source = seeing
        log.info("%d tables to be weighted using EXPTIME & FWHM (using %s)", n, source)
        first_fwhm = before.fwhm if before else fwhm[0]
        weights = [weight * first_fwhm / value for weight, value in zip(weights, fwhm, strict=True)]
        return ExposureWeights(tuple(weights), source, WeightReference(first, first_fwhm))
    log.info("%d tables to be weighted using EXPTIME.", n)
    if scheme == "fwhm":
        log.info(
            "(FWHM-based weighting was requested but cannot be carried due to incomplete FITS headers in "
            "some exposures.)"
        )
    return ExposureWeights(tuple(weights), "", WeightReference(first))


def _header_weight(header: Keywords, log: logging.Logger) -> float:
    """Return the weight that the user has written into the header, 1 where there is none."""
    weight = header.number(WEIGHT_KEY)
    if weight is None:
        log.warning("weight header (%s) does not exist!", WEIGHT_KEY)
        return 1.0
    return weight


def mean_strehl(headers: Sequence[Keywords], log: logging.Logger = _log) -> tuple[float, float] | None:
    """Mean Strehl ratio and its error of narrow-field exposures, weighted by the inverse squared errors."""
    total, weight_sum = 0.0, 0.0
    for i, header in enumerate(headers, start=1):
        strehl = header.number("ESO DRS MUSE RTC STREHL")
        error = header.number("ESO DRS MUSE RTC STREHERR")
        if strehl is None or error is None or error <= 0.0:
            log.warning("Exposure %d does not provide RTC Strehl measurements, skipping this one!", i)
            continue
        total += strehl / error**2
        weight_sum += 1.0 / error**2
    if weight_sum == 0.0:
        log.warning("Could not compute the mean RTC Strehl ratio for the combined exposure!")
        return None
    return total / weight_sum, weight_sum**-0.5

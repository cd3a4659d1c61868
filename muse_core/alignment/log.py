# SPDX-License-Identifier: BSD-3-Clause
"""The offsets in the log, and a warning for each that cannot be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muse_core.alignment.images.field import FieldInfo
from muse_core.alignment.results import Results
from muse_core.alignment.sources.source_list import SourceList
from muse_core.framework.context import RunContext

FAR_LEVELS = 100.0
"""Ratio of the noise of two exposures beyond which one of them has another unit."""


def warn_of_levels(fields: Sequence[FieldInfo], sources: Sequence[SourceList], ctx: RunContext) -> None:
    """Warn of images whose noise is far from that of the others, and of flux scales that come of it."""
    noise = np.array([own.mad for own in sources])
    known = np.isfinite(noise) & (noise > 0)
    if np.count_nonzero(known) < 2:
        return
    usual = float(np.median(noise[known]))
    for info, own in zip(fields, noise, strict=True):
        if own > 0 and not 1.0 / FAR_LEVELS < own / usual < FAR_LEVELS:
            ctx.log.warning(
                "%s: its noise is %.3g times that of the other images; fluxes of another unit?",
                info.path,
                own / usual,
            )


def log_offsets(
    fields: Sequence[FieldInfo], results: Results, empty_radii: Sequence[float], ctx: RunContext
) -> None:
    """Write what was found for each exposure into the log."""
    log, confidence = ctx.log, results.confidence
    kept = "" if ctx.params.keep_untrusted or ctx.defects.untrusted_offsets_written else "; 0 is written"
    remedy = "it is not corrected"
    if ctx.params.rotation:
        remedy = "it is in the column ROT_OFFSET"
    for radius in empty_radii:
        log.warning("no overlapping fields: no sources match within the search radius of %g arcsec", radius)
    for n, info in enumerate(fields):
        ra, dec = results.offsets[n] * 3600.0
        log.info(
            "%s: offset RA %+.4f DEC %+.4f arcsec (error %.4f), %d matches",
            info.name,
            ra,
            dec,
            confidence.error_dec[n],
            results.matches[n],
        )
        if ctx.params.flux_scale:
            scale, error = results.flux_scale[n], results.flux_scale_error[n]
            if np.isfinite(scale):
                log.info("%s: flux scale %.4f +- %.4f", info.name, scale, error)
                if not 1.0 / FAR_LEVELS <= scale <= FAR_LEVELS:
                    log.warning("%s: FLUX_SCALE is %.3g; fluxes of another unit?", info.path, scale)
            else:
                log.warning(
                    "%s: FLUX_SCALE is not measured: no source of known flux is shared with the others",
                    info.path,
                )
        turn, turn_error = confidence.turn_deg[n], confidence.turn_error_deg[n]
        if abs(turn) > max(5.0 * turn_error, 0.02):
            log.warning(
                "%s: residual rotation of %.3f +- %.3f deg against the reference; %s",
                info.path,
                turn,
                turn_error,
                remedy,
            )
        stretch, stretch_error = confidence.stretch[n], confidence.stretch_error[n]
        if abs(stretch) > max(5.0 * stretch_error, 5e-4):
            log.warning(
                "%s: pixel scale differs by %.5f +- %.5f from the reference; it is not corrected",
                info.path,
                stretch,
                stretch_error,
            )
        if not confidence.trusted[n]:
            log.warning("%s: offset is not trustworthy: %s%s", info.path, confidence.reasons[n], kept)

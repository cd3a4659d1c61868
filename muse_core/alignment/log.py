# SPDX-License-Identifier: BSD-3-Clause
"""The offsets in the log, and a warning for each that cannot be trusted."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from muse_core.alignment.images.field import FieldInfo
from muse_core.alignment.offsets.confidence import Confidence
from muse_core.alignment.offsets.solution import OffsetSolution


def log_offsets(
    fields: Sequence[FieldInfo], solution: OffsetSolution, confidence: Confidence, log: logging.Logger
) -> None:
    """Write what was found for each exposure into the log."""
    for radius in solution.empty_radii:
        log.warning("no overlapping fields: no sources match within the search radius of %g arcsec", radius)
    for n, info in enumerate(fields):
        ra, dec = solution.offsets[n] * 3600.0
        log.info(
            "%s: offset RA %+.4f DEC %+.4f arcsec (error %.4f), %d matches",
            info.name,
            ra,
            dec,
            confidence.error_dec[n],
            solution.matches[n],
        )
        turn, turn_error = confidence.turn_deg[n], confidence.turn_error_deg[n]
        if abs(turn) > max(5.0 * turn_error, 0.02):
            log.warning(
                "%s: residual rotation of %.3f +- %.3f deg against the first exposure; it is not corrected",
                info.path,
                turn,
                turn_error,
            )
        stretch, stretch_error = confidence.stretch[n], confidence.stretch_error[n]
        if abs(stretch) > max(5.0 * stretch_error, 5e-4):
            log.warning(
                "%s: pixel scale differs by %.5f +- %.5f from the first exposure; it is not corrected",
                info.path,
                stretch,
                stretch_error,
            )
        if not confidence.trusted[n]:
            log.warning("%s: offset is not trustworthy: %s", info.path, confidence.reasons[n])

# SPDX-License-Identifier: BSD-3-Clause
"""From the sources of all exposures to their offsets: the plain search, and patterns where that fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from muse_core.alignment.arrays import Flags, Floats
from muse_core.alignment.images.field import FieldInfo
from muse_core.alignment.offsets.alignment import Alignment, Group, solve_group
from muse_core.alignment.offsets.confidence import CLOSE_PIX, CORE_PIX, LARGEST_TURN, Confidence, judge
from muse_core.alignment.offsets.patterns import PatternMatch, PointPattern, match_patterns
from muse_core.alignment.sources.source_list import SourceList
from muse_core.data.tangent_plane import project
from muse_core.framework.defects import Defects
from muse_core.framework.spec import ParamValues

LEAST_TURN = 0.02  # degrees; smaller ones shift no source by a tenth of a pixel
TURN_PASSES = 5
TURN_TOLERANCE = 1e-3  # degrees
UNKNOWN_TURN_ERROR = 0.2  # degrees, of three sources
MATCHES_FOR_TURN = 3  # two sources tell a turn, but not whether it is one
MOST_PARTNERS = 5  # exposures with which one that fits nowhere is compared


def align(group: Group, p: ParamValues, defects: Defects) -> tuple[Alignment, Confidence]:
    """Find the offsets of a group and how far they can be trusted.

    The plain search is that of 2.8.7. Where it leaves exposures untrusted, or turned against the first one,
    the patterns of the sources are compared; that result is taken if it ties more exposures together, or
    tells the rotations.
    """
    plain = solve_group(group, p.rsearch, p.nbins, weighted=p.weight, defects=defects)
    verdict = judge(plain, p.rsearch, p.nbins)
    if defects.rotation_not_searched:
        return plain, verdict
    turned = _significant_turns(verdict)
    if verdict.untrusted == 0 and not turned.any():
        return plain, verdict
    found = _by_patterns(group, plain, verdict, p, defects)
    if found[1].untrusted < verdict.untrusted or (found[1].untrusted == verdict.untrusted and turned.any()):
        plain, verdict = found
    if not group.external and verdict.untrusted == len(group.fields):
        return _with_another_reference(group, plain, verdict, p, defects)
    return plain, verdict


def _significant_turns(verdict: Confidence) -> Flags:
    """Tell which exposures are turned by more than their errors explain."""
    error = np.nan_to_num(verdict.turn_error_deg, nan=UNKNOWN_TURN_ERROR)
    limit = np.maximum(5.0 * error, LEAST_TURN)
    with np.errstate(invalid="ignore"):
        return np.asarray(verdict.trusted & (np.abs(verdict.turn_deg) > limit))


def _by_patterns(
    group: Group, plain: Alignment, verdict: Confidence, p: ParamValues, defects: Defects
) -> tuple[Alignment, Confidence]:
    """Solve again from the shifts and rotations that the patterns of the sources tell."""
    pixel = plain.first_image.pixel_arcsec
    tolerance = CLOSE_PIX * pixel
    known = verdict.trusted.copy()
    known[0] = True
    turn = np.where(_significant_turns(verdict), verdict.turn_deg, 0.0)
    scale = [group.cosine(defects), 1.0]
    start = plain.solution.shifts * scale * known[:, None]
    unknown = ~known
    for n, match in _place(group, known, turn, start, tolerance, p.rsearch[0]).items():
        turn[n] = np.degrees(match.turn)
        start[n] = -match.dx / 3600.0, -match.dy / 3600.0
    radius = CORE_PIX * pixel
    radii = (radius, max(min(radius, p.rsearch[-1]), 2.0 * tolerance))
    for _ in range(TURN_PASSES):
        found = solve_group(
            group,
            radii,
            p.nbins,
            weighted=p.weight,
            defects=defects,
            start=start,
            turn_deg=turn,
            searched_turns=unknown & (turn != 0),
        )
        # the searched area is that of the parameters, whatever the last radii
        judged = judge(found, (p.rsearch[0], *radii), p.nbins)
        # a turn that its error explains is none; what is not trusted stays as it is
        better = np.where(_significant_turns(judged), judged.turn_deg, np.where(judged.trusted, 0.0, turn))
        if np.abs(better - turn).max() < TURN_TOLERANCE:
            break
        turn = better
        start = found.solution.shifts * scale
    return found, judged


def _place(
    group: Group, known: Flags, turn: Floats, start: Floats, tolerance: float, largest_shift: float
) -> dict[int, PatternMatch]:
    """Compare each exposure that is not placed yet with those that are, the first one before all."""
    centre = group.fields[0].centre
    patterns = [_pattern(*each, centre) for each in zip(group.fields, group.sources, strict=True)]
    placed = {
        int(n): _moved(patterns[n], np.radians(turn[n]), -3600.0 * start[n, 0], -3600.0 * start[n, 1])
        for n in np.flatnonzero(known)
    }
    found: dict[int, PatternMatch] = {}
    waiting = [int(n) for n in np.flatnonzero(~known)]
    progress = True
    while waiting and progress:
        progress = False
        for n in list(waiting):
            match = _best_match(list(placed.values())[:MOST_PARTNERS], patterns[n], tolerance, largest_shift)
            if match is None:
                continue
            found[n] = match
            if match.matches >= MATCHES_FOR_TURN:
                placed[n] = _moved(patterns[n], match.turn, match.dx, match.dy)
                waiting.remove(n)
                progress = True
    return found


def _best_match(
    placed: Sequence[PointPattern], field: PointPattern, tolerance: float, largest_shift: float
) -> PatternMatch | None:
    best: PatternMatch | None = None
    for reference in placed:
        match = match_patterns(
            reference,
            field,
            tolerance=tolerance,
            largest_turn=np.radians(LARGEST_TURN),
            largest_shift=largest_shift,
        )
        if match is not None and match.matches < MATCHES_FOR_TURN:
            match = match_patterns(
                reference, field, tolerance=tolerance, largest_turn=0.0, largest_shift=largest_shift
            )
        if match is not None and (best is None or match.matches > best.matches):
            best = match
    return best


def _pattern(info: FieldInfo, sources: SourceList, centre: tuple[float, float]) -> PointPattern:
    x, y = project(sources.ra, sources.dec, *centre)
    px, py = project(*info.wcs.crval, *centre)
    return PointPattern(3600.0 * x, 3600.0 * y, sources.flux, (3600.0 * float(px), 3600.0 * float(py)))


def _moved(field: PointPattern, turn: float, dx: float, dy: float) -> PointPattern:
    x, y = field.placed(turn, dx, dy)
    return replace(field, x=x, y=y)


def _with_another_reference(
    group: Group, alignment: Alignment, verdict: Confidence, p: ParamValues, defects: Defects
) -> tuple[Alignment, Confidence]:
    """Take the first exposure of the largest group that hangs together, where the first of all is alone."""
    label, number = np.unique(verdict.group, return_counts=True)
    if number.max() < 2:
        return alignment, verdict
    first = int(label[np.argmax(number)])
    order = [first, *(n for n in range(len(group.fields)) if n != first)]
    return align(group.in_order(order), p, defects)

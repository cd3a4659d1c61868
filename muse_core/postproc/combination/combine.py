# SPDX-License-Identifier: BSD-3-Clause
"""Several exposures in one coordinate system, with their weights and the header of what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muse_core.data.header_values import is_narrow_field
from muse_core.data.row_set import RowSet
from muse_core.data.row_weights import Weight
from muse_core.framework import InputError
from muse_core.framework.products import header_without, set_card
from muse_core.postproc.astrometry.position import fit_common_reference
from muse_core.postproc.combination.checks import warn_about_mixtures
from muse_core.postproc.combination.reduced_tables import stored_weights
from muse_core.postproc.combination.weights import WeightReference, fit_weights, mean_strehl
from muse_core.postproc.exposure.correction import Card
from muse_core.postproc.exposure.pixel_tables import table_limits
from muse_core.postproc.exposure.reduction import PIXTABLE, REFINED, SKIPPED, WCS_KEYS, Reduction
from muse_core.postproc.exposure.row_limits import RowLimits, join_limits

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from astropy.io.fits import Header

    from muse_core.framework import Frame, ParamValues, RunContext
    from muse_core.postproc.combination.earlier_sums import EarlierSums
    from muse_core.postproc.inputs.calibration_frames import UsedFrames

_OF_THE_FIRST = ("EXPTIME", "OBJECT", "SPECSYS", "COMMENT", "HISTORY", "")
"""Keywords that stay those of the earliest exposure (measured against 2.8.7), and texts of several cards."""


@dataclass
class Combination:
    """All exposures in one coordinate system.

    Parameters
    ----------
    members : list of Reduction
        their rows are relative to `reference`
    celestial : bool
        the rows are on the sky
    weights : tuple of Weight, or None
    reference : (float, float)
        pole of the first exposure
    limits : RowLimits
        of all rows, full coordinates
    header : Header
        of the combined table
    frames : tuple of Frame
        pixel tables and calibrations that every product names
    image_frames : tuple of Frame
        the same with the frames that filter images and what follows need
    weight_reference : WeightReference
        what the weights are relative to
    earlier : EarlierSums or None
        exposures that were combined before, to which these are added
    cosmics : list of RowSet or None
        rows of each exposure that the cube has found to be cosmic rays
    images : list of float32[ny, nx], or None
        quick images of the exposures (see `field_images`), kept for who needs them next
    """

    members: list[Reduction]
    celestial: bool
    weights: tuple[Weight, ...] | None
    reference: tuple[float, float]
    limits: RowLimits
    header: Header
    frames: tuple[Frame, ...]
    image_frames: tuple[Frame, ...]
    weight_reference: WeightReference = WeightReference(0.0)
    earlier: EarlierSums | None = None
    cosmics: list[RowSet] | None = None
    images: list[npt.NDArray[np.float32]] | None = None

    @property
    def data_unit(self) -> str:
        """Unit of the data of all exposures."""
        return self.members[0].product.data_unit

    @property
    def files(self) -> list[str]:
        """Pixel tables of all exposures."""
        return [str(file.path) for member in self.members for file in member.chain.files.files]


def combine(
    members: list[Reduction],
    tables: Sequence[Frame],
    used: UsedFrames,
    p: ParamValues,
    ctx: RunContext,
    earlier: EarlierSums | None = None,
) -> Combination:
    """Bring all exposures to the pole of the first one, find their weights and common limits.

    Parameters
    ----------
    tables : the pixel tables in the order given
    used : calibrations that products name in their headers
    earlier : exposures combined before, to which these are to be added
    """
    first = members[0]
    reference = (0.0, 0.0)
    if first.position:
        reference = (first.position.crval1, first.position.crval2)
        if earlier:
            reference = earlier.head.reference
        for member in members if earlier else members[1:]:
            if member.position:
                member.add(fit_common_reference(member.position, reference))
    parts = [table_limits(member, ctx) for member in members]
    weights, relative_to = _weights(members, [part.lam for part in parts], p, ctx, earlier)
    warn_about_mixtures(members, parts, ctx)
    frames = (*tables, *used.all, *used.cube)
    return Combination(
        members,
        first.position is not None,
        weights,
        reference,
        join_limits(parts).shifted(*reference),
        _combined_header(members, tables, ctx, earlier),
        frames,
        (*frames, *used.images),
        relative_to,
        earlier,
    )


def _weights(
    members: list[Reduction],
    limits: list[tuple[float, float]],
    p: ParamValues,
    ctx: RunContext,
    earlier: EarlierSums | None,
) -> tuple[tuple[Weight, ...] | None, WeightReference]:
    """Return the weights of the exposures, and what they are relative to."""
    before = earlier.weight_reference if earlier else None
    if p.weight == "invvar":
        from muse_core.postproc.combination.background_variance import fit_inverse_variances

        if len(members) < 2 and before is None:
            return None, WeightReference(0.0)
        amount = before.amount if before else None
        weights, variance = ctx.kept.once(
            "inverse variances", lambda: fit_inverse_variances(members, limits, ctx, amount)
        )
        return weights, WeightReference(variance)
    fitted = fit_weights([member.keywords for member in members], p.weight, ctx.log, before)
    if fitted:
        return fitted.weights, fitted.reference
    return _stored_weights(members, ctx), WeightReference(0.0)


def _stored_weights(members: list[Reduction], ctx: RunContext) -> tuple[Weight, ...] | None:
    """Return the weights that the tables bring with them in a column: all of them, or none."""
    found = [[stored_weights(file) for file in member.chain.files.files] for member in members]
    weights = [weight for of_exposure in found for weight in of_exposure if weight is not None]
    if len(members) < 2 or not weights:
        return None
    if len(weights) < sum(map(len, found)):
        ctx.log.warning(
            "only %d of %d pixel tables have a column of weights, which is not used",
            len(weights),
            sum(map(len, found)),
        )
        return None
    if len(weights) > len(members):
        raise InputError(
            weights[0].path, "column weight", expected="one table of each exposure (weight=none)",
            found=f"{len(weights)} tables of {len(members)} exposures",
            remedy="Merge the IFUs first (muse_scipost, save=individual), or choose another weight.",
        )  # fmt: skip
    return tuple(weights)


def _combined_header(
    members: list[Reduction], tables: Sequence[Frame], ctx: RunContext, earlier: EarlierSums | None
) -> Header:
    """Return the header of the first exposure with what holds for all of them."""
    if earlier:
        header = earlier.header.copy()
        headers = [member.product.header for member in members]
        for card in told_of_all(headers, earlier.header, earlier.count):
            set_card(header, *card)
        for number, member in enumerate(members, earlier.count + 1):
            for card in member.position.offset_cards(number) if member.position else ():
                set_card(header, *card)
        return header
    several = len(members) > 1  # then slice offsets are kept under the number of each exposure
    header = header_without(
        members[0].product.header, lambda key: several and key.startswith(f"{PIXTABLE} EXP0 ")
    )
    if several and is_narrow_field(header):
        strehl = mean_strehl([member.keywords for member in members], ctx.log)
        if strehl:
            set_card(header, "ESO DRS MUSE RTC STREHL", strehl[0])
            set_card(header, "ESO DRS MUSE RTC STREHERR", strehl[1])
    _take_standard_keywords(header, members, tables[0])
    for card in told_of_all([member.product.header for member in members]):
        set_card(header, *card)
    for number, member in enumerate(members, 1):
        for card in member.position.offset_cards(number) if member.position else ():
            set_card(header, *card)
    return header


def _take_standard_keywords(header: Header, members: list[Reduction], first: Frame) -> None:
    """Inherit the standard keywords from the first frame given whatever its date (CPL's product rules)."""
    files = [table for member in members for table in member.chain.files.files]
    for file in files[1:]:
        if file.path == first.path:
            own = file.header
            for key in list(header):
                kept = key in _OF_THE_FIRST or key.startswith(("ESO DRS", *WCS_KEYS))
                if not kept and key in own:
                    header[key] = own[key]


def told_of_all(headers: Sequence[Header], before: Header | None = None, count: int = 0) -> list[Card]:
    """Return what all exposures together say of corrections not made, and of slices with a refined sky.

    Parameters
    ----------
    before, count : what was told of exposures combined before, and their number

    >>> from astropy.io.fits import Header
    >>> told_of_all([Header(), Header({"HIERARCH ESO DRS MUSE SKIPPED FLUX": "no curve"})])
    [('ESO DRS MUSE SKIPPED FLUX', 'no curve (exposure 2)', '')]
    >>> told_of_all([Header()], Header({"HIERARCH ESO DRS MUSE SKIPPED FLUX": "no curve"}), 3)
    [('ESO DRS MUSE SKIPPED FLUX', 'no curve (exposure 1-3)', '')]
    """
    cards: list[Card] = []
    known = headers if before is None else (before, *headers)
    for key in dict.fromkeys(key for header in known for key in header if key.startswith(SKIPPED)):
        reasons: dict[str, list[int]] = {}
        for number, header in enumerate(headers, count + 1):
            if key in header:
                reasons.setdefault(str(header[key]), []).append(number)
        texts = []
        if before is not None and key in before:
            text = str(before[key])
            everywhere = len(reasons.get(text, ())) == len(headers)
            texts = [text if everywhere or "(exposure " in text else f"{text} (exposure 1-{count})"]
            if everywhere:
                del reasons[text]
        texts += [
            reason if not count and len(of) == len(headers) else f"{reason} (exposure {_numbers(of)})"
            for reason, of in reasons.items()
        ]
        cards.append((key, "; ".join(texts), ""))
    refined = [int(header[REFINED]) for header in known if REFINED in header]
    return [*cards, (REFINED, sum(refined), "Slices with a refined sky")] if refined else cards


def _numbers(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))

# SPDX-License-Identifier: BSD-3-Clause
"""The header of a product made from an input of a primary header and an extension."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astropy.io.fits import Header

Card = tuple[str, object, str]


def with_extension_keywords(primary: Header, extension: Header, *, only_eso: bool) -> Header:
    """Return the primary header with the keywords of the extension.

    Measured against 2.8.7: of a keyword in both, QC and DRS are those of the extension and others those of
    the primary header.

    Parameters
    ----------
    only_eso : bool
        Take none but the ESO keywords of the extension.

    Examples
    --------
    >>> from astropy.io.fits import Header
    >>> one = Header({"A": 1, "HIERARCH ESO QC X": 1})
    >>> two = Header({"A": 2, "HIERARCH ESO QC X": 2, "B": 3})
    >>> dict(with_extension_keywords(one, two, only_eso=False))
    {'A': 1, 'ESO QC X': 2, 'B': 3}
    """
    header = primary.copy()
    for card in extension.cards:
        key = card.keyword
        if key in header:
            if key.startswith(("ESO QC ", "ESO DRS ")):
                header[key] = (card.value, card.comment)
        elif key.startswith("ESO ") or not only_eso:
            header.append(card, end=True)
    return header


def old_quality_cards(header: Header) -> list[Card]:
    """QC keywords of an input, which some products keep."""
    return [(c.keyword, c.value, c.comment) for c in header.cards if c.keyword.startswith("ESO QC ")]


def science_card(header: Header) -> Card:
    """PRO SCIENCE as 2.8.7 sets it for some products: true if the raw frame is of the category SCIENCE."""
    return "ESO PRO SCIENCE", header.get("ESO DPR CATG") == "SCIENCE", "Scientific product if T"

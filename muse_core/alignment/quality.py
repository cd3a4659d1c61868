# SPDX-License-Identifier: BSD-3-Clause
"""The QC keywords of the products."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from muse_core.alignment.arrays import Pixels
from muse_core.alignment.results import Results
from muse_core.alignment.sources.source_list import SourceList

PREFIX = "ESO QC EXPALIGN"

Card = tuple[str, object, str]


def single(value: float) -> float:
    """Round to the seven digits that 2.8.7 writes for QC values."""
    return float(f"{float(value):.7g}")


def offset_cards(counts: Sequence[int], results: Results) -> list[Card]:
    """QC keywords that 2.8.7 writes into OFFSET_LIST.

    Parameters
    ----------
    counts : int[n]
        Sources of each exposure.
    results : Results
    """
    cards: list[Card] = [
        (f"{PREFIX} NDET{n}", int(count), f"Sources found in image {n}") for n, count in enumerate(counts, 1)
    ]
    matches = [int(m) for m in results.matches]
    cards += [
        (f"{PREFIX} NMATCH{n}", count, f"Median number of matches of image {n}")
        for n, count in enumerate(matches, 1)
    ]
    some = [m for m in matches if m > 0]
    cards += [
        (f"{PREFIX} NMATCH MIN", min(some) if some else -1, "Smallest NMATCHi above 0"),
        (f"{PREFIX} NOMATCH", len(matches) - len(some), "Images without any match"),
    ]
    for k, axis in enumerate(("RA", "DEC")):
        arcsec = results.offsets[:, k] * 3600.0
        for name, value, word in (
            ("MIN", arcsec.min(), "smallest"),
            ("MAX", arcsec.max(), "largest"),
            ("MEAN", arcsec.mean(), "mean"),
            ("STDEV", arcsec.std(ddof=1) if arcsec.size > 1 else math.nan, "standard deviation of the"),
        ):
            if math.isnan(value):  # one exposure has none
                continue
            cards.append((f"{PREFIX} OFFSET {axis} {name}", single(value), f"[arcsec] {word} {axis} offset"))
    return cards


def confidence_cards(results: Results) -> list[Card]:
    """QC keywords on how far the offsets can be trusted; only ours. What was not measured is left out."""
    confidence = results.confidence
    cards: list[Card] = [
        (f"{PREFIX} UNTRUSTED", confidence.untrusted, "Images whose offset is not trustworthy")
    ]
    for n in range(len(confidence.trusted)):
        label = n + 1
        cards.append(
            (f"{PREFIX} TRUST{label}", bool(confidence.trusted[n]), f"Offset of image {label} is sound")
        )
        for name, values, comment in (
            ("ERR RA", confidence.error_ra, "[arcsec] 1 sigma error of RA offset on the sky"),
            ("ERR DEC", confidence.error_dec, "[arcsec] 1 sigma error of DEC offset"),
            ("SCATTER", confidence.scatter, "[arcsec] residual scatter per star"),
            ("CHANCE", confidence.chance, "Probability of the matches by chance"),
            ("ROT", confidence.turn_deg, "[deg] residual rotation, to add to PA"),
            ("ROT ERR", confidence.turn_error_deg, "[deg] its error"),
            ("SCALE", confidence.stretch, "Residual relative pixel scale"),
            ("SCALE ERR", confidence.stretch_error, "Its error"),
            ("FLUX SCALE", results.flux_scale, "Factor on the flux for one level"),
            ("FLUX SCALE ERR", results.flux_scale_error, "Its error"),
        ):
            if math.isfinite(values[n]):
                cards.append((f"{PREFIX} {name}{label}", single(values[n]), comment))
    return cards


def source_cards(sources: SourceList) -> list[Card]:
    """QC keywords of a SOURCE_LIST."""
    return [
        (f"{PREFIX} SRC POSITIONS", sources.origin, "Origin of the source positions"),
        (f"{PREFIX} NDET", len(sources), "Number of sources"),
        (f"{PREFIX} BKG MEDIAN", single(sources.median), "Median of the background pixels"),
        (f"{PREFIX} BKG MAD", single(sources.mad), "Median absolute deviation of these"),
        (f"{PREFIX} THRESHOLD", single(sources.threshold), "Threshold of the detection"),
    ]


def exposure_map_cards(image: Pixels) -> list[Card]:
    """QC keywords of an EXPOSURE_MAP."""
    good = image[np.isfinite(image)].astype(np.float64)
    values = (good.min(), good.max(), good.mean(), np.median(good)) if good.size else (0.0,) * 4
    names = ("MIN", "MAX", "AVG", "MED")
    words = ("Smallest", "Largest", "Mean", "Median")
    return [
        (f"{PREFIX} EXPTIME {name}", single(value), f"[s] {word} exposure time in the map")
        for name, word, value in zip(names, words, values, strict=True)
    ]

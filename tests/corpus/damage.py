# SPDX-License-Identifier: BSD-3-Clause
"""All families of damage to a file; each takes a generator of random numbers and is repeatable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from astropy.io import fits

from tests.corpus import (
    bytes_damage,
    form_damage,
    layout_damage,
    meaning_damage,
    shape_damage,
    text_damage,
    word_damage,
)
from tests.corpus.target import Damage, NotApplicableError, Target

FAMILIES: dict[str, Damage] = {
    "files": bytes_damage.files,
    "structure": bytes_damage.structure,
    "cards": bytes_damage.cards,
    "scattered": bytes_damage.scattered,
    "keywords": meaning_damage.keywords,
    "values": meaning_damage.values,
    "shapes": shape_damage.shapes,
    "units": form_damage.units,
    "scales": form_damage.scales,
    "storage": form_damage.storage,
    "rows": form_damage.rows,
    "packed": form_damage.packed,
    "cuts": layout_damage.cuts,
    "order": layout_damage.order,
    "reading": layout_damage.reading,
    "signed": layout_damage.signed,
    "holes": meaning_damage.holes,
    "words": word_damage.words,
    "alphabets": word_damage.alphabets,
    "many": word_damage.many,
    "texts": text_damage.texts,
}
_TWICE = (
    "keywords", "values", "shapes", "units", "scales", "storage", "rows", "holes", "words", "order", "cards",
)  # fmt: skip
"""What may be done to a file that is broken already."""


def twice(rng: np.random.Generator, target: Target) -> str:
    """Two kinds of damage to one file."""
    between = target.copy.with_name(f"between-{target.copy.name}")
    try:
        one, two = (str(name) for name in rng.choice(_TWICE, 2))
        first = FAMILIES[one](rng, replace(target, copy=between))
        second = FAMILIES[two](rng, replace(target, source=between))
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
        raise NotApplicableError from None  # the library cannot read the file any more
    finally:
        between.unlink(missing_ok=True)
    return f"{first}; then {second}"


FAMILIES["twice"] = twice
_CYCLE = (
    "structure", "values", "keywords", "shapes", "cards", "scales", "files", "units", "storage", "rows",
    "scattered", "values", "packed", "keywords", "structure", "holes", "twice", "order", "signed", "reading",
    "words", "twice", "cuts", "many", "alphabets",
)  # fmt: skip


def broken(
    seed: int, label: str, number: int, target: Target, families: tuple[str, ...] = (), attempt: int = 0
) -> tuple[str, str]:
    """Write the broken file number `number` for a label; returns the family and what was done.

    The same seed, label, number and attempt make the same file. Further attempts move on to other families,
    since some make few different ones of a small file.
    """
    rng = np.random.default_rng([seed, number, *([attempt] if attempt else []), *label.encode()])
    fitsfile = target.source.read_bytes()[:6] == b"SIMPLE"
    cycle = [name for name in _CYCLE if not families or name in families] or list(families)
    family = cycle[(number + attempt // 5) % len(cycle)] if fitsfile else ("texts", "files")[number % 4 == 3]
    for _ in range(60):
        try:
            return family, FAMILIES[family](rng, target)
        except (NotApplicableError, fits.VerifyError):  # a header broken before may be unreadable
            family = "structure" if fitsfile and rng.random() < 0.1 else family
    return "files", bytes_damage.files(rng, target)

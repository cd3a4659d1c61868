# SPDX-License-Identifier: BSD-3-Clause
"""All families of damage to a file; each takes a generator of random numbers and is repeatable."""

from __future__ import annotations

import numpy as np

from tests.corpus import bytes_damage, form_damage, meaning_damage, shape_damage, text_damage
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
    "texts": text_damage.texts,
}
_CYCLE = (
    "structure", "values", "keywords", "shapes", "cards", "scales", "files", "units", "storage", "rows",
    "scattered", "values", "packed", "keywords", "structure",
)  # fmt: skip


def broken(
    seed: int, label: str, number: int, target: Target, families: tuple[str, ...] = ()
) -> tuple[str, str]:
    """Write the broken file number `number` for a label; returns the family and what was done.

    The same seed, label and number make the same file.
    """
    rng = np.random.default_rng([seed, number, *label.encode()])
    fitsfile = target.source.read_bytes()[:6] == b"SIMPLE"
    cycle = [name for name in _CYCLE if not families or name in families] or list(families)
    family = cycle[number % len(cycle)] if fitsfile else ("texts", "files")[number % 4 == 3]
    for _ in range(60):
        try:
            return family, FAMILIES[family](rng, target)
        except NotApplicableError:
            family = "structure" if fitsfile and rng.random() < 0.1 else family
    return "files", bytes_damage.files(rng, target)

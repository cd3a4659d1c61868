# SPDX-License-Identifier: BSD-3-Clause
"""Products tell whether all IFUs of their exposure are there (QC keyword COMPLETE)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from muse_core.framework import fits_layout
from muse_core.framework.checksums import encode_checksum, ones_complement, word_sum
from muse_core.framework.execution import RunContext
from muse_core.framework.products import Card

KEY = "ESO QC SCIBASIC COMPLETE"
COMMENT = "all IFUs that were asked for were made"
CARD_LENGTH = 80


def complete_card(ctx: RunContext) -> list[Card]:
    """The claim, as products have it when they are written; C has no such keyword."""
    return [] if ctx.defects else [(KEY, True, COMMENT)]


def withdraw(ctx: RunContext, incomplete: Collection[tuple[str, int]]) -> None:
    """Take the claim back in finished products, and note for hosts that something is missing.

    Parameters
    ----------
    ctx : RunContext
        Its products are marked.
    incomplete : collection of (tag, number)
        Exposures of which an IFU failed.
    """
    for i, product in enumerate(ctx.products):
        for tag, number in incomplete:
            own = (f"{tag}_RED", f"{tag}_RESAMPLED", f"PIXTABLE_{tag}")
            if product.tag not in own or not product.path.stem.startswith(f"{product.tag}_{number:04d}"):
                continue
            ctx.products[i] = replace(product, complete=False)
            _withdraw_in(product.path)


def _withdraw_in(path: Path) -> None:
    """Change the value in the primary header of a file, and its checksum; nothing else is touched."""
    unit = fits_layout.units(path)[0]
    with path.open("r+b") as stream:
        header = bytearray(stream.read(unit.data_start))
        place = header.find(f"HIERARCH {KEY} = T".encode())
        if place < 0:
            return
        header[place : place + CARD_LENGTH] = f"HIERARCH {KEY} = F / {COMMENT}".ljust(CARD_LENGTH).encode()
        sums = [i for i in range(0, len(header), CARD_LENGTH) if header[i : i + 9] == b"CHECKSUM="]
        if sums and header[sums[0] + 11 : sums[0] + 27] != b"0" * 16:
            header[sums[0] + 11 : sums[0] + 27] = b"0" * 16
            # the primary unit has no data
            total = encode_checksum(ones_complement(word_sum(bytes(header))))
            header[sums[0] + 11 : sums[0] + 27] = total.encode()
        stream.seek(0)
        stream.write(header)

# SPDX-License-Identifier: BSD-3-Clause
"""All exposures in one pixel table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muse_core.data.pixtable_writer import PixelTableWriter, column_units
from muse_core.postproc.combination.combine import Combination
from muse_core.postproc.exposure.reduction import PIXTABLE, limit_cards
from muse_core.postproc.exposure.table_pieces import write_rows
from muse_core.resampling.cosmics import COSMIC_RAY

if TYPE_CHECKING:
    from muse_core.data.block import Block
    from muse_core.data.row_set import RowSet
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.correction import Card


@dataclass(frozen=True)
class WithCosmics:
    """Flags the cosmic rays of the cube."""

    rows: RowSet

    def __call__(self, block: Block) -> Block:
        block.dq[self.rows.contains(block.row)] |= COSMIC_RAY
        return block


def save_combined(combination: Combination, p: ParamValues, ctx: RunContext) -> None:
    """Write PIXTABLE_COMBINED: all rows of all exposures, with weights and cosmic-ray flags."""
    members = combination.members
    extra: list[Card] = []
    first_row = 0
    if len(members) > 1:
        if combination.weights is not None and p.weight != "none":  # those of the tables are no news
            extra.append(
                (f"{PIXTABLE} WEIGHTED", True, "Pixel table was weighted relative to other exposures")
            )
        for member in members:
            head = f"{PIXTABLE} EXP{member.number}"
            for key in member.product.header:
                if key.startswith(f"{PIXTABLE} EXP0 "):
                    extra.append(
                        (
                            key.replace("EXP0", f"EXP{member.number}"),
                            member.product.header[key],
                            "x-offset of given slice",
                        )
                    )
            last = first_row + member.chain.rows - 1
            extra += [
                (f"{head} FIRST", first_row, f"Exposure {member.number} first row index"),
                (f"{head} LAST", last, f"Exposure {member.number} last row index"),
            ]
            first_row = last + 1
        extra.append((f"{PIXTABLE} COMBINED", len(members), "Combined exposures that went into this table"))
    extra += limit_cards(combination.limits)
    first = members[0]
    units = column_units(first.product.position_unit, first.product.data_unit)
    weighted = combination.weights is not None
    if ctx.take_kept("PIXTABLE_COMBINED"):
        return
    with ctx.stream(
        "PIXTABLE_COMBINED",
        base=combination.header,
        used=combination.image_frames,
        extra=extra,
        resumable=True,
    ) as product:
        rows = sum(member.chain.rows for member in members)
        writer = PixelTableWriter(
            product.path, product.header, rows, units, weighted=weighted, as_table=p.table_layout == "table"
        )
        row = 0
        with writer:
            for i, member in enumerate(members):
                weight = combination.weights[i] if combination.weights else None
                flag = WithCosmics(combination.cosmics[i]) if combination.cosmics else None
                row = write_rows(writer, member.chain, first=row, finish=flag, weight=weight)
        first.product.append_tables(product.path)

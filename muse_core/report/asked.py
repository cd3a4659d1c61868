# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of what muse_scipost and its relatives made, if the run is asked for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muse_core.framework import RunContext


def page_if_asked(ctx: RunContext) -> None:
    """Describe the page of the products of a run; nothing is imported for a run without one."""
    if ctx.report_requested:
        from muse_core.report.cube import cube_page

        ctx.report(lambda: cube_page(ctx.products))

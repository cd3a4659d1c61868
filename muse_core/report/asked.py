# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of what a recipe made, if the run is asked for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muse_core.framework import RunContext
    from muse_core.framework.context import QualityPage


def page_if_asked(ctx: RunContext) -> None:
    """Describe the page of the products of a run; nothing is imported for a run without one.

    Which page it is follows from the tags of the products (`muse_core.report.makers.MAKERS`).
    """
    if ctx.report_requested:
        from muse_core.report.makers import by_tag, maker

        def page() -> QualityPage:
            files = by_tag(ctx.products)
            return maker(files)(files, **({"shown": ctx.shown} if ctx.shown else {}))

        ctx.report(page)

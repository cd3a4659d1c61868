# SPDX-License-Identifier: BSD-3-Clause
"""The modules of the API reference, in the order in which they are shown."""

GROUPS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "running": (
        "Running recipes",
        "From Python: `muse_core.Recipe` and `muse_core.run_recipe` need no ESO software.",
        (
            "muse_core.framework.execution",
            "muse_core.cpl",
            "muse_core.cpl.esorex",
            "muse_core.cpl.frames",
            "muse_core.cpl.param",
            "muse_core.framework.sof",
            "muse_core.framework.errors",
        ),
    ),
    "declaring": (
        "Declaring recipes",
        "A recipe is a declaration and a function; everything else is made from them.",
        (
            "muse_core.framework.spec",
            "muse_core.framework.kinds",
            "muse_core.framework.variables",
            "muse_core.framework.context",
            "muse_core.framework.frames",
            "muse_core.framework.registry",
            "muse_core.framework.record",
            "muse_core.framework.defects",
        ),
    ),
    "pages": (
        "Quality pages and pictures",
        "How a page is described: [Quality pages](../../quality_pages.md).",
        (
            "muse_core.report.page",
            "muse_core.report.makers",
            "muse_core.report.products",
            "muse_core.report.quicklook",
            "muse_core.report.comparison",
            "muse_core.report.cube_numbers",
            "muse_core.report.slices",
        ),
    ),
    "cubes": (
        "Cubes and their noise",
        "What of the recipes is of use by itself.",
        (
            "muse_core.resampling.apertures",
            "muse_core.resampling.covariance_file",
            "muse_core.resampling.cube_file",
            "muse_core.resampling.grid",
        ),
    ),
    "tables": (
        "Pixel tables",
        "Opened, not loaded: blocks of rows are read where they are needed.",
        ("muse_core.data.pixtable", "muse_core.data.exposure", "muse_core.data.header_values"),
    ),
    "corrections": (
        "Corrections of muse_scipost",
        "Each is fitted once, and applied to blocks of rows ([how to write one](../contributing.md)).",
        ("muse_core.postproc.exposure.correction", "muse_core.postproc.stages"),
    ),
    "imphot": (
        "imphot",
        "Photometry of MUSE images with those of HST: [imphot](../../imphot.md).",
        ("imphot", "imphot.cli"),
    ),
}

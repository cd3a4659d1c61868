# SPDX-License-Identifier: BSD-3-Clause
"""muse_test_echo: a recipe of a few lines, for the hosts' tests."""

from muse_core.framework import Input, Param, Product, RecipeError, RecipeSpec

RECIPE = RecipeSpec(
    name="muse_test_echo",
    summary="Copy the first image of each input and note the parameters; a recipe for tests of the hosts.",
    description="Writes one copy of each input image, scaled, and one table that names the inputs.",
    params=(
        Param("scale", 2.0, help="Factor applied to the data"),
        Param("nrow", 3, help="Number of rows of the table."),
        Param("title", "a,b", help='Free text, kept in the "TITLE" keyword.'),
        Param("method", "mean", choices=("mean", "median", "none"), help="How to combine."),
        Param("strict", True, help="Refuse odd input."),
        Param("fault", "", hidden=True, help="How to fail, if at all."),
        Param("uses", "", hidden=True, help="Tag of calibrations to ask for."),
        Param("undone", "", hidden=True, help="When to find that the mask is missing."),
        Param("small", 4000.0, hidden=True, help="An expert's number."),
    ),
    inputs=(
        Input("TEST_RAW", "RAW", min=1, max=None, help="Images"),
        Input("TEST_MASK", "CALIB", min=0, help="A mask"),
        Input("TEST_LIST", "CALIB", min=0, max=None, help="Tables"),
    ),
    products=(
        Product("TEST_IMAGE", help="Scaled images", series=True),
        Product("TEST_TABLE", help="Table of the inputs", level="INTERMEDIATE"),
    ),
)


def run(frames, p, ctx):
    """Copy, scale, note."""
    import numpy as np
    from astropy.io import fits

    if p.undone == "early":
        ctx.undone("HAS MASK", "no mask, early", "a mask was used")
    ctx.problems.raise_if_any()
    if p.undone == "late":
        ctx.undone("HAS MASK", "no mask, late", "a mask was used")
    if p.uses:
        frames[p.uses]
    _fail(p.fault, ctx)
    raw = frames["TEST_RAW"]
    rows = []
    base = None
    for number, frame in enumerate(raw, 1):
        with fits.open(frame.path) as hdus:
            if base is None:
                base = hdus[0].header.copy()
            data = hdus[1].data * np.float32(p.scale)
        rows.append((frame.path.name.encode("ascii", "replace").decode(), float(data.sum())))
        image = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, name="DATA")])
        ctx.save(
            "TEST_IMAGE",
            image,
            base=base,
            used=[frame],
            qc=[("ESO QC ECHO SUM", rows[-1][1], "sum")],
            index=number,
        )
        if p.fault == "half":
            raise RecipeError("failed after the first product")
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("NAME", "40A", array=np.array([row[0] for row in rows])),
            fits.Column("SUM", "D", array=np.array([row[1] for row in rows])),
        ]
    )
    ctx.save(
        "TEST_TABLE", fits.HDUList([fits.PrimaryHDU(), table]), base=base, used=list(frames), keep="standard"
    )
    ctx.log.info("echoed %d images with method %s, title %s", len(raw), p.method, p.title)


def _fail(fault, ctx):
    import os
    import signal
    import sys
    import time

    ctx.log.warning("fault: %s\nsecond line, with \u00e9 and a 100%% sign", fault or "none")
    if fault == "raise":
        raise ValueError("a defect of the recipe itself")
    if fault == "recipe":
        raise RecipeError("this run cannot go on")
    if fault == "input":
        ctx.problems.add("x.fits", "keyword EXPTIME", expected="a number", remedy="Mend it.")
        ctx.problems.add("y.fits", "column lambda", expected="Angstrom", found="nm")
        ctx.problems.raise_if_any()
    if fault == "exit":
        sys.exit(3)
    if fault == "hardexit":
        os._exit(3)
    if fault in ("SIGSEGV", "SIGKILL", "SIGTERM"):
        os.kill(os.getpid(), getattr(signal, fault))
        time.sleep(5)
    if fault == "memory":
        raise MemoryError
    if fault == "hang":
        (ctx.workdir / ".hanging").write_text(str(os.getpid()))
        try:
            time.sleep(60)
        finally:
            (ctx.workdir / ".hanging").unlink(missing_ok=True)

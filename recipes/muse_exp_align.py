# SPDX-License-Identifier: BSD-3-Clause
"""muse_exp_align: offsets between exposures, from their point sources."""

from __future__ import annotations

from muse_core.framework import Defects, Input, Param, ParameterError, Product, RecipeSpec
from muse_core.framework.defects import ALIGN

RECIPE = RecipeSpec(
    name="muse_exp_align",
    summary="Create a coordinate offset table to be used to align exposures during exposure combination.",
    description="""Point sources are searched in every field-of-view image, their sky
positions are compared between all pairs of exposures, and the coordinate
offset of each exposure relative to the first one is solved for from all
pairs together.

The search of each image starts at a threshold and steps it until the
number of sources lies within srcmin and srcmax. Sources near bad pixels
are discarded. The first search radius takes the peak of a two-dimensional
histogram of all coordinate differences, each following one the medians of
what lies within it.

RA_OFFSET and DEC_OFFSET are header coordinates minus those that fit to
the first exposure; muse_exp_combine subtracts them. Their errors, the
number of matches, a residual rotation and scale, and whether an offset
can be trusted at all, are written as QC keywords of the OFFSET_LIST.

With MUSE_RECIPES_COMPAT=1 in the environment known faults of MUSE 2.8.7
are reproduced: positions one pixel off (rotated exposures), no match
across right ascension 0, the cut preview of a rotated first exposure.""",
    params=(
        Param(
            "rsearch", "30.,4.,2.,0.8", help="Search radii in arcsec, one for each iteration of the solution."
        ),
        Param("nbins", 60, help="Bins of the offset histogram along each axis."),
        Param("weight", True, help="Weight the pairs of exposures."),
        Param("fwhm", 5.0, help="FWHM of the detection kernel in pixels."),
        Param(
            "threshold",
            15.0,
            help="First detection threshold; if not positive, in MAD above the background median.",
        ),
        Param("bkgignore", 0.05, help="Fraction of the faintest pixels not used for the background."),
        Param("bkgfraction", 0.1, help="Fraction of the remaining pixels used for the background."),
        Param("step", 0.5, help="Change of the threshold between searches."),
        Param("iterations", 100000, help="Largest number of searches for each image."),
        Param("srcmin", 5, help="Smallest number of sources wanted."),
        Param("srcmax", 80, help="Largest number of sources wanted."),
        Param("roundmin", -1.0, help="Lower limit of the roundness."),
        Param("roundmax", 1.0, help="Upper limit of the roundness."),
        Param("sharpmin", 0.2, help="Lower limit of the sharpness."),
        Param("sharpmax", 1.0, help="Upper limit of the sharpness."),
        Param("expmap", False, help="Make an exposure map of the preview.", hidden=True),
        Param("bpixdistance", 5.0, help="Smallest distance of a source from a bad pixel in pixels."),
        Param(
            "override_detection",
            False,
            help="Use the given source lists instead of the detection.",
            hidden=True,
        ),
    ),
    inputs=(
        Input("IMAGE_FOV", "RAW", min=2, max=None, help="Field-of-view images of the exposures"),
        Input(
            "SOURCE_LIST", "CALIB", min=0, max=None, help="Source lists, one per image (override_detection)"
        ),
    ),
    products=(
        Product("EXPOSURE_MAP", help="Exposure time of the preview (expmap)"),
        Product("PREVIEW_FOV", help="Sum of the aligned images"),
        Product("SOURCE_LIST", help="Sources of one exposure", series=True),
        Product("OFFSET_LIST", help="Coordinate offset of each exposure"),
    ),
    defects=Defects.about(ALIGN),
)


def run(frames, p, ctx):
    """Align the exposures."""
    from muse_core.alignment import confidence, exposure, options
    from muse_core.alignment.align import align

    faults = options.parameter_faults(p)
    if faults:
        raise ParameterError("\n".join(faults))
    radii = options.parse_radii(p.rsearch)
    images, lists = frames["IMAGE_FOV"], frames["SOURCE_LIST"]

    # all that is wrong with the inputs, together
    fields = exposure.inspect_fields(
        [f.path for f in images], need_exptime=p.expmap, compat=ctx.compat, problems=ctx.problems, log=ctx.log
    )
    if len(fields) > 1:
        exposure.check_memory(fields, ctx.compat, ctx.memory_bytes, ctx.problems)
    ctx.problems.raise_if_any()

    if p.override_detection and lists:
        sources = exposure.load_catalogues(
            [f.path for f in lists], fields, compat=ctx.compat, problems=ctx.problems
        )
    else:
        if p.override_detection:
            ctx.log.info("no SOURCE_LIST given, the sources are detected")
        sources = exposure.detect_fields(
            fields, p, compat=ctx.compat, problems=ctx.problems, log=ctx.log, progress=ctx.progress
        )
        lists = ()
    ctx.problems.raise_if_any()

    alignment = align(fields, sources, radii, p.nbins, weighted=p.weight, compat=ctx.compat)
    aligned = alignment.solution
    verdict = confidence.judge(
        alignment.table,
        aligned,
        radii,
        exposure.field_areas(fields, sources),
        [s.position_error for s in sources],
        fields[0].pixel_arcsec,
        p.nbins,
    )
    tell(fields, aligned, verdict, ctx.log)
    mosaic = exposure.make_mosaic(
        fields,
        aligned.offsets,
        exposure_map=p.expmap,
        compat=ctx.compat,
        memory_bytes=ctx.memory_bytes,
        problems=ctx.problems,
        log=ctx.log,
        progress=ctx.progress,
    )
    save(fields, images, lists, sources, alignment, verdict, mosaic, p, ctx)
    if ctx.report_requested:
        from muse_core.report import exp_align

        ctx.report(exp_align.page(fields, sources, alignment.table, aligned, verdict, mosaic, radii, p.nbins))


def tell(fields, aligned, verdict, log):
    """Write the offsets into the log, and a warning for each that cannot be trusted."""
    for radius in aligned.empty_radii:
        log.warning("no overlapping fields: no sources match within the search radius of %g arcsec", radius)
    for n, info in enumerate(fields):
        ra, dec = aligned.offsets[n] * 3600.0
        log.info(
            "%s: offset RA %+.4f DEC %+.4f arcsec (error %.4f), %d matches",
            info.name,
            ra,
            dec,
            verdict.error_dec[n],
            aligned.matches[n],
        )
        turn, turn_error = verdict.turn_deg[n], verdict.turn_error_deg[n]
        if abs(turn) > max(5.0 * turn_error, 0.02):
            log.warning(
                "%s: residual rotation of %.3f +- %.3f deg against the first exposure; it is not corrected",
                info.path,
                turn,
                turn_error,
            )
        stretch, stretch_error = verdict.stretch[n], verdict.stretch_error[n]
        if abs(stretch) > max(5.0 * stretch_error, 5e-4):
            log.warning(
                "%s: pixel scale differs by %.5f +- %.5f from the first exposure; it is not corrected",
                info.path,
                stretch,
                stretch_error,
            )
        if not verdict.trusted[n]:
            log.warning("%s: offset is not trustworthy: %s", info.path, verdict.reasons[n])


def save(fields, images, lists, sources, alignment, verdict, mosaic, p, ctx):
    """Write all products."""
    from muse_core.alignment import products
    from muse_core.alignment.field import read_header

    aligned = alignment.solution
    header = read_header(fields[0])
    used = (*images, *lists)
    qc = products.offset_cards([len(s) for s in sources], aligned)
    if not ctx.compat:
        qc += products.confidence_cards(verdict)
    plain = read_header(fields[0], merged=False)
    with ctx.stream(
        "OFFSET_LIST", base=plain, used=used, extra=science_card(plain), qc=qc, keep="standard"
    ) as product:
        rows = products.offset_list([f.date for f in fields], [f.mjd for f in fields], aligned.offsets)
        products.write_product(product, rows, table=True)
    for n, (info, own) in enumerate(zip(fields, sources, strict=True)):
        base = read_header(info) if n else header
        with ctx.stream(
            "SOURCE_LIST",
            base=base,
            used=(images[n], *lists),
            extra=science_card(base),
            qc=products.source_cards(own.origin, len(own), own.median, own.mad, own.threshold),
            index=n + 1,
        ) as product:
            products.write_product(product, products.source_list(own, alignment.corrected[n]), table=True)
    # pictures keep the QC keywords of the first image, tables do not
    old_qc = [(c.keyword, c.value, c.comment) for c in header.cards if c.keyword.startswith("ESO QC ")]
    extra = (*science_card(header), *old_qc)
    with ctx.stream("PREVIEW_FOV", base=header, used=used, extra=extra) as product:
        preview = products.image_bytes(mosaic.preview(), mosaic.grid, fields[0].unit)
        products.write_product(product, preview, table=False)
    if p.expmap:
        exposure_map = mosaic.exposure_map()
        qc = products.exposure_map_cards(exposure_map)
        with ctx.stream("EXPOSURE_MAP", base=header, used=used, extra=extra, qc=qc) as product:
            products.write_product(product, products.image_bytes(exposure_map, mosaic.grid, "s"), table=False)


def science_card(header):
    """Return PRO SCIENCE as the C recipe sets it: true for products of raw frames of category SCIENCE."""
    science = header.get("ESO DPR CATG") == "SCIENCE"
    return [("ESO PRO SCIENCE", science, "Scientific product if T")]

# SPDX-License-Identifier: BSD-3-Clause
"""muse_twilight: from raw sky flats to the three-dimensional illumination correction."""

from muse_core.framework import Defects, Input, Param, Product, RecipeError, RecipeSpec
from muse_core.framework.defects import TWILIGHT

DESCRIPTION = """\
Each raw exposure is reduced on its own: known bad and saturated pixels are flagged, the overscan is \
measured and removed, the frame is trimmed, bias and dark are subtracted, counts are converted to \
electrons and divided by the flat field. The exposures are combined pixel by pixel. Trace, wavelength and \
geometry tables then tell where in the field and at which wavelength each pixel saw light. The flux of \
each IFU between lambdamin and lambdamax is kept in the headers as a measure of its throughput. An ILLUM \
exposure, if given, evens out the slices of each IFU. All IFUs, brought to one flux level, are resampled \
into one cube (DATACUBE_SKYFLAT).

The illumination model is made from this cube plane by plane: median filter over the illuminated area, \
normalisation, two-dimensional polynomial. If a vignetting mask is given, or in narrow-field mode, what \
the polynomial leaves at the edge of the field is smoothed and multiplied onto all planes (TWILIGHT_CUBE).

All IFUs that can be processed are used; a summary tells which could not and why."""

RECIPE = RecipeSpec(
    name="muse_twilight",
    summary=(
        "Combine several twilight skyflats into one cube, compute correction factors for each IFU, "
        "and create a smooth 3D illumination correction."
    ),
    description=DESCRIPTION,
    params=(
        Param(
            "overscan",
            "vpoly",
            help='Overscan correction: "none", "offset" (shift to the level of the bias) or "vpoly" '
            "(polynomial along the vertical overscan).",
        ),
        Param("ovscreject", "dcr", help='Rejection in the overscan: "none", "dcr" or "fit".'),
        Param(
            "ovscsigma",
            30.0,
            help="Rejection limit of the overscan polynomial, or of the level check, in sigma.",
        ),
        Param("ovscignore", 3, help="Overscan pixels next to the data that are left out."),
        Param(
            "combine",
            "sigclip",
            choices=("average", "median", "minmax", "sigclip"),
            help="How exposures are combined.",
        ),
        Param("nlow", 1, help="Lowest values that minmax drops."),
        Param("nhigh", 1, help="Highest values that minmax drops."),
        Param("nkeep", 1, help="Values that minmax keeps at least."),
        Param("lsigma", 3.0, help="Lower limit of sigclip."),
        Param("hsigma", 3.0, help="Upper limit of sigclip."),
        Param("scale", False, help="Scale exposures to the exposure time of the first one."),
        Param(
            "resample",
            "drizzle",
            choices=("nearest", "linear", "quadratic", "renka", "drizzle", "lanczos"),
            help="How pixels are resampled into the cube.",
        ),
        Param(
            "crtype", "median", choices=("iraf", "mean", "median"), help="Statistics that find cosmic rays."
        ),
        Param("crsigma", 50.0, help="Limit for cosmic rays in sigma; 0 or less keeps everything."),
        Param("lambdamin", 5000.0, help="Lowest wavelength used, in Angstrom."),
        Param("lambdamax", 9000.0, help="Highest wavelength used, in Angstrom."),
        Param("dlambda", 250.0, help="Length of a plane of the cube, in Angstrom."),
        Param("xorder", 2, help="Order in x of the polynomial over the field."),
        Param("yorder", 2, help="Order in y of the polynomial over the field."),
        Param(
            "vignmaskedges",
            0.02,
            hidden=True,
            help="Steps in the vignetted area above this are left out of its fit.",
        ),
        Param(
            "vignsmooth",
            "polyfit",
            choices=("polyfit", "gaussian", "median"),
            hidden=True,
            help="How the vignetted area is smoothed.",
        ),
        Param("vignxpar", -1, hidden=True, help="Order or size of that smoothing in x; -1 is its default."),
        Param("vignypar", -1, hidden=True, help="Order or size of that smoothing in y; -1 is its default."),
        Param(
            "vignnfmmask",
            22,
            hidden=True,
            help="Height in pixels of the vignetted top of narrow-field cubes.",
        ),
    ),
    inputs=(
        Input("SKYFLAT", "RAW", min=3, max=None, help="Raw twilight sky flats"),
        Input("ILLUM", "RAW", min=0, max=1, declared_min=-1, help="Raw lamp flat attached to the sky flats"),
        Input("MASTER_BIAS", max=None, declared_max=1, help="Master bias, merged or one file per IFU"),
        Input(
            "MASTER_DARK",
            min=0,
            max=None,
            declared_min=-1,
            declared_max=1,
            help="Master dark, merged or one file per IFU",
        ),
        Input("MASTER_FLAT", max=None, declared_max=1, help="Master flat, merged or one file per IFU"),
        Input("BADPIX_TABLE", min=0, max=None, declared_min=-1, help="Known bad pixels"),
        Input(
            "TRACE_TABLE",
            max=None,
            declared_max=1,
            help="Edges of the slices on the CCD, merged or one file per IFU",
        ),
        Input(
            "WAVECAL_TABLE", max=None, declared_max=1, help="Wavelength solutions, merged or one file per IFU"
        ),
        Input("GEOMETRY_TABLE", help="Places of the slices in the field of view"),
        Input("VIGNETTING_MASK", min=0, declared_min=-1, help="Mask of the vignetted area (wide field)"),
    ),
    products=(
        Product("DATACUBE_SKYFLAT", help="Cube of the combined sky flats"),
        Product("TWILIGHT_CUBE", help="Smooth illumination correction"),
    ),
    science=False,
    defects=Defects.about(TWILIGHT),
)


def run(frames, p, ctx):
    from muse_core.twilight.cube import CubePlan, build_cube
    from muse_core.twilight.environment import cube_to_reuse
    from muse_core.twilight.inputs import open_inputs
    from muse_core.twilight.model import white_image
    from muse_core.twilight.products import (
        base_header,
        datacube_hdus,
        flux_cards,
        old_quality_cards,
        twilight_hdus,
    )
    from muse_core.twilight.steps import (
        integrated_fluxes,
        merge_on_one_level,
        open_store,
        prepare_all,
        quality_cards,
        report_failures,
        smooth_cube,
    )

    paths = {tag.tag: [frame.path for frame in frames[tag.tag]] for tag in RECIPE.inputs}
    inputs = open_inputs(paths, p, ctx.problems, compat=ctx.compat)
    ctx.problems.raise_if_any()
    for warning in inputs.warnings:
        ctx.log.warning("%s", warning)

    try:
        reused = cube_to_reuse()
    except ValueError as error:
        raise RecipeError(str(error)) from None
    if reused is not None:
        from_stored_cube(reused, inputs, frames, p, ctx)
        return

    with open_store(inputs, ctx.workdir, p, ctx.memory_bytes) as store:
        prepared = prepare_all(inputs, p, store, ctx.threads, ctx.memory_bytes, ctx.progress, ctx.log)
        report_failures(inputs, ctx.log)
        if not prepared:
            raise RecipeError("no IFU could be processed, see the reasons above")
        if ctx.compat and 1 not in prepared:
            raise RecipeError(
                "no pixels for cube reconstruction are left: IFU 1 failed (MUSE_RECIPES_COMPAT)"
            )
        measured = integrated_fluxes(prepared, inputs.narrow_field, ctx.compat)
        ctx.log.info("%d IFUs, %d pixel-table rows", len(prepared), store.rows)
        plan = CubePlan(p.resample, p.crtype, p.crsigma, p.dlambda)
        try:
            measured, fluxes = merge_on_one_level(store, prepared, measured, plan, inputs, p, ctx)
            cube = build_cube(store, plan, ctx.memory_bytes, ctx.threads)
        except ValueError as error:
            raise RecipeError(str(error)) from None
    ctx.log.info("cube of %d x %d x %d, %d cosmic rays", *cube.data.shape[::-1], cube.rejected)

    white = white_image(cube.data)
    try:
        model = smooth_cube(cube.data, white, inputs, p, ctx.threads, ctx.compat)
    except ValueError as error:
        raise RecipeError(str(error)) from None
    if model.filled:
        planes = ", ".join(f"{cube.grid.wavelength(k):.0f}" for k in model.filled)
        ctx.log.warning("no data in the planes at %s Angstrom, interpolated between neighbours", planes)

    first = prepared[min(prepared)]
    primary = inputs.exposures[0].primary
    base = base_header(primary, inputs.exposures[0].headers.get(first.ifu, primary))
    extra = flux_cards(first.lamp_flux, fluxes) + old_quality_cards(base)
    qc = quality_cards(prepared, measured)
    target = str(primary.get("OBJECT", ""))
    cube_inputs = inputs.used_frames(frames)
    model_inputs = [*cube_inputs, *(() if inputs.narrow_field else frames["VIGNETTING_MASK"])]
    sky_hdus, model_hdus = datacube_hdus(cube, white, target), twilight_hdus(model, cube.grid, target)
    ctx.save("DATACUBE_SKYFLAT", sky_hdus, base=base, used=cube_inputs, qc=qc, extra=extra)
    ctx.save("TWILIGHT_CUBE", model_hdus, base=base, used=model_inputs, extra=extra)
    if ctx.report_requested:
        from muse_core.report.twilight import twilight_report

        ctx.report(twilight_report(cube, white, model, prepared, fluxes, inputs.failed))


def from_stored_cube(cube, inputs, frames, p, ctx):
    """Only the last part: the model from the DATACUBE_SKYFLAT that MUSE_TWILIGHT_SKIP names."""
    from muse_core.twilight.products import twilight_hdus
    from muse_core.twilight.steps import smooth_cube

    ctx.log.warning("MUSE_TWILIGHT_SKIP: nothing reduced, model from the cube it names")
    try:
        model = smooth_cube(cube.data, cube.white, inputs, p, ctx.threads, ctx.compat)
    except ValueError as error:
        raise RecipeError(str(error)) from None
    tags = ("SKYFLAT", "ILLUM") if inputs.narrow_field else ("SKYFLAT", "ILLUM", "VIGNETTING_MASK")
    key = "ESO DRS MUSE FLAT FLUX "
    extra = [(name, cube.header[name], "") for name in cube.header if name.startswith(key)]
    hdus = twilight_hdus(model, cube.grid, str(cube.header.get("OBJECT", "")))
    base = cube.header.copy()
    for name in [name for name in base if name.startswith(("ESO PRO ", "ESO QC "))]:
        del base[name]
    ctx.save("TWILIGHT_CUBE", hdus, base=base, used=[f for f in frames if f.tag in tags], extra=extra)

# SPDX-License-Identifier: BSD-3-Clause
"""muse_twilight: from raw sky flats to the three-dimensional illumination correction."""

from muse_core.detector.declarations import CALIBRATIONS, OVERSCAN, clipping
from muse_core.framework import (
    CALIB_MISMATCH,
    Defects,
    FloatList,
    Input,
    Param,
    Product,
    RecipeSpec,
    Variable,
)
from muse_core.framework.defects import HEADERS, SETUP, TWILIGHT
from muse_core.manuals.twilight import MANUAL

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


def numbers_of_all_ifus(text: str) -> str | None:
    """Return the text of MUSE_TWILIGHT_SCALES if it holds 24 values; the C recipe ignores another number."""
    return text.strip() if len(text.split(",")) == 24 else None


RECIPE = RecipeSpec(
    name="muse_twilight",
    summary=(
        "Combine several twilight skyflats into one cube, compute correction factors for each IFU, "
        "and create a smooth 3D illumination correction."
    ),
    description=DESCRIPTION,
    params=(
        *OVERSCAN,
        Param(
            "combine",
            "sigclip",
            choices=("average", "median", "minmax", "sigclip"),
            help="How exposures are combined.",
        ),
        *clipping(),
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
        Param("dlambda", 250.0, above=0, finite=True, help="Length of a plane of the cube, in Angstrom."),
        Param("xorder", 2, low=0, high=30, help="Order in x of the polynomial over the field."),
        Param("yorder", 2, low=0, high=30, help="Order in y of the polynomial over the field."),
        Param(
            "vignmaskedges",
            0.02,
            finite=True,
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
            low=0,
            hidden=True,
            help="Height in pixels of the vignetted top of narrow-field cubes.",
        ),
        Param(
            "skip",
            "",
            ours=True,
            variable=Variable.text("MUSE_TWILIGHT_SKIP"),
            help="A DATACUBE_SKYFLAT: reduce nothing, make the model from it.",
        ),
        Param(
            "scales",
            "",
            kind=FloatList(24, 24, nothing=("",)),
            above=0,
            finite=True,
            ours=True,
            variable=Variable("MUSE_TWILIGHT_SCALES", numbers_of_all_ifus, "must hold 24 values"),
            help="Divide the data of IFU 1 to 24 by these numbers and not by their measured fluxes.",
        ),
        CALIB_MISMATCH,
    ),
    inputs=(
        Input("SKYFLAT", "RAW", min=3, max=None, help="Raw twilight sky flats"),
        Input("ILLUM", "RAW", min=0, max=1, declared_min=-1, help="Raw lamp flat attached to the sky flats"),
        *CALIBRATIONS,
        Input("VIGNETTING_MASK", min=0, declared_min=-1, help="Mask of the vignetted area (wide field)"),
    ),
    products=(
        Product("DATACUBE_SKYFLAT", help="Cube of the combined sky flats"),
        Product("TWILIGHT_CUBE", help="Smooth illumination correction"),
    ),
    science=False,
    kernels=True,
    plans=True,
    manual=MANUAL,
    defects=Defects.about(TWILIGHT, SETUP, HEADERS),
)


def run(frames, p, ctx):
    from muse_core.calib.check import check_calibrations
    from muse_core.detector.left_out import tell_of_corrections
    from muse_core.twilight import products, steps
    from muse_core.twilight.inputs import open_inputs
    from muse_core.twilight.stored_cube import read_sky_cube

    check_calibrations(frames, ("SKYFLAT",), ctx, p.calib_mismatch)
    inputs = open_inputs(frames, p, ctx)
    if p.skip:
        stored = read_sky_cube(p.skip, inputs.mode)
        ctx.log.warning("nothing reduced, model from %s", p.skip)
        model = steps.fit_model(stored.data, inputs, p, ctx, white=stored.white)
        steps.tell_filled(model, stored.grid, ctx)
        products.save_model_alone(stored, model, inputs.narrow_field, frames, ctx)
        if ctx.report_requested:
            from muse_core.report.twilight import stored_page

            ctx.report(lambda: stored_page(stored, model))
        return

    ctx.planned(steps.plan_of(inputs, p, ctx))
    tags = ("MASTER_DARK", "ILLUM") if inputs.narrow_field else ("MASTER_DARK", "ILLUM", "VIGNETTING_MASK")
    tell_of_corrections(tags, frames, ctx)
    with steps.open_store(inputs, p, ctx) as store:
        with ctx.clock.step("IFUs"):
            ifus = steps.combine_exposures(inputs, store, p, ctx)
        with ctx.clock.step("cube"):
            sky = steps.resample(store, ifus, inputs, p, ctx)
    with ctx.clock.step("model"):
        model = steps.smooth(sky, inputs, p, ctx)

    products.save_sky_flat(sky, model, inputs, frames, ctx)
    if ctx.report_requested:
        from muse_core.report.twilight import twilight_page

        ctx.report(lambda: twilight_page(sky, model, inputs.failed))

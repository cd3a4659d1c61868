# SPDX-License-Identifier: BSD-3-Clause
"""Parameters and inputs that several recipes share, each declared once.

A recipe takes what it needs by name; where a default or a help text differs, it says so with
``dataclasses.replace``. The names are those of the C recipes.
"""

from muse_core.framework import Input, Param
from muse_core.framework.kinds import FloatList, Words
from muse_core.framework.variables import Variable

REFRACTIVE_INDICES = ("Filippenko", "Owens", "Edlen", "Ciddor")

# --- rows

LAMBDAMIN = Param("lambdamin", 4000.0, finite=False, help="Leave out rows below this wavelength [Angstrom].")
LAMBDAMAX = Param("lambdamax", 10000.0, finite=False, help="Leave out rows above this wavelength [Angstrom].")
LAMBDAREF = Param(
    "lambdaref",
    7000.0,
    help="Reference wavelength of the refraction correction [Angstrom]; negative: off.",
)
DARCHECK = Param(
    "darcheck",
    "none",
    choices=("none", "check", "correct"),
    help="Check the refraction correction by source positions, and correct what is left.",
)
DAR_METHOD = Param(
    "dar_method",
    "Filippenko",
    choices=REFRACTIVE_INDICES,
    help="Formula of the refractive index of air.",
    ours=True,
    variable=Variable.choice("MUSE_DAR_CORRECT_METHOD", REFRACTIVE_INDICES),
)
RAMAN_WIDTH = Param(
    "raman_width",
    20.0,
    hidden=True,
    help="Width of the bands in which Raman lines are fitted [Angstrom].",
)
RVCORR = Param(
    "rvcorr",
    "bary",
    choices=("bary", "helio", "geo", "none"),
    help="Velocity frame of the wavelengths: barycentre, Sun, centre of the Earth, or as observed.",
)
SUPERFLAT_POS = Param(
    "superflat_pos",
    "none",
    help="RA, DEC and derotator angle [deg] in place of those in the headers, for superflats.",
    kind=FloatList(3, 3, nothing=("none",)),
    finite=True,
    ours=True,
    variable=Variable.text("MUSE_SUPERFLAT_POS"),
)
ROT_OFFSET = Param(
    "rot_offset",
    False,
    help="Correct the position angles by the column ROT_OFFSET of the OFFSET_LIST.",
    ours=True,
)
TABLE_LAYOUT = Param(
    "table_layout",
    "image",
    choices=("image", "table"),
    help="Pixel tables as one image extension per column, or as one binary table.",
    ours=True,
    variable=Variable("MUSE_PIXTABLE_SAVE_AS_TABLE", lambda _: "table"),
)

SINGLE_STEP = (("superflat_pos", None), ("ld", 1), ("save", ()))
"""What shared steps ask for, and the single steps do not leave to the user."""
CUBE_OF_STARS = (
    *SINGLE_STEP,
    ("astrometry", False),
    ("autocalib", "none"),
    ("rot_offset", False),
    ("save", ("cube",)),
    ("skymethod", "none"),
)
"""The same of recipes that measure stars on a cube in pixels (muse_standard, muse_astrometry)."""

# --- sky and autocalibration

SKYMODEL_FRACTION = Param(
    "skymodel_fraction",
    0.1,
    help="Fraction of the image (after skymodel_ignore) that is taken as sky.",
)
SKYMODEL_IGNORE = Param(
    "skymodel_ignore", 0.05, help="Fraction of the image, the darkest part, that is not used."
)
SKYMODEL_SAMPLING = Param(
    "skymodel_sampling",
    0.3125,
    hidden=True,
    low=1e-3,
    high=1e4,
    finite=True,
    help="Sampling of the sky spectrum [Angstrom].",
)
SKYMODEL_CSAMPLING = Param(
    "skymodel_csampling",
    0.3125,
    hidden=True,
    low=1e-3,
    high=1e4,
    finite=True,
    help="Sampling of the sky continuum [Angstrom].",
)
SKY_CRSIGMA = Param(
    "sky_crsigma",
    "15.,15.",
    hidden=True,
    help="Cosmic-ray limits of the sky step: for the cube and for the spectrum [sigma].",
    kind=FloatList(2, fallback=(15.0, 0.0)),
    low=0.0,
)

# --- the cube

RESAMPLE = Param(
    "resample",
    "drizzle",
    choices=("nearest", "linear", "quadratic", "renka", "drizzle", "lanczos"),
    help="Resampling method of the cube.",
)
DX = Param("dx", 0.0, help="Step in x [arcsec]; 0: 0.2 (WFM), 0.025 (NFM).", low=0.0)
DY = Param("dy", 0.0, help="Step in y [arcsec]; 0: 0.2 (WFM), 0.025 (NFM).", low=0.0)
DLAMBDA = Param("dlambda", 0.0, help="Step in wavelength [Angstrom]; 0: 1.25 Angstrom.", low=0.0)
CRTYPE = Param(
    "crtype",
    "median",
    choices=("iraf", "mean", "median"),
    help="Statistics of the cosmic-ray rejection: iraf (variances), mean and median (of the values).",
)
CRSIGMA = Param(
    "crsigma", 15.0, help="Limit of the cosmic-ray rejection [sigma]; 0 or negative switches it off."
)
RC = Param("rc", 1.25, help="Critical radius of the renka method [voxel diagonals].")
PIXFRAC = Param(
    "pixfrac",
    "0.8,0.8",
    help=(
        "Size of the dropped pixel of the drizzle method: one value, two (spatial, spectral), or "
        "three (x, y, spectral)."
    ),
    kind=FloatList(1, 3, fallback=(0.6, 0.6, 0.6)),
    above=1e-6,
    high=100.0,
)
LD = Param("ld", 1, high=100, help="Distance in voxels over which rows contribute (all methods but nearest).")
FORMAT = Param(
    "format",
    "Cube",
    choices=("Cube", "Euro3D", "xCube", "xEuro3D", "sdpCube"),
    help=(
        "Format of the cube; x: with the images in the same file, sdpCube: with the keywords of "
        "ESO's Phase 3."
    ),
)
WEIGHT = Param(
    "weight",
    "exptime",
    choices=("exptime", "fwhm", "none"),
    help="Weights of exposures: by exposure time, by that and the seeing in the headers, or none.",
)
FILTER = Param(
    "filter",
    "white",
    help="Filters of the images, comma separated; names are extensions of FILTER_LIST.",
    kind=Words(),
)
COLLAPSE_USE_VARIANCE = Param(
    "collapse_use_variance",
    False,
    help="Weight the planes of an image with the inverse variance.",
    ours=True,
    variable=Variable.whole_number("MUSE_COLLAPSE_USE_VARIANCE"),
)
COLLAPSE_PIXTABLE = Param(
    "collapse_pixtable",
    False,
    help="Make the images from the pixel tables instead of the cube.",
    ours=True,
    variable=Variable.whole_number("MUSE_COLLAPSE_PIXTABLE"),
)
COVARIANCE = Param(
    "covariance",
    False,
    help="Add the extension COVARIANCE to the cube: how the noise of its voxels is correlated.",
    ours=True,
)
STAT_APERTURE = Param(
    "stat_aperture",
    1,
    help=(
        "Scale STAT so that its sum over n x n spaxels is the variance of their sum (and add COVARIANCE); "
        "1: the variances of single voxels."
    ),
    low=1,
    high=100,
    ours=True,
)

# --- calibrations

EXTINCT_TABLE = Input("EXTINCT_TABLE", min=0, declared_min=1, help="Atmospheric extinction")
STD_RESPONSE = Input("STD_RESPONSE", min=0, declared_min=1, help="Response curve from standard stars")
STD_TELLURIC = Input("STD_TELLURIC", min=0, declared_min=-1, help="Telluric absorption from standard stars")
ASTROMETRY_WCS = Input("ASTROMETRY_WCS", min=0, declared_min=-1, help="Astrometric solution")
OFFSET_LIST = Input("OFFSET_LIST", min=0, declared_min=-1, help="Offsets and flux scales of exposures")
FILTER_LIST = Input("FILTER_LIST", min=0, declared_min=-1, help="Filter curves for the images")
OUTPUT_WCS = Input("OUTPUT_WCS", min=0, declared_min=-1, help="World coordinates the cube is to have")
RAMAN_LINES = Input("RAMAN_LINES", min=0, help="Raman lines of O2 and N2")
SKY_LINES = Input("SKY_LINES", min=0, help="Sky emission lines")
SKY_CONTINUUM = Input("SKY_CONTINUUM", min=0, help="Sky continuum")
LSF_PROFILE = Input("LSF_PROFILE", min=0, max=None, help="Line spread function of each slice")
SKY_MASK = Input("SKY_MASK", min=0, help="Where the sky is; with world coordinates it is aligned to the data")

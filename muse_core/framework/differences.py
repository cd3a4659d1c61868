# SPDX-License-Identifier: BSD-3-Clause
"""Differences from the C recipes that no mode restores (crashes there, faults of inputs, undefined values).

With the fields of `muse_core.framework.defects.Defects` they make the tables of ``docs/differences.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

from muse_core.framework.defects import (
    ALIGN,
    ASTROMETRY,
    BASIC,
    BIAS,
    COMBINE,
    CUBE,
    DARK,
    FLAT,
    IMPHOT,
    LSF,
    PRODUCTS,
    ROWS,
    SINGLE,
    SKY,
    STANDARD,
    TWILIGHT,
    WAVECAL,
)


@dataclass(frozen=True)
class Difference:
    """One of them.

    Parameters
    ----------
    topic : the section of ``docs/differences.md`` it belongs to
    subject : what it concerns
    c : what the C recipe (for imphot the existing package) does
    ours : what is done here
    """

    topic: str
    subject: str
    c: str
    ours: str


ALWAYS: tuple[Difference, ...] = (
    Difference(
        ROWS,
        "flat-field spectra of different length",
        "the last nodes hold memory that was never set",
        "not imitated",
    ),
    Difference(
        ROWS,
        "flat-field spectrum and a response without `FFCORR`",
        "multiplied, then divided again",
        "left out",
    ),
    Difference(
        ROWS,
        "unknown position angle (`ESO INS DROT MODE` or `POSANG` missing)",
        "no refraction correction, without a word",
        "no correction, with a warning",
    ),
    Difference(
        ROWS,
        "NaN rows in the autocalibration",
        "enter the means",
        "left out",
    ),
    Difference(
        ROWS,
        "NaN rows without a flag in the sky step",
        "`model` goes on; with `simple` and `none` other voxels become NaN",
        (
            "`model` is refused where the sky spectrum is not finite; otherwise other voxels than in "
            "C (not looked into)"
        ),
    ),
    Difference(
        ROWS,
        "Raman fit",
        "iteration that stops early",
        (
            "exact least-squares solution; the data differ by a tenth of their noise with many "
            "slices, by 4 sigma with few, in one case of a hardly determined fit by 200 sigma"
        ),
    ),
    Difference(
        ROWS,
        "white-light image of the sky step after an autocalibration without SKY_MASK",
        "that of the autocalibration is used again, made before the slices were corrected",
        "the same",
    ),
    Difference(
        ROWS,
        "refraction check",
        (
            "centroids not known: the measured residual shifts agree within a factor of two to eight "
            "only, for one source as for several; with `correct` one of the two may find no source "
            "where the other does"
        ),
        "a Gaussian with background; one polynomial for all sources, each with its own zero point",
    ),
    Difference(
        SKY,
        "LSF images of all IFUs in one file",
        "only accepted if all 24 IFUs are in it",
        "any number of IFUs",
    ),
    Difference(
        SKY,
        "SKY_LINES with NaN, negative fluxes or negative groups",
        "used",
        "error that names the row",
    ),
    Difference(
        SKY,
        "no sky rows",
        "empty SKY_SPECTRUM, the sky stays in",
        "error",
    ),
    Difference(
        SKY,
        "clipping of the sky spectrum",
        (
            "in fields with many thousand clipped rows one to three of those slightly below the upper "
            "one of the two limits are clipped, too (not understood; changes two bins by 2 % of the "
            "noise of a row each)"
        ),
        "all rows by the same rule",
    ),
    Difference(
        SKY,
        "sums of the sky spectrum",
        "floating point, in the order of the rows",
        "exact integers; the bits do not depend on blocks, threads or row order",
    ),
    Difference(
        CUBE,
        "exposures on both sides of RA 0",
        "cube of 360 degrees (memory abort)",
        "combined",
    ),
    Difference(
        CUBE,
        "order of exposures",
        "by DATE-OBS; the standard keywords of the products come from the first frame of the SOF",
        "the same",
    ),
    Difference(
        CUBE,
        "missing `ESO INS MODE`",
        "crash",
        "error that names the file",
    ),
    Difference(
        CUBE,
        "corrupt calibration tables",
        "treated as absent (or a crash later)",
        "error that names file and column",
    ),
    Difference(
        CUBE,
        "`MUSE_AUTOCAL_EXCLUDE_RAMAN`",
        (
            "its value is a half width in Angstrom around 6483.8 and 6826.5; what is not a positive "
            "number is ignored in silence"
        ),
        ("the same, with a warning about such a value; hexadecimal values and `inf` are not understood"),
    ),
    Difference(
        PRODUCTS,
        "`FILTER FRACTION` of Euro3D files with a logarithmic axis",
        "counted over a range that is shifted to the blue",
        "counted from the first plane to two past the last, as for linear axes",
    ),
    Difference(
        PRODUCTS,
        "`FILTER FRACTION` of images from the rows (`MUSE_COLLAPSE_PIXTABLE`)",
        "mostly 100, whatever the data cover",
        "what the data cover",
    ),
    Difference(
        PRODUCTS,
        "`MUSE_COLLAPSE_PIXTABLE` with `resample=nearest`",
        "crash",
        "images with linear weights",
    ),
    Difference(
        PRODUCTS,
        "`DATAMD5`",
        "wrong for data units longer than 46080 bytes",
        "MD5 of all data units",
    ),
    Difference(
        PRODUCTS,
        "`G_SIZE1`, `G_SIZE2` of Euro3D tables with OUTPUT_WCS and `dx`, `dy`",
        "the parameters, although the grid is that of OUTPUT_WCS",
        "the pixel size",
    ),
    Difference(
        ALIGN,
        "threshold flipping between two values",
        "up to 100000 searches (hours)",
        "the end is computed (milliseconds), with the same threshold",
    ),
    Difference(
        ALIGN,
        "`override_detection` with images without bad pixels",
        "fails",
        "works",
    ),
    Difference(
        ALIGN,
        "missing `CRVAL1`",
        "memory abort",
        "a message with file and keyword",
    ),
    Difference(
        ALIGN,
        "`CDELT` in place of `CD`, or `CD1_2`, `CD2_1` left out",
        "fails",
        "read",
    ),
    Difference(
        ALIGN,
        "field more than 0.5 degrees (NFM: 0.06) from the first exposure",
        "huge preview",
        "refused with file and keywords",
    ),
    Difference(
        ALIGN,
        "preview larger than the memory",
        "not checked",
        "refused before it is made",
    ),
    Difference(
        ALIGN,
        "negative `bpixdistance`",
        "fails at the end with real headers",
        "refused",
    ),
    Difference(
        ALIGN,
        (
            "no `ESO INS MODE`, no `EXTNAME`, image in the primary HDU, exposures without matches "
            "with `expmap`; `BUNIT` missing"
        ),
        (
            "the products are made, then an error that was left over (or the unit) makes the run fail "
            "if the headers have `ARCFILE`, as real ones do"
        ),
        "works",
    ),
    Difference(
        ALIGN,
        "infinite pixels",
        "spoil all rows they touch, mostly no sources",
        "bad pixels",
    ),
    Difference(
        ALIGN,
        "faults of the inputs",
        "first one, often after the work is done",
        "all, before the first pixel",
    ),
    Difference(
        ALIGN,
        "`step` below 0, `fwhm`, `threshold`, `bpixdistance` infinite",
        "accepted",
        "refused",
    ),
    Difference(
        TWILIGHT,
        "overscan polynomial of order 12 and more",
        (
            "evaluated with errors of up to 2 adu (seen: 0.2 to 1.8), some 1e-6 to 1e-5 in the flux "
            "of that IFU"
        ),
        "exact least squares",
    ),
    Difference(
        TWILIGHT,
        "minmax with no more good values than are to be dropped",
        "NaN or -0 without a flag; spoils QC, fluxes and the scaling of all IFUs",
        "least flagged value, flagged 0x80000",
    ),
    Difference(
        TWILIGHT,
        "flat of zero, NaN in a master",
        "NaN or infinite values without a flag",
        "flagged 0x80000, interpolated for the flux, not resampled",
    ),
    Difference(
        TWILIGHT,
        "`VIGNETTING_MASK` with negative numbers",
        "cannot be read, the run goes on without",
        "not 0 is vignetted",
    ),
    Difference(
        TWILIGHT,
        "`EXPTIME` of a raw frame written as a whole number",
        "read as 0: the dark is not subtracted",
        "read",
    ),
    Difference(
        TWILIGHT,
        (
            "`overscan=vpoly:0`, sets with `MASTER_FLAT` of no IFU, boxes of `ovscreject=dcr` other "
            "than the default ones"
        ),
        "memory faults in some runs, or flags at random",
        "work",
    ),
    Difference(
        TWILIGHT,
        "polynomials of order 4 and more extrapolated over a field of few spaxels",
        "errors of 1e-5 to 1e-3, most likely from powers of pixel numbers (not proven)",
        "exact least squares",
    ),
    Difference(
        TWILIGHT,
        "vignetted area too small for the orders of its polynomial",
        "a fit from fewer pixels than coefficients",
        'refused, "use lower orders (xorder, yorder)"',
    ),
    Difference(
        TWILIGHT,
        "`xorder` = `yorder` = 30; geometry table without `angle`",
        "crash",
        "message",
    ),
    Difference(
        TWILIGHT,
        "bias with `PRO REC1 ID` but without `PRO REC1 PIPE ID`",
        "crash",
        "works",
    ),
    Difference(
        TWILIGHT,
        "unknown `overscan` or `ovscreject`",
        'silently "none", or a late failure',
        "refused at the start",
    ),
    Difference(
        TWILIGHT,
        "2 ILLUM, 2 SKYFLAT, merged and single masters mixed, an IFU twice",
        "all IFUs fail one by one",
        "one message at the start",
    ),
    Difference(
        TWILIGHT,
        "edges of a slice far outside the detector, wavelength not rising with y",
        "data of that slice are wrong or missing",
        "IFU refused with file, IFU, slice",
    ),
    Difference(
        TWILIGHT,
        "`skip` (`MUSE_TWILIGHT_SKIP`) without a usable cube",
        "crash",
        "message",
    ),
    Difference(
        TWILIGHT,
        "`skip` (`MUSE_TWILIGHT_SKIP`), QC keywords of the cube",
        "in the header of TWILIGHT_CUBE, too",
        "left out, as in a normal run",
    ),
    Difference(
        TWILIGHT,
        "values of `scales` (`MUSE_TWILIGHT_SCALES`) that are no positive numbers",
        "count as 0 or negative: NaN and negative data",
        "refused",
    ),
    Difference(
        BIAS,
        "an IFU that is missing in the raw data, or fails (`nifu` = 0)",
        "ends the run; the IFUs before it stay",
        "the others are made; a summary says which failed and why",
    ),
    Difference(
        BIAS,
        "quadrants of fewer than 22 pixels; some values of `ovscreject=dcr:...`",
        "crash",
        "message, or nothing is rejected (told)",
    ),
    Difference(
        DARK,
        "an IFU that is missing in the raw data, or fails (`nifu` = 0)",
        "ends the run; the IFUs before it stay",
        "the others are made; a summary says which failed and why",
    ),
    Difference(
        DARK,
        "a dark with `EXPTIME` = 0",
        "division by zero, a broken file stays",
        "refused",
    ),
    Difference(
        DARK,
        "`model=true`",
        "MODEL_DARK of long darks",
        "refused: how it is made is published nowhere",
    ),
    Difference(
        FLAT,
        "an IFU that is missing in the raw data, or fails (`nifu` = 0)",
        "ends the run; the IFUs before it stay",
        "the others are made; a summary says which failed and why",
    ),
    Difference(
        FLAT,
        "a slice without light",
        "the limit of light is lowered about 190 times, down to zero; then the run fails, or goes on with "
        "all later slices misnumbered and exit status 0",
        "the limit is lowered to 2 % of the median; then the IFU fails, and it is told where one is missing",
    ),
    Difference(
        FLAT,
        "slices cannot be traced",
        "exit status 255, but a MASTER_FLAT is written whose bad pixels were not looked for",
        "no product of this IFU",
    ),
    Difference(
        FLAT,
        "`QC FLAT MASTER SLICEj`, `QC TRACE` of a detector of fewer rows than the real one",
        "taken at rows of the real detector: extrapolated polynomials",
        "taken about the middle row (the same for the real detector)",
    ),
    Difference(
        BASIC,
        "an IFU that is missing in the raw data, or fails (`nifu` = 0)",
        "ends the run; the IFUs before it stay",
        "the others are made; a summary says which failed and why",
    ),
    Difference(
        BASIC,
        "raw frame without `DATE-OBS`",
        "everything is reduced, no product is written, exit status 0",
        "refused at the start",
    ),
    Difference(
        BASIC,
        "raw frame without `EXPTIME`",
        "the dark is not subtracted, exit status 0",
        "refused at the start",
    ),
    Difference(
        BASIC,
        "ILLUM, but no exposure",
        "no product, exit status 0",
        "message",
    ),
    Difference(
        BASIC,
        "ILLUM that sees nothing between 6500 and 7500 Angstrom",
        "no correction; `ILLUM MEAN` and `STDEV` are 0",
        "no correction, warning, no such keywords",
    ),
    Difference(
        BASIC,
        "`skybinsize` = 0; `combine` = sigclip or minmax of too few exposures",
        "crash",
        "message",
    ),
    Difference(
        BASIC,
        "`combine`: raw frames in the header",
        "the first one alone",
        "all that went in",
    ),
    Difference(
        BASIC,
        "`SPARTA_ATM_DATA` with columns in double precision",
        "no Strehl ratio",
        "read",
    ),
    Difference(
        BASIC,
        "REDUCED images of some IFUs with `nifu` = 0",
        "fails at the first IFU that is not there",
        "all that are there",
    ),
    Difference(
        BASIC,
        "single decisions of `cr=dcr` on data that are not whole numbers",
        "one of some ten thousand hits differs from any rule that was found",
        "the rule as published and measured",
    ),
    Difference(
        IMPHOT,
        "region of the star",
        "position rounded to six digits",
        "full precision; the star fit and the image fit agree on the pixels (`image`)",
    ),
    Difference(
        IMPHOT,
        "ds9 systems icrs, j2000, galactic, ecliptic, image; `+`, upper case",
        "ignored in silence",
        "used",
    ),
    Difference(
        IMPHOT,
        "shapes not known, lines not understood",
        "ignored in silence",
        "warning with the line number",
    ),
    Difference(
        IMPHOT,
        "include regions that miss the image",
        "whole image fitted",
        "UserError",
    ),
    Difference(
        IMPHOT,
        "`image_grids_aligned`",
        "rotations up to 2.8 deg and scales of 4 % pass",
        "0.02 deg and 0.04 %",
    ),
    Difference(
        IMPHOT,
        "errors of dra, ddec",
        "signed, wrong for rotated images",
        "from the covariance of dx, dy",
    ),
    Difference(
        IMPHOT,
        "star position test",
        "rows and columns mixed up",
        "right",
    ),
    Difference(
        IMPHOT,
        "star fit with free beta",
        "may end in NaN",
        "repeated with beta between 1.05 and 50",
    ),
    Difference(
        IMPHOT,
        '`corrections="xy, scale"`',
        "`scale` dropped",
        "blanks do not matter; unknown words are errors",
    ),
    Difference(
        IMPHOT,
        "`resample=True`",
        'quadratic spline without prefilter: FWHM 0.680 -> 0.735"',
        "Fourier shift, no smoothing",
    ),
    Difference(
        IMPHOT,
        "`--star` with --apply, --resample, --taper, --extramask",
        "no effect",
        "they work",
    ),
    Difference(
        IMPHOT,
        "filter table",
        "taken for any instrument",
        "PHOTFLAM of the header first; the table for ACS/WFC only",
    ),
    Difference(
        IMPHOT,
        "BUNIT of the HST image",
        "ignored",
        "a flux density is converted as such",
    ),
    Difference(
        IMPHOT,
        "bad voxels in `bandpass_image`",
        "blank the whole pixel",
        "lose their own weight",
    ),
    Difference(
        IMPHOT,
        "truncated curve",
        "percentage approximate",
        "exact",
    ),
    Difference(
        IMPHOT,
        "regridding",
        "two linear interpolations",
        "one cubic interpolation of the low-passed image: 1 % sharper",
    ),
    Difference(
        IMPHOT,
        "`fit_photometry` with a bad number",
        "traceback",
        "one line, status 1",
    ),
    Difference(
        COMBINE,
        "tables in other units than the earliest one; a column `weight` in some tables only (weight=none)",
        "their rows are lost without a word",
        "error that names the file",
    ),
    Difference(
        COMBINE,
        "two OFFSET_LIST",
        "none of them is used, without a word",
        "error",
    ),
    Difference(
        COMBINE,
        "no `RA` or `DEC` in a table",
        "taken as 0: a huge cube, memory abort",
        "error that names the file",
    ),
    Difference(
        SINGLE,
        "data calibrated or projected before; no STD_RESPONSE, ASTROMETRY_WCS or LSF_PROFILE",
        "internal error in the middle of the run (exit 12, 13, 20, 21); products of earlier tables stay",
        "one message before the first row is read, no product",
    ),
    Difference(
        SINGLE,
        "several exposures for `muse_scipost_raman`",
        "an error in the log; the rows of all of them in one table, exit 0",
        "error",
    ),
    Difference(
        SINGLE,
        "`muse_scipost_raman` of data without lasers, or outside of the bands",
        "the table is saved, then the recipe fails (exit 12)",
        "the table is saved, with a warning and the reason in its header",
    ),
    Difference(
        SINGLE,
        "`darcheck` of `muse_scipost_correct_dar` without a source",
        "fails (exit 10)",
        "the table is saved, with a warning and the reason in its header",
    ),
    Difference(
        PRODUCTS,
        "flagged rows in Euro3D tables with `resample=nearest`",
        "with their data and flags",
        "missing data, as in the cubes",
    ),
    Difference(
        PRODUCTS,
        "images with Euro3D formats in pixel coordinates, with `dx`, `dy`",
        "a pixel for each unit of the coordinates, with gaps",
        "a pixel for each spaxel",
    ),
    Difference(
        LSF,
        "a slice without trace polynomial",
        "the run fails, an empty product stays",
        "the slice is left out, with a warning",
    ),
    Difference(
        LSF,
        "`method=hermit`",
        "hours for a full detector, parameters that are degenerate, widths 2 % too large",
        "refused: `interpolate` is nearer to the truth",
    ),
    Difference(
        LSF,
        "PIXTABLE_SUBTRACTED: `xpos`; planes of nothing",
        "a place without a geometry; lines of the last slices are subtracted by a division by zero",
        "the column of the detector; such lines stay",
    ),
    Difference(
        BASIC,
        "a slice that failed in `WAVECAL_TABLE` or `TRACE_TABLE` (no row, or SliceNo 0 with NaN)",
        "no pixel table of this IFU",
        "the table without this slice, with a warning; so in muse_lsf and muse_twilight",
    ),
    Difference(
        WAVECAL,
        "exposures without a lamp, catalogues with few lines, `dres` too small",
        "the search for the pattern does not end",
        "an error, or a slice without solution, with the reason; the search is bounded",
    ),
    Difference(
        WAVECAL,
        "which blends are named",
        "one or two unresolved blends in each slice get a name and are thrown out later (`QC .. NID`)",
        "are not named",
    ),
    Difference(
        WAVECAL,
        "fits of lines and of the solution",
        "stop before the minimum",
        "the minimum",
    ),
    Difference(
        WAVECAL,
        "catalogue lines of lamps that were not on",
        "are looked for all the same, with warnings, and noise may be taken for them",
        "are left out",
    ),
    Difference(
        WAVECAL,
        "lamps that leave an end of the wavelength range without lines",
        "the solution is extrapolated without a word",
        "a warning",
    ),
    Difference(
        WAVECAL,
        "the map of wavelengths (`wavemap=true`, hidden)",
        "in `count`",
        "in Angstrom",
    ),
    Difference(
        WAVECAL,
        "an IFU of `nifu=0` that fails",
        "the run ends there",
        "the others are made; a summary tells which failed and why",
    ),
    Difference(
        STANDARD,
        "fits of Moffat profiles (`profile` `moffat`, `smoffat`, `auto`)",
        (
            "end after five steps that gain less than a hundredth of chi-square, from a start that is not "
            "known: before the minimum, with fluxes off by -0.4 % (seeing 5 pixels) to +0.3 % (2.5) in the "
            "median, and by up to 2.8 % in single fields"
        ),
        (
            "the minimum, in every mode: within 0.06 % of the truth in the median of the same fields (with "
            "the rule of C our steps end at the minimum, too: its path would be needed)"
        ),
    ),
    Difference(
        STANDARD,
        "pixels without data in the first and last planes",
        "are filled from neighbours with weights that are not known",
        "weights 1 and 0.2; a response that is extrapolated from such planes differs by some per mille",
    ),
    Difference(
        ASTROMETRY,
        "fits of Moffat profiles to the stars",
        "end before the minimum, as in muse_standard: 0.02 to 0.06 pixels from ours",
        "the minimum",
    ),
)

# SPDX-License-Identifier: BSD-3-Clause
"""The known defects of the C recipes (2.8.7), each a flag that is set where a run is to repeat it.

One list for code, documentation and tests: a field says what the C recipe does, what is done here, and since
when. The tables of ``docs/differences.md`` are generated from it (``musetools differences``), and a test asks
for a parity test of each field (marker ``defect``). `MUSE_RECIPES_COMPAT=1`, or the parameter ``compat``,
sets all fields that the recipe declares; a test may set one with `Defects.only`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Known:
    """What is known of a defect, for the documentation.

    Parameters
    ----------
    topic : the section of ``docs/differences.md`` it belongs to
    subject : what it concerns
    c : what the C recipe does
    ours : what is done here
    since : the version of ours that has it right
    """

    topic: str
    subject: str
    c: str
    ours: str
    since: str = "0.1"


ROWS = "Row-wise steps of muse_scipost"
SKY = "Sky subtraction"
CUBE = "The cube of muse_scipost"
PRODUCTS = "Products made from the final cube"
ALIGN = "muse_exp_align"
TWILIGHT = "muse_twilight"
BASIC = "muse_scibasic"
BIAS = "muse_bias"
DARK = "muse_dark"
FLAT = "muse_flat"
WAVECAL = "muse_wavecal"
LSF = "muse_lsf"
SETUP = "Calibrations of another setup"
IMPHOT = "imphot"
COMBINE = "muse_exp_combine"
HEADERS = "Headers of products"
SINGLE = "Single steps (muse_scipost_*)"
CREATE_SKY = "muse_create_sky"
STANDARD = "muse_standard"
ASTROMETRY = "muse_astrometry"


def _defect(topic: str, subject: str, *, c: str, ours: str, since: str = "0.1") -> Any:
    return field(default=False, metadata={"known": Known(topic, subject, c, ours, since)})


@dataclass(frozen=True)
class Defects:
    """Flags of the defects that a run repeats; all False by default."""

    # --- row-wise steps of muse_scipost ---------------------------------------------------------------------

    longitude_positive_west: bool = _defect(
        ROWS,
        "observatory longitude in the velocity correction",
        c=(
            "counts `ESO TEL GEOLON` positive to the west, although ESO writes it positive to the "
            "east: the diurnal velocity is that of a place in Asia (for Paranal wrong by up to 0.8 "
            "km/s)"
        ),
        ours="positive to the east; without the keyword both use Paranal",
    )

    integer_keywords: bool = _defect(
        ROWS,
        "integer keywords",
        c="an integer where a float is expected counts as missing (`POSANG = 45` acts as 0)",
        ours="read as the number it is",
    )

    predar_limits_rounded: bool = _defect(
        ROWS,
        "limits before the refraction correction (`PREDAR LIMITS`), to which the astrometry refers",
        c=(
            "rounded to seven digits in the header: single steps put the field elsewhere (2e-5 pixel) than "
            "`muse_scipost`"
        ),
        ours="all digits: the same bits",
        since="0.2",
    )

    refraction_denied: bool = _defect(
        ROWS,
        "`lambdaref=-1` for tables whose refraction was corrected before",
        c="their headers say that it was not (`DAR CORRECT` = -1)",
        ours="as it was",
        since="0.2",
    )

    zero_outside_response: bool = _defect(
        ROWS,
        "rows outside of the response curve",
        c="response 0: data larger by about 1e17, not flagged",
        ours="NaN with the flag 0x40000000 (missing data)",
    )

    water_vapour_tenfold: bool = _defect(
        ROWS,
        "water vapour in `dar_method=Edlen` (`MUSE_DAR_CORRECT_METHOD`)",
        c="10 times the published size",
        ours="published size",
    )

    lab_air_without_latitude: bool = _defect(
        ROWS,
        "missing `ESO TEL GEOLAT` or `LST`",
        c='no refraction correction ("lab data") because of a left-over error',
        ours="default latitude, or the recorded airmass; the correction is made",
    )

    factors_untested: bool = _defect(
        ROWS,
        "`autocalib=deepfield`",
        c=(
            "a factor for each slice and range, whatever it is worth; wings of bright objects count as sky: "
            "with two stars and a galaxy in the field slices differ more than before, the level is 1 % off"
        ),
        ours=(
            "sky without the wings of objects, rows that are not flagged; a slice gets a factor only if it "
            "helps on detector columns that took no part in it"
        ),
        since="0.2",
    )

    factors_by_row_number: bool = _defect(
        ROWS,
        "user table AUTOCAL_FACTORS",
        c=(
            "factors found by row number; too few rows or wavelengths outside of the ranges: data "
            "become 0 (or random)"
        ),
        ours="found by the columns ifu, sli, quad; without a factor the data stay as they are",
    )

    zero_outside_flat_spectrum: bool = _defect(
        ROWS,
        "flat-field spectrum",
        c="rows outside of it become 0",
        ours="its first or last value",
    )

    flat_spectrum_first_node_lost: bool = _defect(
        ROWS,
        "flat-field spectrum, first node",
        c="left out",
        ours="used",
    )

    absurd_values_used: bool = _defect(
        ROWS,
        "values that cannot be (a FLUX_SCALE of 0, a longitude of 1000 degrees, pixels of a degree)",
        c="are used as they are",
        ours="an error that names file, keyword or column; the pages of the recipes list the limits",
    )

    offset_list_by_date_text: bool = _defect(
        ROWS,
        "OFFSET_LIST written by others than muse_exp_align",
        c=(
            "finds the row by the text of DATE_OBS alone, takes the first of several, does not look at the "
            "units of the columns, and goes on with a warning if the list belongs to no exposure"
        ),
        ours=(
            "by DATE_OBS or, where its digits differ, MJD_OBS to a second; different rows for one exposure "
            "are refused; units are honoured (deg, arcmin, arcsec, mas, rad) or refused; a list that belongs "
            "to no exposure is an error"
        ),
    )

    middle_of_the_rows: bool = _defect(
        ROWS,
        "exposures without their outermost IFUs",
        c=(
            "the astrometric solution counts from the middle of the rows that there are: each missing IFU at "
            'an edge moves the positions by 1.23" (0.15" in the narrow field), and turned exposures do not '
            "lie on each other"
        ),
        ours="from the middle of the whole field (an IFU is 12.35 pixels high)",
        since="0.2",
    )

    raman_needs_lsf_images: bool = _defect(
        ROWS,
        "Raman step with LSF parameter tables",
        c='not done ("LSF_PROFILE missing")',
        ours="done",
    )

    raman_images_without_unit: bool = _defect(
        ROWS,
        "images of the Raman bands in RAMAN_IMAGES",
        c="`BUNIT` is empty",
        ours="the unit of the data",
    )

    # --- sky -----------------------------------------------------------------------------------------------

    slices_keep_residuals: bool = _defect(
        SKY,
        "what a mean sky leaves in slices (`skymethod=simple`, `model`)",
        c=(
            "slices whose throughput, wavelengths or line profile are not those of the calibrations keep "
            "residuals of bright lines: 1 to 2 times the noise of apertures of 10 x 10 spaxels, 3 to 7 times "
            "it in the lines"
        ),
        ours=(
            "taken out slice by slice where the rows on sky ask for it, without a change of the level: a "
            "third to a tenth is left (`sky_refine=false` switches it off)"
        ),
        since="0.2",
    )

    darkest_spaxels_as_sky: bool = _defect(
        SKY,
        "which spaxels are sky",
        c=(
            "the darkest part of the image: those that noise has made dark, slices of low throughput, and "
            "in crowded fields the light of objects, too. The sky is 0.5 to 4 % too low or too high"
        ),
        ours=(
            "all spaxels near the most frequent value, upwards and downwards alike, without objects; the "
            "light of objects that is left on them is estimated and taken out (`SKY_MASK` shows the "
            "spaxels). Where most of the field is much brighter than its darkest part: that part, with a "
            "warning"
        ),
    )

    sky_rows_by_old_numbers: bool = _defect(
        SKY,
        "continuum with LSF parameter tables",
        c=(
            "sorts the rows by slice and wavelength, then takes the sky rows by their old row "
            "numbers: the continuum is the mean over arbitrary rows and contains objects (7 % too "
            "high in a simulated field with stars) unless the table happened to be sorted"
        ),
        ours="the mean of all spaxels that look like sky, without objects",
    )

    single_line_fit: bool = _defect(
        SKY,
        "line fit",
        c=(
            "one fit; it ends in one of many minima next to each other, and a change of the input by "
            "1e-8 can move a weak group by 1 %"
        ),
        ours=(
            "the same fit, then four more from starts that differ by 1e-6; one of them is taken only "
            "if its chi-square is smaller by more than 1e-6. The same result in every run"
        ),
    )

    lsf_gaps_leave_lines: bool = _defect(
        SKY,
        "LSF_PROFILE missing for an IFU or slice with data",
        c="warning; the lines of these rows are not subtracted",
        ours="error that names them",
    )

    subtract_model_without_continuum: bool = _defect(
        SKY,
        "`subtract-model` without SKY_CONTINUUM",
        c="the continuum stays in the data, without a word",
        ours="error",
    )

    continuum_extension_optional: bool = _defect(
        SKY,
        "SKY_CONTINUUM without an extension CONTINUUM",
        c='"Could not load sky continuum", goes on without',
        ours="error",
    )

    mask_misses_field: bool = _defect(
        SKY,
        "SKY_MASK that does not overlap the field",
        c="all rows count as sky",
        ours="error",
    )

    sky_lines_out_of_range: bool = _defect(
        SKY,
        "lines of SKY_LINES out of the range of the data, or in a gap (the notch of the lasers)",
        c=(
            "without a line the fit fails, only the continuum is subtracted; lines in a gap take part in "
            "the fit, though nothing constrains them"
        ),
        ours=(
            "without a line there is no fit; error if no line of the list lies in the range of the "
            "instrument (wrong unit). Lines in gaps are left out"
        ),
    )

    # --- cube ----------------------------------------------------------------------------------------------

    nearest_by_absolute_position: bool = _defect(
        CUBE,
        "`resample=nearest`",
        c=(
            "compares the full coordinates of the voxel with positions of the rows that are relative "
            "to CRVAL: of the rows of a voxel it takes the one furthest in a direction that depends "
            "on where in the sky the field is"
        ),
        ours="nearest to the voxel centre",
    )

    border_planes_take_all: bool = _defect(
        CUBE,
        "rows outside of the wavelengths of an OUTPUT_WCS",
        c="all go into the border planes, where they take part in the cosmic-ray statistics",
        ours="left out unless they are near",
    )

    pc_matrix_passed_over: bool = _defect(
        CUBE,
        "an OUTPUT_WCS with a PC matrix, as `astropy` writes it, or with CTYPE3 = LINEAR",
        c="passed over without a word: the grid fits the data (and wavelengths in vacuum are taken for air)",
        ours="read; what a cube cannot have is refused, and so is a grid beside the data (C: an empty cube)",
    )

    rotated_steps: bool = _defect(
        CUBE,
        "size of the spaxels of a rotated OUTPUT_WCS",
        c="that along the axes of the grid, cut by the cosine of the rotation: 0 at 90 degrees, with gaps",
        ours="that along right ascension and declination",
    )

    arc_sine_rounding: bool = _defect(
        CUBE,
        "spaxel of a row near the tangent point",
        c=(
            "rounding of an arc sine near 1: positions off by up to 1e-4 pixel (WFM) or 1e-2 (NFM), "
            "so a row at the edge of two spaxels may be counted in the other one"
        ),
        ours="exact",
    )

    refused_after_reduction: bool = _defect(
        CUBE,
        "`astrometry=false` with several exposures",
        c="fails after all exposures are reduced",
        ours="refused at the start (without compat only if a combined product is asked for)",
    )

    blanks_in_filter_names: bool = _defect(
        CUBE,
        "blanks in `filter`",
        c="belong to the names, so nothing is found",
        ours="left out",
    )

    nominal_pixel_in_qc: bool = _defect(
        CUBE,
        "QC widths without astrometry and with `dx`, `dy`",
        c="nominal pixel size, whatever the step",
        ours="the step",
    )

    superflat_forgotten: bool = _defect(
        CUBE,
        "`superflat_pos` (`MUSE_SUPERFLAT_POS`)",
        c="forgotten for the positions if `save` holds `individual`",
        ours="always used",
    )

    flagged_rows_in_rejection: bool = _defect(
        CUBE,
        "rows that are flagged as cosmic rays (0x20) on input",
        c="take part in the statistics of the cosmic-ray rejection, which raises its limits there",
        ours="left out",
    )

    rejection_by_bare_statistics: bool = _defect(
        CUBE,
        "what stands out as a cosmic ray (`crtype`, `crsigma`)",
        c=(
            "`mean` judges a row by a mean and a standard deviation that it is part of, so nothing can "
            "exceed the default limit; `iraf` takes the error of the mean for the noise of a row and 7 to 26 "
            "% of the light of stars and lines for cosmic rays; `median` takes the scatter of some twenty "
            "rows as it is: too large by chance it hides cosmic rays, in the middle of a star it may vanish"
        ),
        ours=(
            "the noise is that of the variances, with the variation of the image where that is larger; means "
            "are taken without the judged row; light that is spread over all neighbours is no cosmic ray; "
            "`crsigma` is in units of 0.67 times the noise for all three"
        ),
        since="0.2",
    )

    stale_wavelength_limits: bool = _defect(
        CUBE,
        "wavelength limits of tables without astrometry",
        c=("not updated for the velocity correction, so the cube starts at the uncorrected wavelength"),
        ours="updated",
    )

    first_ifu_only_without_flux: bool = _defect(
        CUBE,
        "several IFUs without flat-field flux keywords",
        c="all but the first are ignored in silence",
        ours="merged without scaling, with a warning",
    )

    skipped_without_a_word: bool = _defect(
        CUBE,
        "corrections that are not made (no response curve, no lasers, narrow field, ...)",
        c="a line in the log at most",
        ours="also in the headers of the products (`ESO DRS MUSE SKIPPED ...`)",
    )

    # --- products of the cube ------------------------------------------------------------------------------

    pixel_noise_fixed_histogram: bool = _defect(
        PRODUCTS,
        "`PIXNOISE` of `format=sdpCube`",
        c=(
            "mode of the variance from a histogram between 0 and 25 (10^-40 erg^2 ...); cubes with "
            "larger variances always get sqrt(0.02) x 10^-20"
        ),
        ours=(
            "the bins are widened by powers of two until at least half of the voxels are inside; same "
            "value where the variances are small"
        ),
    )

    nearest_flagged_in_qc: bool = _defect(
        PRODUCTS,
        "`ESO QC ...` of cubes with `resample=nearest`",
        c=(
            "flagged values, which are NaN in the saved cube, take part in the search for sources (3 of 60 "
            "random runs of `muse_exp_combine` differ)"
        ),
        ours="only what is in the cube counts",
        since="0.2",
    )

    coverage_of_images: bool = _defect(
        PRODUCTS,
        "`EXPTIME` of `format=sdpCube` from several exposures",
        c=(
            "spaxels counted in that of the images of `filter` that shows most; too few where no filter sees "
            "all that the cube has, 0 without images"
        ),
        ours="spaxels of the cube",
        since="0.2",
    )

    limit_of_longer_step: bool = _defect(
        PRODUCTS,
        "`ABMAGLIM` of `format=sdpCube` where pixels are not square",
        c=(
            "resolution in pixels from the longer step for both axes, in rotated grids from the longer of "
            "the steps in right ascension and declination (steps of 0.3 x 0.2 arcsec: 0.8 mag too faint, "
            "with the grid turned by 30 degrees 0.7 mag too bright; default steps of NFM: 0.01 mag)"
        ),
        ours="along each axis from its own step",
        since="0.2",
    )

    stacked_dx_in_degrees: bool = _defect(
        PRODUCTS,
        "`OBJECT_RESAMPLED` (`save=stacked`) with `--dx` and celestial coordinates",
        c="`dx` is taken in degrees: a slice has two columns",
        ours="`dx` is in arcsec",
    )

    euro3d_images_cut: bool = _defect(
        PRODUCTS,
        "images in `xEuro3D` files whose first columns or rows are empty",
        c="as many of the last ones are cut off",
        ours="whole",
    )

    euro3d_xpos_unwrapped: bool = _defect(
        PRODUCTS,
        "`XPOS` of Euro3D tables near RA 0",
        c="below 0 or above 360",
        ours="0 to 360",
    )

    # --- muse_exp_combine -----------------------------------------------------------------------------

    unprojected_left_out: bool = _defect(
        COMBINE,
        "table that is not projected (of pixels, or positioned already)",
        c="left out with a warning, unless it is the earliest exposure",
        ours="error that names the file",
        since="0.2",
    )

    weight_zero_without_exptime: bool = _defect(
        COMBINE,
        "`EXPTIME` missing, 0 or an integer in a later exposure",
        c="weight 0 without a word: its voxels become NaN",
        ours="integers are read, the rest is an error that names the file",
        since="0.2",
    )

    limit_lost_without_weights: bool = _defect(
        COMBINE,
        "`ABMAGLIM` of `format=sdpCube` with `weight=header`, where a table has no `ESO DRS MUSE WEIGHT`",
        c="-99, whatever the data",
        ours="from the white-light image, as with the other weights",
        since="0.3",
    )

    # --- single steps of muse_scipost -----------------------------------------------------------------

    history_lost: bool = _defect(
        SINGLE,
        "history in the headers of `muse_scipost_apply_astrometry`",
        c="records of earlier recipes, `ARCFILE` and `PRO ANCESTOR` are lost, its raw frames are not named",
        ours="kept and continued as everywhere",
        since="0.2",
    )

    limits_from_header: bool = _defect(
        SINGLE,
        "grid of `muse_scipost_make_cube` for tables in pixels, and combined ones; reference of "
        "`muse_scipost_apply_astrometry` for tables with their refraction; whether "
        "`muse_scipost_subtract_sky_simple` cuts the spectrum of the flat field",
        c=(
            "from the keywords `PIXTABLE LIMITS`, which are rounded to seven digits (cubes half a spaxel "
            "off), or wrong"
        ),
        ours="from the rows",
        since="0.2",
    )

    first_table_only: bool = _defect(
        SINGLE,
        "several tables for `muse_scipost_make_cube`",
        c="all but the first are left out, without a word",
        ours="error",
        since="0.2",
    )

    cube_without_qc: bool = _defect(
        SINGLE,
        "QC keywords of `muse_scipost_make_cube`",
        c="none",
        ours="those of `muse_scipost`",
        since="0.2",
    )

    run_ends_at_unfit_table: bool = _defect(
        SINGLE,
        "`muse_scipost_subtract_sky` of counts, or of a table without sky",
        c="an error in the log, no product of this table and all that follow, and exit 0",
        ours="error that names the file",
        since="0.2",
    )

    sky_partly_given: bool = _defect(
        SINGLE,
        "`muse_scipost_subtract_sky` without SKY_LINES or SKY_CONTINUUM",
        c="subtracts what there is",
        ours="error",
        since="0.2",
    )

    flat_level_of_first_table_ignored: bool = _defect(
        SINGLE,
        "`flux_sky`, `flux_lamp` of `muse_scipost_subtract_sky` not given",
        c="the sky is the same for all tables, although the manual says that the first one is the reference",
        ours="scaled by the flat-field flux of the table over that of the first one",
        since="0.2",
    )

    original_without_name: bool = _defect(
        SINGLE,
        "tables of `muse_scipost_subtract_sky` without the parameter `orig`",
        c="the data before the subtraction are saved all the same, in an extension without a name",
        ours="not saved",
        since="0.2",
    )

    sky_of_any_unit: bool = _defect(
        SINGLE,
        "SKY_SPECTRUM in another unit than the table, or a table without its sky, in "
        "`muse_scipost_subtract_sky_simple`",
        c="subtracted, again and again",
        ours="error; the product says that its sky is subtracted (`SKYSUB`)",
        since="0.2",
    )

    flagged_rows_lost: bool = _defect(
        SINGLE,
        "flagged rows in the table of `muse_scipost_raman`",
        c="missing",
        ours="there, with their flags",
        since="0.2",
    )

    # --- muse_exp_align ------------------------------------------------------------------------------------

    positions_one_pixel_low: bool = _defect(
        ALIGN,
        "position of a source",
        c=(
            "RA, DEC taken one pixel too low in x and y; offsets of exposures of different "
            'orientation are wrong by up to 2 pixels (rms 0.3" for quarter turns, 0.01" for 2 to 5 '
            "degrees)"
        ),
        ours="the right pixel",
    )

    no_match_across_ra_zero: bool = _defect(
        ALIGN,
        "fields on both sides of RA 0",
        c="never match, preview centred 180 degrees away",
        ours="matched; preview CRVAL1 within 0 to 360",
    )

    preview_cut: bool = _defect(
        ALIGN,
        "preview of a rotated first exposure; first row or column of any preview",
        c="cut: the grid is too small for a rotated first exposure, and pixels below it are lost",
        ours="whole; the grid of the C recipe is extended by whole pixels on each side",
    )

    coordinates_near_poles: bool = _defect(
        ALIGN,
        "offsets near a celestial pole",
        c=(
            "differences of coordinates: the radius of the first search counts in degrees of right "
            'ascension without cos DEC (30" reach 5" at 80 degrees), the turn of the field with the '
            "meridian is ignored. Wrong by arcseconds to tens of arcseconds from 80 degrees on, "
            "depending on the pointing errors"
        ),
        ours=(
            "beyond 60 degrees positions on the sky, up to the pole itself (errors below 1 mas, as on "
            "the equator, up to 89.9 degrees); `RA_CORR`, `DEC_CORR` are exact positions there"
        ),
    )

    unconnected_shifted: bool = _defect(
        ALIGN,
        "exposure that matches nothing, or group without connection to the first exposure",
        c="gets minus the mean offset of the others",
        ours=(
            "an exposure keeps its header (offset 0), a group has a mean of zero; flagged as not trustworthy"
        ),
    )

    offset_limit_without_cosine: bool = _defect(
        ALIGN,
        "offset above which an exposure is left out of the preview",
        c="counts degrees of right ascension, which near a pole are small on the sky",
        ours="degrees on the sky",
    )

    integer_exptime_is_zero: bool = _defect(
        ALIGN,
        "`EXPTIME` written as a whole number",
        c="read as 0 in the exposure map, or the run fails at its end",
        ours="read",
    )

    bad_pixels_up_to_edge: bool = _defect(
        ALIGN,
        "bad pixels near an edge of the image",
        c="looked for only as far as the edge is, on both sides of the source",
        ours="looked for within `bpixdistance`",
    )

    search_into_noise: bool = _defect(
        ALIGN,
        "field with fewer than `srcmin` sources",
        c=(
            "lowers the threshold into the noise until enough peaks are found, and aligns by these; ends "
            "where the first peaks have not the shape of a star (a cosmic ray), or where a step of the "
            "threshold jumps over the wanted numbers"
        ),
        ours=(
            "five times the noise of the filtered image is the limit: the sources that stand out of it are "
            "used, the brightest `srcmax` if the search fails, with a warning"
        ),
    )

    empty_exposure_fatal: bool = _defect(
        ALIGN,
        "one exposure that is blank or has no source",
        c="the run fails",
        ours="left out with a warning (offset 0, flagged); the others are aligned",
    )

    rotation_not_searched: bool = _defect(
        ALIGN,
        "rotation that the headers do not tell",
        c="from about one degree on no matches or wrong ones; a smaller one spoils the offset",
        ours=(
            "measured, up to 20 degrees by the pattern of the sources; the offset is that of the reference "
            "point of the image, the rotation is in `ROTi` and, with `rotation`, in the column ROT_OFFSET"
        ),
    )

    untrusted_offsets_written: bool = _defect(
        ALIGN,
        "offset that cannot be trusted",
        c="written and used for the preview",
        ours=(
            "0 in place of it, flagged, and the exposure is not in the preview (`keep_untrusted` brings "
            "the way of C back)"
        ),
    )

    source_list_by_exact_mjd: bool = _defect(
        ALIGN,
        "SOURCE_LIST whose MJD-OBS has lost digits, or that has none",
        c="no image has the same MJD-OBS: the run fails",
        ours="found by MJD-OBS to a second, without it by DATE-OBS",
    )

    no_confidence_keywords: bool = _defect(
        ALIGN,
        "confidence",
        c="none",
        ours=(
            "QC keywords `UNTRUSTED`, `TRUSTi`, `ERR RAi`, `ERR DECi`, `SCATTERi`, `CHANCEi`, `ROTi`, "
            "`SCALEi`, warnings"
        ),
    )

    # --- muse_twilight -------------------------------------------------------------------------------------

    levels_with_vignetted_slices: bool = _defect(
        TWILIGHT,
        (
            "levels of the IFUs (`FLAT FLUX SKYn`, scaling of the cube) in a field with a vignetted "
            "area (VIGNETTING_MASK, narrow field)"
        ),
        c=(
            "integrated flux, vignetted slices included: the rest of the IFU is off by up to 1 %. In "
            "the narrow field IFU 24 takes the flux of IFU 23: off by the ratio of their throughputs "
            "(percents)"
        ),
        ours=(
            "the level at which the sky flat agrees with its smooth model outside of the area in all "
            "IFUs; an IFU that lies in the area as a whole (IFU 23 and 24 of the narrow field) gets "
            "the level at which the vignetting goes on smoothly. Cube and keywords change together; "
            "`QC TWILIGHTn INTFLUX` stays what was measured"
        ),
    )

    levels_count_pixels: bool = _defect(
        TWILIGHT,
        "levels of the IFUs (`FLAT FLUX SKYn`, scaling of the cube)",
        c=(
            "integrated flux: an IFU with more pixels (wider slices, smaller wavelength steps) counts as "
            "brighter, one whose slices leave the detector as fainter (recovered illumination off by 0.7 % "
            "rms where widths and steps scatter by 0.5 %, by 1.3 % where slices are cut off)"
        ),
        ours=(
            "the level at which the sky flat agrees with its smooth model (0.1 % rms); with fewer than eight "
            "IFUs the mean of the pixels in place of their sum"
        ),
    )

    vignetting_mean_of_everything: bool = _defect(
        TWILIGHT,
        "vignetting correction",
        c=(
            "white image relative to its mean over everything: a dark edge comes out too shallow (by "
            "1 to 3 % in the narrow field), a bright corner by 0.2 to 0.5 %"
        ),
        ours="relative to the mean outside of the area, where the smooth model was fitted",
    )

    sky1_unscaled: bool = _defect(
        TWILIGHT,
        "`scales` (`MUSE_TWILIGHT_SCALES`) with a first value other than 1",
        c="`SKY1` belongs to other data than the rest",
        ours="`SKY1` is the flux of IFU 1",
    )

    first_ifu_required: bool = _defect(
        TWILIGHT,
        "IFU 1 missing or failed",
        c='run fails: "no pixels for cube reconstruction are left"; a saturated ILLUM takes all memory',
        ours="the first IFU that succeeds is the reference of the scaling and gives `FLAT FLUX LAMP`",
    )

    ends_at_empty_plane: bool = _defect(
        TWILIGHT,
        ("plane without data (narrow field with `resample=nearest`: the sodium notch; the last plane)"),
        c="TWILIGHT_CUBE silently ends before that plane",
        ours="plane interpolated between its neighbours, warning",
    )

    vignetting_filter_fails: bool = _defect(
        TWILIGHT,
        "`vignsmooth=median` with an even size; `gaussian` with a window larger than the image",
        c="the filter fails; the vignetted area is corrected without any smoothing",
        ours="the next odd size; a cut window",
    )

    ifu24_without_ifu23: bool = _defect(
        TWILIGHT,
        "narrow field with IFU 24, but without IFU 23",
        c="IFU 24 gets the flux 0, its data are not scaled",
        ours="its own flux",
    )

    used_exposures_numbered: bool = _defect(
        TWILIGHT,
        "raw number of an exposure in `QC TWILIGHTn INPUTi` when an exposure was skipped",
        c="counts the used ones",
        ours="*i* is its place in the set of frames",
    )

    # --- muse_create_sky -----------------------------------------------------------------------------------

    sky_exposures_overlaid: bool = _defect(
        CREATE_SKY,
        "pixel tables of several exposures",
        c="laid over each other as they are, one sky is made of all (exit 0)",
        ours="an error: run the recipe for each exposure",
        since="0.2",
    )

    # --- muse_wavecal ---------------------------------------------------------------------------------------

    flagged_pixels_in_line_fits: bool = _defect(
        WAVECAL,
        "bad, hot and saturated pixels in the fits of arc lines",
        c="count like others, whatever their flags say: lines with such pixels are moved, and widened",
        ours="are left out of the fits",
        since="0.2",
    )

    # --- muse_astrometry -----------------------------------------------------------------------------------

    position_angle_left: bool = _defect(
        ASTROMETRY,
        "position angle of the field",
        c="stays in the solution, and `muse_scipost` applies it again",
        ours="taken out of the solution (`ESO QC ASTRO POSANG`)",
        since="0.2",
    )

    turned_fields_not_matched: bool = _defect(
        ASTROMETRY,
        "fields turned by 4 degrees or more against north up",
        c="no match, no solution",
        ours="matched at any rotation",
        since="0.2",
    )

    faccuracy_never_matches: bool = _defect(
        ASTROMETRY,
        "`faccuracy` above 0, another way to match",
        c="never found a match (14 of 14 runs)",
        ours="the same matching as with 0",
        since="0.2",
    )

    neighbours_in_the_fit: bool = _defect(
        ASTROMETRY,
        "places of stars with neighbours",
        c="profiles are fitted to all light of a window; wings of others pull them (20 mas at 2.4 arcsec)",
        ours="fitted again without the profiles of the other stars (`centroid` moffat and gaussian)",
        since="0.2",
    )

    # --- muse_standard -------------------------------------------------------------------------------------

    star_error_as_variance: bool = _defect(
        STANDARD,
        "errors of the star's fluxes (STD_FLUXES, STAT)",
        c=(
            "standard deviations, called variances, and taken for such: the noise of the photons is missing "
            "in `resperr` and so in the variances of all flux-calibrated data"
        ),
        ours="variances",
        since="0.2",
    )

    star_one_pixel_off: bool = _defect(
        STANDARD,
        "sky positions of the stars (`FLUX OBJn RA`, `DEC`), by which `select=distance` chooses",
        c="one pixel off along x and y; in the narrow field with the scale of the wide one",
        ours="the pointing is in the middle of the cube",
        since="0.2",
    )

    response_first_row_alone: bool = _defect(
        STANDARD,
        "first row of the response in the smoothing (`smooth`)",
        c="has no part in the smoothing of its neighbours",
        ours="is a row like others",
        since="0.2",
    )

    response_without_rows: bool = _defect(
        STANDARD,
        "a star at the edge of the field, or no wavelength for which a response is made",
        c="empty tables STD_RESPONSE and STD_TELLURIC, exit 0",
        ours="an error that says why",
        since="0.2",
    )

    # --- muse_lsf -------------------------------------------------------------------------------------------

    lsf_planes_move_up: bool = _defect(
        LSF,
        "a slice without usable lines (its trace leaves the detector, say)",
        c=(
            "the planes of all later slices move up by one: each gets the profile of its neighbour, in "
            "LSF_PROFILE, in the quality keywords, and in the lines that PIXTABLE_SUBTRACTED lacks"
        ),
        ours="plane *s* is slice *s*; that of a slice without lines is 0, with a warning",
        since="0.2",
    )

    lsf_windows_at_the_ends: bool = _defect(
        LSF,
        "the first and the last samples of a profile, whose window passes the end of the pixels",
        c="the first lacks the outermost pixel, the last has pixels from beyond the other end of its window",
        ours="all pixels within the window and no others",
        since="0.2",
    )

    lsf_background_too_small: bool = _defect(
        LSF,
        "background beside a line",
        c="the sum of *n* pixels divided by *n* + 1: too small by 0.3 % (2.5 % with slices of ten columns)",
        ours="their mean",
        since="0.2",
    )

    lsf_background_of_other_sign: bool = _defect(
        LSF,
        "pixels that are far from their line (hits)",
        c=(
            "left out where they differ by more than 0.15 *f* + 0.5 sqrt(*f*) from the Gaussian of flux *f* "
            "*less* the background, not plus: too many high ones, and with a background above 0.075 *f* most "
            "of the line"
        ),
        ours="left out where they stand out of the profile by 10 deviations and a quarter of its peak",
        since="0.2",
    )

    # --- all recipes that take calibrations -----------------------------------------------------------------

    calibrations_unchecked: bool = _defect(
        SETUP,
        "bias, trace, wavelength or telluric table, twilight cube, astrometry, line profile of another mode",
        c="used without a word (a response of another mode: warning, cube in counts)",
        ours="an error that names file, keyword, expected and found; `calib_mismatch` allows it",
    )

    # --- all recipes ----------------------------------------------------------------------------------------

    unreadable_units: bool = _defect(
        HEADERS,
        "`BUNIT` and `TUNITn` of all products but pixel tables",
        c=(
            "`10**(-20)*erg/s/cm**2/Angstrom` and `(10**(-20)*erg/s/cm**2/Angstrom)**2`, `(count)**2`: "
            "several divisions and powers of brackets, which the FITS standard does not have; "
            "`astropy.units.Unit` warns of the first and refuses the others. SKY_CONTINUUM made with LSF "
            "images says `erg/(s cm^2 arcsec^2)`, whatever the unit of the data it is subtracted from"
        ),
        ours=(
            "the same units as `10**(-20)*erg/(s*cm**2*Angstrom)`, "
            "`10**(-40)*erg**2/(s**2*cm**4*Angstrom**2)` and `count**2`; both spellings are read. "
            "SKY_CONTINUUM has the unit of the data. Cubes say `DISPAXIS = 3`, by which specutils knows "
            "them. `format=sdpCube` keeps the spelling of Phase 3, pixel tables that of C, whose "
            "muse_exp_combine leaves out tables of another spelling than the first without a word"
        ),
    )

    # --- muse_scibasic -------------------------------------------------------------------------------------

    shifts_without_line: bool = _defect(
        BASIC,
        "wavelength refinement with a sky line that is not there",
        c=(
            "any fit counts: without a line at that wavelength (a wrong list, hardly any sky, a saturated "
            "window) all wavelengths of the IFU are moved by up to Angstroms"
        ),
        ours=(
            "a line counts if its flux is five times its error, its width that of an unresolved line and "
            "its place within half the window; others are named in a warning and leave no trace"
        ),
    )
    combines_all_tags: bool = _defect(
        BASIC,
        "exposures of several kinds with `combine`",
        c=(
            "all raw frames are averaged into one product with the tag of the first one, objects with "
            "standard stars and with the lamp flat of ILLUM, which corrects nothing then"
        ),
        ours="exposures of one tag are combined with each other; ILLUM evens out the slices as it does else",
    )

    # --- muse_bias -----------------------------------------------------------------------------------------

    first_bias_shifted_only: bool = _defect(
        BIAS,
        "`overscan=offset`",
        c=(
            "only the first frame is shifted, to the level of the last one; the others keep theirs, and the "
            "master is a mixture of all levels"
        ),
        ours="all frames are shifted to the level of the first one",
        since="0.3",
    )

    column_noise_in_count: bool = _defect(
        BIAS,
        "search for hot columns",
        c=(
            "the scatter of a column, in adu, is compared with the read-out noise in count: columns are "
            "missed whose scatter lies between the noise in adu and that in count"
        ),
        ours="both in adu",
        since="0.3",
    )

    # --- muse_dark -----------------------------------------------------------------------------------------

    windows_of_other_ifus: bool = _defect(
        DARK,
        "`QC DARK MASTER DC`, `DCERR` of IFU 2 to 24 with `nifu` = 0",
        c=(
            "the windows in which the dark current is sampled are others than those of a run for one IFU "
            "alone: random numbers go on from IFU to IFU"
        ),
        ours="the same windows, and the same numbers, for any `nifu`",
        since="0.3",
    )

    # --- muse_flat -----------------------------------------------------------------------------------------

    widths_of_other_rows: bool = _defect(
        FLAT,
        "edges of a slice of which samples were rejected",
        c=(
            "the list of widths is not shortened with that of the middles: behind a rejected sample each "
            "edge is fitted with the width of another row"
        ),
        ours="with its own",
        since="0.3",
    )

    slices_at_border_lost: bool = _defect(
        FLAT,
        "a slice whose middle lies within 55 pixels of the border of the detector",
        c="has no traces",
        ours="is traced like the others",
        since="0.3",
    )

    lost_slices_written: bool = _defect(
        FLAT,
        "a slice whose edges are found in too few rows",
        c="a TRACE_TABLE with an undefined row, exit status 0; recipes that read it fail",
        ours="the IFU fails, with the numbers of the slices; the others are made",
        since="0.3",
    )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all defects, in the order of the list."""
        return tuple(entry.name for entry in fields(cls))

    @classmethod
    def about(cls, *topics: str) -> tuple[str, ...]:
        """Return the names of the defects of some topics."""
        return tuple(name for name in cls.names() if cls.known(name).topic in topics)

    @classmethod
    def known(cls, name: str) -> Known:
        """Return what is known of a defect."""
        for entry in fields(cls):
            if entry.name == name:
                return entry.metadata["known"]
        raise KeyError(name)

    @classmethod
    def only(cls, *names: str) -> Defects:
        """Return flags with the named defects set.

        >>> Defects.only("integer_keywords").integer_keywords
        True
        """
        return cls(**dict.fromkeys(names, True))

    @classmethod
    def all(cls) -> Defects:
        """Return flags with all defects set: the compatible mode."""
        return cls.only(*cls.names())

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.names())

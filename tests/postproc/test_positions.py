# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from postproc_golden import golden, load_columns, load_table, ulps

from muse_core.data.header_values import Keywords
from muse_core.data.kernels import scale_rows, shift_positions
from muse_core.data.offset_list import OffsetList, OffsetRow
from muse_core.postproc.astrometry.position import (
    apply_flux_scale,
    apply_position,
    fit_common_reference,
    fit_position,
)
from muse_core.postproc.astrometry.projection import (
    apply_astrometry,
    default_solution,
    effective_cd,
    fit_astrometry,
)
from muse_core.postproc.combination.weights import fit_weights, mean_strehl
from muse_core.postproc.exposure.ifu_scales import fit_ifu_scales, has_no_fluxes
from muse_core.postproc.exposure.pointing import airmass
from muse_core.postproc.flux.calibration import apply_flux, fit_flux
from muse_core.postproc.refraction.dar import apply_dar, fit_dar
from muse_core.postproc.velocity.radial_velocity import apply_radial_velocity, fit_radial_velocity

pytestmark = pytest.mark.kernel

HEADER = {
    "RA": 150.1,
    "DEC": -30.2,
    "DATE-OBS": "2017-02-16T06:00:00.000",
    "ESO INS MODE": "WFM-NOAO-N",
    "ESO INS DROT MODE": "STAT",
    "ESO INS DROT POSANG": 0.0,
}
LIMITS = (0.0, 200.0, -40.0, 60.0)


def all_keywords(headers):
    return [Keywords(header) for header in headers]


@pytest.mark.unit
def test_effective_cd_without_shear_is_a_rotation():
    solution = default_solution(narrow_field=False)
    p = np.radians(30.0)
    rotation = np.array([[np.cos(p), -np.sin(p)], [np.sin(p), np.cos(p)]])
    expected = rotation @ np.diag([-0.2 / 3600, 0.2 / 3600])
    np.testing.assert_allclose(effective_cd(solution, 30.0), expected, atol=1e-20)


@pytest.mark.unit
def test_effective_cd_of_an_unrotated_exposure_is_the_solution():
    turned = {"CD1_1": -5.5e-5, "CD1_2": 3.4e-7, "CD2_1": 3.3e-7, "CD2_2": 5.6e-5}
    expected = [[turned["CD1_1"], turned["CD1_2"]], [turned["CD2_1"], turned["CD2_2"]]]
    # scales and angles do not describe a shear completely: 1e-3 of the scale times the shear
    np.testing.assert_allclose(effective_cd(turned, 0.0), expected, atol=2e-8)


@pytest.mark.unit
def test_singular_solutions_are_refused():
    with pytest.raises(ValueError, match="inverted"):
        effective_cd({"CD1_1": 1.0, "CD1_2": 1.0, "CD2_1": 1.0, "CD2_2": 1.0}, 0.0)


@pytest.mark.unit
def test_reference_pixel_is_the_pole():
    model = fit_astrometry(Keywords(HEADER), LIMITS)
    assert (model.x0, model.y0) == (100.0, 10.0)
    x, y = np.float32([100.0]), np.float32([10.0])
    apply_astrometry(x, y, model)
    assert y[0] == 0.0
    assert np.isfinite(x[0])


@pytest.mark.unit
def test_narrow_field_has_its_own_default(caplog):
    model = fit_astrometry(Keywords(HEADER | {"ESO INS MODE": "NFM-AO-N"}), LIMITS)
    assert model.cd[0][0] == pytest.approx(-0.02519 / 3600)
    assert model.cd[1][1] == pytest.approx(0.02542 / 3600)
    assert "NFM astrometry" in caplog.text


@pytest.mark.law
@pytest.mark.parametrize("dec", [-30.2, 0.0, 75.0])
def test_positions_are_those_of_a_fits_wcs(dec):
    header = HEADER | {"DEC": dec, "ESO INS DROT POSANG": 25.0}
    rng = np.random.default_rng(5)
    x = rng.uniform(0, 200, 500).astype(np.float32)
    y = rng.uniform(-40, 60, 500).astype(np.float32)
    model = fit_astrometry(Keywords(header), LIMITS)
    pole = fit_position(Keywords(header))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [pole.crval1, pole.crval2]
    wcs.wcs.crpix = [model.x0, model.y0]
    wcs.wcs.cd = model.cd
    ra, delta = wcs.wcs_pix2world(x, y, 1)
    apply_astrometry(x, y, model)
    apply_position(x, y, pole)
    # float32 of the intermediate phi (up to 2 pi) is 4e-7 rad of an angle around the pole 0.006 deg away
    scale = 1 / np.cos(np.radians(dec))
    np.testing.assert_allclose(x, ra - 150.1, atol=4e-9 * scale)
    np.testing.assert_allclose(y, delta - dec, atol=4e-9)


@pytest.mark.unit
def test_offsets_and_flux_scale_are_found_by_date():
    offsets = [
        OffsetRow("2017-02-16T05:00:00.000", 1.0, 1.0, 3.0),
        OffsetRow("2017-02-16T06:00:00.000 ", 2e-4, -1e-4, 1.05),
    ]
    model = fit_position(Keywords(HEADER), OffsetList("", offsets))
    assert (model.crval1, model.crval2) == (150.1 - 2e-4, -30.2 + 1e-4)
    data, stat = np.float32([2.0]), np.float32([4.0])
    apply_flux_scale(data, stat, model)
    np.testing.assert_allclose([data[0], stat[0]], [2.1, 4.0 * 1.05**2], rtol=1e-7)
    assert [card[0].rsplit(" ", 1)[1] for card in model.offset_cards(2)] == [
        "DRA",
        "DDEC",
        "SCALE2",
        "DATE-OBS",
    ]


@pytest.mark.unit
def test_exposure_without_offset(caplog):
    model = fit_position(Keywords(HEADER), OffsetList("", [OffsetRow("2000-01-01T00:00:00", 1.0, 1.0)]))
    assert (model.crval1, model.crval2, model.flux_scale, model.offset) == (150.1, -30.2, 1.0, None)
    assert "No entry" in caplog.text
    assert model.offset_cards(1) == []


@pytest.mark.unit
def test_common_reference():
    first = fit_position(Keywords(HEADER))
    second = fit_position(Keywords(HEADER | {"RA": 150.2, "DEC": -30.3}))
    shift = fit_common_reference(second, (first.crval1, first.crval2))
    np.testing.assert_allclose([shift.dx, shift.dy], [0.1, -0.1], rtol=1e-5)
    west, east = fit_position(Keywords(HEADER | {"RA": 359.9})), fit_position(Keywords(HEADER | {"RA": 0.1}))
    np.testing.assert_allclose(fit_common_reference(east, (west.crval1, west.crval2)).dx, 0.2)


@pytest.mark.unit
def test_ifu_scales():
    sky, lamp = "ESO DRS MUSE FLAT FLUX SKY", "ESO DRS MUSE FLAT FLUX LAMP"
    assert fit_ifu_scales(all_keywords([{sky: 100.0, lamp: 1.0}, {sky: 50.0, lamp: 9.0}])) == (1.0, 2.0)
    assert fit_ifu_scales(all_keywords([{lamp: 9.0}, {lamp: 6.0, sky: 4.0}])) == (1.0, 1.5)
    assert fit_ifu_scales(all_keywords([{}, {sky: 4.0}])) == (1.0, 1.0)
    assert has_no_fluxes(Keywords({}))
    assert not has_no_fluxes(Keywords({lamp: 1.0}))


@pytest.mark.unit
def test_ifu_scales_with_a_missing_flux(caplog):
    sky = "ESO DRS MUSE FLAT FLUX SKY"
    assert fit_ifu_scales(all_keywords([{sky: 2.0}, {}, {sky: 1.0}])) == (1.0, 1.0, 2.0)
    assert "lack" in caplog.text


AG = ("ESO OCS SGS AG FWHMX AVG", "ESO OCS SGS AG FWHMY AVG")
IA = "ESO TEL IA FWHM"
DIMM = ("ESO TEL AMBI FWHM START", "ESO TEL AMBI FWHM END")


@pytest.mark.unit
def test_weights():
    times = [{"EXPTIME": 600.0}, {"EXPTIME": 300.0}]
    assert fit_weights(all_keywords(times), "exptime").weights == (1.0, 0.5)
    assert fit_weights(all_keywords(times), "none") is None
    assert fit_weights(all_keywords(times[:1]), "exptime") is None
    with pytest.raises(ValueError, match="scheme"):
        fit_weights(all_keywords(times), "seeing")


@pytest.mark.unit
def test_seeing_is_taken_from_the_best_complete_source():
    def headers(*keys):
        return [{"EXPTIME": 10.0} | dict.fromkeys(keys, 1.0 + i) for i in range(2)]

    assert fit_weights(all_keywords(headers(*AG, IA, *DIMM)), "fwhm").seeing.startswith("auto")
    assert fit_weights(all_keywords(headers(AG[0], IA, *DIMM)), "fwhm").seeing.startswith("active")
    model = fit_weights(all_keywords(headers(*DIMM)), "fwhm")
    assert model.seeing.startswith("DIMM")
    assert model.weights == (1.0, 0.5)
    incomplete = headers(IA)
    del incomplete[1][IA]
    assert fit_weights(all_keywords(incomplete), "fwhm").weights == (1.0, 1.0)


@pytest.mark.unit
def test_mean_strehl():
    key, error = "ESO DRS MUSE RTC STREHL", "ESO DRS MUSE RTC STREHERR"
    mean, _ = mean_strehl(all_keywords([{key: 20.0, error: 2.0}, {key: 30.0, error: 4.0}, {}]))
    assert mean == pytest.approx(22.0)
    assert mean_strehl(all_keywords([{}])) is None


def reduce_exposure(files, folder, *, solution=None, telluric=None, offsets=None):
    headers, tables = zip(*(load_table(golden(folder, name)) for name in files), strict=True)
    for table, factor in zip(tables, fit_ifu_scales(all_keywords(headers)), strict=True):
        scale_rows(table["data"], table["stat"], factor)
    table = {name: np.concatenate([part[name] for part in tables]) for name in tables[0]}
    header = headers[0]
    limits = tuple(float(v) for k in ("xpos", "ypos") for v in (table[k].min(), table[k].max()))
    keywords = Keywords(header)
    apply_dar(table["xpos"], table["ypos"], table["lambda"], fit_dar(keywords, 7000.0))
    response = load_columns(golden(folder, "response.fits"), "lambda", "response", "resperr")
    extinction = load_columns(golden(folder, "extinct.fits"), "lambda", "extinction")
    model = fit_flux(keywords, airmass(keywords), response, extinction, telluric, zero_outside_response=True)
    apply_flux(table["lambda"], table["data"], table["stat"], table["dq"], model)
    velocity = fit_radial_velocity(keywords, "bary", longitude_positive_west=True)
    apply_radial_velocity(table["lambda"], velocity)
    astrometry = fit_astrometry(keywords, limits, solution)
    apply_astrometry(table["xpos"], table["ypos"], astrometry)
    return header, table, astrometry, fit_position(keywords, offsets and OffsetList("", offsets))


def assert_same(table, peer, header, *, dq=True):
    assert set(peer) <= set(table)
    exact = {"data", "stat", "origin", "weight"} | ({"dq"} if dq else set())
    for name in exact & set(peer):
        np.testing.assert_array_equal(table[name], peer[name], err_msg=name)
    lam = ulps(table["lambda"], peer["lambda"])
    # the velocity agrees to some 1e-6 km/s, which turns the last bit of one row in 1e4
    assert lam.max() <= 1.0
    assert (lam > 0).mean() < 3e-4
    # positions: last bit in rows close to the pole, where rounding of phi is magnified (1e-9 deg: 4e-6")
    unit = 1.0 if header["ESO DRS MUSE PIXTABLE WCS"].startswith("positioned") else 1000.0
    for name in ("xpos", "ypos"):
        assert (table[name] != peer[name]).mean() < 1e-3, name
        np.testing.assert_allclose(table[name], peer[name], rtol=0, atol=1e-9 * unit, err_msg=name)


@pytest.mark.golden
def test_whole_chain_of_one_exposure():
    solution = fits.getheader(golden("basic", "astrometry.fits"))
    telluric = load_columns(golden("basic", "telluric.fits"), "lambda", "ftelluric", "ftellerr")
    files = [f"PIXTABLE_OBJECT_0001-{ifu}.fits" for ifu in (10, 11)]
    _, table, astrometry, pole = reduce_exposure(files, "basic", solution=solution, telluric=telluric)
    header, peer = load_table(golden("basic", "out_default", "PIXTABLE_REDUCED_0001.fits"))
    assert_same(table, peer, header)
    for key, value, _ in astrometry.cards():
        assert header[key] == (pytest.approx(value, rel=1e-13) if isinstance(value, float) else value)
    apply_position(table["xpos"], table["ypos"], pole)
    header, peer = load_table(golden("basic", "out_default", "PIXTABLE_POSITIONED_0001.fits"))
    assert_same(table, peer, header)


@pytest.mark.golden
def test_whole_chain_of_two_exposures():
    with fits.open(golden("multi", "offset_list.fits")) as hdus:
        columns = "DATE_OBS", "RA_OFFSET", "DEC_OFFSET", "FLUX_SCALE"
        offsets = [
            OffsetRow(str(row[columns[0]]), *(float(row[c]) for c in columns[1:])) for row in hdus[1].data
        ]
    headers, parts, first = [], [], None
    for k in (1, 2):
        header, table, _, pole = reduce_exposure(
            [f"PIXTABLE_OBJECT_000{k}-12.fits"], "multi", offsets=offsets
        )
        product, peer = load_table(golden("multi", "out_fwhm", f"PIXTABLE_REDUCED_000{k}.fits"))
        assert_same(table, peer, product)
        apply_position(table["xpos"], table["ypos"], pole)
        apply_flux_scale(table["data"], table["stat"], pole)
        product, peer = load_table(golden("multi", "out_fwhm", f"PIXTABLE_POSITIONED_000{k}.fits"))
        assert_same(table, peer, product)
        first = first or pole
        shift = fit_common_reference(pole, (first.crval1, first.crval2))
        shift_positions(table["xpos"], table["ypos"], shift.dx, shift.dy)
        headers.append(header)
        parts.append(table)
    weights = fit_weights(all_keywords(headers), "fwhm").weights
    combined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    combined["weight"] = np.concatenate(
        [np.full(p["data"].size, w, np.float32) for p, w in zip(parts, weights, strict=True)]
    )
    product, peer = load_table(golden("multi", "out_fwhm", "PIXTABLE_COMBINED.fits"))
    assert_same(combined, peer, product, dq=False)  # cosmic-ray flags come later

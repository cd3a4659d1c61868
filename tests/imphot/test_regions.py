# SPDX-License-Identifier: BSD-3-Clause
"""ds9 regions: reading, and painting against 48 recorded masks and against slow twins."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest

import imphot
from imphot.ds9regions import Ds9Box, Ds9Circle, Ds9Ellipse, Ds9Regions
from imphot.images.masks import excluded_by_regions, paint_region, region_mask
from imphot.images.opening import as_sky_image

# the existing package drops these in silence; here they are used, or refused with a message
USED_HERE = {"image_system_ignored": 316, "plus_sign": None}
REFUSED_HERE = {"include_offfield"}


@pytest.mark.golden
def test_recorded_masks(golden, peer_misc):
    exact = 0
    for record in peer_misc["region_masks"]:
        if record["label"] in USED_HERE or record["label"] in REFUSED_HERE:
            continue
        image = as_sky_image(str(golden / "pairs" / f"{record['image']}_muse.fits"))
        shape = tuple(record["mask"]["shape"])
        packed = np.frombuffer(zlib.decompress(base64.b64decode(record["mask"]["packed"])), np.uint8)
        expected = np.unpackbits(packed)[: shape[0] * shape[1]].reshape(shape).astype(bool)
        found = region_mask(Ds9Regions(record["regions"]), image.wcs, shape, snap=True)
        np.testing.assert_array_equal(found, expected, err_msg=f"{record['image']} {record['label']}")
        exact += 1
    assert exact == 45


@pytest.mark.golden
def test_text_as_recorded(peer_misc):
    lines = [
        'fk5; circle(1:00:00, -2:30:00, 3")',
        "physical; -ellipse(3,4,5,6,7)",
        "fk5",
        "-box(10,20,3',1',15)",
    ]
    assert str(Ds9Regions(lines)) == peer_misc["ds9_str"]


@pytest.mark.unit
def test_reading():
    text = """# Region file format: DS9; with a comment
    global color=green; dashlist=8 3
    fk5
    circle(3:32:39.0,-27:47:29.4,3") # color=red; text={a; b}
    -ELLIPSE 53.1d -27.7 3' 1' 30
    J2000; +circle(53.0, -27.0, 0.001)
    galactic; -circle(10:30:00, -5.5, 10")
    image; box(10,20,30,40,5)
    """
    regions = Ds9Regions(text)
    assert len(regions) == 5
    first, second, third, fourth, fifth = regions
    assert isinstance(first, Ds9Circle) and first.system == "fk5" and not first.exclude
    assert (first.x, first.y) == pytest.approx((53.1625, -27.7915))
    assert first.radius == pytest.approx(3 / 3600)
    assert isinstance(second, Ds9Ellipse) and second.exclude
    assert (second.width, second.height, second.pa) == pytest.approx((0.05, 1 / 60, 30))
    assert third.system == "j2000" and not third.exclude
    assert fourth.x == pytest.approx(10.5)  # degrees, not hours
    assert isinstance(fifth, Ds9Box) and fifth.sizes_in_pixels


@pytest.mark.unit
def test_what_is_not_used_is_named(caplog):
    regions = Ds9Regions(
        ["fk5", "polygon(1,2,3,4,5,6)", "wcs; circle(1,2,3)", "nonsense(1)", "circle(1,2,1,2,3,4)"]
    )
    assert len(regions) == 0 and len(regions.ignored) == 5
    assert "line 2" in caplog.text and "polygon" in caplog.text and "line 3" in caplog.text


@pytest.mark.unit
@pytest.mark.parametrize(
    "line", ["fk5; circle(xx,2,3)", "circle(1,2)", "circle(1,2,-3)", 'ellipse(1,2,3p,4",0)', "circle(1,2,)"]
)
def test_bad_lines(line, pair):
    with pytest.raises(ValueError, match="Error on line 1"):
        Ds9Regions([line])
    with pytest.raises(imphot.UserError, match="Region parsing error: Error on line 1"):
        imphot.fit_image_photometry(*pair, method="image", regions=[line])


@pytest.mark.unit
def test_files(tmp_path):
    path = tmp_path / "a.reg"
    path.write_text('fk5\ncircle(1,2,3")\n', encoding="utf-8")
    assert len(Ds9Regions(path)) == len(Ds9Regions(str(path))) == 1
    with path.open() as stream:
        assert len(Ds9Regions(stream)) == 1
    with pytest.raises(imphot.UserError, match="Region file error"):
        Ds9Regions(str(tmp_path / "no.reg"))


@pytest.mark.law
def test_exact_painting(pair):
    """Centre, angle and size as a slow twin has them; areas come out right."""
    muse = as_sky_image(pair[1])
    wcs = muse.wcs.deepcopy()
    c, s = np.cos(0.6), np.sin(0.6)
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) * 0.2 / 3600.0
    iy, ix = np.mgrid[:80, :80]
    ra, dec = wcs.all_pix2world(ix, iy, 0)
    ra0, dec0 = wcs.all_pix2world(37.3, 41.8, 0)
    west, north = -(ra - ra0) * np.cos(np.radians(dec0)) * 3600, (dec - dec0) * 3600
    a = np.radians(25.0)
    for kind, test in (
        (Ds9Ellipse, lambda u, v: (u / 5.0) ** 2 + (v / 2.0) ** 2 < 1),
        (Ds9Box, lambda u, v: (abs(u) < 2.5) & (abs(v) < 1.0)),
    ):
        region = kind(True, "fk5", float(ra0), float(dec0), 5.0 / 3600, 2.0 / 3600, 25.0)
        slow = test(west * np.cos(a) + north * np.sin(a), north * np.cos(a) - west * np.sin(a))
        assert np.count_nonzero(paint_region(region, wcs, (80, 80)) != slow) <= 2  # pixels on the border
    box = Ds9Box(True, "image", 31.0, 41.0, 30, 12, 0.0)
    assert paint_region(box, wcs, (80, 80)).sum() == 360


@pytest.mark.law
def test_sky_systems_agree(pair):
    from astropy.coordinates import SkyCoord

    muse = as_sky_image(pair[1])
    place = SkyCoord(53.1625, -27.7915, unit="deg", frame="icrs")
    masks = []
    for word, frame in (
        ("icrs", "icrs"),
        ("galactic", "galactic"),
        ("fk4", "fk4"),
        ("ecliptic", "barycentricmeanecliptic"),
    ):
        moved = place.transform_to(frame).spherical
        masks.append(
            paint_region(Ds9Circle(True, word, moved.lon.deg, moved.lat.deg, 2 / 3600), muse.wcs, muse.shape)
        )
    assert masks[0].sum() == pytest.approx(np.pi * 100, rel=0.03)
    for mask in masks[1:]:
        assert np.count_nonzero(mask != masks[0]) <= 4  # a few mas at the border


@pytest.mark.unit
def test_star_position_is_not_rounded():
    """Six digits of a right ascension of 338 degrees are 1 arcsec."""
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [338.2255, -60.5649], [50, 50]
    wcs.wcs.cd = np.array([[-0.2, 0], [0, 0.2]]) / 3600
    mask = excluded_by_regions("star", (338.22553, -60.56489, 3.0), wcs, (100, 100))
    iy, ix = np.nonzero(~mask)
    x, y = wcs.all_world2pix(338.22553, -60.56489, 0)
    assert (iy.mean(), ix.mean()) == pytest.approx(
        (float(y), float(x)), abs=0.1
    )  # whole pixels; rounding moved it by 5
    np.testing.assert_array_equal(
        ~mask, excluded_by_regions("notstar", (338.22553, -60.56489, 3.0), wcs, (100, 100))
    )


@pytest.mark.unit
def test_empty_selections(pair):
    muse = as_sky_image(pair[1])
    with pytest.raises(imphot.UserError, match="None of the regions to include"):
        excluded_by_regions(['fk5; circle(10,20,3")'], None, muse.wcs, muse.shape)
    with pytest.raises(imphot.UserError, match="exclude the whole image"):
        excluded_by_regions(["image; -box(40,40,500,500,0)"], None, muse.wcs, muse.shape)
    assert not excluded_by_regions("none", None, muse.wcs, muse.shape).any()

# SPDX-License-Identifier: BSD-3-Clause
"""Small sound inputs of each recipe, one set for each kind of file: what is going to be broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from astropy.io import fits

Frames = list[tuple[Path, str]]


@dataclass(frozen=True)
class World:
    """Sound inputs of one recipe.

    Parameters
    ----------
    name : of the world: the recipe, and a variant of it
    recipe, frames : what is run
    options : parameters, with which all inputs are used
    by_tag : further parameters while files of a tag are broken
    broken : the tags whose files are to be broken; all if empty
    """

    name: str
    recipe: str
    frames: Frames
    options: Mapping[str, object] = field(default_factory=dict)
    by_tag: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    broken: tuple[str, ...] = ()

    def tags(self) -> list[str]:
        """The tags whose files are to be broken."""
        return [
            tag for tag in dict.fromkeys(t for _, t in self.frames) if not self.broken or tag in self.broken
        ]

    def settings(self, tag: str) -> dict[str, object]:
        """Parameters while files of a tag are broken."""
        return {**self.options, **self.by_tag.get(tag, {})}


def _science(folder: Path, name: str, **changes: object) -> World:
    from muse_core.simulate.scipost import simulate_scipost

    plan = {
        "seed": 2, "ifus": (12,), "slices": 4, "columns": 12, "mode": "WFM-AO-N", "sky_mask": "celestial",
        "lambda_range": (6465.0, 6500.0), "lsf": "image", "output_wcs": True, "autocal": True,
        "offsets": [(0.3, 0.2)], "flux_scales": [1.1],
    }  # fmt: skip
    simulated = simulate_scipost(folder / name, **{**plan, **changes})
    model, user = {"skymethod": "model"}, {"autocalib": "user"}
    return World(
        name, "muse_scipost", simulated.frames(),
        {"skymethod": "simple", "save": "cube,individual", "filter": "white,WIDE"},
        {
            "SKY_LINES": model, "LSF_PROFILE": model, "SKY_CONTINUUM": model, "AUTOCAL_FACTORS": user,
            "SKY_MASK": model,
        },
    )  # fmt: skip


def science(folder: Path) -> World:
    """muse_scipost with every calibration."""
    return _science(folder, "scipost")


def science_tables(folder: Path) -> World:
    """muse_scipost with pixel tables in the binary layout, and tables of line profiles."""
    world = _science(folder, "scipost-tables", as_table=True, lsf="table", slices=2)
    return World(
        world.name,
        world.recipe,
        world.frames,
        world.options,
        world.by_tag,
        ("PIXTABLE_OBJECT", "LSF_PROFILE"),
    )


def combination(folder: Path) -> World:
    """muse_exp_combine with two reduced exposures."""
    return exposures(folder, "combine")


def exposures(folder: Path, name: str, count: int = 2) -> World:
    """Reduced exposures with small offsets, and what goes with them."""
    from muse_core.framework import run_recipe

    raw = _science(
        folder,
        name,
        offsets=[(0.3 / n, 0.2) for n in range(1, count + 1)],
        flux_scales=[1.1, 0.9, 1.0, 1.05][:count],
        n_exposures=count,
        dithers=[(0.3 * (n % 2), 0.2 * (n % 2)) for n in range(count)],
    )
    out = folder / "reduced"
    out.mkdir()
    run_recipe(
        "muse_scipost", [f for f in raw.frames if f[1] != "OFFSET_LIST"],
        {"skymethod": "none", "save": "individual"}, workdir=out,
    )  # fmt: skip
    kept = [f for f in raw.frames if f[1] in ("OFFSET_LIST", "FILTER_LIST", "OUTPUT_WCS")]
    frames = [(path, "PIXTABLE_REDUCED") for path in sorted(out.glob("PIXTABLE_REDUCED*"))] + kept
    return World(name, "muse_exp_combine", frames, {"save": "cube,combined", "filter": "white,WIDE"})


def alignment(folder: Path) -> World:
    """muse_exp_align with source lists and a reference image."""
    world = _alignment(folder, "align")
    frames = [*world.frames, (world.frames[0][0], "REFERENCE_IMAGE")]
    return World(
        world.name, world.recipe, frames, {"flux_scale": True}, {"SOURCE_LIST": {"override_detection": True}}
    )


def alignment_catalogue(folder: Path) -> World:
    """muse_exp_align with a reference catalogue (which excludes a reference image)."""
    world = _alignment(folder, "align-catalogue")
    sources = fits.getdata(next(path for path, tag in world.frames if tag == "SOURCE_LIST"), 1)
    catalogue = folder / world.name / "catalogue.fits"
    fits.BinTableHDU.from_columns(
        [fits.Column(name, "D", unit="deg", array=np.array(sources[name])) for name in ("RA", "DEC")]
    ).writeto(catalogue)
    images = [frame for frame in world.frames if frame[1] == "IMAGE_FOV"]
    return World(
        world.name, world.recipe, [*images, (catalogue, "REFERENCE_CATALOG")], {}, {}, ("REFERENCE_CATALOG",)
    )


def _alignment(folder: Path, name: str) -> World:
    from muse_core.framework import run_recipe
    from muse_core.simulate.fields import FieldPlan, simulate_fields, write_fields

    home = folder / name
    (home / "products").mkdir(parents=True)
    images = simulate_fields(
        FieldPlan(exposures=3, shape=(90, 100), stars=25, dither_arcsec=0.5, error_arcsec=0.6, seed=3)
    )
    frames: Frames = [(path, "IMAGE_FOV") for path in write_fields(images, home)]
    products = run_recipe("muse_exp_align", frames, {}, workdir=home / "products")
    lists: Frames = [(p.path, "SOURCE_LIST") for p in products if p.tag == "SOURCE_LIST"]
    return World(name, "muse_exp_align", frames + lists)


def photometry(folder: Path) -> World:
    """muse_imphot with an image, regions, a mask and a PSF."""
    return _photometry(folder, "imphot", ("DATACUBE_FINAL", "FILTER_LIST"))


def photometry_of_cubes(folder: Path) -> World:
    """muse_imphot with a cube."""
    world = _photometry(folder, "imphot-cube", ("IMAGE_FOV", "IMPHOT_REGIONS", "IMPHOT_MASK", "HST_PSF"))
    return replace(world, broken=("DATACUBE_FINAL", "FILTER_LIST"))


def _photometry(folder: Path, name: str, without: tuple[str, ...]) -> World:
    from muse_core.simulate import calibrations
    from muse_core.simulate.imphot_pairs import PairTruth, make_pair, make_sky, write_pair

    truth = PairTruth(size=6.0, hst_noise=0.005)
    home = folder / name
    home.mkdir()
    hst, muse = write_pair(
        home, "field", make_pair(make_sky(3, truth.size, nstar=3, ndisc=12), truth), truth, seed=1
    )
    cube = home / "cube.fits"
    with fits.open(muse) as hdus:
        planes = [hdus[0].copy()]
        for hdu in hdus[1:]:
            header = hdu.header.copy()
            header.update(
                {"CTYPE3": "AWAV", "CUNIT3": "Angstrom", "CRVAL3": 7000.0, "CRPIX3": 1.0, "CD3_3": 500.0}
            )
            planes.append(fits.ImageHDU(np.stack([hdu.data] * 3), header, name=hdu.name))
        mask = np.zeros(hdus["DATA"].data.shape, np.int16)
        mask_header = hdus["DATA"].header.copy()
    fits.HDUList(planes).writeto(cube)
    mask[:4, :4] = 1
    fits.PrimaryHDU(mask, mask_header).writeto(home / "mask.fits")
    y, x = np.mgrid[-8:9, -8:9]
    psf = fits.PrimaryHDU(np.exp(-0.5 * (x * x + y * y) / 1.5**2).astype(np.float32))
    with fits.open(hst) as hdus:
        image = next(hdu for hdu in hdus if hdu.header["NAXIS"] == 2)
        for key in ("CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"):
            if key in image.header:
                psf.header[key] = image.header[key]
    psf.writeto(home / "psf.fits")
    (home / "regions.reg").write_text(
        "# Region file format: DS9\nimage\n-circle(5,5,2)\nimage; +box(15,15,28,28,10)\n"
        "image; polygon(1,1,40,1,40,40,1,40)\n"
    )
    wave = np.linspace(6500.0, 8500.0, 41)
    filters = calibrations.write_filters(home / "filters.fits", {"F775W": (wave, np.full(41, 0.9))})
    frames: Frames = [
        (muse, "IMAGE_FOV"), (hst, "HST_IMAGE"), (home / "regions.reg", "IMPHOT_REGIONS"),
        (home / "mask.fits", "IMPHOT_MASK"), (home / "psf.fits", "HST_PSF"), (cube, "DATACUBE_FINAL"),
        (filters, "FILTER_LIST"),
    ]  # fmt: skip
    return World(
        name, "muse_imphot", [frame for frame in frames if frame[1] not in without],
        {"nproc": 1, "filter": "F775W", "save": "model", "apply": True, "psf": "moffat"},
    )  # fmt: skip


def detector(folder: Path) -> World:
    """muse_scibasic with all calibrations."""
    from muse_core.framework import run_recipe
    from muse_core.simulate.raw import RawSetup
    from muse_core.simulate.raw_science import simulate_raw_science

    setup = RawSetup(nx=144, ny=64, ifus=(1, 2), lambda_min=5480.0, lambda_max=6900.0, cosmics=8)
    made = simulate_raw_science(
        folder / "raw", setup, exposures=1, n_stars=2, skyflats=3, illum=True, calibrations=False
    )
    out = folder / "flat"
    out.mkdir()
    products = run_recipe("muse_twilight", made.skyflats, {"dlambda": 200.0}, workdir=out)
    cube = next(p.path for p in products if p.tag == "TWILIGHT_CUBE")
    return World(
        "scibasic", "muse_scibasic", [*made.raw, (cube, "TWILIGHT_CUBE")],
        {"skylines": "none", "resample": True},
        {"OBJECT": {"skylines": "5577.339,6300.304", "cr": "dcr"}},
    )  # fmt: skip


def detector_others(folder: Path) -> World:
    """muse_scibasic with raw frames of all other tags."""
    world = detector(folder)
    raw = next(path for path, tag in world.frames if tag == "OBJECT")
    left = ("OBJECT", "ILLUM", "TWILIGHT_CUBE")
    tags = ("SKY", "STD", "ASTROMETRY")
    frames = [(raw, tag) for tag in tags] + [frame for frame in world.frames if frame[1] not in left]
    return replace(
        world, name="scibasic-others", frames=frames, options={"skylines": "none", "nifu": 1}, by_tag={},
        broken=tags,
    )  # fmt: skip


def twilight(folder: Path) -> World:
    """muse_twilight with all calibrations and a vignetting mask."""
    from muse_core.simulate.raw import RawSetup, simulate_raw

    sof = simulate_raw(folder / "twilight", RawSetup(nx=192, ny=40, ifus=(1, 2), cosmics=5))
    frames = [
        (sof.parent / name, tag) for name, tag in (line.split() for line in sof.read_text().splitlines())
    ]
    mask = folder / "twilight" / "vignetting.fits"
    pixels = np.zeros((320, 320), np.uint8)
    pixels[150:170, 150:170] = 1
    fits.PrimaryHDU(pixels).writeto(mask)
    return World("twilight", "muse_twilight", [*frames, (mask, "VIGNETTING_MASK")], {"dlambda": 500.0})


def _masters(folder: Path, name: str, tags: tuple[str, ...], settings: dict, **size: int) -> World:
    """A recipe that makes masters, with all calibrations."""
    from muse_core.simulate.raw_instrument import RawSetup
    from muse_core.simulate.raw_masters import simulate_masters

    setup = RawSetup(ifus=(1, 2), cosmics=5, **size)
    made = simulate_masters(folder / name, setup, biases=3, darks=(1800.0,) * 3)
    return World(name, f"muse_{name}", made.frames(*tags), {"overscan": "vpoly:3"} | settings)


def bias(folder: Path) -> World:
    """muse_bias with a table of bad pixels."""
    return _masters(folder, "bias", ("BIAS", "BADPIX_TABLE"), {}, nx=96, ny=64)


def dark(folder: Path) -> World:
    """muse_dark with all calibrations."""
    return _masters(folder, "dark", ("DARK", "MASTER_BIAS", "BADPIX_TABLE"), {}, nx=96, ny=64)


def flat(folder: Path) -> World:
    """muse_flat with all calibrations."""
    tags = ("FLAT", "MASTER_BIAS", "MASTER_DARK", "BADPIX_TABLE")
    return _masters(folder, "flat", tags, {"nsum": 8, "order": 2}, nx=2048, ny=32)


def night_sky(folder: Path) -> World:
    """muse_create_sky with every calibration."""
    plan = {"mode": "WFM-NOAO-N", "lambda_range": (6270.0, 6310.0), "sky_mask": "pixel"}
    world = _science(folder, "create-sky", **plan)
    tags = {
        "EXTINCT_TABLE", "STD_RESPONSE", "STD_TELLURIC", "SKY_LINES", "SKY_CONTINUUM", "LSF_PROFILE",
        "SKY_MASK",
    }  # fmt: skip
    frames = [(path, "PIXTABLE_SKY") for path, tag in world.frames if tag == "PIXTABLE_OBJECT"]
    return World(world.name, "muse_create_sky", [*frames, *(f for f in world.frames if f[1] in tags)])


def astrometric_field(folder: Path) -> World:
    """muse_astrometry with every calibration."""
    from muse_core.simulate import calibrations
    from muse_core.simulate.star_fields import StarField, simulate_astrometric_field

    plan = StarField(nx=60, ny=48, first=6825.0, step=25.0, n_lam=10, fwhm=3.0, sky=10.0, telluric=False)
    made = simulate_astrometric_field(folder / "astrometry", plan, seed=2, n_stars=8, n_more=2)
    telluric = calibrations.write_telluric(folder / "astrometry" / "telluric.fits")
    return World("astrometry", "muse_astrometry", [*made.frames(), (telluric, "STD_TELLURIC")])


def standard(folder: Path) -> World:
    """muse_standard with every calibration."""
    from muse_core.simulate.star_fields import StarField, simulate_standard, write_bands

    home = folder / "standard"
    plan = StarField(nx=30, ny=24, n_lam=40, first=6760.0, fwhm=2.4)
    made = simulate_standard(home, plan, seed=2)
    bands = write_bands(home / "bands.fits", [(6775.0, 6785.0, 6762.0, 6805.0)])
    frames = [*made.frames(), (bands, "TELLURIC_REGIONS")]
    return World("standard", "muse_standard", frames, {"filter": "white,Cousins_R"})


WORLDS: dict[str, Callable[[Path], World]] = {
    "scipost": science,
    "scipost-tables": science_tables,
    "create-sky": night_sky,
    "standard": standard,
    "astrometry": astrometric_field,
    "combine": combination,
    "align": alignment,
    "align-catalogue": alignment_catalogue,
    "imphot": photometry,
    "imphot-cube": photometry_of_cubes,
    "bias": bias,
    "dark": dark,
    "flat": flat,
    "scibasic": detector,
    "scibasic-others": detector_others,
    "twilight": twilight,
}

# SPDX-License-Identifier: BSD-3-Clause
"""Random runs of muse_standard beside the C recipe.

``python -m tests.parity.standard_stars RUNS [SEED]`` makes more of them, and prints what differs.

Cubes, apertures and Gaussians must be equal. The C recipe ends the fits of Moffat profiles before their
minimum (a stated difference): there fluxes may differ by some per cent, and all that follows is compared by
making it of the fluxes of C.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from muse_core.data.header_values import Keywords
from muse_core.framework import run_recipe
from muse_core.postproc.exposure.pointing import airmass
from muse_core.simulate.scipost import Simulation
from muse_core.simulate.star_fields import StarField, simulate_standard, write_bands
from muse_core.standard.reference_flux import air_wavelength
from muse_core.standard.response import REGIONS, Response, TelluricRegion, fit_response, sensitivity_of
from tests.parity.compare import assert_same_product, option_text

Frames = list[tuple[Path, str]]
Products = dict[str, tuple[Path, Path]]
FITTED = ("moffat", "smoffat", "auto")


def run_both(c_pipeline: Any, frames: Frames, options: Mapping[str, Any], folder: Path) -> Products:
    """Run both recipes, ours in compatible mode; return the pairs of products by name."""
    folder.mkdir(parents=True, exist_ok=True)
    sof = folder / "in.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    c_pipeline.run("muse_standard", sof, folder / "c", *option_text(dict(options)))
    (folder / "ours").mkdir()
    products = run_recipe("muse_standard", frames, {**options, "compat": True}, workdir=folder / "ours")
    ours = {product.path.name: product.path for product in products}
    peer = {path.name: path for path in (folder / "c").glob("*.fits")}
    assert set(ours) == set(peer), f"{sorted(ours)}, expected {sorted(peer)}"
    return {name: (peer[name], ours[name]) for name in sorted(peer)}


def fluxes(path: Path) -> tuple[np.ndarray, np.ndarray, fits.Header]:
    """Fluxes and errors of all stars, and the primary header."""
    with fits.open(path) as hdus:
        return hdus["DATA"].data.astype(float), hdus["STAT"].data.astype(float), hdus[0].header.copy()


def compare(products: Products, frames: Frames, options: Mapping[str, Any]) -> None:
    """Compare all products of all exposures; curves are made of the fluxes of C, too, and must be equal."""
    profile = options.get("profile", "auto")
    fitted = profile in FITTED
    for name, (peer, ours) in products.items():
        if name.startswith("DATACUBE_STD"):
            assert_same_product(peer, ours)
        elif name.startswith("STD_FLUXES"):
            compare_fluxes(peer, ours, fitted=fitted, gaussian=profile == "gaussian")
            response = response_of(peer, frames, options)
            for tag, columns in (
                ("STD_RESPONSE", (response.smooth.lam, response.smooth.value, response.smooth.error)),
                ("STD_TELLURIC", response.telluric),
            ):
                with fits.open(peer.with_name(name.replace("STD_FLUXES", tag))) as hdus:
                    for column, values in zip(hdus[1].columns.names, columns, strict=False):
                        np.testing.assert_allclose(values, hdus[1].data[column], rtol=1e-9, atol=1e-9)
        else:
            compare_tables(peer, ours, limit=0.06 if fitted else 1e-3)


def response_of(path: Path, frames: Frames, options: Mapping[str, Any]) -> Response:
    """Make response and telluric factors of the fluxes in a STD_FLUXES of C."""
    data, stat, header = fluxes(path)
    with fits.open(path) as hdus:
        axis = hdus["DATA"].header
    chosen = header["ESO DRS MUSE FLUX NSEL"] - 1
    lam = axis["CRVAL1"] + np.arange(data.shape[1]) * axis["CD1_1"]
    files = {tag: file for file, tag in frames}
    extinction = None
    if "EXTINCT_TABLE" in files:
        with fits.open(files["EXTINCT_TABLE"]) as hdus:
            extinction = tuple(np.array(hdus[1].data[n], float) for n in ("lambda", "extinction"))
    regions = REGIONS
    if "TELLURIC_REGIONS" in files:
        with fits.open(files["TELLURIC_REGIONS"]) as hdus:
            regions = tuple(TelluricRegion(*(float(v) for v in row)) for row in hdus[1].data)
    with fits.open(files["STD_FLUX_TABLE"]) as hdus:
        rows, calspec = hdus[2].data, "WAVELENGTH" in hdus[2].columns.names
        if calspec:
            lam_true = air_wavelength(np.array(rows["WAVELENGTH"], float))
            error = np.hypot(*(np.array(rows[n], float) for n in ("STATERROR", "SYSERROR")))
            reference = lam_true, np.array(rows["FLUX"], float), error
        else:
            reference = tuple(np.array(rows[n], float) for n in ("lambda", "flux", "fluxerr"))
    mass = airmass(Keywords(header, integers_missing=True))
    table = sensitivity_of(lam, data[chosen], stat[chosen], reference, extinction, mass, header["EXPTIME"])
    smooth = options.get("smooth", "ppoly")
    flat = "ESO DRS MUSE FLUX FFCORR" in header
    return fit_response(
        table, header["ESO INS MODE"], regions, mass, smooth, flat_corrected=flat, first_row_left_out=True
    )


def compare_fluxes(peer: Path, ours: Path, *, fitted: bool, gaussian: bool) -> None:
    """Compare STD_FLUXES; planes that one of both gives up (an empty row of pixels, say) do not count."""
    (a, sa, head), (b, sb, other) = fluxes(peer), fluxes(ours)
    assert a.shape == b.shape, f"{b.shape} fluxes, expected {a.shape}"
    for key in head:
        if key.startswith("ESO DRS MUSE FLUX") and "INTFLUX" not in key:
            same = other[key] == head[key] or abs(other[key] / head[key] - 1) < 1e-6
            assert same, f"{key} = {other[key]}, expected {head[key]}"
    both = (a > 0) & (b > 0) & (sa < 1e37) & (sb < 1e37)
    assert both.mean() > 0.96, f"both have a flux in {both.mean():.3f} of the planes"
    # faint stars: in units of the error (sa, a standard deviation in C)
    off = np.abs(b - a)[both] / np.maximum(3e-5 * a[both], 1e-4 * sa[both])
    if fitted:
        off = np.abs(b - a)[both] / np.maximum(0.05 * a[both], 5.0 * sa[both])
    assert np.mean(off > 1.0) < 0.03, f"fluxes differ in {np.mean(off > 1.0):.3f} of the planes: {off.max()}"
    if not fitted:
        ratio = np.abs(sb / sa - 1)[both]
        limit = 1e-4 if gaussian else 1e-5
        assert np.mean(ratio > limit) < 0.03, f"errors differ in {np.mean(ratio > limit)} of the planes"


def compare_tables(peer: Path, ours: Path, limit: float) -> None:
    """Compare keywords and columns of a curve, and its values where both have data.

    The ends are extrapolated from the last planes, in which rows of pixels are empty: gaps are filled in a
    slightly different way.
    """
    with fits.open(peer) as a, fits.open(ours) as b:
        assert [hdu.name for hdu in a] == [hdu.name for hdu in b]
        missing = [key for key in a[0].header if key not in b[0].header and key != "COMMENT"]
        assert missing == [], f"{ours.name} lacks {missing}"
        assert a[1].columns.names == b[1].columns.names
        assert [column.unit for column in a[1].columns] == [column.unit for column in b[1].columns]
        if not len(a[1].data):
            assert not len(b[1].data)
            return
        assert abs(len(a[1].data) - len(b[1].data)) <= 0.03 * len(a[1].data) + 3
        name = a[1].columns.names[1]
        other = np.interp(a[1].data["lambda"], b[1].data["lambda"], b[1].data[name])
        measured = np.gradient(a[1].data["lambda"]) < 1.5  # the others are extrapolated
        difference = np.abs(other - a[1].data[name])[measured]
        assert np.median(difference) < limit, f"{name} differs by {np.median(difference):.2g}"


SMALL = StarField(n_lam=160, nx=36, ny=36, fwhm=2.8)
TWO = ((0.3, -0.4, 1.0), (9.0, 8.0, 0.2))
FIELDS: dict[str, tuple[StarField, dict[str, Any]]] = {
    "blue": (dataclasses.replace(SMALL, first=4740.0), {}),
    "red": (dataclasses.replace(SMALL, first=6780.0, stars=TWO, posang=40.0), {}),
    "ao": (dataclasses.replace(SMALL, first=7540.0, mode="WFM-AO-N", cosmics=20, flagged=0.002), {}),
    "calspec": (dataclasses.replace(SMALL, first=9180.0, mode="WFM-NOAO-E"), {"calspec": True}),
    "narrow": (dataclasses.replace(SMALL, first=8900.0, mode="NFM-AO-N"), {}),
    "lamp": (dataclasses.replace(SMALL, first=6800.0, lamp=1.7), {"exposures": 2}),
}  # fmt: skip


def make_fields(folder: Path, *names: str) -> dict[str, Simulation]:
    """Simulate the exposures that random runs draw from."""
    return {
        name: simulate_standard(folder / name, plan, seed=50 + k, **more)
        for k, (name, (plan, more)) in enumerate(FIELDS.items())
        if not names or name in names
    }


def draw(
    fields: Mapping[str, Simulation], rng: np.random.Generator, folder: Path
) -> tuple[Frames, dict[str, Any]]:
    """Draw a run: an exposure, which frames, which options."""
    name = str(rng.choice(list(fields)))
    field = fields[name]
    without = [tag for tag, often in (("EXTINCT_TABLE", 0.15), ("FILTER_LIST", 0.3)) if rng.random() < often]
    frames = list(field.frames(without=without))
    low = field.truth["plan"]["first"]
    if rng.random() < 0.3:
        middle = low + rng.uniform(60, 130)
        band = (middle - 20.0, middle + 20.0, middle - 55.0, middle + 60.0)
        folder.mkdir(parents=True, exist_ok=True)
        frames.append((write_bands(folder / "regions.fits", [band]), "TELLURIC_REGIONS"))
    options: dict[str, Any] = {
        "profile": str(
            rng.choice(["circle", "circle", "square", "square", "gaussian", "moffat", "smoffat", "auto"])
        ),
        "smooth": str(rng.choice(["none", "median", "ppoly"])),
        "select": str(rng.choice(["flux", "distance"])),
    }
    if rng.random() < 0.5:  # (a filter far from the data: weights of 1e-10, of which C drops some)
        near = "Johnson_V" if low < 6000.0 else "Cousins_R,Cousins_I" if low < 7000.0 else "Cousins_I"
        options["filter"] = str(rng.choice([f"white,{near}", near, "white"]))
    if rng.random() < 0.3:
        options["lambdamin"] = round(float(low + rng.uniform(0, 15)), 2)
    if rng.random() < 0.4:
        options["lambdaref"] = float(rng.choice([-1.0, 5577.0, 6300.0]))
    return frames, options


def true_ratio(path: Path, truth: Mapping[str, Any]) -> np.ndarray:
    """Measured over true counts of the standard star, plane by plane."""
    data, _, header = fluxes(path)
    with fits.open(path) as hdus:
        h = hdus["DATA"].header
        lam = h["CRVAL1"] + np.arange(data.shape[1]) * h["CD1_1"]
    return data[header["ESO DRS MUSE FLUX NSEL"] - 1] / np.interp(lam, truth["lambda"], truth["counts"])


def main() -> None:
    """Make random runs and print what differs."""
    from tests.parity.conftest import CPipeline

    runs, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    bad = 0
    with tempfile.TemporaryDirectory() as place:
        fields = make_fields(Path(place))
        for number in range(runs):
            folder = Path(place) / f"r{number}"
            frames, options = draw(fields, np.random.default_rng([seed, number]), folder)
            try:
                compare(run_both(CPipeline(), frames, options, folder), frames, options)
            except Exception as error:  # noqa: BLE001
                bad += 1
                where = traceback.extract_tb(error.__traceback__)[-1]
                print(where.name, where.lineno, where.line)
                tags = [f"{path.parent.name}/{path.name}" for path, _ in frames]
                print(
                    f"{number}: {json.dumps(options)} {tags[0]} {len(tags)}\n    {str(error)[:900]}",
                    flush=True,
                )
    print(f"{runs} pairs, {bad} differ")


if __name__ == "__main__":
    main()

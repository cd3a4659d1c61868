# SPDX-License-Identifier: BSD-3-Clause
"""Cosmic rays in the cube against the truth: what is removed, and what is taken of stars and lines.

``python benchmarks/truth_cosmics.py [--quick] [--only ours]`` prints a table in Markdown for
docs/validation.md. Hits of 10 to 30 times the error of their row are added to simulated pixel tables, single
rows and tracks of three rows; both recipes reduce tables with hits, and the same tables without them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.simulate.exposure import Detector
from muse_core.simulate.scene import Galaxy, Scene, Star
from muse_core.simulate.scipost import simulate_scipost

WINDOWS = {"no": 7100.0, "yes": 6880.0}  # are there sky lines within 25 Angstrom?


def scene_of(line: float) -> Scene:
    """Return four stars, two compact emission-line sources (one unresolved in wavelength), a galaxy."""
    return Scene(
        (Star(-10.0, 0.4, 2e5), Star(-5.0, -1.3, 5e4), Star(0.3, 1.2, 1.5e4), Star(5.0, -0.3, 5e3)),
        (
            Galaxy(9.0, 0.6, 10.0, size=0.05, line_flux=3e5, line_wavelength=line, line_sigma=0.4),
            Galaxy(11.5, -1.2, 10.0, size=0.05, line_flux=6e4, line_wavelength=line, line_sigma=1.5),
            Galaxy(-12.5, -1.7, 1e3, size=1.0, line_flux=1.5e5, line_wavelength=line, line_sigma=1.0),
        ),
    )


FIELD = {
    "ifus": (10, 11, 12, 13, 14), "slices": 24, "lsf": None,
    "detector": Detector(cosmic_rate=0.0, bad_fraction=0.0), "telluric": False,
}  # fmt: skip
SMALL_STEPS = [(0.0, 0.0), (0.73, -0.41), (-0.57, 0.66), (0.31, 0.85), (-0.88, -0.29)]


def reduce(frames: list, params: dict, who: str, folder: Path) -> Path:
    """Run one of the recipes."""
    folder.mkdir(parents=True)
    params = {"skymethod": "simple", "rvcorr": "none", "save": "cube,combined", **params}
    if who == "C":
        sof = folder / "in.sof"
        sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
        options = [f"--{key}={value}" for key, value in params.items()]
        subprocess.run(
            ["esorex", f"--output-dir={folder}", "muse_scipost", *options, str(sof)],
            check=True, capture_output=True, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "2"},
        )  # fmt: skip
    else:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            run_recipe("muse_scipost", frames, params, workdir=folder, threads=2)
    return folder


def add_hits(frames: list, folder: Path, rng: np.random.Generator) -> tuple[list, dict[str, np.ndarray]]:
    """Copy the pixel tables with hits added; return the frames and the rows hit, single or in tracks."""
    folder.mkdir()
    changed, hits = [], {"single": [], "track": []}
    for path, tag in frames:
        if tag == "PIXTABLE_OBJECT":
            copy = folder / Path(path).name
            shutil.copy(path, copy)
            with fits.open(copy, mode="update") as hdus:
                data, stat = hdus["data"].data.ravel(), hdus["stat"].data.ravel()
                error = np.sqrt(stat)
                single = rng.random(data.size) < 1e-3
                track = np.zeros(data.size, bool)
                starts = np.flatnonzero(rng.random(data.size - 3) < 3e-4)
                for step in range(3):
                    track[starts + step] = True
                track &= ~single
                hit = single | track
                data[hit] += (error * rng.uniform(10.0, 30.0, data.size))[hit]
                hdus["data"].data[:] = data[:, None]
            hits["single"].append(single)
            hits["track"].append(track)
            path = copy
        changed.append((path, tag))
    return changed, {name: np.concatenate(parts) for name, parts in hits.items()}


def dark_rows(frames: list, twin: list) -> np.ndarray:
    """Tell on which rows the light of sources is below half of their error, from a twin of sources alone."""
    parts = []
    for (path, tag), (still, _) in zip(frames, twin):
        if tag == "PIXTABLE_OBJECT":
            parts.append(fits.getdata(still, "data") < 0.5 * np.sqrt(fits.getdata(path, "stat")))
    return np.concatenate(parts).ravel()


def core_rows(frames: list, truth: dict, seeing: float) -> np.ndarray:
    """Tell which rows lie within half of a FWHM of a star, or of the middle of a line."""
    exposures = {e["date"][:19]: e for e in truth["exposures"]}
    parts = []
    for path, tag in frames:
        if tag != "PIXTABLE_OBJECT":
            continue
        with fits.open(path) as hdus:
            x, y, lam = (hdus[name].data.ravel().astype(float) for name in ("xpos", "ypos", "lambda"))
            exposure = exposures[hdus[0].header["DATE-OBS"][:19]]
        w = exposure["wcs"]
        dx, dy = x - w[0], y - w[1]
        xi, eta = w[2] * dx + w[3] * dy, w[4] * dx + w[5] * dy
        core = np.zeros(x.size, bool)
        for source in (*truth["stars"], *truth["galaxies"]):
            px, py = sky_offset(source, exposure)
            near = np.hypot(xi - px, eta - py) < 0.5 * seeing
            if "line_wavelength" in source:
                near &= np.abs(lam - source["line_wavelength"]) < 1.5
            core |= near
        parts.append(core)
    return np.concatenate(parts)


def sky_offset(source: dict, exposure: dict) -> tuple[float, float]:
    """Return where a source stands in the tangent plane of an exposure [arcsec]."""
    from muse_core.simulate.scipost import gnomonic

    xi, eta = gnomonic(source["ra"], source["dec"], *exposure["pole"])
    return float(xi), float(eta)


def lost_flux(kept: Path, cleaned: Path, truth: dict) -> list[float]:
    """Return the share of each source's light that the rejection took (data without hits)."""
    from astropy.wcs import WCS

    with fits.open(kept / "DATACUBE_FINAL.fits") as hdus:
        before, header = hdus["DATA"].data.astype(float), hdus["DATA"].header
    after = fits.getdata(cleaned / "DATACUBE_FINAL.fits", "DATA").astype(float)
    wave = header["CRVAL3"] + (np.arange(len(before)) + 1 - header["CRPIX3"]) * header["CD3_3"]
    yy, xx = np.mgrid[: before.shape[1], : before.shape[2]]
    level = np.nanmedian(before, axis=(1, 2))
    shares = []
    for source in (*truth["stars"], *truth["galaxies"]):
        px, py = (float(v) for v in WCS(header).celestial.all_world2pix(source["ra"], source["dec"], 0))
        near = np.hypot(xx - px, yy - py) < 5.0
        planes = slice(2, -2)
        if "line_wavelength" in source:
            planes = np.abs(wave - source["line_wavelength"]) < 5.0
        old, new = before[planes][:, near], after[planes][:, near]
        both = np.isfinite(old) & np.isfinite(new)
        light = np.nansum(old - level[planes][:, None])
        shares.append(float((old - new)[both].sum() / light))
    return shares


def flags(folder: Path, origins: list[np.ndarray]) -> np.ndarray:
    """Return which input rows are flagged as cosmic rays.

    The sky subtraction leaves a few rows out, and that of C changes their order.

    Parameters
    ----------
    origins : list of int32[n]
        column ``origin`` of each exposure
    """
    with fits.open(folder / "PIXTABLE_COMBINED.fits") as hdus:
        header = hdus[0].header
        flagged = (hdus["dq"].data.ravel() & 0x20) != 0
        there = hdus["origin"].data.ravel()
    results = []
    for number, origin in enumerate(origins, 1):
        key = f"ESO DRS MUSE PIXTABLE EXP{number}"
        own = slice(header.get(f"{key} FIRST", 0), header.get(f"{key} LAST", there.size - 1) + 1)
        results.append(np.isin(origin, there[own][flagged[own]]))
    return np.concatenate(results)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--methods", nargs="*", default=("median", "mean", "iraf"))
    parser.add_argument("--angle", type=float, default=0.0)
    arguments = parser.parse_args()
    cases = [(0.8, 1, "no"), (0.8, 1, "yes"), (0.5, 3, "no")]
    if not arguments.quick:
        cases += [(0.5, 1, "no"), (1.2, 1, "no"), (0.5, 1, "yes"), (0.5, 5, "no"), (0.8, 5, "yes")]
    print(
        "| seeing | exposures | sky lines | crtype | recipe | removed: sky | tracks | on sources "
        "| flagged: sky | source cores | light of stars lost | of lines |\n" + "|---" * 12 + "|"
    )
    for seeing, exposures, lines in cases:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            settings = {
                "n_exposures": exposures, "dithers": SMALL_STEPS[:exposures], "seeing": seeing, "seed": 11,
                "posang": arguments.angle, "scene": scene_of(WINDOWS[lines]),
                "lambda_range": (WINDOWS[lines] - 25.0, WINDOWS[lines] + 25.0), **FIELD,
            }  # fmt: skip
            sim = simulate_scipost(folder / "sim", **settings)
            clean = sim.frames()
            dirty, hits = add_hits(clean, folder / "dirty", np.random.default_rng(3))
            origins = np.split(
                np.concatenate(
                    [fits.getdata(p, "origin").ravel() for p, tag in clean if tag == "PIXTABLE_OBJECT"]
                ),
                exposures,
            )
            still = Detector(noise=False, cosmic_rate=0.0, bad_fraction=0.0)
            twin = simulate_scipost(folder / "twin", **{**settings, "detector": still, "sky": False})
            dark = dark_rows(clean, twin.frames())
            core = core_rows(clean, sim.truth, seeing)
            for who in (arguments.only,) if arguments.only else ("C", "ours"):
                kept = reduce(clean, {"crsigma": 0.0}, who, folder / f"{who}-none")
                for method in arguments.methods:
                    options = {"crtype": method}
                    cleaned = reduce(clean, options, who, folder / f"{who}-{method}-clean")
                    found = flags(reduce(dirty, options, who, folder / f"{who}-{method}-dirty"), origins)
                    false = flags(cleaned, origins)
                    lost = [100 * v for v in lost_flux(kept, cleaned, sim.truth)]
                    chosen = (hits["single"] & dark, hits["track"] & dark, hits["single"] & ~dark)
                    removed = " | ".join(f"{found[rows].mean():.3f}" for rows in chosen)
                    n = len(sim.truth["stars"])
                    print(
                        f"| {seeing} | {exposures} | {lines} | {method} | {who} | {removed} "
                        f"| {false[~core].mean():.1e} | {false[core].mean():.1e} "
                        f"| {max(lost[:n]):.2f} % | {max(lost[n:]):.2f} % |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: BSD-3-Clause
"""What comes back of the truth: simulated fields reduced by the C recipe and by ours, measured alike.

``python benchmarks/truth.py [stars] [sky] [sky_fields] [sky_slices] [sky_crowded] [autocal] [raman]
[darcheck]`` prints tables in Markdown for docs/validation.md (all of them without an argument; about twenty
minutes).
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

from muse_core.framework import RecipeError, run_recipe
from muse_core.simulate import recovery
from muse_core.simulate.airglow import sky_line_list
from muse_core.simulate.exposure import Detector
from muse_core.simulate.physics import Weather
from muse_core.simulate.scene import Galaxy, Scene, Star, nebula, random_scene
from muse_core.simulate.scipost import RAMAN_LINES, simulate_scipost
from muse_core.simulate.slice_errors import SliceErrors


def reduce_both(sim, params: dict, frames=None, only=None) -> dict[str, Path]:
    """Run both recipes (or only one); a recipe that fails is left out (and said)."""
    frames = sim.frames() if frames is None else frames
    sof = sim.outdir / "run.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    results = {}
    for who in (only,) if only else ("C", "ours"):
        folder = Path(tempfile.mkdtemp(dir=sim.outdir, prefix=who))
        if who == "C":
            options = [f"--{key}={value}" for key, value in params.items()]
            run = subprocess.run(
                ["esorex", f"--output-dir={folder}", "muse_scipost", *options, str(sof)],
                capture_output=True, text=True, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "2"},
            )  # fmt: skip
            failed = run.stdout[-400:] if run.returncode else ""
        else:
            failed = ""
            try:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    run_recipe("muse_scipost", frames, params, workdir=folder, threads=2)
            except RecipeError as error:
                failed = str(error)
        if failed:
            print(f"({who} failed: {failed})")
        else:
            results[who] = folder
    return results


def stars(folder: Path) -> None:
    """Positions, fluxes and a line flux of a field with three stars and a galaxy."""
    scene = Scene(
        (Star(1.0, 0.6, 6e4), Star(6.0, -1.5, 2e4, 4000.0), Star(-4.0, 2.2, 6e3, 8000.0)),
        (
            Galaxy(
                -9.0,
                0.5,
                8e3,
                size=0.8,
                axis_ratio=0.8,
                line_flux=3e5,
                line_wavelength=6880.0,
                line_sigma=1.0,
            ),
        ),
    )
    cases = {
        "position angle 0": {},
        "position angle 25": {"posang": 25.0},
        "2 exposures (0, 180), offsets, flux scales": {
            "posang": [0.0, 180.0], "n_exposures": 2, "offsets": [(0.5, 0.2), (-0.6, 1.0)],
            "flux_scales": [1.1, 0.9],
        },
    }  # fmt: skip
    print("| field | recipe | error of position [mas], east/north | flux / truth | line flux / truth |")
    print("|---|---|---|---|---|")
    for name, keywords in cases.items():
        sim = simulate_scipost(
            folder / "stars",
            ifus=(11, 12, 13, 14),
            lambda_range=(6820, 6940),
            scene=scene,
            seed=5,
            **keywords,
        )
        params = {"skymethod": "simple", "skymodel_fraction": 0.4, "rvcorr": "none"}
        for who, products in reduce_both(sim, params).items():
            cube = products / "DATACUBE_FINAL.fits"
            found = recovery.recover_stars(cube, sim.truth["stars"])
            places = ", ".join(f"{1000 * s.east:.0f}/{1000 * s.north:.0f}" for s in found)
            fluxes = ", ".join(f"{s.flux_ratio:.4f}" for s in found)
            line = recovery.recover_line_flux(cube, sim.truth["galaxies"][0])
            print(f"| {name} | {who} | {places} | {fluxes} | {line:.4f} |", flush=True)


def sky(folder: Path) -> None:
    """Residual sky in an empty field."""
    print(
        "| range [A] | LSF | method | recipe | on lines [1e-20] | % of peak | scatter | between | scatter |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for window in ((5520, 5640), (7230, 7480), (8250, 8550)):
        lines = sky_line_list().within(*window)
        bright, peak = lines.wavelength[lines.flux > 300], lines.flux.max() / 2.6
        for lsf, method in (("image", "simple"), ("image", "model"), ("table", "model")):
            sim = simulate_scipost(
                folder / "sky", ifus=(11, 12, 13), slices=24, lambda_range=window, scene=Scene(), seed=6,
                lsf=lsf,
                detector=Detector(variance_from_data=False),
            )  # fmt: skip
            params = {"skymethod": method, "skymodel_fraction": 0.5, "rvcorr": "none", "save": "individual"}
            for who, products in reduce_both(sim, params, sim.frames(without=["SKY_CONTINUUM"])).items():
                r = recovery.sky_residual(products / "PIXTABLE_REDUCED_0001.fits", peak, bright)
                print(
                    f"| {window[0]}-{window[1]} | {lsf} | {method} | {who} | {r['lines']:.2f} "
                    f"| {r['lines_percent']:.3f} | {r['lines_scatter']:.3f} | {r['between']:.2f} "
                    f"| {r['between_scatter']:.3f} |",
                    flush=True,
                )


FIELDS = {
    "empty": {},
    "empty, 1.5 million rows": {"slices": 48, "n_ifu": 2, "columns": 25},
    "empty, throughput errors 1 %": {"throughput_error": 0.01},
    "empty, tilted continuum": {"sky_tilt": 0.4},
    "10 stars, 5 galaxies": {"objects": (10, 5, 1.0)},
    "crowded: 40 stars, 20 galaxies": {"objects": (40, 20, 2.0)},
    "no dark spaxel: 400 stars": {"objects": (400, 20, 1.0)},
}


def sky_fields(folder: Path) -> None:
    """Error of the subtracted sky, row by row against the truth, with and without objects in the field.

    The truth of each row is that of the same observation without noise and objects.
    """
    print(
        "| field | LSF | recipe | on lines | between | mean between [% of sky] |\n|---|---|---|---|---|---|"
    )
    common = {
        "n_ifu": 2, "slices": 24, "columns": 25, "lambda_range": (6200.0, 7000.0), "line_error": 0.2,
        "telluric": False, "seed": 31,
    }  # fmt: skip
    for name, changes in FIELDS.items():
        settings = {**common, **changes}
        stars, galaxies, brightness = settings.pop("objects", (0, 0, 1.0))
        scene = random_scene(
            np.random.default_rng(5), (5.0, 6.0), n_stars=stars, n_galaxies=galaxies,
            lambda_range=common["lambda_range"], brightness=brightness,
        ) if stars else Scene()  # fmt: skip
        for lsf in ("table", "image"):
            still = Detector(noise=False, cosmic_rate=0.0, bad_fraction=0.0)
            truth = simulate_scipost(folder / "t", **settings, lsf=lsf, scene=Scene(), detector=still)
            sim = simulate_scipost(folder / "f", **settings, lsf=lsf, scene=scene)
            plain = {"skymethod": "none", "rvcorr": "none", "save": "individual"}
            model = {**plain, "skymethod": "model"}
            sky_rows, before = (reduce_both(s, plain, only="ours")["ours"] for s in (truth, sim))
            frames = sim.frames(without=["SKY_CONTINUUM"])
            results = reduce_both(sim, model, frames)
            for who, after in results.items():
                tables = (path / "PIXTABLE_REDUCED_0001.fits" for path in (sky_rows, before, after))
                lines, between, offset = recovery.sky_errors(*tables)
                print(f"| {name} | {lsf} | {who} | {lines:.2f} | {between:.2f} | {offset:.2f} |", flush=True)


SLICE_FIELDS = {
    "empty": Scene(),
    "12 stars, 8 galaxies": (12, 8),
    "crowded: 150 stars, 40 galaxies": (150, 40),
    "cluster: 600 stars": (600, 0),
    "galaxy of 14 arcsec": Scene(
        (Star(15, 2, 3e4),), (Galaxy(2, 0, 3e5, size=14.0, axis_ratio=0.5, angle=80.0),)
    ),
    "galaxy fills the field": Scene((), (Galaxy(2, 0, 6e5, size=30.0, axis_ratio=0.5, angle=80.0),)),
    "nebula fills the field": nebula(60.0),
}


SLICES = {
    "n_ifu": 6, "lambda_range": (6270.0, 6400.0), "line_error": 0.2, "telluric": False, "seed": 31,
    "lsf": "image", "lsf_skew": 0.08, "slice_errors": SliceErrors(
        ifu_shift=0.03, slice_shift=0.01, shift_slope=0.005, throughput=0.01, throughput_slope=0.003
    ),
}  # fmt: skip
ROWS = {"skymethod": "none", "rvcorr": "none", "save": "individual", "astrometry": False}


def sky_slices(folder: Path) -> None:
    """Error of the subtracted sky where slices err in throughput and wavelength, in rows and apertures."""
    common, plain = SLICES, ROWS
    still = Detector(noise=False, cosmic_rate=0.0, bad_fraction=0.0)
    print("| field | method | recipe | rows | rows in lines | apertures | in lines | offset [% of sky] |")
    print("|---|---|---|---|---|---|---|---|")
    for name, scene in SLICE_FIELDS.items():
        if not isinstance(scene, Scene):
            rng = np.random.default_rng(5)
            scene = random_scene(
                rng, (29.0, 7.0), n_stars=scene[0], n_galaxies=scene[1], lambda_range=(6270.0, 6400.0)
            )
        truth = simulate_scipost(folder / "t", scene=Scene(), detector=still, **common)
        sim = simulate_scipost(folder / "f", scene=scene, **common)
        sky_rows, before = (reduce_both(s, plain, only="ours")["ours"] for s in (truth, sim))
        frames = sim.frames(without=["SKY_CONTINUUM"])
        for method in ("simple", "model"):
            options = {**plain, "skymethod": method}
            results = reduce_both(sim, options, frames)  # ours with sky_refine, which is the default
            bare = {**options, "sky_refine": "false"}
            results |= {"ours, not refined": reduce_both(sim, bare, frames, only="ours")["ours"]}
            for who, after in results.items():
                tables = (path / "PIXTABLE_REDUCED_0001.fits" for path in (sky_rows, before, after))
                e = recovery.sky_errors_of_apertures(*tables)
                print(
                    f"| {name} | {method} | {who} | {e.rows:.3f} | {e.row_lines:.3f} | {e.apertures:.2f} "
                    f"| {e.aperture_lines:.2f} | {e.offset:.2f} |",
                    flush=True,
                )


RED = (8290.0, 8420.0)
CROWDED_FIELDS = {  # seed of the objects, stars, galaxies, what differs
    "150 stars, 40 galaxies": (5, 150, 40, {}),
    "the same, seeing 1.1": (6, 150, 40, {"seeing": 1.1, "seed": 32}),
    "150 stars, 60 galaxies, seeing 0.6": (
        7, 150, 60, {"seeing": 0.6, "seed": 7, "lambda_range": (6650.0, 6780.0)}
    ),
    "250 stars, 40 galaxies, red": (8, 250, 40, {"seed": 33, "lambda_range": RED}),
    "150 stars, 40 galaxies, slices without errors": (9, 150, 40, {"seed": 34, "slice_errors": None}),
    "100 stars, 30 galaxies, seeing 0.9": (10, 100, 30, {"seeing": 0.9, "seed": 35}),
    "adaptive optics, seeing 0.5": (11, 150, 40, {"mode": "WFM-AO-N", "seeing": 0.5, "seed": 36}),
    "600 stars": (5, 600, 0, {}),
    "150 stars, 40 galaxies, another seed": (101, 150, 40, {"seed": 51}),
    "200 stars, 50 galaxies, seeing 0.7": (102, 200, 50, {"seed": 52, "seeing": 0.7}),
    "120 stars, 60 galaxies, seeing 1.1": (103, 120, 60, {"seed": 53, "seeing": 1.1}),
    "60 stars, 60 galaxies, blue": (105, 60, 60, {"seed": 55, "lambda_range": (5500.0, 5630.0)}),
    "400 stars, seeing 0.9": (106, 400, 0, {"seed": 56, "seeing": 0.9}),
}  # fmt: skip


def sky_crowded(folder: Path) -> None:
    """Level of the subtracted sky in crowded fields; C is our compatible mode."""
    still = Detector(noise=False, cosmic_rate=0.0, bad_fraction=0.0)
    print("| field | C | ours |\n|---|---|---|")
    for name, (seed, stars, galaxies, changes) in CROWDED_FIELDS.items():
        settings = {**SLICES, **changes}
        scene = random_scene(
            np.random.default_rng(seed), (29.0, 7.0), n_stars=stars, n_galaxies=galaxies,
            lambda_range=settings["lambda_range"],
        )  # fmt: skip
        truth = simulate_scipost(folder / "t", scene=Scene(), detector=still, **settings)
        sim = simulate_scipost(folder / "f", scene=scene, **settings)
        sky_rows, before = (reduce_both(s, ROWS, only="ours")["ours"] for s in (truth, sim))
        offsets = []
        for compat in (True, False):
            options = {**ROWS, "skymethod": "model", "compat": compat}
            after = reduce_both(sim, options, sim.frames(without=["SKY_CONTINUUM"]), only="ours")["ours"]
            tables = (path / "PIXTABLE_REDUCED_0001.fits" for path in (sky_rows, before, after))
            offsets.append(recovery.sky_errors_of_apertures(*tables).offset)
        print(f"| {name} | {offsets[0]:.1f} | {offsets[1]:.2f} |", flush=True)


AUTOCAL_FIELDS = {
    "6 stars, 4 galaxies": (6, 4),
    "two bright stars, a galaxy": Scene(
        (Star(-12.0, 3.0, 4e5), Star(10.0, -4.0, 3e5)),
        (Galaxy(0, 0, 1.2e5, size=8.0, axis_ratio=0.6, angle=20.0),),
    ),
    "empty": Scene(),
}


def autocal(folder: Path) -> None:
    """Slices with and without throughput errors of 1 %, corrected by factors from the field itself."""
    print("| field | errors | recipe | scatter of the slices [%] | robust [%] | level [%] |")
    print("|---|---|---|---|---|---|")
    for name, scene in AUTOCAL_FIELDS.items():
        if not isinstance(scene, Scene):
            rng = np.random.default_rng(7)
            scene = random_scene(
                rng, (29.0, 9.0), n_stars=scene[0], n_galaxies=scene[1], lambda_range=(6700, 6920)
            )
        for error in (0.01, 0.0):
            sim = simulate_scipost(
                folder / "autocal", n_ifu=8, lambda_range=(6700, 6920), seed=7, throughput_error=error,
                scene=scene,
            )  # fmt: skip
            here = np.array(sim.truth["ifus"]) - 1
            true = np.load(sim.outdir / "truth" / "throughput.npy") if error else np.ones((20, 24, 48))
            params = {"skymethod": "none", "autocalib": "deepfield", "rvcorr": "none", "save": "autocal"}
            for who, products in reduce_both(sim, params).items():
                table = fits.getdata(products / "AUTOCAL_FACTORS_0001.fits")
                used = int(np.argmax(table["npts"].reshape(20, -1).sum(axis=1)))
                left = (table["corr"].reshape(true.shape) * true)[used, here]
                robust = 148.26 * np.median(np.abs(left - np.median(left)))
                level = 100 * (left.mean() - true[used, here].mean())
                print(
                    f"| {name} | {100 * error:g} % | {who} | {100 * left.std():.2f} | {robust:.2f} "
                    f"| {level:+.2f} |",
                    flush=True,
                )


def raman(folder: Path) -> None:
    """Residual Raman light; the truth is 100 units in the strongest line."""
    print("| band | recipe | residual on the band [1e-20] | between |\n|---|---|---|---|")
    for band, window in (("O2", (6440, 6530)), ("N2", (6790, 6865))):
        sim = simulate_scipost(
            folder / "raman", mode="WFM-AO-N", ifus=range(9, 16), lambda_range=window, sky=False,
            scene=Scene(),            seed=8, raman=1.0,
        )  # fmt: skip
        bright = RAMAN_LINES.wavelength[RAMAN_LINES.group == (0 if band == "O2" else 1)]
        params = {
            "skymethod": "none",
            "rvcorr": "none",
            "save": "raman,individual",
            "skymodel_fraction": 0.75,
        }
        none = {**params, "save": "individual"}
        runs = {"not corrected": reduce_both(sim, none, sim.frames(without=["RAMAN_LINES"])).get("C")}
        runs |= reduce_both(sim, params)
        for who, products in runs.items():
            if products is not None:
                r = recovery.sky_residual(products / "PIXTABLE_REDUCED_0001.fits", 1.0, bright)
                print(f"| {band} | {who} | {r['lines']:.3f} | {r['between']:.3f} |", flush=True)


def darcheck(folder: Path) -> None:
    """Drift of a star between blue and red when the header gives the wrong weather."""
    sim = simulate_scipost(
        folder / "darcheck", ifus=(11, 12, 13), lambda_range=(4750, 5250), hour_angle=3.6, sky=False,
        scene=Scene((Star(0.5, 0.2, 3e5),)), seed=9, true_weather=Weather(11.5, 14.5, 1100.0),
    )  # fmt: skip
    print("| darcheck | recipe | drift from blue to red [mas] |\n|---|---|---|")
    for method in ("none", "correct"):
        params = {"skymethod": "none", "darcheck": method, "rvcorr": "none", "save": "cube"}
        for who, products in reduce_both(sim, params).items():
            drift = recovery.centroid_drift(products / "DATACUBE_FINAL.fits", sim.truth["stars"][0])
            print(f"| {method} | {who} | {1000 * drift:.1f} |", flush=True)


def main() -> None:
    """Run the sections named on the command line."""
    sections = {
        f.__name__: f for f in (stars, sky, sky_fields, sky_slices, sky_crowded, autocal, raman, darcheck)
    }
    np.seterr(invalid="ignore")
    with tempfile.TemporaryDirectory() as name:
        for section in sys.argv[1:] or sections:
            print(f"\n### {section}\n")
            sections[section](Path(name))


if __name__ == "__main__":
    main()

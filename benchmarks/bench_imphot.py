# SPDX-License-Identifier: BSD-3-Clause
"""Accuracy and speed of imphot on synthetic fields with known truth.

    python benchmarks/bench_imphot.py montecarlo --realisations 100 --processes 2 --output mc.json
    python benchmarks/bench_imphot.py speed
    python benchmarks/bench_imphot.py batch --files 16

The engine `fourier` stands for the existing imphot package, whose numbers it reproduces to 1e-7 when it is
given the same regridded image.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
import scipy.fft  # noqa: E402

import imphot  # noqa: E402
from imphot.images.sky_image import SkyImage  # noqa: E402
from muse_core.framework import workers  # noqa: E402
from muse_core.simulate.imphot_pairs import PairTruth, make_pair, make_sky, with_noise, write_pair  # noqa: E402

NAMES = ("dx", "dy", "bg", "scale", "fwhm", "beta")

# name: truth, sky, options of the fit, radius of the circles put over stars
CASES = {
    "typical": (PairTruth(hst_noise=0.01), {}, {}, 0.0),
    "edge through sources": (
        PairTruth(field_rotation=20.0, border=2, dx=0.25, dy=0.11, scale=0.9, bg=1.2),
        {"bright_edge": True},
        {},
        0.0,
    ),
    "faint, beta fixed": (
        PairTruth(noise=6.0, dx=-0.1, dy=0.3, scale=1.0, bg=0.0, hst_noise=0.01),
        {"nstar": 1, "star_flux": (200.0, 400.0), "disc_flux": (20.0, 400.0)},
        {"fix_beta": 2.5},
        0.0,
    ),
    "rotated 33 deg": (PairTruth(rotation=33.0, fwhm=0.72, beta=2.3, dx=-0.21, dy=0.17), {}, {}, 0.0),
    "moved stars masked": (
        PairTruth(moved_stars=0.15, star_scale=1.15),
        {"star_flux": (1500.0, 6000.0)},
        {},
        3.0,
    ),
    "stars masked": (PairTruth(dx=-0.15, dy=0.2), {"star_flux": (1500.0, 6000.0)}, {}, 3.0),
    "12 arcsec field": (PairTruth(size=12.0, noise=0.3), {"nstar": 1, "ndisc": 15}, {}, 0.0),
    "sharp, 0.42 arcsec": (PairTruth(fwhm=0.42, beta=2.0, noise=0.5), {}, {}, 0.0),
    "noisy HST": (PairTruth(hst_noise=0.03, fwhm=0.6), {}, {}, 0.0),
    "correlated noise": (PairTruth(extra={"correlated": True}, hst_noise=0.01), {}, {}, 0.0),
}


def _wcs(header):
    from astropy.wcs import WCS

    return WCS(header)


def _regions(sky, truth, radius):
    if not radius:
        return None
    c = np.cos(np.radians(truth.dec))
    lines = ["fk5"]
    for xi, eta in zip(sky.star_xi, sky.star_eta, strict=True):
        lines.append(f'-circle({truth.ra + xi / 3600.0 / c:.8f},{truth.dec + eta / 3600.0:.8f},{radius}")')
    return lines


def _correlate(noise):
    """Neighbouring pixels share noise, as after a drizzle; the variance per pixel stays."""
    from scipy import ndimage

    kernel = np.outer([0.35, 1.0, 0.35], [0.35, 1.0, 0.35])
    return ndimage.convolve(noise, kernel / np.sqrt(np.sum(kernel**2)), mode="wrap")


def _one(job):
    """All realisations of a chunk for one case: list of (values, errors) per engine."""
    name, seeds = job
    truth, sky_options, options, radius = CASES[name]
    sky = make_sky(11 + list(CASES).index(name), truth.size, **sky_options)
    pair = make_pair(sky, truth)
    regions = _regions(sky, truth, radius)
    hst_wcs, muse_wcs = _wcs(pair[1]), _wcs(pair[3])
    out = []
    for seed in seeds:
        hst, muse, variance = with_noise(pair, truth, seed)
        if truth.extra.get("correlated"):
            muse = pair[2] + _correlate((muse - pair[2]).astype(float))
        row = {}
        for engine in ("image", "fourier"):
            himage = SkyImage(hst, None, None, hst_wcs, "ELECTRONS/S")
            himage.data_header["FILTER"] = "F775W"
            mimage = SkyImage(muse, variance, None, muse_wcs, "10**(-20)*erg/s/cm**2/Angstrom")
            if engine == "fourier":
                himage = imphot.regrid_hst_like_muse(imphot.rescale_hst_like_muse(himage, mimage), mimage)
            started = time.process_time()
            fit = imphot.fit_image_photometry(himage, mimage, method=engine, regions=regions, **options)
            seconds = time.process_time() - started
            values = [getattr(fit, n).value for n in NAMES]
            errors = [getattr(fit, n).stdev for n in NAMES]
            row[engine] = (values, errors, seconds, fit.rchi, fit.flag)
        out.append(row)
    return name, out


def montecarlo(realisations, processes, output, only=None, first_seed=0):
    """Run the cases and print the table of docs/validation.md."""
    names = [n for n in CASES if only is None or n in only]
    seeds = np.array_split(np.arange(realisations) + first_seed, processes)
    jobs = [(name, [int(s) for s in chunk]) for name in names for chunk in seeds]
    rows = {name: [] for name in names}
    with ProcessPoolExecutor(processes) as pool:
        for name, part in pool.map(_one, jobs):
            rows[name] += part
    summary = {name: summarise(rows[name], CASES[name][0], CASES[name][2]) for name in names}
    if output:
        Path(output).write_text(
            json.dumps({"realisations": realisations, "cases": summary}, indent=1), encoding="utf-8"
        )
    sys.stdout.write(table(summary, realisations))
    return summary


def summarise(rows, truth, options):
    """Bias, scatter, quoted errors of both engines for one case."""
    out = {}
    for engine in ("image", "fourier"):
        values = np.array([r[engine][0] for r in rows], float)
        errors = np.array([r[engine][1] for r in rows], float)
        expected = np.array([getattr(truth, n) for n in NAMES])
        bias, scatter = (values - expected).mean(0), values.std(0, ddof=1)
        out[engine] = {
            "bias": bias.tolist(),
            "scatter": scatter.tolist(),
            "quoted": np.sqrt(np.nanmean(errors**2, 0)).tolist(),
            "bias_sem": (bias / np.where(scatter > 0, scatter / np.sqrt(len(rows)), np.inf)).tolist(),
            "seconds": float(np.mean([r[engine][2] for r in rows])),
            "flags": sorted({r[engine][4] for r in rows}),
            "rchi": float(np.mean([r[engine][3] for r in rows])),
        }
    out["free"] = [n for n in NAMES if f"fix_{n}" not in options]
    return out


def table(summary, realisations):
    """Markdown table of a summary."""
    lines = [
        f"{realisations} realisations; bias/sem = mean error over the standard error of the mean; "
        "quoted/scatter should be 1.\n",
        "| case | parameter | image: bias | bias/sem | scatter | quoted/scatter | fourier: bias | "
        "bias/sem | scatter | quoted/scatter |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, case in summary.items():
        for i, n in enumerate(NAMES):
            if n not in case["free"]:
                continue
            cells = []
            for engine in ("image", "fourier"):
                e = case[engine]
                cells += [
                    f"{e['bias'][i]:.5f}",
                    f"{e['bias_sem'][i]:.1f}",
                    f"{e['scatter'][i]:.5f}",
                    f"{e['quoted'][i] / e['scatter'][i]:.2f}",
                ]
            lines.append(f"| {name} | {n} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def speed(repeats=3):
    """CPU seconds for a 64 arcsec field: engine image from the HST frame; engine fourier with its
    regridding.
    """
    truth = PairTruth(size=64.0)
    sky = make_sky(3, truth.size, nstar=12, ndisc=150)
    pair = make_pair(sky, truth)
    with tempfile.TemporaryDirectory() as folder:
        hst, muse = write_pair(folder, "field", pair, truth)
        for label, options in (("beta free", {}), ("beta fixed", {"fix_beta": 2.5})):
            for engine in ("image", "fourier"):
                best = []
                for _ in range(repeats):
                    started = time.process_time()
                    image = str(hst)
                    if engine == "fourier":
                        image = imphot.regrid_hst_like_muse(
                            imphot.rescale_hst_like_muse(image, str(muse)), str(muse)
                        )
                    imphot.fit_image_photometry(image, str(muse), method=engine, **options)
                    best.append(time.process_time() - started)
                sys.stdout.write(
                    f"{label:10s} {engine:8s} regridding and fit {min(best):.2f} s CPU (best of {repeats})\n"
                )


def batch(files, rounds=3):
    """Wall and CPU time of a batch of images with 1, 2 and 4 processes.

    Every image is the same work for any number of processes: a fit from the files on disk.  With other work
    on the machine the wall times are upper limits, so the best of several rounds is taken, in each of which
    all numbers of processes take their turn; the CPU time of all workers against that of one says how much
    they hinder each other.  What the machine allows is seen from separate programs that share nothing and
    fit their part of the images one by one, in the same rounds.
    """
    truth = PairTruth(size=64.0)
    sky = make_sky(3, truth.size, nstar=12, ndisc=150)
    pair = make_pair(sky, truth)
    counts = (1, 2, 4)
    with tempfile.TemporaryDirectory() as folder:
        names = [write_pair(folder, f"f{i:02d}", pair, truth, seed=i) for i in range(files)]
        runs = {(state, n): [] for state in ("cold", "warm", "separate") for n in counts}
        for _ in range(rounds):
            for n in counts:
                workers.shared_pool().close()
                runs["cold", n].append(_fit_all(names, n))
                runs["warm", n].append(_fit_all(names, n))
                runs["separate", n].append((_run_programs([names[k::n] for k in range(n)]), np.nan))
    best = {key: [min(run[k] for run in values) for k in (0, 1)] for key, values in runs.items()}
    for (state, n), (wall, cpu) in best.items():
        wall_1, cpu_1 = best[state, 1]
        sys.stdout.write(
            f"{state}: {files} images, {n} processes: {wall:.2f} s, CPU of all {cpu:.2f} s; "
            f"efficiency {wall_1 / wall / n:.0%}, CPU efficiency {cpu_1 / cpu:.0%}\n"
        )
    sys.stdout.write(
        f"best of {rounds} rounds; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n"
    )


def _run_programs(shares):
    """Wall seconds of programs that fit their images after a common start, imports and first fits done."""
    programs = [
        subprocess.Popen(
            [sys.executable, __file__, "share", "--images", *(str(name) for pair in share for name in pair)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | workers.ENVIRONMENT,
        )
        for share in shares
    ]
    for program in programs:
        program.stdout.readline()  # it is ready
    started = time.perf_counter()
    for program in programs:
        program.stdin.write("go\n")
        program.stdin.flush()
    for program in programs:
        program.stdout.readline()  # it has finished
    wall = time.perf_counter() - started
    for program in programs:
        program.communicate()
    return wall


def share(names):
    """One of these programs."""
    pairs = list(zip(names[::2], names[1::2], strict=True))
    for part in (pairs[:2], pairs):
        for hst, muse in part:
            imphot.fit_image_photometry(hst, muse, method="image")
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()


def machine_limit(processes=4, rounds=5):
    """Print how well independent work that fits into the cache scales here: what a batch can reach.

    Cores that share their arithmetic units in pairs do not give 100 %.
    """
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(_transforms, range(4 * processes)))  # all workers are awake
        alone = min(pool.submit(_transforms, 0).result() for _ in range(rounds))
        together = min(max(pool.map(_transforms, range(processes))) for _ in range(rounds))
    sys.stdout.write(
        f"the machine itself: small transforms in {processes} processes reach {alone / together:.0%}\n"
    )


def _transforms(_):
    """Seconds of transforms of an image that stays in the cache of a core."""
    image = np.random.default_rng(0).normal(size=(128, 128))
    started = time.perf_counter()
    for _ in range(3000):
        scipy.fft.rfft2(image)
    return time.perf_counter() - started


def _fit_all(names, processes):
    """Wall and CPU seconds of a batch; workers started for it count from their start."""
    before = _cpu_of_workers()
    started = time.perf_counter()
    muse = [str(m) for _, m in names]
    with imphot.FitImagePhotometryMP(str(names[0][0]), muse, {"method": "image"}, nworker=processes) as fits:
        count = sum(1 for _ in fits)
    wall = time.perf_counter() - started
    if count != len(names):
        raise RuntimeError(f"{count} results for {len(names)} images")
    after = _cpu_of_workers()
    return wall, sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def _cpu_of_workers():
    """CPU seconds of each living worker process, by its number (Linux)."""
    out = {}
    for worker in workers.shared_pool().living():
        fields = (
            Path(f"/proc/{worker.process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        )
        out[worker.process.pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return out


def main():
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("montecarlo", "speed", "batch", "share"))
    parser.add_argument("--realisations", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of batch")
    parser.add_argument("--images", nargs="*", default=None, help="share: files of the programs of batch")
    parser.add_argument("--output", default=None)
    parser.add_argument("--only", nargs="*", default=None)
    options = parser.parse_args()
    if options.what == "montecarlo":
        montecarlo(options.realisations, options.processes, options.output, options.only, options.first_seed)
    elif options.what == "speed":
        speed()
    elif options.what == "share":
        share(options.images)
    else:
        batch(options.files, options.rounds)
        machine_limit()


if __name__ == "__main__":
    main()

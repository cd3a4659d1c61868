# SPDX-License-Identifier: BSD-3-Clause
"""Make ``tests/data/golden/scibasic.tar.xz``: small raw sets and what C muse_scibasic 2.8.7 makes of them.

    python -m tests.basic.make_golden

needs the C pipeline. Inputs are stored, too, so that changes of the simulator do not matter.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits

from muse_core.simulate.raw import RawSetup
from muse_core.simulate.raw_science import simulate_raw_science
from tests.basic.golden_parts import EVERY, parts_of
from tests.golden import FOLDER

SETS = {
    "lines": (
        RawSetup(nx=144, ny=72, ifus=(2,), cosmics=12, saturated=4e-5, lambda_min=6210.0, lambda_max=6400.0),
        {"shift": 0.21, "illum": False},
    ),
    "laser": (RawSetup(nx=144, ny=48, ifus=(7,), mode="WFM-AO-N", lambda_min=4600, lambda_max=9450), {}),
}
ORDER = "--overscan=vpoly:6"
RUNS = {
    "default": ("lines", "OBJECT", (ORDER,)),
    "cr": ("lines", "OBJECT", (ORDER, "--cr=dcr", "--xbox=20", "--ybox=30", "--thres=4.5", "--passes=3")),
    "sky": (
        "lines", "OBJECT",
        (ORDER, "--skylines=6300.304", "--skyreject=4.,4.,2", "--skyhalfwidth=6", "--skybinsize=0.2"),
    ),
    "offset": ("lines", "SKY", ("--overscan=offset", "--ovscreject=fit", "--skylines=none", "--crop=false")),
    "all": ("laser", "OBJECT", (ORDER, "--skylines=none", "--resample=true")),
    "std": ("laser", "STD", (ORDER, "--skylines=none", "--saveimage=false", "--crop=false")),
}  # fmt: skip
KEPT_BITS = 12  # of the mantissa of masters: noise takes room


def rounded(path: Path) -> None:
    """Round the images of a master, so that they pack well."""
    with fits.open(path, mode="update") as hdus:
        for hdu in hdus[1:]:
            if hdu.is_image and hdu.data is not None and hdu.data.dtype.kind == "f":
                mantissa, exponent = np.frexp(hdu.data.astype(np.float64))
                scale = 2.0**KEPT_BITS
                hdu.data = np.ldexp(np.rint(mantissa * scale) / scale, exponent).astype(np.float32)


def twilight_cube(path: Path) -> None:
    """A smooth cube over the field."""
    z, y, x = np.mgrid[0:6, 0:42, 0:42].astype(float)
    data = 1 + 0.002 * (x - 20) - 0.001 * (y - 20) + 0.01 * z
    hdu = fits.ImageHDU(data.astype(np.float32), name="DATA")
    for axis, (first, step) in enumerate(((-210.0, 10.0), (-210.0, 10.0), (4700.0, 900.0)), 1):
        hdu.header[f"CRPIX{axis}"], hdu.header[f"CRVAL{axis}"], hdu.header[f"CD{axis}_{axis}"] = (
            1.0,
            first,
            step,
        )
    primary = fits.PrimaryHDU()
    primary.header["HIERARCH ESO DRS MUSE FLAT FLUX SKY7"] = 1.5e7
    fits.HDUList([primary, hdu]).writeto(path)


def main() -> None:
    """Simulate, run the C recipe, keep a part of its products."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        keep = root / "keep"
        runs = {}
        for set_name, (setup, options) in SETS.items():
            frames = simulate_raw_science(
                keep / set_name, setup, n_stars=2, skyflats=0, calibrations=False, **options
            ).raw
            for path, tag in frames:
                if tag.startswith("MASTER"):
                    rounded(path)
            if set_name == "laser":
                twilight_cube(keep / set_name / "twilight.fits")
                frames.append((keep / set_name / "twilight.fits", "TWILIGHT_CUBE"))
            used = {path.name for path, _ in frames}
            for path in (keep / set_name).iterdir():
                if path.name not in used:
                    path.unlink()
            for run, (own, tag, words) in RUNS.items():
                if own != set_name:
                    continue
                chosen = [(path, tag if kind == "OBJECT" else kind) for path, kind in frames]
                out = root / run
                out.mkdir()
                (out / "set.sof").write_text("".join(f"{path} {kind}\n" for path, kind in chosen))
                command = ["esorex", f"--output-dir={out}", f"--log-dir={out}", "muse_scibasic"]
                ifu = f"--nifu={setup.ifus[0]}"
                subprocess.run([*command, ifu, *words, str(out / "set.sof")], cwd=out, check=True)
                runs[run] = {
                    "frames": [(f"{set_name}/{path.name}", kind) for path, kind in chosen],
                    "options": dict(word[2:].split("=") for word in (ifu, *words)),
                    "products": sorted(path.name for path in out.glob("*.fits")),
                }
                for product in runs[run]["products"]:
                    arrays, headers = parts_of(out / product, EVERY)
                    np.savez_compressed(keep / f"{run}_{product[:-5]}.npz", **arrays)
                    (keep / f"{run}_{product[:-5]}.json").write_text(json.dumps(headers))
        (keep / "runs.json").write_text(json.dumps(runs, indent=1))
        with tarfile.open(FOLDER / "scibasic.tar.xz", "w:xz", preset=9) as archive:
            for path in sorted(keep.rglob("*")):
                archive.add(path, path.relative_to(keep), recursive=False)


if __name__ == "__main__":
    main()

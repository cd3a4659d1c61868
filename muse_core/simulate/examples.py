# SPDX-License-Identifier: BSD-3-Clause
"""Data for the sets of frames in `sof_examples`: one folder per case, small enough to run in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from muse_core.simulate.arcs import arc_setup, simulate_arcs
from muse_core.simulate.fields import FieldPlan, simulate_fields, write_fields
from muse_core.simulate.imphot_pairs import PairTruth, make_pair, make_sky, write_pair
from muse_core.simulate.night import NightSetup, simulate_night
from muse_core.simulate.raw import simulate_raw
from muse_core.simulate.raw_instrument import RawSetup
from muse_core.simulate.scipost import simulate_scipost
from muse_core.simulate.star_fields import StarField, simulate_astrometric_field, simulate_standard

_SMALL: dict[str, Any] = {"n_ifu": 1, "slices": 24, "columns": 24, "lsf": "merged", "seed": 17}
_RED: dict[str, Any] = {"lambda_range": (6270.0, 6330.0)}
SCIPOST: dict[str, dict[str, Any]] = {
    "single": _RED,
    "several": _RED | {"n_exposures": 2, "offsets": [(0.0, 0.0), (0.6, -0.4)]},
    "ao": {"mode": "WFM-AO-N", "lambda_range": (6440.0, 6520.0)},
    "nfm": _RED | {"mode": "NFM-AO-N"},
    "autocal": _RED | {"autocal": True, "throughput_error": 0.05},
    "sky": _RED | {"sky_mask": "celestial", "output_wcs": True},
}


def simulate_examples(folder: str | Path, threads: int = 2) -> list[str]:
    """Write the data of all examples; returns the names of the folders.

    Parameters
    ----------
    folder : made if missing; MUSE_EXAMPLES is to name it when an example is run
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    for name, choice in SCIPOST.items():
        simulate_scipost(root / name, **(_SMALL | choice), threads=threads)
    plan = FieldPlan(exposures=3, shape=(120, 120), stars=25, seed=3)
    (root / "align").mkdir(exist_ok=True)
    write_fields(simulate_fields(plan), root / "align")
    (root / "hst").mkdir(exist_ok=True)
    truth = PairTruth(size=16.0, hst_noise=0.005)
    pair = make_pair(make_sky(3, truth.size, nstar=3, ndisc=20), truth)
    for number in range(2):
        write_pair(root / "hst", f"e{number}", pair, truth, number, f"2026-01-0{number + 1}T01:02:03.456")
    simulate_raw(root / "twilight", RawSetup(nx=192, ny=48, ifus=(1, 2), cosmics=2))
    simulate_arcs(root / "arcs", arc_setup(nx=240, ifus=(1,), cosmics=2), exposures=1)
    simulate_standard(root / "standard", StarField(nx=30, ny=30, first=6750.0, n_lam=160, fwhm=2.6), seed=17)
    simulate_astrometric_field(root / "astrometry", seed=17)
    night = NightSetup(raw=RawSetup(nx=512, ny=48, ifus=(1, 2), cosmics=2), traps=False)
    simulate_night(root / "night", night)
    return [*SCIPOST, "align", "hst", "twilight", "arcs", "standard", "astrometry", "night"]

# SPDX-License-Identifier: BSD-3-Clause
"""A run of muse_scipost by both recipes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from muse_core.framework import run_recipe
from tests.parity.compare import option_text


@dataclasses.dataclass(frozen=True)
class Case:
    """A run: which observation, which frames are left out, which options."""

    field: str
    options: dict
    without: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()


def run_both(c_pipeline, simulation, case, tmp_path, monkeypatch, **common) -> dict[str, tuple[Path, Path]]:
    """Reduce an observation with the C recipe and with ours; they must make products of the same names.

    Parameters
    ----------
    common
        options where the case has no others

    Returns
    -------
    dict
        the file of the C recipe and ours, by name
    """
    options = {"save": "cube", **common, **case.options}
    sof = simulation.write_sof(tmp_path / "in.sof", without=case.without)
    c_pipeline.run("muse_scipost", sof, tmp_path / "c", *option_text(options), env=dict(case.env))
    for key, value in case.env:
        monkeypatch.setenv(key, value)
    (tmp_path / "ours").mkdir()
    products = run_recipe(
        "muse_scipost", simulation.frames(without=case.without), options, workdir=tmp_path / "ours"
    )
    ours = {product.path.name: product.path for product in products}
    peer = {path.name: path for path in (tmp_path / "c").glob("*.fits")}
    peer.pop("fov_clean.fits", None)  # left behind by the C pipeline with sdpCube, not a product
    assert set(ours) == set(peer)
    return {name: (peer[name], ours[name]) for name in sorted(peer)}

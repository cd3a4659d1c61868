# SPDX-License-Identifier: BSD-3-Clause
"""Recipes make the same of inputs that are packed, as archives and programs pack them"""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import pytest
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.tools import main
from tests.corpus.worlds import WORLDS
from tests.framework.test_lzw import packed as lzw

pytestmark = pytest.mark.unit

KINDS = (".gz", ".bz2", ".Z", ".fz")


def tiled(hdu):
    """One unit as fpack writes it: images in tiles, without loss; tables as they are."""
    if hdu.data is None or isinstance(hdu, fits.BinTableHDU):
        return hdu.copy()
    return fits.CompImageHDU(hdu.data, hdu.header, compression_type="GZIP_2", quantize_level=0)


def pack(path: Path, folder: Path, kind: str) -> Path:
    target = folder / f"{path.name}{kind}"
    if kind == ".fz":
        with fits.open(path, memmap=False) as hdus:
            units = [tiled(hdu) for hdu in hdus]
            primary = isinstance(units[0], fits.CompImageHDU)
            fits.HDUList([fits.PrimaryHDU()] * primary + units).writeto(target)
        if primary:
            with fits.open(target, mode="update", disable_image_compression=True) as hdus:
                hdus[1].header.set("ZSIMPLE", True, after="TFIELDS")
    else:
        target.write_bytes({".gz": gzip.compress, ".bz2": bz2.compress, ".Z": lzw}[kind](path.read_bytes()))
    return target


def sums(products) -> dict[str, list[str]]:
    """The check sums of the data of all products."""
    found = {}
    for product in products:
        with fits.open(product.path) as hdus:
            found[product.path.name] = [hdu.header.get("DATASUM") for hdu in hdus]
    return found


def run(world, frames, folder):
    folder.mkdir()
    return sums(run_recipe(world.recipe, frames, dict(world.options), workdir=folder, threads=2))


@pytest.mark.parametrize("name", WORLDS)
def test_packed_inputs_give_the_same(name, tmp_path):
    (tmp_path / "in").mkdir()
    world = WORLDS[name](tmp_path / "in")
    plain = run(world, world.frames, tmp_path / "plain")
    assert plain
    for kind in KINDS:
        folder = tmp_path / kind[1:]
        folder.mkdir()
        packed = {}
        for path in dict.fromkeys(path for path, _ in world.frames):
            packed[path] = pack(Path(path), folder, kind) if Path(path).suffix == ".fits" else path
        frames = [(packed[path], tag) for path, tag in world.frames]
        assert run(world, frames, tmp_path / f"out{kind}") == plain, kind


def test_packed_products_have_a_page(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    world = WORLDS["combine"](tmp_path / "in")
    (tmp_path / "out").mkdir()
    made = run_recipe(world.recipe, world.frames, dict(world.options), workdir=tmp_path / "out", threads=2)
    cube = next(product.path for product in made if product.tag == "DATACUBE_FINAL")
    for kind in KINDS:
        page = tmp_path / f"page{kind}.html"
        assert main(["report", str(pack(cube, tmp_path, kind)), "-o", str(page)]) == 0, capsys.readouterr()
        assert "DATACUBE_FINAL" in page.read_text()

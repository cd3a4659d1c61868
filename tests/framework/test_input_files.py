# SPDX-License-Identifier: BSD-3-Clause
"""Packed inputs give the same as plain ones; what is no file is refused; inputs are never replaced."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import logging
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import Input, InputError, Param, Product, RecipeError, RecipeSpec, Words, run_recipe
from muse_core.framework.frames import Frame
from muse_core.framework.registry import LoadedRecipe
from tests.framework.test_lzw import packed as lzw_packed

pytestmark = pytest.mark.unit

SPEC = RecipeSpec(
    name="muse_test_door",
    summary="for this test",
    params=(Param("save", "copy", kind=Words(("copy", "more"))),),
    inputs=(Input("PICTURE", "RAW", min=0, max=None), Input("NOTE_TABLE", min=0)),
    products=(Product("COPY"), Product("MORE", save="more", series=True)),
)


def recipe(seen):
    def run(frames, p, ctx):
        ctx.problems.raise_if_any()
        for frame in frames["PICTURE"]:
            with fits.open(frame.path) as hdus:
                seen.append((frame.name, frame.path, hdus[1].data.sum(), [h.name for h in hdus]))
            if "bad" in frame.name:
                raise InputError(frame.path, "keyword X", expected="1", found="2")
            ctx.log.info("read %s", frame.path)

    return LoadedRecipe(SPEC, run, Path(__file__))


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.fits"
    data = np.arange(12000, dtype=np.float32).reshape(100, 120)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, name="DATA")]).writeto(path)
    return path


def pack(path, kind):
    target = path.with_name(path.name + kind)
    data = path.read_bytes()
    if kind == ".fz":
        with fits.open(path) as hdus:
            tiles = fits.CompImageHDU(
                hdus[1].data, hdus[1].header, compression_type="GZIP_2", quantize_level=0
            )
            fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(target)
    else:
        target.write_bytes({".gz": gzip.compress, ".bz2": bz2.compress, ".Z": lzw_packed}[kind](data))
    return target


@pytest.mark.parametrize("kind", ["", ".gz", ".bz2", ".Z", ".fz"])
def test_packed_and_plain_are_the_same(picture, tmp_path, kind):
    source = pack(picture, kind) if kind else picture
    out, seen = tmp_path / "out", []
    out.mkdir()
    run_recipe(recipe(seen), [Frame(source, "PICTURE")], workdir=out)
    name, path, total, names = seen[0]
    assert (name, total, names) == (source.name, np.arange(12000.0, dtype="f4").sum(), ["PRIMARY", "DATA"])
    assert path.exists() is (kind == "")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("kind", [".gz", ".bz2", ".Z"])
def test_a_damaged_file_is_refused_by_its_own_name(picture, tmp_path, kind):
    source = pack(picture, kind)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2] if kind != ".Z" else data[:600] + b"\xff" * 100)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError, match=f"{source.name}: file: expected intact packed data"):
        run_recipe(recipe([]), [Frame(source, "PICTURE")], workdir=out)
    assert list(out.iterdir()) == []


def test_a_bomb_is_refused(tmp_path):
    bomb = tmp_path / "bomb.fits.gz"
    bomb.write_bytes(gzip.compress(bytes(80_000_000)))
    with pytest.raises(InputError, match="when unpacked, found more"):
        run_recipe(recipe([]), [Frame(bomb, "PICTURE")], workdir=tmp_path)


@pytest.mark.parametrize("fault", ["stream", "axis", "kind"])
def test_damaged_tiles_are_one_message(picture, tmp_path, fault):
    source = pack(picture, ".fz")
    data = bytearray(source.read_bytes())
    if fault == "stream":
        data[-2000:-200] = b"\x00\xff" * 900
    else:
        old = b"ZNAXIS2 =                  100" if fault == "axis" else b"ZCMPTYPE= 'GZIP_2  '"
        new = b"ZNAXIS2 =                  900" if fault == "axis" else b"ZCMPTYPE= 'SQUASH_9'"
        assert old in data
        data = bytearray(bytes(data).replace(old, new))
    source.write_bytes(data)
    with pytest.raises(InputError, match=rf"{source.name}: file: expected intact packed data \(tiles\)"):
        run_recipe(recipe([]), [Frame(source, "PICTURE")], workdir=tmp_path)


def test_spare_bytes_behind_tiles_are_no_damage(picture, tmp_path):
    source = pack(picture, ".fz")
    source.write_bytes(source.read_bytes() + b"\x00" * 2880)
    seen = []
    run_recipe(recipe(seen), [Frame(source, "PICTURE")], workdir=tmp_path)
    assert seen[0][2] == np.arange(12000.0, dtype="f4").sum()


def test_tiles_that_promise_too_much_are_refused(picture, tmp_path):
    source = pack(picture, ".fz")
    data = source.read_bytes().replace(b"ZNAXIS1 =                  120", b"ZNAXIS1 =           2000000000")
    source.write_bytes(data)
    with pytest.raises(InputError, match="when unpacked, found more"):
        run_recipe(recipe([]), [Frame(source, "PICTURE")], workdir=tmp_path)


def test_messages_name_the_folder_of_the_user(picture, tmp_path, caplog):
    hidden = tmp_path / ".host"
    hidden.mkdir()

    def run(frames, p, ctx):
        ctx.log.warning("%s is odd", ctx.workdir / "part.fits")
        raise RecipeError(f"{ctx.workdir / 'part.fits'}: bad")

    loaded = LoadedRecipe(SPEC, run, Path(__file__))
    with pytest.raises(RecipeError) as caught:
        run_recipe(loaded, [Frame(picture, "PICTURE")], workdir=hidden, deliver_to=tmp_path)
    assert str(caught.value) == f"{tmp_path}/part.fits: bad"
    assert f"{tmp_path}/part.fits is odd" in caplog.text


def test_all_errors_name_the_file_given(picture, tmp_path):
    source = pack(picture, ".gz")

    def run(frames, p, ctx):
        raise RecipeError(f"{frames['PICTURE'][0].path}: bad")

    with pytest.raises(RecipeError) as caught:
        run_recipe(LoadedRecipe(SPEC, run, Path(__file__)), [Frame(source, "PICTURE")], workdir=tmp_path)
    assert str(caught.value) == f"{source}: bad"


def test_what_names_the_tag_alone_is_told_with_its_file(picture, tmp_path, caplog):
    def run(frames, p, ctx):
        ctx.log.warning("PICTURE covers nothing")
        ctx.log.warning("PICTURES are many")
        raise InputError("", "PICTURE, column x", expected=1, found=2)

    with pytest.raises(InputError) as caught:
        run_recipe(LoadedRecipe(SPEC, run, Path(__file__)), [Frame(picture, "PICTURE")], workdir=tmp_path)
    assert str(caught.value) == f"{picture}: PICTURE, column x: expected 1, found 2"
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told[:2] == [f"{picture}: PICTURE covers nothing", "PICTURES are many"]


def test_faults_that_a_recipe_does_not_ask_for_are_raised(tmp_path):
    silent = LoadedRecipe(SPEC, lambda frames, p, ctx: None, Path(__file__))
    with pytest.raises(InputError, match="an existing file"):
        run_recipe(silent, [Frame(tmp_path / "no.fits", "PICTURE")], workdir=tmp_path)


def test_flags_of_one_part_are_not_those_of_the_next(picture, tmp_path):
    spec = dataclasses.replace(
        SPEC, products=(Product("MORE", series=True), Product("COPY")), qc_group="DOOR"
    )

    def run(frames, p, ctx):
        def save(tag, index=None):
            hdus = fits.HDUList([fits.PrimaryHDU()])
            ctx.save(tag, hdus, base=fits.Header(), used=frames["PICTURE"], index=index)

        for number, good in ((1, False), (2, True)):
            with ctx.part():
                ctx.flag("GOOD", good, "")
                save("MORE", number)
        save("COPY")

    run_recipe(LoadedRecipe(spec, run, Path(__file__)), [Frame(picture, "PICTURE")], workdir=tmp_path)
    names = ("MORE_0001", "MORE_0002", "COPY")
    flags = [fits.getheader(tmp_path / f"{name}.fits")["ESO QC DOOR GOOD"] for name in names]
    assert flags == [False, True, False]


def test_frames_that_are_not_used_are_not_replaced_either(picture, tmp_path):
    source = picture.rename(tmp_path / "COPY.fits")
    with pytest.raises(InputError, match="would replace it"):
        run_recipe(recipe([]), [Frame(source, "UNKNOWN_TAG")], workdir=tmp_path)


def test_messages_name_the_file_given(picture, tmp_path, caplog):
    source = pack(picture, ".gz")
    caplog.set_level(logging.INFO)
    run_recipe(recipe([]), [Frame(source, "PICTURE")], workdir=tmp_path)
    assert f"read {source}" in caplog.text
    bad = source.rename(tmp_path / "bad.fits.gz")
    with pytest.raises(InputError) as caught:
        run_recipe(recipe([]), [Frame(bad, "PICTURE")], workdir=tmp_path)
    assert str(caught.value) == f"{bad}: keyword X: expected 1, found 2"


@pytest.mark.parametrize("kind", ["folder", "fifo", "device", "socket", "loop", "none"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "x.fits"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "loop":
        path.symlink_to(path)
    words = {"folder": "a folder", "fifo": "a pipe", "device": "a device", "socket": "a socket",
             "loop": "links that lead back", "none": "an existing file"}  # fmt: skip
    with pytest.raises(InputError, match=words[kind]):
        run_recipe(recipe([]), [Frame(path, "PICTURE")], workdir=tmp_path)


@pytest.mark.parametrize("way", ["itself", "link", "hard link"])
def test_a_product_never_replaces_an_input(picture, tmp_path, way):
    target = tmp_path / "COPY.fits"
    if way == "itself":
        picture = picture.rename(target)
    elif way == "link":
        target.symlink_to(picture)
    else:
        target.hardlink_to(picture)
    with pytest.raises(InputError, match="would replace it"):
        run_recipe(recipe([]), [Frame(picture, "PICTURE")], workdir=tmp_path)


def test_only_products_that_are_made_count(picture, tmp_path):
    source = picture.rename(tmp_path / "MORE_0001.fits")
    run_recipe(recipe([]), [Frame(source, "PICTURE")], workdir=tmp_path)
    with pytest.raises(InputError, match="would replace it"):
        run_recipe(recipe([]), [Frame(source, "PICTURE")], {"save": "more"}, workdir=tmp_path)


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("PICTUR", "did you mean PICTURE?"),
        ("OBJECT", "tag OBJECT"),
        ("", "has no tag"),
        ("IMPHOT_MASK", "it is one of muse_imphot"),
    ],
)
def test_a_tag_that_is_not_known_is_told(picture, tmp_path, caplog, tag, words):
    run_recipe(recipe([]), [Frame(picture, tag)], workdir=tmp_path)
    assert words in caplog.text
    assert str(picture) in caplog.text


def test_tags_that_were_found_are_listed(picture, tmp_path):
    spec = RecipeSpec("muse_test_count", "", inputs=(Input("PICTURE", "RAW"), Input("NOTE_TABLE", min=0)))
    counting = LoadedRecipe(spec, lambda frames, p, ctx: ctx.problems.raise_if_any(), Path(__file__))
    frames = [Frame(picture, "PICTURS"), Frame(picture, "NOTE_TABLE")]
    with pytest.raises(InputError, match=r"0 among 2 frames given, whose tags are: NOTE_TABLE \(1\), PIC"):
        run_recipe(counting, frames, workdir=tmp_path)


def test_packed_raw_frames_keep_their_counts(tmp_path):
    """Raw frames of the archive are unsigned 16-bit integers, stored with BZERO and packed with fpack."""
    source = tmp_path / "raw.fits.fz"
    counts = np.arange(12000, dtype=np.uint16).reshape(100, 120) * 5
    unit = fits.CompImageHDU(counts, name="DATA", compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(source)
    assert b"BZERO   =                32768" in source.read_bytes()
    seen = []
    run_recipe(recipe(seen), [Frame(source, "PICTURE")], workdir=tmp_path)
    assert seen[0][2] == counts.sum()

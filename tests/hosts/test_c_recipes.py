# SPDX-License-Identifier: BSD-3-Clause
"""Links to C recipes beside ours: which libraries, which version, and what becomes of old links."""

from __future__ import annotations

import shutil

import pytest

from muse_core.framework import RecipeError
from muse_core.hosts import c_recipes
from muse_core.hosts.c_recipes import c_libraries, find_c_folder, link_c_recipes
from muse_core.tools import main

pytestmark = pytest.mark.unit


def libraries(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.so").write_bytes(b"")
    return folder


def test_the_newest_version_of_each_counts_and_ours_do_not(tmp_path):
    old = libraries(tmp_path / "c" / "muse-2.8.7", "muse_bias", "muse_ampl")
    new = libraries(tmp_path / "c" / "muse-2.10.1", "muse_bias")
    libraries(tmp_path / "c" / "muse-recipes", "muse_scipost")
    (tmp_path / "c" / "muse-recipes" / "muse_scipost.meta").write_text("")
    target = libraries(tmp_path / "c" / "one", "muse_flat")
    found = c_libraries(tmp_path / "c", target)
    assert found == {"muse_ampl": old / "muse_ampl.so", "muse_bias": new / "muse_bias.so"}


def test_links_are_made_anew(tmp_path):
    old, new = (tmp_path / f"muse-{version}" for version in ("2.8.7", "2.8.9"))
    target = libraries(tmp_path / "one", "muse_scipost")
    libraries(old, "muse_bias", "muse_gone", "muse_scipost")
    link_c_recipes(target, c_libraries(old, target), ours=["muse_scipost"])
    libraries(new, "muse_bias", "muse_scipost")
    shutil.rmtree(old)
    made = link_c_recipes(target, c_libraries(new, target), ours=["muse_scipost"])
    assert made == [target / "muse_bias.so"]
    assert made[0].readlink() == new / "muse_bias.so"
    assert sorted(path.name for path in target.iterdir()) == ["muse_bias.so", "muse_scipost.so"]
    assert not (target / "muse_scipost.so").is_symlink()


def test_the_installed_pipeline_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(c_recipes, "PREFIXES", [str(tmp_path)])
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(RecipeError, match="--with-c FOLDER"):
        find_c_folder()
    libraries(tmp_path / "lib" / "esopipes-plugins" / "muse-2.8.7", "muse_bias")
    newest = libraries(tmp_path / "lib" / "any-machine" / "cpl" / "plugins" / "muse-2.8.9", "muse_bias")
    assert find_c_folder() == newest


def test_a_folder_without_libraries_is_told_before_anything_is_written(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    words = ["plugins", "--install", str(tmp_path / "one"), "--with-c", str(tmp_path / "empty")]
    assert main(words) == 1
    assert "expected recipe libraries of the C pipeline" in capsys.readouterr().err
    assert not (tmp_path / "one").exists()


def test_a_recipe_to_leave_that_is_not_ours_is_told(tmp_path, capsys):
    assert main(["plugins", "--install", str(tmp_path / "one"), "--leave", "muse_ampl"]) == 1
    told = capsys.readouterr().err
    assert "muse_scipost" in told and "found muse_ampl" in told
    assert not (tmp_path / "one").exists()

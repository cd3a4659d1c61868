# SPDX-License-Identifier: BSD-3-Clause
"""Text files that a user names: what blocks, never ends or is no text is told with the name of the file."""

from __future__ import annotations

import os

import pytest

from muse_core.calib.rules import load_rules
from muse_core.framework import InputError
from muse_core.framework.errors import RecipeError, after_warnings
from muse_core.framework.sof import load_sof
from muse_core.framework.text_files import LARGEST_TEXT, read_text
from muse_core.hosts.configfile import read_rc
from muse_core.hosts.options import UsageError

pytestmark = pytest.mark.unit


def huge(path):
    with path.open("wb") as stream:
        stream.truncate(LARGEST_TEXT + 1)


MAKERS = {
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": os.mkdir,
    "64 MB": huge,
    "0xff": lambda path: path.write_bytes(b"\xff"),
    "an existing file": lambda path: None,
}


@pytest.mark.parametrize("words", MAKERS)
@pytest.mark.parametrize(
    ("read", "kind"), [(read_text, InputError), (load_rules, InputError), (read_rc, UsageError)]
)
def test_what_is_no_text_is_told_by_name(tmp_path, words, read, kind):
    path = tmp_path / "named.txt"
    MAKERS[words](path)
    with pytest.raises(kind, match="named.txt") as error:
        read(path)
    assert words in str(error.value)


def test_a_set_of_frames_has_the_size_of_a_text(tmp_path):
    huge(tmp_path / "in.sof")
    with pytest.raises(InputError, match=r"in\.sof.*64 MB"):
        load_sof(tmp_path / "in.sof")


def test_warnings_of_files_that_an_error_does_not_name_go_with_it():
    error = RecipeError("no line was found (LINE_CATALOG lines.fits)")
    told = after_warnings(error, ["bias.fits: no number", "lines.fits: few"], ["bias.fits", "lines.fits"])
    assert str(told) == f"{error}\nwarned before: bias.fits: no number"
    one = InputError("lines.fits", "column flux", found="nothing")
    assert after_warnings(one, ["bias.fits: no number"], ["bias.fits", "lines.fits"]) is one

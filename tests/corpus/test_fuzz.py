# SPDX-License-Identifier: BSD-3-Clause
"""Texts and headers of any content: set-of-frames, rc and region files, cards, keywords and parameters."""

from __future__ import annotations

import logging
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imphot.ds9regions import Ds9Regions
from imphot.errors import UserError
from muse_core.data.header_values import Keywords
from muse_core.framework import InputError, ParameterError
from muse_core.framework.fits_layout import units
from muse_core.framework.fits_structure import check_structure
from muse_core.framework.registry import load, names
from muse_core.framework.sof import MissingFileError, check_files, load_sof
from muse_core.hosts.configfile import CALLER, config_values
from muse_core.hosts.options import UsageError, parse_options, runner_options

pytestmark = pytest.mark.unit
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = st.sampled_from(
    ["a.fits", "$HOME/b", "${X}", "~", "~/c", "OBJECT", "RAW", "#", "\0", "\x0b", "\x85", "\u2028", " ", "\t"]
)


@QUICK
@given(st.lists(st.lists(WORDS | st.text(max_size=8), max_size=5), max_size=6))
def test_sets_of_frames(tmp_path, lines):
    path = tmp_path / "in.sof"
    path.write_bytes("\n".join(" ".join(line) for line in lines).encode("utf-8", "surrogatepass"))
    try:
        check_files(load_sof(path))
    except MissingFileError as error:
        assert str(error)


@QUICK
@given(st.binary(max_size=300))
def test_sets_of_frames_of_any_bytes(tmp_path, content):
    path = tmp_path / "in.sof"
    path.write_bytes(content)
    try:
        check_files(load_sof(path))
    except MissingFileError as error:
        assert str(error)


CALLER_OPTIONS = [option for option in runner_options() if option.configurable]
RC_NAMES = st.sampled_from([f"{CALLER}.{option.name}" for option in CALLER_OPTIONS]) | st.text(max_size=10)


@QUICK
@given(
    st.lists(st.tuples(RC_NAMES, st.sampled_from(["=", " = ", "", "=="]), st.text(max_size=12)), max_size=5)
)
def test_configuration_files(tmp_path, lines):
    path = tmp_path / "a.rc"
    path.write_bytes("\n".join(map("".join, lines)).encode("utf-8", "surrogatepass"))
    try:
        config_values(path, CALLER, CALLER_OPTIONS, lambda _: None)
    except UsageError as error:
        assert "a.rc" in str(error)


NUMBERS = st.sampled_from(
    [
        "1",
        "-1",
        "1e400",
        "nan",
        "inf",
        "9" * 400,
        "1:2:3",
        "1h2m3s",
        '3"',
        "2'",
        "1d",
        "2p",
        "3i",
        "1r",
        "",
        "x",
    ]
)
SHAPES = st.builds(
    lambda sign, shape, open_, numbers, close: f"{sign}{shape}{open_}{','.join(numbers)}{close}",
    st.sampled_from(["", "-", "+"]),
    st.sampled_from(["circle", "box", "ellipse", "polygon", "annulus", "text"]),
    st.sampled_from(["(", " ", ""]),
    st.lists(NUMBERS, max_size=6),
    st.sampled_from([")", "", ") # x", "||"]),
)
SYSTEMS = st.sampled_from(
    ["fk5", "image", "physical", "galactic", "fk4", "icrs", "global color=green", "wcs0"]
)


@QUICK
@given(st.lists(SYSTEMS | SHAPES | st.text(max_size=12), max_size=6), st.sampled_from(["\n", ";", "; "]))
def test_regions(lines, separator):
    logging.disable(logging.CRITICAL)
    try:
        for region in Ds9Regions([*separator.join(lines).split("\n")]):
            numbers = [value for value in vars(region).values() if isinstance(value, float)]
            assert all(map(math.isfinite, numbers))
            assert str(region)
    except UserError as error:
        assert "line" in str(error)
    finally:
        logging.disable(logging.NOTSET)


KEYS = st.sampled_from(
    "NAXIS NAXIS1 NAXIS2 NAXIS999 BITPIX PCOUNT GCOUNT TFIELDS TFORM1 TTYPE1 THEAP EXTNAME BSCALE BZERO "
    "BLANK ZIMAGE EXTEND XTENSION GROUPS COMMENT HIERARCH CONTINUE END".split()
)
VALUES = st.sampled_from(
    "0 -1 1 2 8 -32 999 9223372036854775808 T F 'x '' 1E '1E' NaN".split() + [""],
) | st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=20)
CARDS = st.builds(
    lambda key, equals, value: f"{key:<8}{equals}{value:>20}", KEYS, st.sampled_from(["= ", "=", ""]), VALUES
)


@QUICK
@given(st.lists(CARDS, max_size=14), st.booleans(), st.integers(0, 6000))
def test_headers(tmp_path, cards, ends, size):
    path = tmp_path / "a.fits"
    text = "SIMPLE  =                    T".ljust(80) + "".join(card.ljust(80)[:80] for card in cards)
    content = (text + ("END".ljust(80) if ends else "")).encode("latin-1")
    path.write_bytes(content.ljust(-(-len(content) // 2880) * 2880) + bytes(size))
    for read in (check_structure, units):
        try:
            assert read(path)
        except (InputError, ValueError) as error:
            assert str(error)


@QUICK
@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400))
def test_values_of_keywords(value):
    number = Keywords({"EXPTIME": value}).number("EXPTIME")
    assert number is None or math.isfinite(number)


@pytest.mark.parametrize("recipe", names())
@settings(parent=QUICK, max_examples=60)
@given(st.data())
def test_parameters(recipe, data):
    """Any text for a parameter of a recipe is taken, or refused with its name."""
    spec = load(recipe).spec
    param = data.draw(st.sampled_from([param for param in spec.params if param.ours is not None]))
    text = data.draw(
        st.sampled_from(
            ["", ",", "nan", "inf", "-1", "0", "1e400", "9" * 400, "none", "1,2,3,4,5,6", "T", "'"]
        )
        | st.text(max_size=12)
    )
    try:
        parsed = parse_options([f"--{param.name}={text}"], spec.params)
        spec.values(parsed.values, {})
    except (UsageError, ParameterError) as error:
        assert param.name in str(error)

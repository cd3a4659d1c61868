# SPDX-License-Identifier: BSD-3-Clause
"""Unpacking of .Z files, against a slow packer of the same format and the system's own unpacker."""

from __future__ import annotations

import io
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse_core.framework.lzw import DamagedError, unpacked

pytestmark = [pytest.mark.unit, pytest.mark.kernel]


def packed(data: bytes, widest: int = 16, clear_at: int | None = None) -> bytes:
    """Pack as ``compress`` does; optionally clear the table after some codes."""
    codes, out, bits, held = {bytes([i]): i for i in range(256)}, bytearray(), 0, 0
    out += b"\x1f\x9d" + bytes([0x80 | widest])
    width, free, in_group, count = 9, 257, 0, 0

    def put(code):
        nonlocal bits, held, in_group
        held |= code << bits
        bits += width
        in_group = (in_group + 1) % 8
        while bits >= 8:
            out.append(held & 255)
            held >>= 8
            bits -= 8

    def pad():
        nonlocal in_group
        while in_group:
            put(0)

    prefix = b""
    for value in data:
        longer = prefix + bytes([value])
        if longer in codes:
            prefix = longer
            continue
        put(codes[prefix])
        count += 1
        if clear_at and count % clear_at == 0:
            put(256)
            pad()
            codes, width, free = {bytes([i]): i for i in range(256)}, 9, 257
        elif free < 1 << widest:
            codes[longer] = free
            free += 1
            # the reader makes its entry one code later
            if free > (1 << width) and width < widest:
                pad()
                width += 1
        prefix = bytes([value])
    if prefix:
        put(codes[prefix])
    if bits:
        out.append(held & 255)
    return bytes(out)


def unpack(data: bytes) -> bytes:
    return b"".join(unpacked(io.BytesIO(data)))


@given(st.binary(max_size=3000), st.sampled_from([9, 10, 12, 16]), st.sampled_from([None, 50, 600]))
@settings(max_examples=60, deadline=None)
def test_what_was_packed_comes_back(data, widest, clear_at):
    assert unpack(packed(data, widest, clear_at)) == data


def test_large_data_with_a_full_table_as_the_system_unpacks_it(tmp_path):
    rng = np.random.default_rng(3)
    data = rng.poisson(6.0, 700_000).astype(np.uint8).tobytes() + bytes(400_000)
    file = packed(data)
    assert len(file) > 3 * 2880
    (tmp_path / "x.Z").write_bytes(file)
    system = subprocess.run(["gzip", "-dc", tmp_path / "x.Z"], capture_output=True, check=True).stdout
    assert system == data
    assert unpack(file) == data


@pytest.mark.parametrize(
    "data", [b"", b"\x1f\x9d", b"\x1f\x9d\x88abc", b"\x1f\x8b\x90abc", b"\x1f\x9d\x90\xff\xff\xff"]
)
def test_damaged_data_are_told(data):
    with pytest.raises(DamagedError):
        unpack(data)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_bytes_harm_it(tail):
    try:
        unpack(b"\x1f\x9d\x90" + tail)
    except DamagedError:
        pass

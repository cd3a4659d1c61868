# SPDX-License-Identifier: BSD-3-Clause
"""Unpacking of ``.Z`` files (LZW, as the ESO archive delivers), piece by piece.

Format (Welch 1984; the ``compress`` program): two bytes 1F 9D, one byte with the largest code width in its
low five bits and bit 7 for "code 256 clears the table", then codes of 9 to that many bits, least significant
bit first. Codes come in groups of eight, and the rest of a group is padding whenever the width changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable

MAGIC = b"\x1f\x9d"
PIECE = 1 << 20
_CLEAR = 256


class DamagedError(ValueError):
    """The packed data make no sense from some place on."""


@cache
def _kernel() -> Callable[..., Any]:
    from muse_core.framework.kernels import njit

    @njit(cache=True, nogil=True)
    def decode(packed, end, last, state, prefix, suffix, stack, out):  # type: ignore[no-untyped-def]
        """Decode as many codes as are complete and fit into `out`.

        Parameters
        ----------
        packed : uint8[n]
        end : bytes of it that are filled
        last : no more bytes will come
        state : int64[9]
            bit position, code width, largest width, next free code, previous code (-1: none), its first byte,
            clearing allowed, first bit of the present group, error (1: a code that cannot be)
        prefix : int32[65536], suffix : uint8[65536]
        stack, out : uint8
            space for one string, and for the result

        Returns
        -------
        int
            bytes written
        """
        bit, width, widest, free, previous, first = state[0], state[1], state[2], state[3], state[4], state[5]
        group = state[7]
        written = 0
        while True:
            if free >= (1 << width) and width < widest:
                # the rest of the group of eight codes is padding
                span = 8 * width
                bit = group + ((bit - group + span - 1) // span) * span
                group = bit
                width += 1
            if bit + width > 8 * end or (not last and bit + 8 * width > 8 * end):
                break
            if written + stack.size > out.size:
                break
            byte, shift = bit >> 3, bit & 7
            word = int(packed[byte])
            if byte + 1 < end:
                word |= int(packed[byte + 1]) << 8
            if byte + 2 < end:
                word |= int(packed[byte + 2]) << 16
            code = (word >> shift) & ((1 << width) - 1)
            bit += width
            if code == 256 and state[6]:
                span = 8 * width
                bit = group + ((bit - group + span - 1) // span) * span
                group = bit
                width, free, previous = 9, 257, -1
                continue
            if previous < 0:
                if code > 255:
                    state[8] = 1
                    break
                previous, first = code, code
                out[written] = code
                written += 1
                continue
            entry = code
            depth = stack.size
            if code >= free:
                if code > free:
                    state[8] = 1
                    break
                depth -= 1
                stack[depth] = first
                entry = previous
            while entry > 255:
                if depth == 0:
                    state[8] = 1
                    break
                depth -= 1
                stack[depth] = suffix[entry]
                entry = prefix[entry]
            if depth == 0 or state[8]:
                state[8] = 1
                break
            depth -= 1
            stack[depth] = entry
            first = entry
            for i in range(depth, stack.size):
                out[written] = stack[i]
                written += 1
            if free < (1 << widest):
                prefix[free] = previous
                suffix[free] = first
                free += 1
            previous = code
        group += (bit - group) // (8 * width) * (8 * width)
        state[0], state[1], state[3], state[4], state[5], state[7] = bit, width, free, previous, first, group
        return written

    return decode


def unpacked(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the unpacked bytes of a ``.Z`` file in pieces of a few MB.

    Raises
    ------
    DamagedError
        if the head is not that of such a file, or a code cannot be
    """
    import numpy as np

    head = stream.read(3)
    if len(head) < 3 or not head.startswith(MAGIC):
        raise DamagedError("no head of a .Z file")
    widest = head[2] & 0x1F
    if not 9 <= widest <= 16:
        raise DamagedError(f"codes of {widest} bits")
    clears = bool(head[2] & 0x80)
    decode = _kernel()
    state = np.array([0, 9, widest, 257 if clears else 256, -1, 0, clears, 0, 0], np.int64)
    prefix, suffix = np.zeros(1 << 16, np.int32), np.zeros(1 << 16, np.uint8)
    stack = np.empty((1 << 16) + 2, np.uint8)
    out = np.empty(4 * PIECE, np.uint8)
    packed = np.empty(2 * PIECE, np.uint8)
    filled, last = 0, False
    while True:
        if not last and filled < PIECE:
            piece = stream.read(PIECE)
            last = len(piece) < PIECE and not (more := stream.read(1))
            if not last and len(piece) < PIECE:
                piece += more
            packed[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
        before = int(state[0])
        written = decode(packed, filled, last, state, prefix, suffix, stack, out)
        if written:
            yield out[:written].tobytes()
        if state[8]:
            raise DamagedError("a code that cannot be")
        # move what is left to the front, in whole groups so that the padding can still be counted
        done = min(int(state[7]) >> 3, filled)
        if done:
            packed[: filled - done] = packed[done:filled].copy()
            filled -= done
            state[0] -= 8 * done
            state[7] -= 8 * done
        if not written and int(state[0]) + 8 * done == before:
            if last:
                return
            if filled > PIECE:
                raise DamagedError("a group of codes without an end")

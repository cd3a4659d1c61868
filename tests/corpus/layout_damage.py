# SPDX-License-Identifier: BSD-3-Clause
"""Damage to whole extensions: cut at every place, in another order, under other names, from other files."""

from __future__ import annotations

import numpy as np
from astropy.io import fits

from tests.corpus.bytes_damage import BLOCK, CARD, headers_of
from tests.corpus.target import NotApplicableError, Target, edited, pick


def cuts(rng: np.random.Generator, target: Target) -> str:
    """A file that ends at one of the places where parts of it begin and end, or a byte beside."""
    content = target.source.read_bytes()
    heads = headers_of(content)
    number = int(rng.integers(len(heads)))
    start, end = heads[number]
    data = end + CARD + (-(end + CARD) % BLOCK)
    after = heads[number + 1][0] if number + 1 < len(heads) else len(content)
    places = {
        "before its header": start, "in its header": int(rng.integers(start, end)), "before END": end,
        "after END": end + CARD, "before its data": data, "in its data": (data + after) // 2,
        "in the last block of its data": max(data, after - BLOCK) + 1, "after its data": after,
    }  # fmt: skip
    name = str(pick(rng, places))
    keep = places[name] + int(rng.integers(-1, 2))
    if not 0 < keep < len(content):
        raise NotApplicableError
    target.copy.write_bytes(content[:keep])
    return f"{keep} of {len(content)} bytes: cut {name} (extension {number})"


def order(rng: np.random.Generator, target: Target) -> str:
    """Extensions in another order, with each other's names or data, or of another file."""

    def change(hdus: fits.HDUList) -> str | None:
        if len(hdus) < 2:
            return None
        one, two = (int(n) for n in rng.integers(1, len(hdus), 2))
        kind = str(pick(rng, ("exchanged", "names", "data", "stranger", "reversed", "header", "between")))
        if kind == "exchanged" and one != two:
            first, second = hdus[one], hdus[two]
            hdus[one], hdus[two] = second, first
        elif kind == "names" and one != two:
            hdus[one].name, hdus[two].name = hdus[two].name, hdus[one].name
        elif kind == "data" and one != two and hdus[one].is_image and hdus[two].is_image:
            hdus[one].data, hdus[two].data = np.array(hdus[two].data), np.array(hdus[one].data)
        elif kind == "stranger":
            return _stranger(rng, target, hdus, one)
        elif kind == "reversed" and len(hdus) > 2:
            for place, hdu in enumerate([*hdus][:0:-1], 1):
                hdus[place] = hdu
        elif kind == "header":
            for card in hdus[one].header.cards[8:]:
                if card.keyword not in hdus[0].header and card.keyword:
                    hdus[0].header.append(card)
        elif kind == "between":
            hdus.insert(one, fits.ImageHDU(name=str(pick(rng, ("", "DATA", "EMPTY")))))
        else:
            return None
        return f"extensions {one}, {two}: {kind}"

    return edited(target, change)


def _stranger(rng: np.random.Generator, target: Target, hdus: fits.HDUList, at: int) -> str | None:
    """An extension of another file in the place, and with the name, of one."""
    other = pick(rng, target.others)
    try:
        with fits.open(other, memmap=False) as strangers:
            if len(strangers) < 2:
                return None
            new = strangers[int(rng.integers(1, len(strangers)))].copy()
    except OSError:
        return None
    new.name, hdus[at] = hdus[at].name, new
    return f"extension {at} is one of {other.name}"


def reading(rng: np.random.Generator, target: Target) -> str:
    """The same bytes read as numbers of another kind: BITPIX and axes, or TFORM, fit the size."""
    content = bytearray(target.source.read_bytes())
    heads = headers_of(bytes(content))
    start, end = pick(rng, heads)
    cards = {bytes(content[at : at + 8]).decode("latin-1").rstrip(): at for at in range(start, end, CARD)}

    def put(key: str, value: object) -> None:
        content[cards[key] : cards[key] + CARD] = f"{key:<8}= {value:>20}".encode().ljust(CARD)

    def number(key: str) -> int:
        return int(content[cards[key] + 10 : cards[key] + 30].split(b"/")[0])

    forms = [key for key in cards if key.startswith("TFORM")]
    try:
        if forms:
            key = str(pick(rng, forms))
            old = content[cards[key] + 10 : cards[key] + 30].decode("latin-1").strip(" '")
            alike = [{"E": "J", "D": "K", "J": "E", "K": "D", "I": "2B"}.get(old.lstrip("1"))]
            if alike[0] is None:
                raise NotApplicableError
            put(key, f"'{alike[0]:<8}'")
            told = f"{key} {old} read as {alike[0]}"
        else:
            old, axis = number("BITPIX"), number("NAXIS1")
            new = int(pick(rng, {16: (8,), 32: (-32, 16, 8), -32: (32, 16, 8), -64: (64, -32), 8: (8,)}[old]))
            if new == old:
                raise NotApplicableError
            put("BITPIX", new)
            put("NAXIS1", axis * abs(old) // abs(new))
            told = f"BITPIX {old} read as {new}"
    except (KeyError, ValueError):
        raise NotApplicableError from None
    target.copy.write_bytes(content)
    return f"header {heads.index((start, end))}: {told}"


def signed(rng: np.random.Generator, target: Target) -> str:
    """A file with sums, whose data were overwritten afterwards with bytes that are as plausible."""
    import io

    with fits.open(target.source, memmap=False) as hdus:
        stream = io.BytesIO()
        fits.HDUList([hdu.copy() for hdu in hdus]).writeto(stream, checksum=True, output_verify="ignore")
    content = bytearray(stream.getvalue())
    blocks = []
    heads = headers_of(bytes(content))
    for (_, end), (after, _) in zip(heads, [*heads[1:], (len(content), 0)], strict=True):
        blocks += range(end + CARD + (-(end + CARD) % BLOCK), after, BLOCK)
    if len(blocks) < 2:
        raise NotApplicableError
    one, two = (int(n) for n in rng.integers(len(blocks), size=2))
    old, new = (bytes(content[blocks[n] : blocks[n] + BLOCK]) for n in (one, two))
    if old == new:
        raise NotApplicableError
    content[blocks[one] : blocks[one] + BLOCK] = new
    target.copy.write_bytes(content)
    return f"data block {one} of {len(blocks)} overwritten with block {two}, sums not"

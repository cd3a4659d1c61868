# SPDX-License-Identifier: BSD-3-Clause
"""What the runner does with finished products: names, folder, links, and the list of products."""

from __future__ import annotations

import contextlib
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from muse_core.framework.frames import ProductFrame
from muse_core.hosts.options import UsageError
from muse_core.hosts.values import json_text


@dataclass(frozen=True)
class Delivery:
    """Where products go and under which names."""

    folder: Path
    prefix: str = ""
    link_folder: Path | None = None
    read_only: bool = False


def without_private_folder(text: str) -> str:
    """Take the hidden folder out of a message: the user never sees it."""
    return re.sub(r"\.muserun-[^/]+/", "", text)


@contextlib.contextmanager
def private_folder(target: Path) -> Iterator[Path]:
    """Give a hidden folder inside the output folder, so that two runs at once never share a file.

    What is in it when the run fails is moved to the current folder, where esorex leaves such products.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=".muserun-", dir=target))
    except OSError as error:
        raise UsageError(f"output folder {target} cannot be written: {error.strerror}") from None
    try:
        yield folder
    except Exception:
        for left in sorted(folder.glob("[!.]*")):
            with contextlib.suppress(OSError):
                shutil.move(left, Path.cwd() / left.name)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def deliver(
    products: Iterable[ProductFrame],
    delivery: Delivery,
    info: Callable[[str], None],
    warn: Callable[[str], None],
) -> list[tuple[Path, str]]:
    """Rename the products into place and return (path, tag) of each, ordered by tag."""
    delivered = []
    ordered = sorted(products, key=lambda product: product.tag)
    for number, product in enumerate(ordered):
        name = f"{delivery.prefix}_{number:04d}.fits" if delivery.prefix else product.path.name
        target = delivery.folder / name
        if target.exists():
            warn(f"Product final output path file already exists and will be overwritten ({target})")
        if delivery.read_only:
            product.path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        product.path.replace(target)
        info(f"Created product {target}" + (" (in place)" if delivery.folder == Path() else ""))
        delivered.append((target, product.tag))
        if delivery.link_folder is not None:
            link = delivery.link_folder / name
            link.unlink(missing_ok=True)
            link.symlink_to(target.absolute())
    info(f"{len(delivered)} product{'' if len(delivered) == 1 else 's'} created")
    return delivered


def products_list(delivered: Iterable[tuple[Path, str]], as_json: bool) -> str:
    """Return the text of the products' set of frames.

    >>> print(products_list([(Path("o/A.fits"), "A")], as_json=False), end="")
    o/A.fits     A
    """
    if as_json:
        entries = [
            f'  {{\n    "name": {json_text(str(path))},\n    "category": {json_text(tag)}\n  }}'
            for path, tag in delivered
        ]
        return "[\n" + ",\n".join(entries) + "\n]\n"
    return "".join(f"{path}     {tag}\n" for path, tag in delivered)


def remove_signatures(path: Path, *, checksum: bool, datamd5: bool) -> None:
    """Take CHECKSUM and DATASUM, or DATAMD5, out of a product without moving its data."""
    from astropy.io import fits

    unwanted = [
        key for key, out in (("CHECKSUM", checksum), ("DATASUM", checksum), ("DATAMD5", datamd5)) if out
    ]
    with fits.open(path, memmap=True, lazy_load_hdus=False) as hdus:
        spans = [(hdu.fileinfo()["hdrLoc"], hdu.fileinfo()["datLoc"]) for hdu in hdus]
    with path.open("r+b") as stream:
        for start, end in spans:
            stream.seek(start)
            block = stream.read(end - start)
            cards = [block[i : i + 80] for i in range(0, len(block), 80)]
            kept = [card for card in cards if card[:8].decode("ascii", "replace").rstrip() not in unwanted]
            changed = b"".join(kept).ljust(len(block))
            if changed != block:
                stream.seek(start)
                stream.write(_with_checksum(changed))


def _with_checksum(header: bytes) -> bytes:
    """Return a header block whose CHECKSUM card, if it has one, is right again."""
    from muse_core.framework.products import encode_checksum, word_sum

    position = next((i for i in range(0, len(header), 80) if header[i : i + 8] == b"CHECKSUM"), None)
    datasum = next(
        (header[i : i + 80] for i in range(0, len(header), 80) if header[i : i + 8] == b"DATASUM "), None
    )
    if position is None or datasum is None:
        return header
    first = header.index(b"'", position) + 1
    blank = header[:first] + b"0" * 16 + header[first + 16 :]
    total = word_sum(blank) + int(datasum.split(b"'")[1])
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return blank[:first] + encode_checksum(total).encode("ascii") + blank[first + 16 :]

# SPDX-License-Identifier: BSD-3-Clause
"""What the runner does with finished products: names, folder, links, and the list of products."""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
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
    return re.sub(r"\.muserun-[^/\s]+/?", "", text)


@contextlib.contextmanager
def private_folder(target: Path) -> Iterator[Path]:
    """Give a hidden folder inside the output folder, so that two runs at once never share a file.

    What is in it when the run fails is gone: esorex leaves such products in the current folder, where they
    take the place of others that a good run has made.
    """
    from muse_core.framework.delivery import locked_folder

    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(locked_folder(target, ".muserun-"))
        except OSError as error:
            raise UsageError(f"output folder {target} cannot be written: {error.strerror}") from None
        yield folder


def checked_places(delivery: Delivery, products_sof: str, sofs: Sequence[str]) -> Delivery:
    """Refuse, before the work, places where something would be lost.

    Returns
    -------
    Delivery
        without links, if they would have the places of the products

    Raises
    ------
    UsageError
        for a prefix that leaves the folder, or a list of products in place of another file of the run
    """
    if "/" in delivery.prefix or delivery.prefix in (".", ".."):
        raise UsageError(f"The argument to '--output-prefix' [{delivery.prefix}] must be a name without '/'")
    if products_sof:
        path = Path(products_sof)
        if path.is_dir():
            raise UsageError(f"The argument to '--products-sof' [{products_sof}] is a folder")
        if any(_is_same(path, Path(name)) for name in sofs) or _is_fits(path):
            raise UsageError(
                f"The argument to '--products-sof' [{products_sof}] is an input of this run, or a FITS file"
            )
    if delivery.link_folder is not None and _is_same(delivery.link_folder, delivery.folder):
        return replace(delivery, link_folder=None)
    return delivery


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _is_fits(path: Path) -> bool:
    """Tell whether a path is that of a FITS file, which a text file must not replace."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return stream.read(9) == b"SIMPLE  ="
    except OSError:
        return False


def check_log_file(path: Path, sofs: Sequence[str]) -> None:
    """Refuse a log file in the place of data or of a set of frames."""
    if _is_fits(path) or any(_is_same(path, Path(name)) for name in sofs):
        raise UsageError(
            f"log file {path} is a FITS file or an input of this run and is not overwritten; give another "
            "--log-file"
        )


def deliver(
    products: Iterable[ProductFrame],
    delivery: Delivery,
    info: Callable[[str], None],
    warn: Callable[[str], None],
    pages: Iterable[Path] = (),
) -> list[tuple[Path, str]]:
    """Rename the products into place, all or none, and return (path, tag) of each, ordered by tag.

    Parameters
    ----------
    pages : files that are put beside them, under their own names

    Raises
    ------
    WriteError
        if one of them cannot be put there; then the folder is as it was
    """
    from muse_core.framework.delivery import deliver as rename_all
    from muse_core.framework.delivery import final_names

    ordered = sorted(products, key=lambda product: product.tag)
    names = final_names(ordered, delivery.prefix)
    delivered: list[tuple[Path, str]] = []
    moves = []
    for product in ordered:
        target = delivery.folder / names[product.path]
        if target.exists():
            warn(f"Product final output path file already exists and will be overwritten ({target})")
        if delivery.read_only:
            product.path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        moves.append((product.path, target))
        delivered.append((target, product.tag))
    rename_all([*moves, *((page, delivery.folder / page.name) for page in pages)])
    for target, _ in delivered:
        info(f"Created product {target}" + (" (in place)" if delivery.folder == Path() else ""))
        if delivery.link_folder is not None:
            _link(delivery.link_folder / target.name, target, warn)
    info(f"{len(delivered)} product{'' if len(delivered) == 1 else 's'} created")
    return delivered


def _link(link: Path, target: Path, warn: Callable[[str], None]) -> None:
    """Make a link to a product; only another link is replaced."""
    if link.exists() and not link.is_symlink():
        warn(f"{link} is there and is no link: it is kept, no link is made")
        return
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(target.absolute())
    except OSError as error:
        warn(f"link {link} could not be made: {error.strerror}")


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
    from muse_core.framework.fits_layout import units

    unwanted = [
        key for key, out in (("CHECKSUM", checksum), ("DATASUM", checksum), ("DATAMD5", datamd5)) if out
    ]
    with path.open("r+b") as stream:
        for start, end in [(unit.start, unit.data_start) for unit in units(path)]:
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
    from muse_core.framework.checksums import encode_checksum, word_sum

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

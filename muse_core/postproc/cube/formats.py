# SPDX-License-Identifier: BSD-3-Clause
"""Saving the final cube in each format, and its images.

What a format needs is imported when it is asked for.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from muse_core.data.header_values import is_narrow_field
from muse_core.data.row_weights import weight_of_block
from muse_core.framework.products import set_card
from muse_core.postproc.combination.weights import WEIGHT_KEY
from muse_core.postproc.cube.plan import resampling_of
from muse_core.postproc.exposure.pointing import airmass, parallactic_angle
from muse_core.resampling.cosmics import COSMIC_RAY
from muse_core.resampling.cube_file import CubeWriter
from muse_core.resampling.row_images import RowImages
from muse_core.resampling.stored_sums import COUNT, cards_of_sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astropy.io.fits import Header, ImageHDU

    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.combination.combine import Combination
    from muse_core.postproc.exposure.correction import Card
    from muse_core.resampling.collapse import Filter, FilterSet
    from muse_core.resampling.grid import OutputGrid
    from muse_core.resampling.kept_planes import KeptPlanes

FORMAT_NAMES = {
    "Cube": "FITS cube",
    "xCube": "FITS cube",
    "sdpCube": "FITS cube",
    "Euro3D": "Euro3D",
    "xEuro3D": "Euro3D",
}


def is_euro3d(cube_format: str) -> bool:
    """Whether the cube is written as Euro3D tables."""
    return cube_format.endswith("Euro3D")


def writes_image_files(cube_format: str) -> bool:
    """Whether images are products of their own (not so when they are inside of the cube's file)."""
    return not cube_format.startswith("x")


@contextmanager
def open_cube(
    path: Path,
    header: Header,
    grid: OutputGrid,
    unit: str,
    name: str,
    cube_format: str,
    *,
    counts: bool = False,
    kept: KeptPlanes | None = None,
) -> Iterator[CubeWriter]:
    """Open the file that takes the planes; for Euro3D one beside the product, removed in the end.

    Parameters
    ----------
    counts : bool
        with an extension for the number of exposures in each voxel
    kept : KeptPlanes or None
        planes that a killed run has left, in whose file is worked
    """
    target = Path(f"{path}.cube") if is_euro3d(cube_format) else path
    more = cards_of_sums(grid, COUNT, "") if counts and target == path else []
    sdp = cube_format == "sdpCube"
    keep = kept is not None and kept.adopt(target)
    try:
        with CubeWriter(
            target, header, grid, unit, name, sdp=sdp, reserve_cards=108, more=more, keep=keep
        ) as writer:
            if kept is not None:
                kept.attach(writer)
            yield writer
    finally:
        if target != path:
            target.unlink(missing_ok=True)


def finish_cube(
    writer: CubeWriter,
    path: Path,
    header: Header,
    qc: list[Card],
    images: FilterSet | RowImages,
    white: FilterSet,
    combination: Combination,
    grid: OutputGrid,
    name: str,
    p: ParamValues,
    ctx: RunContext,
    more: Sequence[ImageHDU] = (),
) -> None:
    """Complete the product from the planes that were written.

    Parameters
    ----------
    path, header
        Of the product (``ctx.stream``).
    qc : cards
        Not written to Euro3D files.
    images : FilterSet
        Complete images.
    white : FilterSet
        The white-light image (sdpCube).
    more : sequence of ImageHDU
        Further extensions (not of Euro3D files).
    """
    unit = combination.data_unit
    if is_euro3d(p.format):
        from muse_core.resampling.euro3d import Euro3DGroup, write_euro3d

        writer.finish(header)
        first = combination.members[0].keywords.without_replacements()
        angle = parallactic_angle(first)
        group = Euro3DGroup.from_header(first.header, airmass(first), angle or 0.0)
        inside = images.images if p.format == "xEuro3D" else []
        write_euro3d(
            writer.path,
            path,
            header,
            grid,
            group,
            unit,
            images=inside,
            object_name=name,
            memory_bytes=ctx.memory_bytes // 4,
            unwrapped=ctx.defects.euro3d_xpos_unwrapped,
            cut_images=ctx.defects.euro3d_images_cut,
        )
        return
    for card in qc:
        set_card(header, *card)
    if p.format == "sdpCube":
        stated = all(WEIGHT_KEY in member.product.header for member in combination.members)
        lost = ctx.defects.limit_lost_without_weights and p.weight == "header" and not stated
        _add_phase3_keywords(writer, header, images, None if lost else white, combination, grid, unit, ctx)
    extensions = []
    if p.format == "xCube":
        from muse_core.resampling.filter_extensions import filter_extension

        extensions = [filter_extension(image, grid, unit, name) for image in images]
    writer.finish(header, [*extensions, *more])


def _add_phase3_keywords(
    writer: CubeWriter,
    header: Header,
    images: FilterSet | RowImages,
    white: FilterSet | None,
    combination: Combination,
    grid: OutputGrid,
    unit: str,
    ctx: RunContext,
) -> None:
    from muse_core.resampling.phase3 import apply_cards, covered_spaxels, pixel_noise, sdp_cards

    data, stat = (image.view() for image in writer.images)
    if ctx.defects.coverage_of_images:
        covered = max((covered_spaxels(image.image()[None]) for image in images), default=0)
    else:
        covered = covered_spaxels(data)
    software = next((str(header[key]) for key in reversed(list(header)) if key.endswith(" PIPE ID")), "")
    cards = sdp_cards(
        [member.product.header for member in combination.members],
        grid,
        narrow_field=is_narrow_field(combination.header),
        data_unit=unit,
        covered=covered,
        noise=pixel_noise(stat, fixed_histogram=ctx.defects.pixel_noise_fixed_histogram),
        white_image=white.images[0].image() if white else None,
        image_files=[f"IMAGE_FOV_{number:04d}.fits" for number in range(1, len(images) + 1)],
        software=software,
        limit_of_longer_step=ctx.defects.limit_of_longer_step,
    )
    apply_cards(header, cards)
    values = {key: value for key, value, _ in cards}
    ctx.log.info(
        "  5 sigma limit for point sources %.3f mag (AB), pixel noise %.4g",
        values["ABMAGLIM"],
        values["PIXNOISE"],
    )


def image_keywords(cube_format: str) -> list[Card]:
    """Keywords of the images that go with a format."""
    if cube_format == "sdpCube":
        return [("PRODCATG", "ANCILLARY.IMAGE", "Data product category")]
    if cube_format == "Euro3D":
        from muse_core.resampling.euro3d import EURO3D_CARDS

        return list(EURO3D_CARDS)
    return []


def images_from_rows(
    combination: Combination, filters: Sequence[Filter], grid: OutputGrid, p: ParamValues, ctx: RunContext
) -> RowImages:
    """Make the images from the rows instead of the cube (parameter ``collapse_pixtable``)."""
    images = RowImages(
        filters,
        grid,
        combination.reference,
        resampling_of(p),
        combination.limits.lam,
        round_as_c=ctx.defects.arc_sine_rounding,
    )
    ctx.log.info("Images are made from the pixel tables, not from the cube")
    for i, member in enumerate(combination.members):
        weight = combination.weights[i] if combination.weights else None
        for block in member.chain.blocks():
            if combination.cosmics:
                block.dq[combination.cosmics[i].contains(block.row)] |= COSMIC_RAY
            images.add_block(block, weight_of_block(weight, block))
    return images

# SPDX-License-Identifier: BSD-3-Clause
"""What the quality pages of recipes that work IFU by IFU share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.report.page import Table, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 6  # of the panels with images


def images_figure(
    images: Sequence[tuple[int, npt.NDArray[np.float32] | None]], between: tuple[float, float] = (1, 99)
) -> Figure | None:
    """Draw small images of IFUs (number, image), each between two percentiles of its own."""
    from matplotlib.figure import Figure

    shown = [(ifu, image) for ifu, image in images if image is not None]
    if not shown:
        return None
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(10, 1.9 * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, COLUMNS)).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, (ifu, image) in zip(axes, shown, strict=False):
        finite = image[np.isfinite(image)]
        low, high = np.percentile(finite, between) if finite.size else (0.0, 1.0)
        axis.imshow(
            image, origin="lower", aspect="auto", cmap="viridis", vmin=low, vmax=max(high, low + 1e-6)
        )
        axis.set_title(f"IFU {ifu}", fontsize="small")
    return figure


def label_ifus(axes: Axes) -> None:
    """Label an axis along the IFUs with whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("IFU")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


def missing_parts(failed: Mapping[int, str], absent: Mapping[int, str]) -> tuple[list[str], list[Table]]:
    """Return what needs a look and tables, of IFUs that failed or are not in the data."""
    looks = [f"IFU {ifu} failed: {text}" for ifu, text in failed.items()]
    if absent:
        looks.append(f"Not in the raw data: IFU {', '.join(map(str, sorted(absent)))}.")
    rows = list(failed.items())
    return looks, [table(("IFU", "no product, because"), rows, range(len(rows)))] if rows else []

# SPDX-License-Identifier: BSD-3-Clause
"""Images as imphot sees them: opening, grids, masks, corrections."""

from imphot.images.sky_image import SkyImage

__all__ = ["SkyImage"]

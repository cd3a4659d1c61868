# SPDX-License-Identifier: BSD-3-Clause
"""From a raw CCD frame to a calibrated image and to pixel-table rows."""

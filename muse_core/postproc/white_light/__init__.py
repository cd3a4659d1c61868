# SPDX-License-Identifier: BSD-3-Clause
"""White-light image and sky mask."""

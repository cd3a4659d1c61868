# SPDX-License-Identifier: BSD-3-Clause
"""Field images on disk: opened, checked, and the level of their sky."""

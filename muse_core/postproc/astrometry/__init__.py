# SPDX-License-Identifier: BSD-3-Clause
"""The astrometric solution: projection onto the sphere, position on the sky."""

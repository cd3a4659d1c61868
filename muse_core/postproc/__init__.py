# SPDX-License-Identifier: BSD-3-Clause
"""Row-wise physics of the science post-processing: each step is a ``fit_*`` and an ``apply_*``."""

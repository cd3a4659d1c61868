# SPDX-License-Identifier: BSD-3-Clause
"""What flows through the steps: pixel tables, calibration tables, headers, quality flags."""

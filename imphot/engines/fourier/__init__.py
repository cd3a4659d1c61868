# SPDX-License-Identifier: BSD-3-Clause
"""The documented fit in the Fourier plane."""

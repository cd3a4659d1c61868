# SPDX-License-Identifier: BSD-3-Clause
"""Line spread functions: images, tables, Gauss-Hermite profiles."""

# SPDX-License-Identifier: BSD-3-Clause
"""Quality pages, pictures and comparisons of products."""

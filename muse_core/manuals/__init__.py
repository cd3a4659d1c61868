# SPDX-License-Identifier: BSD-3-Clause
"""What manual pages say beyond the declarations of the recipes: texts, and no code."""

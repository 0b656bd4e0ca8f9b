# SPDX-License-Identifier: BSD-2-Clause
"""The modules behind ./build.py: one a command, and a few that they share.

Only cli, deps, errors, layout and say may be imported before the dependencies are there: they use the standard library
alone, and so must every module's top level; what needs a package imports it inside the function that needs it.
"""

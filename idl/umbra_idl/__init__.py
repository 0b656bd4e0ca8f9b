# SPDX-License-Identifier: BSD-2-Clause
"""The interface language: parser, checker and generators (docs/idl.md).

Nothing here runs on the target; every output is a pure function of the input files and the options."""

# SPDX-License-Identifier: BSD-2-Clause
"""stub"""
def component(checker, decl, file):
    pass

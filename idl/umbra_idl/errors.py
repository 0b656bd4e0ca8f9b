# SPDX-License-Identifier: BSD-2-Clause
"""Writes the C header of the error table from idl/errors.toml.

`python3 -m umbra_idl.errors TOML` prints the header; a test compares it with the committed one."""
import pathlib
import sys
import tomllib

HEAD = """/* SPDX-License-Identifier: BSD-2-Clause */
/* Made from idl/errors.toml by idl/umbra_idl/errors.py; change it there. */
#ifndef UMBRA_ERRORS_H
#define UMBRA_ERRORS_H

typedef enum err {
"""


def load(path):
    return tomllib.loads(pathlib.Path(path).read_text())["error"]


def header(errors):
    width = max(len(e["name"]) for e in errors)
    lines = [HEAD.rstrip("\n")]
    for number, e in enumerate(errors):
        lines.append(f"    ERR_{e['name']} = {number},{' ' * (width - len(e['name']) + (number < 10))} "
                     f"/* {e['text']} */")
    lines.append(f"    ERR_COUNT = {len(errors)}")
    lines += ["} err_t;", "", "#define UMBRA_ERROR_NAMES \\"]
    lines.append("    { " + ", ".join(f'"{e["name"]}"' for e in errors) + " }")
    lines += ["", "#endif", ""]
    text = "\n".join(lines)
    return text.replace("typedef enum err {\n    ", "typedef enum err {\n    ")


if __name__ == "__main__":
    sys.stdout.write(header(load(sys.argv[1])))

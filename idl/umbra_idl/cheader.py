# SPDX-License-Identifier: BSD-2-Clause
"""Reads constants out of C headers, so that ABI numbers stand in one place.

Understands `#define NAME integer` and enumerators with integer or no values; nothing else becomes a name."""
import functools
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _integer(text):
    found = re.fullmatch(r"(0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*", text.strip())
    return int(found.group(1), 0) if found else None


def parse(text):
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    values = {}
    for name, value in re.findall(r"^#define\s+(\w+)\s+(\S+)\s*$", text, flags=re.M):
        if _integer(value) is not None:
            values[name] = _integer(value)
    for body in re.findall(r"enum\s*\w*\s*\{(.*?)\}", text, flags=re.S):
        following = 0
        for item in filter(None, (part.strip() for part in body.split(","))):
            name, _, value = (part.strip() for part in item.partition("="))
            if value:
                following = _integer(value)
                if following is None:
                    following = values.get(value)
            if following is None:
                break
            values[name] = following
            following += 1
    return values


@functools.lru_cache
def constants():
    """All constants of the ABI headers and of the description."""
    values = {}
    for path in ("kernel/include/umbra/types.h", "kernel/include/umbra/syscall.h",
                 "kernel/include/umbra/object.h",
                 "kernel/include/umbra/bootinfo.h", "lib/desc/desc.h"):
        values.update(parse((ROOT / path).read_text()))
    return values

# SPDX-License-Identifier: BSD-2-Clause
"""Which refusals of the kernel the tests reached: the table at the end of a whole test run.

A debug kernel logs `error-seen OBJECT METHOD-NUMBER ERROR` lines when asked; tests/errors.toml lists by object and method what can
be returned. Listed and not seen: no test reaches it. Seen and not listed: the list is behind the kernel. Both must be empty.
"""
import re

from umbra import layout
from umbra.errors import Failure

LIST = "tests/errors.toml"
METHODS = "kernel/include/umbra/object.h"
SEEN = re.compile(r"^(?:umbra: )?error-seen (\w+) (\d+) (\w+)\s*$", re.M)
ENUM = re.compile(r"enum(?:\s+\w+)?\s*\{(.*?)\}", re.S)


def method_numbers(text):
    """Name -> number of every enumerator with a plain value in a header's text."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    numbers = {}
    for body in ENUM.findall(text):
        value = -1
        for entry in filter(None, (part.strip() for part in body.split(","))):
            name, equals, given = (part.strip() for part in entry.partition("="))
            if equals and not given.isdigit():
                break       # computed: none of the method enums has such values
            value = int(given) if equals else value + 1
            numbers[name] = value
    return numbers


def seen(texts):
    """{(object, method number, error)} of all logs."""
    return {(thing, int(method), error) for text in texts for thing, method, error in SEEN.findall(text.replace("\r", ""))}


def listed(table, numbers):
    """{(object, method number, error)} of the list; names that the ABI does not have are an error."""
    found = set()
    for thing, methods in table.items():
        for method, errors in methods.items():
            if method not in numbers:
                raise Failure("%s: [%s] names %s, which %s does not define" % (LIST, thing, method, METHODS))
            found |= {(thing, numbers[method], error) for error in errors}
    return found


def rows(triples, table, numbers):
    """Readable lines, method names where the list has them."""
    names = {(thing, numbers.get(method)): method for thing, methods in table.items() for method in methods}
    return ["%-12s %-24s %s" % (thing, names.get((thing, number), number), error)
            for thing, number, error in sorted(triples)]


def report(logs):
    """Lines of the table; none if everything listed was seen and nothing else, or where the tree has no list."""
    import tomllib
    path = layout.ROOT / LIST
    if not path.is_file():
        return []
    table = tomllib.loads(path.read_text())
    numbers = method_numbers((layout.ROOT / METHODS).read_text())
    wanted, reached = listed(table, numbers), seen(log.read_text(errors="replace") for log in logs if log.is_file())
    lines = rows(wanted - reached, table, numbers)
    extra = rows(reached - wanted, table, numbers)
    return (["errors that no test reached:", *lines] if lines else []) + \
        (["errors that %s does not list:" % LIST, *extra] if extra else [])

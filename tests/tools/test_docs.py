# SPDX-License-Identifier: BSD-2-Clause
"""The documents name what the headers define, and nothing that has gone: names, values, files and links."""
import re

import pytest
from umbra import layout

INCLUDE = "kernel/include/umbra/"
DOCS = ("README.md", "CONTRIBUTING.md", "docs/*.md", "servers/*/README.md")
ENUM = re.compile(r"enum(?:\s+\w+)?\s*\{(.*?)\}", re.S)
METHODS = ("UNTYPED", "CNODE", "TCB", "SCHED", "TIMER", "FRAME", "PAGETABLE", "GUESTSPACE", "VM", "VCPU", "SHADOW", "VIEW",
           "IRQCONTROL", "IRQ", "IOPORT", "KERNEL", "CHANGE")
EXIT_ABI = ("EXIT", "INSN", "STATE", "REPLY", "OP", "SH")
NOT_NAMES = re.compile(r".*_(BITS|MAX|MIN|LAST|KINDS|CODES|COUNT|ALL)$|.*_BITS_.*|FRAME_(4K|2M)|SHADOW_(LONG|PAE|NESTED)")


def read(path):
    return (layout.ROOT / path).read_text()


def enumerators(header, prefixes):
    """The enumerators of a header that begin with one of the prefixes, limits and sizes left out."""
    text = re.sub(r"/\*.*?\*/", "", read(INCLUDE + header), flags=re.S)
    names = [part.split("=")[0].strip() for body in ENUM.findall(text) for part in body.split(",")]
    return [n for n in names if n.split("_")[0] in prefixes and "_" in n and not NOT_NAMES.fullmatch(n)]


def documents():
    return layout.find(*DOCS)


@pytest.mark.parametrize("header,prefixes,least", [("object.h", METHODS, 50), ("syscall.h", ("SYS", "FAULT"), 12),
                                                   ("vcpu.h", EXIT_ABI, 50), ("object.h", ("RIGHT",), 4)])
def test_kernel_api_names_every_method_call_exit_and_operation(header, prefixes, least):
    names = enumerators(header, prefixes)
    assert len(names) >= least
    text = read("docs/kernel-api.md")
    assert [n for n in names if not re.search(r"`%s\b" % n, text)] == []


def test_kernel_api_names_every_error():
    names = re.findall(r"^\s*ERR_(\w+) =", read(INCLUDE + "errors.h"), re.M)
    assert len(names) > 30 and names.pop() == "COUNT"
    text = read("docs/kernel-api.md")
    assert [n for n in names if "`%s`" % n not in text] == []


def test_kernel_api_invents_no_method_and_no_error():
    headers = "".join(read(INCLUDE + h) for h in ("object.h", "syscall.h", "vcpu.h", "bootinfo.h", "errors.h", "types.h"))
    named = set(re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)\b(?!\*)", read("docs/kernel-api.md")))
    gone = [n for n in named if not re.search(r"\b(ERR_)?%s\b" % n, headers)]
    assert [n for n in gone if not n.endswith("_")] == []


FOLDERS = "kernel|servers|lib|idl|systems|tests|tools|docs"


def quoted():
    """(document, text between backticks) of all documents, code blocks left out."""
    for path in documents():
        text = re.sub(r"^```.*?^```", "", read(path), flags=re.M | re.S)
        for word in re.findall(r"`([^`\n]+)`", text):
            yield path, word


def test_files_that_documents_name_exist():
    named = [(doc, word) for doc, word in quoted() if re.fullmatch(r"(?:%s)/[\w./*-]*" % FOLDERS, word) and not re.search("NAME|xx", word)]
    assert len(named) > 20
    assert [(doc, word) for doc, word in named if not any(layout.ROOT.glob(word.rstrip("/")))] == []


def test_tests_that_documents_name_exist():
    named = [(doc, word.split("::")) for doc, word in quoted() if re.fullmatch(r"test_\w+\.(c|py)::\w+", word)]
    assert len(named) > 5
    for doc, (file, name) in named:
        texts = [p.read_text() for p in (layout.ROOT / "tests").glob("**/" + file)]
        assert any(re.search(r"^(TEST\(|def )%s\b" % name, text, re.M) for text in texts), "%s: %s::%s" % (doc, file, name)


def test_links_between_documents_lead_somewhere():
    for path in documents():
        for target in re.findall(r"\]\(([^)\s]+)\)", read(path)):
            file, _, anchor = target.partition("#")
            if "://" in target:
                continue
            where = (layout.ROOT / path).parent / file if file else layout.ROOT / path
            assert where.exists(), "%s links to %s" % (path, target)
            headings = re.findall(r"^#+ (.*)$", where.read_text(), re.M) if where.suffix == ".md" else []
            anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert not anchor or anchor in anchors, "%s links to %s" % (path, target)


UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
ROW = re.compile(r"^\| `(\w+)` \| (\d+)(?:\^(\d+))?(?: (\w+))? \| `([^`]+)` \|", re.M)


def defined(name, text):
    """The number that a C or Python source gives to a name."""
    text = text.replace("\\\n", " ")
    found = re.search(r"(?:^#define %s\s|\b%s =)\s*([^,\n/#;]+)" % (name, name), text, re.M)
    if found is None:
        return None
    words = re.sub(r"\b(\d+|0x[0-9a-fA-F]+)[uUlL]+\b", r"\1", found[1])
    return eval(words, {"BIT": lambda n: 1 << n, "MB": 1 << 20})  # the tree's own constants


def test_limits_are_those_of_the_sources():
    rows = ROW.findall(read("docs/limits.md"))
    assert len(rows) == len(re.findall(r"^\| `", read("docs/limits.md"), re.M)) > 40
    for name, base, power, unit, file in rows:
        value = int(base) ** int(power or 1) * UNITS[unit]
        assert defined(name, read(file)) == value, "%s in %s" % (name, file)

# SPDX-License-Identifier: BSD-2-Clause
"""Tests of several files at once: pytest-xdist's processes, told what was chosen. All tests of a file run in one process, in
order: they share what the file boots or compiles once.
"""
import argparse
import os

from umbra import machine, say

SHARED = ("command", "names", "k", "long", "profile", "qemu", "machine", "quiet", "no_install")


def available():
    return len(os.sched_getaffinity(0))


def words(count):
    return ["-p", "xdist.plugin", "-n", str(count), "--dist", "loadfile"]


class Workers:
    """pytest plugin of the process that hands out the tests, which collects none itself."""

    def __init__(self, selection):
        self.selection = selection

    def pytest_configure_node(self, node):
        node.workerinput["umbra"] = {name: getattr(self.selection.options, name) for name in SHARED}

    def pytest_xdist_node_collection_finished(self, ids):
        self.selection.chosen = list(ids)

    def pytest_testnodedown(self, node):
        self.selection.unknown = getattr(node, "workeroutput", {}).get("unknown", self.selection.unknown)


class Order:
    """pytest plugin of the others: what ends with files that take a minute leaves no process waiting long for another's."""

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: item.nodeid.startswith("tests/system/"))


def join(config, plugin):
    """In one of the processes: the same options, the same choice; plugin(options) makes it."""
    options = argparse.Namespace(**config.workerinput["umbra"])
    say.be_quiet(options.quiet)
    machine.choose(options)
    selection = plugin(options)
    config.pluginmanager.register(selection)
    config.pluginmanager.register(Order())
    config.workeroutput["unknown"] = selection.unknown

# SPDX-License-Identifier: BSD-2-Clause
"""Several commands at once in one tree: one builds at a time, and each that boots has a folder of its own under build/.

Locks are flock(2) on files under build/: they end with the process that holds them, however it ends.
"""
import contextlib
import fcntl
import functools
import itertools

from umbra import layout, say


def lock_file(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "w")      # not inherited by children


def try_lock(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


@contextlib.contextmanager
def building():
    """Held while ninja runs; waits for another command's build, after saying so."""
    with lock_file(layout.BUILD / "build.lock") as file:
        if not try_lock(file):
            say.note("waiting for another build in this tree")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@functools.cache
def alone_in(folder):
    """Nobody else works in this folder while this process lives; waits for another command that does, after saying so."""
    file = lock_file(folder.with_name(folder.name + ".lock"))
    if not try_lock(file):
        say.note("waiting for another command that works in %s" % layout.relative(folder))
        fcntl.flock(file, fcntl.LOCK_EX)
    HELD.append(file)


@functools.cache
def slot():
    """What distinguishes the files of this process: "" or, while others boot from this tree, "-1", "-2", ..."""
    for suffix in itertools.chain([""], ("-%d" % n for n in itertools.count(1))):
        file = lock_file(layout.BUILD / ("run" + suffix) / "lock")
        if try_lock(file):
            HELD.append(file)
            return suffix
        file.close()


HELD = []       # open, so that the lock lasts as long as the process

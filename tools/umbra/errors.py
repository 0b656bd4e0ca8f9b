# SPDX-License-Identifier: BSD-2-Clause
"""How a command ends when it does not end well.

Each class is one exit status of the contract; its text is the one line a person reads. cli.main turns them into output.
"""


class Failure(Exception):
    """The guest, the system or a tool failed or timed out."""
    status = 1


class Usage(Failure):
    """The words on the command line, or a file they name, are wrong."""
    status = 2


class Lacking(Failure):
    """The machine lacks something that cannot be (or may not be) installed."""
    status = 3


class Interrupted(KeyboardInterrupt):
    """A signal asked us to stop; raised in the main thread so that every `finally` runs."""
    status = 130

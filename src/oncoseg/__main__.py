"""The command line: words in, one call out. No traceback reaches a user who did not ask for one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from types import TracebackType

from oncoseg import __version__
from oncoseg.cli import (
    catalogue,
    check,
    contest,
    exchange,
    federated,
    interact,
    learn,
    loops,
    measure,
    recipes,
    tune,
)
from oncoseg.cli.words import Parser, complain
from oncoseg.errors import BadOption, BadRun, OncosegError, Stopped, UnknownName, unknown

ABOUT = """Turns scans into trusted tumour measurements. Research use only, not a medical device.

the path: prepare -> train -> predict -> evaluate -> report"""
EXAMPLES = """examples:
  oncoseg demo
  oncoseg predict glioma scans/ --to out/
  oncoseg evaluate out/ truth/
  oncoseg report out/

'oncoseg COMMAND --help' says more of one command."""
USAGE, FAILED, INTERRUPTED = 2, 1, 130


def parser() -> tuple[Parser, tuple[str, ...]]:
    """The whole command line and the names of its commands; imports no verb."""
    top = Parser(
        prog="oncoseg",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"oncoseg {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    path = (check, measure, tune, contest, interact, learn, federated, loops, recipes)
    modules = (*path, exchange, catalogue)
    for module in modules:
        module.add(commands)
    return top, tuple(commands.choices)


def call(words: Sequence[str]) -> int:
    """Run one command; errors that a person can act on become a sentence and an exit code."""
    try:
        return act(words)
    except OncosegError as error:
        if "--debug" in words:
            raise
        complain(str(error))
        if isinstance(error, Stopped):
            return error.code
        return USAGE if isinstance(error, (BadOption, BadRun, UnknownName)) else FAILED
    except KeyboardInterrupt:
        complain("stopped; what was finished is kept, and nothing is left half-written")
        return INTERRUPTED
    except MemoryError:
        if "--debug" in words:
            raise
        complain("the machine has no more memory; end other programs, or give it less at once")
        return FAILED
    except BrokenPipeError:
        # Whoever read our answer has closed it (`oncoseg list | head`): nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def act(words: Sequence[str]) -> int:
    """Find the command and call it; raises `UnknownName` with the nearest commands."""
    top, known = parser()
    if not words:
        top.print_help()
        return 0
    if words[0] not in known and not words[0].startswith("-"):
        raise unknown("command", words[0], known)
    chosen = top.parse_args(words)
    if not hasattr(chosen, "act"):
        raise BadOption("say which command; 'oncoseg --help' lists them")
    result: int = chosen.act(chosen)
    sys.stdout.flush()
    return result


def unexpected(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    """One sentence for an error that nobody foresaw, and how to learn more of it."""
    cause = " ".join(str(error).split()) or "no message"
    complain(f"unexpected {kind.__name__}: {cause}; run again with --debug to see where")


def main() -> int:
    """The `oncoseg` program."""
    words = sys.argv[1:]
    if "--debug" not in words:
        sys.excepthook = unexpected
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a console that cannot show a letter shows another
            stream.reconfigure(errors="replace")
    return call(words)


if __name__ == "__main__":
    sys.exit(main())

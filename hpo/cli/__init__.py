"""The command line: words in, one exit code out. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from hpo.cli.output import keep_secrets_out_of_tracebacks, print_in_any_encoding, silence
from hpo.cli.parser import parse

EXIT_DONE, EXIT_BUG, EXIT_INPUT, EXIT_ENVIRONMENT, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 bug, 2 your input, 3 environment, 130 interrupted."""
    print_in_any_encoding()
    options = parse(arguments)
    # Read when torch is loaded: threads that spin while they wait ruin a conclusion on busy cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_secrets_out_of_tracebacks()
    try:
        return _run(options)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        silence()  # the reader left; nothing is wrong
        return EXIT_DONE


def _run(options: argparse.Namespace) -> int:
    from hpo.cli import commands

    try:
        commands.COMMANDS[options.command](options)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        _say_why(error)
        return code
    return EXIT_DONE


def _exit_code(error: Exception) -> int | None:
    """What a foreseen error ends the command with; None for one that nobody foresaw, a bug."""
    from hpo.domain.errors import EnvironmentFault, HpoError, Interrupted, InvariantBroken
    from search_spaces.errors import SpaceError

    codes: dict[type[Exception] | tuple[type[Exception], ...], int] = {
        Interrupted: EXIT_INTERRUPTED,
        InvariantBroken: EXIT_BUG,
        (EnvironmentFault, OSError): EXIT_ENVIRONMENT,
        (HpoError, SpaceError): EXIT_INPUT,
    }
    return next((code for kinds, code in codes.items() if isinstance(error, kinds)), None)


def _say_why(error: Exception) -> None:
    from hpo.domain.errors import Interrupted
    from hpo.domain.redaction import redact_error

    said = f"{error.strerror or error}: {error.filename or 'the system'}." if isinstance(error, OSError) else str(error)
    lead = "\n" if isinstance(error, Interrupted) else "hpo: "
    print(lead + redact_error(said), file=sys.stderr)

"""The command line: words in, one exit code out. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from hpo.cli.output import silence
from hpo.cli.parser import parse

EXIT_DONE, EXIT_BUG, EXIT_INPUT, EXIT_ENVIRONMENT, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 bug, 2 your input, 3 environment, 130 interrupted."""
    options = parse(arguments)
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
    from hpo.errors import EnvironmentFault, HpoError, Interrupted, InvariantBroken
    from search_spaces.errors import SpaceError
    from trainer.errors import TrainerError

    try:
        commands.COMMANDS[options.command](options)
        sys.stdout.flush()
    except Interrupted as stop:
        print(f"\n{stop}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except InvariantBroken as breach:
        return _refuse(breach, EXIT_BUG)
    except EnvironmentFault as fault:
        return _refuse(fault, EXIT_ENVIRONMENT)
    except (HpoError, SpaceError, TrainerError) as error:
        return _refuse(error, EXIT_INPUT)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _refuse(f"{error.strerror or error}: {error.filename or 'the system'}.", EXIT_ENVIRONMENT)
    return EXIT_DONE


def _refuse(said: object, code: int) -> int:
    from hpo.adapters.urls import redact_text

    print(f"hpo: {redact_text(str(said))}", file=sys.stderr)
    return code

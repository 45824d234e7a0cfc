"""The command line: words in, one exit code out. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from hpo.cli.parser import build_parser

EXIT_DONE, EXIT_BUG, EXIT_INPUT, EXIT_ENVIRONMENT, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 bug, 2 your input, 3 environment, 130 interrupted."""
    options = build_parser().parse_args(arguments)
    from hpo.cli import commands
    from hpo.errors import EnvironmentFault, HpoError, Interrupted
    from search_spaces.errors import SpaceError
    from trainer.errors import TrainerError

    try:
        commands.COMMANDS[options.command](options)
    except Interrupted as stop:
        print(f"\n{stop}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except EnvironmentFault as fault:
        print(f"hpo: {_redacted(fault)}", file=sys.stderr)
        return EXIT_ENVIRONMENT
    except (HpoError, SpaceError, TrainerError) as error:
        print(f"hpo: {_redacted(error)}", file=sys.stderr)
        return EXIT_INPUT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader left; nothing is wrong
        return EXIT_DONE
    return EXIT_DONE


def _redacted(error: Exception) -> str:
    from hpo.adapters.urls import redact_text

    return redact_text(str(error))

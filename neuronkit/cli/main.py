"""Commands, what they share, and their exit statuses."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from neuronkit.cli import artifacts, models, reading, streams
from neuronkit.errors import NeuronKitError, ParityError
from neuronkit.version import __version__

_STATUSES = "Exit status: 0 done; 1 some of it failed, or a check did not hold; 2 nothing could begin."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; give its exit status.

    Args:
        arguments: Those of the command line; None takes `sys.argv`.
    """
    streams.prepare()
    parser = make_parser()
    try:
        import argcomplete
    except ImportError:
        pass
    else:
        argcomplete.autocomplete(parser)
    given = parser.parse_args(arguments)
    if given.command is None:
        parser.print_help(sys.stderr)
        return 2
    with warnings.catch_warnings():
        # On one line, without the line of code.
        warnings.showwarning = lambda message, *_, **__: print(f"neuronkit: {message}", file=sys.stderr)
        try:
            result, status = given.run(given)
            _tell(result, as_json=given.json)
        except ParityError as error:
            print(error, file=sys.stderr)
            return 1
        except NeuronKitError as error:
            print(f"neuronkit {given.command}: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            # The reader has closed the pipe, as head does.
            streams.drop()
            return 0
        except OSError as error:
            # Such as a full disk behind stdout; what the library writes fails with errors of its own.
            print(f"neuronkit {given.command}: {error}", file=sys.stderr)
            streams.drop()
            return 1
    return int(status)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    statuses = textwrap.fill(_STATUSES, max(20, shutil.get_terminal_size().columns - 2))
    parser = argparse.ArgumentParser(
        prog="neuronkit", description="OCR models as exact static graphs.", epilog=_STATUSES
    )
    parser.add_argument("--version", action="version", version=f"neuronkit {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, run: Callable[[Any], Any], summary: str, example: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"Example:\n  {example}\n\n{statuses}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        command.set_defaults(run=run)
        return command

    for module in (reading, models, artifacts):
        module.add_commands(add)
    return parser


def _tell(result: Any, *, as_json: bool) -> None:
    if result is not None and as_json:
        plain = result.to_dict() if hasattr(result, "to_dict") else result
        streams.write(json.dumps(plain, ensure_ascii=False, indent=1, default=str) + "\n", as_it_is=True)
    elif result is not None:
        streams.write(f"{result}\n", as_it_is=False)
    streams.flush()

"""What the parsers of all commands have in common. Light: ``--help`` and a typo are answered before anything is loaded.

What a command needs beyond its parser it imports once its options are understood.
"""

import argparse
import difflib
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NoReturn

from jobs.wiring.exit_codes import EXIT_USAGE

_SCRIPT = re.compile(r"python jobs/(\w+)\.py")


class CommandParser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that names the nearest option or value when one does not exist, in one line.

    Attributes:
        elsewhere: Options that this parser leaves to another one, such as ``ask.py``'s to that of ``run.py``.
    """

    elsewhere: Collection[str] = ()
    _given: Sequence[str] = ()

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As ever; what was given is kept for ``error``."""
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(self._given, namespace)

    def error(self, message: str) -> NoReturn:
        """Say that an option is unknown rather than what its absence led to; exit code 2."""
        for name in self._unknown_options():
            nearest = difflib.get_close_matches(name, sorted(self._known_options()), n=1, cutoff=0.7)
            message = f"unknown option {name}" + (f"; did you mean {nearest[0]}?" if nearest else "")
            break
        more = "" if message.endswith("?") else " (--help lists the options)"
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message}{more}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As ever, but with the value that was meant, or else with all of them."""
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, explain_value(str(value), list(map(str, action.choices))))

    def own_options(self) -> frozenset[str]:
        """Every ``--option``, those of sub-commands included."""
        nested = [action.choices for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        inner = [parser.own_options() for choices in nested for parser in choices.values()]
        return frozenset(name for name in self._option_string_actions if name[:2] == "--").union(*inner)

    def _known_options(self) -> frozenset[str]:
        return self.own_options().union(self.elsewhere)

    def _unknown_options(self) -> Iterator[str]:
        known = self._known_options()
        for word in self._given:
            name = word.partition("=")[0]
            if word == "--":
                return
            is_option = name.startswith("--") and " " not in name
            is_short_form = self.allow_abbrev and any(option.startswith(name) for option in known)
            if is_option and name not in known and not is_short_form:
                yield name


def explain_value(value: str, allowed: Sequence[str]) -> str:
    """``'seriel' is none of its values; did you mean 'serial'?``, or all of them where none is near."""
    begun = [name for name in allowed if value and name.startswith(value.lower())]
    nearest = difflib.get_close_matches(value.lower().replace("_", "-"), allowed, n=1) or begun
    if nearest:
        return f"{value!r} is none of its values; did you mean {nearest[0]!r}?"
    return f"{value!r} is none of its values: {', '.join(allowed)}"


class _PrintVersion(argparse.Action):
    """Prints the version and ends; it is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        from jobs.wiring.version import PACKAGE, project_version

        print(f"{PACKAGE} {project_version()}")
        parser.exit()


def command_parser(
    prog: str,
    description: str | None,
    *,
    exit_codes: str,
    usage: str | None = None,
    allow_abbrev: bool = False,
) -> CommandParser:
    """A parser without options but ``--help`` and ``--version``.

    Args:
        prog: how the command was called: ``run.py`` or ``adapttoken run``.
        description: its module's docstring, with commands as scripts; they are shown in the form of ``prog``.
        exit_codes: what its exit codes mean.
        usage: instead of the one that lists every option.
        allow_abbrev: whether ``--max-fail`` is ``--max-failures``.
    """
    text = description or ""
    parser = CommandParser(
        prog=prog,
        usage=usage,
        description=text if prog.endswith(".py") else _SCRIPT.sub(_as_console_command, text),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"Exit codes: {exit_codes}.",
        allow_abbrev=allow_abbrev,
    )
    parser.add_argument("--version", action=_PrintVersion, nargs=0, help="print the version and exit")
    return parser


def _as_console_command(script: re.Match[str]) -> str:
    return f"adapttoken {script[1].replace('_', '-')}"

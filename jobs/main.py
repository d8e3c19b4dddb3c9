"""``adapttoken COMMAND …``: all commands of a user under one name; each is also a script of its own in ``jobs/``."""

import difflib
import importlib
import sys

from jobs.wiring.exit_codes import EXIT_OK, EXIT_USAGE
from jobs.wiring.version import PACKAGE, project_version

COMMANDS = {
    "run": "answer a manifest of questions about long videos; --demo makes its own",
    "ask": "ask one question about one video",
    "report": "write one HTML page about the answers of an output folder",
    "query": "ask the answers in SQL",
    "serve": "a page in the browser to ask in, and to browse an output folder",
    "compact": "merge the small answer files of an output folder",
    "evaluate": "score runs about a benchmark, or compare them",
    "import-benchmark": "make a manifest of VideoMME, LongVideoBench, LVBench or MLVU",
    "analyze": "the paper's analyses over finished runs, and ablations",
    "compare": "methods side by side on the same frames: accuracy by budget and by seconds",
    "calibrate": "choose when AdaptToken-Lite stops",
    "doctor": "examine a checkpoint on this machine: loads, answers as published, memory, time",
    "frames": "list, check and empty a frame store",
    "convert-internvl": "make a folder of InternVL as its authors publish it readable here",
    "make-demo-archive": "write videos with short needles, and the manifest that asks about them",
}

_PARENT = __package__ or "jobs"  # in a wheel adapttoken.jobs; as a script it has none


def main(arguments: list[str] | None = None) -> int:
    """Hand the rest of the command line to the command it names; returns that one's exit code."""
    first, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if first in ("-h", "--help"):
        print(_describe_commands())
        return EXIT_OK
    if first == "--version":
        print(f"{PACKAGE} {project_version()}")
        return EXIT_OK
    if first not in COMMANDS:
        print(f"adapttoken: error: {_explain_unknown(first)}", file=sys.stderr)
        return EXIT_USAGE
    command = importlib.import_module(f"{_PARENT}.{first.replace('-', '_')}")
    code: int = command.main(rest, prog=f"adapttoken {first}")
    return code


def _describe_commands() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        [
            "usage: adapttoken COMMAND …",
            "",
            "Asks questions of very long videos.",
            "",
            *lines,
            "",
            "adapttoken COMMAND --help lists a command's options, adapttoken --version prints the version.",
        ]
    )


def _explain_unknown(word: str) -> str:
    nearest = difflib.get_close_matches(word.replace("_", "-").removesuffix(".py"), COMMANDS, n=1)
    if nearest:
        return f"unknown command {word!r}; did you mean {nearest[0]!r}?"
    return f"unknown command {word!r}; one of {', '.join(COMMANDS)}"


if __name__ == "__main__":
    sys.exit(main())

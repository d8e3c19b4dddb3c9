"""A page in the browser: choose a video, ask, see its groups being scored, and browse the answers of an output folder.

    python jobs/serve.py demo_output --model demo
    python jobs/serve.py film.mp4 talk.mp4 --model Qwen/Qwen2.5-VL-7B-Instruct --method adapttoken-lite

Only this machine reaches it, unless --host says otherwise; then a token is needed, and the address that is printed has
one. All settings of run.py can be given too, such as --method, --config and --set; --model must be, unless --no-ask.
What is asked here is not written into the folder. Ctrl-C ends it.
"""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.wiring.chosen_settings import addresses_of, named_model
from jobs.wiring.cli import build_parser
from jobs.wiring.command_line import CommandParser, command_parser
from jobs.wiring.exit_codes import EXIT_JOB, EXIT_OK, EXIT_USAGE
from jobs.wiring.extras import check_extra
from jobs.wiring.logs import configure_logging
from jobs.wiring.storage_options import secret_values
from pipeline.failures import PipelineError, with_store_errors
from pipeline.stores import check_installed
from pipeline.uris import has_scheme, redact_text, strip_secrets

if TYPE_CHECKING:
    from jobs.wiring.serving import Served

_USAGE = "%(prog)s OUTPUT|VIDEO … --model MODEL [--host ADDRESS] [settings of run.py, e.g. --method adapttoken-lite]"
DEFAULT_PORT = 8760


def main(arguments: list[str] | None = None, *, prog: str = "serve.py") -> int:
    """Serve until a signal ends it; returns the exit code."""
    parser = _build_parser(prog)
    options, words = parser.parse_known_args(arguments)
    settings = _read_settings(parser, words)
    configure_logging(settings.log_level, form=settings.log_format, secrets=secret_values(settings.storage_options))
    try:
        check_extra("serve")
        check_installed([*addresses_of(settings), *options.places])
        _check_places(options.places)
        if not options.no_ask:
            named_model(settings)
    except (ValueError, OSError) as error:
        return _complain(error, EXIT_USAGE)
    from jobs.wiring.serving import prepare, run_server  # torch, transformers: seconds that a typo need not wait for

    with ExitStack() as stack:
        try:
            served = prepare(options, settings, stack)
            run_server(served, announce=lambda port: _announce(served, port))
        except (ValueError, PipelineError) as error:
            return _complain(error, EXIT_USAGE)
        except with_store_errors(OSError) as error:
            return _complain(error, EXIT_JOB)
    print("ended")
    return EXIT_OK


def _read_settings(parser: CommandParser, words: list[str]) -> argparse.Namespace:
    """Those of ``run.py``, explained in terms of this command where one is wrong."""
    own = build_parser(parser.prog, _USAGE)
    own.elsewhere = parser.own_options()
    if not any(word.partition("=")[0] == "--log-level" for word in words):
        words = [*words, "--log-level", "warning"]
    return own.parse_args(["--manifest", "-", "--output", "-", *words])


def _check_places(places: list[str]) -> None:
    """A typo is said before a model is loaded.

    Raises:
        ValueError: Something is not there.
    """
    for place in places:
        if not has_scheme(place) and not Path(place).exists():
            raise ValueError(f"there is no {place}: name the --output of a run, or videos")
        if Path(place).is_dir() and not (Path(place) / "answers").is_dir():
            raise ValueError(f"{place}/answers is not there: name the --output of a run, or videos one by one")


def _announce(served: "Served", port: int) -> None:
    host = f"[{served.host}]" if ":" in served.host else served.host
    token = f"?token={served.token}" if served.token else ""
    print(f"{served.described}\nhttp://{host}:{port}/{token}\nCtrl-C ends it", flush=True)


def _complain(error: BaseException, code: int) -> int:
    text = error.message if isinstance(error, PipelineError) else str(error)
    print(f"error: {redact_text(strip_secrets(text) if has_scheme(text) else text)}", file=sys.stderr)
    return code


def _build_parser(prog: str) -> CommandParser:
    parser = command_parser(
        prog,
        __doc__,
        usage=_USAGE,
        exit_codes="0 ended by Ctrl-C or SIGTERM, 2 usage or model, 1 the storage or the port",
    )
    parser.elsewhere = build_parser().own_options()
    parser.add_argument("places", nargs="+", metavar="OUTPUT|VIDEO", help="one --output of run.py, and videos")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; default: this machine only")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"default: {DEFAULT_PORT}; 0: any that is free")
    parser.add_argument("--token-file", metavar="FILE", help="holds the token that must be known, also on this machine")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="another name of this server, as of a proxy"
    )
    parser.add_argument("--no-ask", action="store_true", help="only show answers; loads no model")
    parser.add_argument("--no-video-links", action="store_true", help="play no file of this machine")
    parser.add_argument(
        "--keep-gib",
        type=float,
        default=4.0,
        metavar="N",
        help="memory for frames, and as much again for prefixes, of videos that were asked about; default: 4",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

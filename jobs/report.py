"""Writes one self-contained HTML page about the answers in an output folder: open it from disk, it needs no network.

It shows what was asked and answered, where in the video the evidence lies, how sure each group was, and what it cost.
"""

import argparse
import sys
import time

from jobs.wiring.command_line import command_parser
from jobs.wiring.exit_codes import EXIT_JOB, EXIT_OK, EXIT_USAGE
from jobs.wiring.storage_options import add_storage_options
from pipeline.failures import with_store_errors
from pipeline.report.report import ReportOptions, make_report
from pipeline.report.video_links import LinkOptions
from pipeline.results.atomic_files import write_bytes_atomic
from pipeline.settings.sources import ReadingConfig
from pipeline.uris import redact_text, strip_secrets

_PROGRESS_INTERVAL_S = 5.0


def main(arguments: list[str] | None = None, *, prog: str = "report.py") -> int:
    """Write the page; returns the exit code."""
    options = _build_parser(prog).parse_args(arguments)
    target = options.html or f"{options.output.rstrip('/')}/report/{options.run or 'index'}.html"
    try:
        page = make_report(
            options.output,
            ReportOptions(
                run_id=options.run,
                question_ids=options.question_id,
                limit=options.limit,
                num_thumbnails=options.thumbnails_per_question,
                max_image_bytes=int(options.max_image_mib * 1024**2),
                usd_per_gpu_hour=options.usd_per_gpu_hour,
                links=LinkOptions(are_files_linked=not options.no_video_links, signed_for_s=options.link_videos),
                reading=ReadingConfig(decode_timeout_s=options.decode_timeout_s, allow_http=options.allow_http),
            ),
            storage_options=options.storage_options,
            note_progress=_ProgressLines(),
        )
        write_bytes_atomic(target, page, storage_options=options.storage_options)
    except ValueError as error:
        return _complain(error, EXIT_USAGE)
    except with_store_errors(OSError) as error:
        return _complain(error, EXIT_JOB)
    print(f"{strip_secrets(target)} ({len(page) / 1024**2:.1f} MiB)")
    return EXIT_OK


class _ProgressLines:
    """One line every few seconds, while videos are read."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self._last_s >= _PROGRESS_INTERVAL_S:
            self._last_s = time.monotonic()
            print(f"pictures: {done} of {total} videos", file=sys.stderr, flush=True)


def _complain(error: BaseException, code: int) -> int:
    print(f"error: {redact_text(str(error))}", file=sys.stderr)
    return code


def _build_parser(prog: str) -> argparse.ArgumentParser:
    parser = command_parser(prog, __doc__, exit_codes="0 done, 2 usage or nothing to show, 1 the storage failed")
    parser.add_argument("output", help="the --output of run.py: a folder or s3://…")
    parser.add_argument("--run", metavar="RUN_ID", help="only the rows that this run wrote (default: all answers)")
    parser.add_argument("--html", metavar="FILE", help="default: OUTPUT/report/index.html, or RUN_ID.html with --run")
    parser.add_argument("--question-id", action="append", metavar="ID", help="only this question; may be repeated")
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many questions")
    parser.add_argument(
        "--thumbnails-per-question", type=int, default=4, metavar="N", help="default: 4; 0 reads no video"
    )
    parser.add_argument(
        "--max-image-mib", type=float, default=48.0, metavar="N", help="of all pictures together (default: 48)"
    )
    parser.add_argument("--usd-per-gpu-hour", type=float, metavar="USD", help="show what the device seconds cost")
    parser.add_argument(
        "--decode-timeout-s", type=float, default=120.0, metavar="S", help="for the pictures of one video; default: 120"
    )
    links = parser.add_mutually_exclusive_group()
    links.add_argument(
        "--link-videos",
        type=int,
        nargs="?",
        const=24 * 3600,
        metavar="S",
        help="play videos on s3:// too, by addresses signed for so many seconds (default: a day): whoever has the page "
        "can watch them until then",
    )
    links.add_argument("--no-video-links", action="store_true", help="name no file of this machine to play from")
    parser.add_argument("--allow-http", action="store_true", help="fetch videos from http(s):// addresses")
    add_storage_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())

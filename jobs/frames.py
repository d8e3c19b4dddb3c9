"""Looks after a frame store, the --frame-store of run.py: lists it, checks it, removes from it.

    python jobs/frames.py ls frames
    python jobs/frames.py verify frames --remove
    python jobs/frames.py rm frames 0f3a5c7791d2e4b8

Whatever is removed is decoded again by the next run that needs it. Runs may go on meanwhile.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.wiring.command_line import command_parser
from jobs.wiring.exit_codes import EXIT_FAILURES, EXIT_JOB, EXIT_OK, EXIT_USAGE
from jobs.wiring.storage_options import add_storage_options
from pipeline.counted import counted

if TYPE_CHECKING:
    from pipeline.video.frame_store.storage import PieceStorage


def main(arguments: list[str] | None = None, *, prog: str = "frames.py") -> int:
    """Do one thing; returns the exit code."""
    parser = _build_parser(prog)
    options = parser.parse_args(arguments)
    from pipeline.failures import with_store_errors
    from pipeline.uris import has_scheme, redact_text
    from pipeline.video.frame_store.storage import open_storage

    if options.command == "rm" and bool(options.entry) == options.all:
        parser.error("rm takes entries of ls, or --all")
    try:
        if not has_scheme(options.store) and not Path(options.store).is_dir():
            raise ValueError(f"there is no folder {options.store}: name the --frame-store of a run")
        code: int = options.act(open_storage(options.store, options.storage_options), options)
    except with_store_errors(ValueError, OSError) as error:
        print(f"error: {redact_text(str(error))}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ValueError) else EXIT_JOB
    return code


def _list(storage: "PieceStorage", options: argparse.Namespace) -> int:
    from jobs.wiring.terminal import measure_width
    from pipeline.results.fitted_rows import fit_rows
    from pipeline.video.frame_store.inventory import list_entries

    entries = sorted(list_entries(storage), key=lambda entry: -entry.last_use_s)
    header = ("entry", "video", "frames", "size", "files", "MiB", "last use")
    rows = [
        (
            *(entry.key, entry.video, f"{entry.num_frames:,}", f"{entry.size[0]} x {entry.size[1]}"),
            *(f"{entry.num_files:,}", f"{entry.size_bytes / 1024**2:,.1f}"),
            f"{datetime.fromtimestamp(entry.last_use_s, UTC):%Y-%m-%d %H:%M}",
        )
        for entry in entries
    ]
    if rows:
        print("\n".join(fit_rows(rows, header=header, numbers={2, 4, 5}, width=measure_width())))
    total = sum(entry.size_bytes for entry in entries)
    print(f"{counted(len(entries), 'entry', 'entries')}, {total / 1024**3:,.2f} GiB")
    return EXIT_OK


def _verify(storage: "PieceStorage", options: argparse.Namespace) -> int:
    from pipeline.video.frame_store.inventory import Wrong, find_wrong

    num_sound = num_wrong = 0
    for found in find_wrong(storage):
        if isinstance(found, Wrong):
            num_wrong += 1
            print(f"{found.file.key}/{found.file.name}: {found.reason}{'; removed' if options.remove else ''}")
            if options.remove:
                storage.remove(found.file.key, found.file.name)
        else:
            num_sound += 1
    print(f"{counted(num_sound, 'file is', 'files are')} sound, {num_wrong:,} not")
    return EXIT_FAILURES if num_wrong and not options.remove else EXIT_OK


def _remove(storage: "PieceStorage", options: argparse.Namespace) -> int:
    from pipeline.video.frame_store.inventory import remove_entries

    num_files, size_bytes = remove_entries(storage, None if options.all else frozenset(options.entry))
    print(f"{counted(num_files, 'file')} removed, {size_bytes / 1024**3:,.2f} GiB")
    return EXIT_OK if num_files or options.all else EXIT_FAILURES


def _build_parser(prog: str) -> argparse.ArgumentParser:
    parser = command_parser(
        prog, __doc__, exit_codes="0 done, 2 usage, 3 wrong files found or nothing to remove, 1 the storage failed"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, act, purpose in (
        ("ls", _list, "one line for each video and size"),
        ("verify", _verify, "read every file and compare its checksum and its place; pictures are not decoded"),
        ("rm", _remove, "remove entries"),
    ):
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.set_defaults(act=act)
        command.add_argument("store", help="the --frame-store of run.py: a folder or s3://…")
        if name == "rm":
            command.add_argument("entry", nargs="*", help="as ls shows it, or the video_fingerprint of a row")
            command.add_argument("--all", action="store_true", help="all of them")
        if name == "verify":
            command.add_argument("--remove", action="store_true", help="remove what is wrong")
        add_storage_options(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())

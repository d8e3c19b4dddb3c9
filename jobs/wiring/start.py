"""The main job's front door: understands the command, finds what is wrong with it at a glance, and only then loads."""

import argparse
import sys
from pathlib import Path

from jobs.wiring.chosen_settings import addresses_of, check_method, named_model
from jobs.wiring.cli import build_parser
from jobs.wiring.exit_codes import EXIT_USAGE
from jobs.wiring.logs import LOG, configure_logging
from jobs.wiring.storage_options import secret_values
from jobs.wiring.watchers import check_watchers
from pipeline.manifest.files import find_manifests
from pipeline.manifest.reading import read_manifest
from pipeline.stores import check_installed
from pipeline.uris import has_scheme

_MOST_BYTES = 8 * 1024**2  # of manifests that are read once more for what is wrong with them: tens of milliseconds


def main(arguments: list[str] | None = None, *, prog: str = "run.py") -> int:
    """Run the job, or only plan it; returns the exit code."""
    parser = build_parser(prog)
    options = parser.parse_args(arguments)
    options.command = [prog, *(sys.argv[1:] if arguments is None else arguments)]
    if options.manifest and not options.output:
        parser.error("--manifest needs --output: the folder that receives answers/ and runs/")
    configure_logging(options.log_level, form=options.log_format, secrets=secret_values(options.storage_options))
    try:
        check_at_a_glance(options)
    except (ValueError, OSError) as error:
        LOG.error("%s", error)
        return EXIT_USAGE
    from jobs.wiring import job  # torch, transformers: seconds that a wrong command need not wait for

    return job.run_from(options)


def check_at_a_glance(options: argparse.Namespace) -> None:
    """What needs neither the model's files nor a look at a video.

    Raises:
        ValueError: A store's client or an extra is not installed, no model is named, a setting is unknown or out of
            range, the model's folder or a manifest is not there, or a small manifest on this machine cannot be used.
        OSError: The file of settings cannot be read.
    """
    check_watchers(options)
    check_installed(uri for uri in (options.config,) if uri)  # it is read next
    check_installed(addresses_of(options))
    model = named_model(options).model
    if model.startswith((".", "/", "~")) and not Path(model).expanduser().is_dir():
        raise ValueError(f"model {model!r} is a folder that does not exist: give an existing one, or a hub id")
    check_method(options)
    files = find_manifests([uri for uri in options.manifest or () if not has_scheme(uri)])
    if files and len(files) == len(options.manifest) and sum(Path(file).stat().st_size for file in files) < _MOST_BYTES:
        read_manifest(options.manifest, limit=options.limit, skip_bad_rows=options.skip_bad_rows)

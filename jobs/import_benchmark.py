r"""Makes a manifest of a benchmark that you downloaded: annotations, videos, and subtitles where it has them.

    python jobs/import_benchmark.py lvbench --annotations video_info.meta.jsonl --videos LVBench/all_videos \
        --output lvbench.parquet

Every row that is left out or odd is listed, in full in a JSON file beside the manifest. See docs/benchmarks.md.
"""

import argparse
import sys

from jobs.wiring.command_line import command_parser
from jobs.wiring.exit_codes import EXIT_JOB, EXIT_OK, EXIT_USAGE
from jobs.wiring.storage_options import parse_storage_options
from pipeline.counted import counted
from pipeline.evaluation.benchmarks import BENCHMARKS
from pipeline.evaluation.importers.job import Import, ImportRequest, import_benchmark
from pipeline.evaluation.importers.manifest_table import manifest_bytes
from pipeline.evaluation.importers.report import describe_import, import_json
from pipeline.failures import with_store_errors
from pipeline.results.atomic_files import write_bytes_atomic
from pipeline.settings.config import SamplingConfig
from pipeline.uris import redact_text

_SUFFIX = ".parquet"


def main(arguments: list[str] | None = None, *, prog: str = "import_benchmark.py") -> int:
    """Import once; returns the exit code."""
    options = _build_parser(prog).parse_args(arguments)
    try:
        imported = import_benchmark(_request(options))
        return _write(imported, options)
    except with_store_errors(ValueError, OSError) as error:
        print(f"error: {redact_text(str(error))}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ValueError) else EXIT_JOB


def _request(options: argparse.Namespace) -> ImportRequest:
    if not options.output.endswith(_SUFFIX):
        raise ValueError(f"--output must end in {_SUFFIX}, got {options.output!r}")
    return ImportRequest(
        benchmark=options.benchmark,
        annotations=options.annotations,
        videos=options.videos,
        subtitles=options.subtitles,
        splits=options.split,
        skips=options.skip,
        sampling=SamplingConfig(sample_fps=options.sample_fps, max_frames=options.max_frames),
        storage_options=options.storage_options,
    )


def _write(imported: Import, options: argparse.Namespace) -> int:
    """The report always; the manifest only if no video is missing, or that was allowed."""
    report_uri = options.output.removesuffix(_SUFFIX) + ".import.json"
    write_bytes_atomic(report_uri, import_json(imported), storage_options=options.storage_options)
    print(describe_import(imported))
    print(f"every remark: {report_uri}")
    missing = len(imported.unplaced_videos)
    if missing and not options.allow_missing:
        raise ValueError(
            f"{counted(missing, 'video')} cannot be used, no manifest written; --allow-missing leaves them out"
        )
    if not imported.table.num_rows:
        raise ValueError("no question is left, no manifest written; see the report")
    write_bytes_atomic(options.output, manifest_bytes(imported.table), storage_options=options.storage_options)
    print(f"manifest: {options.output}")
    style = BENCHMARKS[options.benchmark].style
    if style != "plain":
        print(f"to ask in this benchmark's own wording, add to run.py: --set scoring.prompt_style={style}")
    return EXIT_OK


def _build_parser(prog: str) -> argparse.ArgumentParser:
    sampling = SamplingConfig()
    parser = command_parser(
        prog,
        __doc__,
        exit_codes="0 done, 2 usage, annotations that cannot be used or missing videos, 1 the storage failed",
    )
    parser.add_argument("benchmark", choices=list(BENCHMARKS))
    parser.add_argument("--annotations", required=True, help="file or folder, as the benchmark or lmms-eval gives it")
    parser.add_argument("--videos", required=True, metavar="DIR_OR_URI", help="folder with the videos, at any depth")
    parser.add_argument("--subtitles", metavar="DIR", help="ask with subtitles, from this folder")
    parser.add_argument("--output", required=True, metavar="FILE.parquet", help="the manifest")
    parser.add_argument("--allow-missing", action="store_true", help="leave questions about missing videos out")
    parser.add_argument("--split", nargs="+", default=[], metavar="VALUE", help="only these, such as long, or 3600")
    parser.add_argument(
        "--skip", nargs="+", default=[], metavar="VALUE", help="leave out question ids, videos or values of a category"
    )
    parser.add_argument(
        "--sample-fps", type=float, default=sampling.sample_fps, help="of the run: decides which subtitles are shown"
    )
    parser.add_argument("--max-frames", type=int, default=sampling.max_frames, help="of the run, likewise")
    parser.add_argument("--storage-options", type=parse_storage_options, metavar="JSON|@FILE", help="for s3://")
    return parser


if __name__ == "__main__":
    sys.exit(main())

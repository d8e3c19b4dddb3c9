"""Attack: tables that others wrote, names that others gave, and files that others left in an output.

    python tests/attacks/foreign_tables.py

A case holds where what was read is written and read again by pandas, Polars, DuckDB and the view with its value, or is
named and left out while every other query goes on. Before, ``"meta": {}`` passed ``--plan`` and killed each night's run
at its first commit, likewise ``list_view``, UUIDs and odd zones; 9999-12-31 in INT96 became 1816-03-29 in silence;
``copy#1.mp4`` and ``copy#2.mp4`` were one key, and a row was lost; one part file with a null key or one malformed
``summary.json`` stopped all queries; an output that vanished was made anew, and half of the rows were gone; after the
clock had gone back the older row won; cells such as ``=cmd()`` went into CSV as they were.
"""

import csv
import io
import json
import shutil
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

from pipeline.results.finished import read_answers  # noqa: E402
from pipeline.results.views import open_database  # noqa: E402
from tests.attacks.jobs_under_attack import (  # noqa: E402
    Place,
    all_answered,
    command_environment,
    expect,
    read_by_all,
    run_cases,
)
from tests.attacks.weather import NUM_VIDEOS, store_with_weather, when  # noqa: E402
from tests.unit.results.answer_rows import commit, row  # noqa: E402

ID = uuid.UUID(int=7)
FAR = datetime(9999, 12, 31)
IDS = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([ID.bytes], pa.binary(16)))
ODD = {  # name: (what the manifest holds, what the answers hold)
    "list_view": (pa.array([[1, 2]], pa.list_view(pa.int64())), [1, 2]),
    "uuid": (IDS, str(ID)),
    "mars": (pa.array([0], pa.timestamp("us", tz="Mars/Phobos")), datetime(1970, 1, 1, tzinfo=UTC)),
    "india": (pa.array([0], pa.timestamp("us", tz="+05:30")), datetime(1970, 1, 1, tzinfo=UTC)),
}
DATES = {"far": (pa.array([FAR], pa.timestamp("us")), FAR)}


def _say(*words: object) -> subprocess.CompletedProcess[str]:
    """One of the commands; what it printed."""
    command = [sys.executable, str(ROOT / "jobs" / f"{words[0]}.py"), *map(str, words[1:])]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=command_environment())


def _carried(place: Place, expected: dict[str, object]) -> list[str]:
    """Run; what is wrong with the one row there is, as pyarrow and the other readers see it."""
    found = expect(place.run(), 0)
    found = found or all_answered(place, 1)
    if found:
        return found
    [held] = place.rows()
    found += [f"{name}: {held[name]!r} instead of {value!r}" for name, value in expected.items() if held[name] != value]
    answers = place.output / "answers"
    for name in expected:
        pandas.read_parquet(answers)[name].tolist()
        polars.read_parquet(answers / "**/*.parquet")[name].to_list()
        duckdb.sql(f"SELECT {name} FROM '{answers}/**/*.parquet'").fetchall()
    return found


def _odd(folder: Path, columns: dict[str, tuple[pa.Array, object]], *, has_int96: bool) -> list[str]:
    place = Place(folder)
    place.ask(place.add_videos(1), questions=1)
    table = pq.read_table(place.manifest)
    for name, (column, _) in columns.items():
        table = table.append_column(name, column)
    pq.write_table(table, place.manifest, use_deprecated_int96_timestamps=has_int96)
    return _carried(place, {name: value for name, (_, value) in columns.items()})


def types_of_other_programs(folder: Path) -> list[str]:
    """list_view, UUID and odd zones."""
    return _odd(folder, ODD, has_int96=False)


def int96_dates(folder: Path) -> list[str]:
    """Beyond what nanoseconds can say."""
    return _odd(folder, DATES, has_int96=True)


def empty_objects_and_formulas(folder: Path) -> list[str]:
    """JSON lines with ``"meta": {}``, and a cell that a spreadsheet would run in ``query --format csv``."""
    place = Place(folder)
    [video] = place.add_videos(1)
    place.manifest = folder / "manifest.jsonl"
    asked = {"question_id": "q", "video": video, "question": "What?", "options": ["red", "blue"]}
    place.manifest.write_text(json.dumps(asked | {"meta": {}, "metas": [{}], "formula": "=cmd()"}))
    found = _carried(place, {"meta": "{}", "metas": "[{}]", "formula": "=cmd()"})
    said = _say("query", place.output, "SELECT formula, -1 AS n FROM answers", "--format", "csv").stdout
    cells = list(csv.DictReader(io.StringIO(said)))
    return found + ([f"csv: {cells}"] if cells != [{"formula": "'=cmd()", "n": "-1"}] else [])


def names_with_signs(folder: Path) -> list[str]:
    """``#``, ``?`` and ``%`` in S3 keys and on the disk are characters."""
    place = Place(folder)
    names = ("copy#1.mp4", "copy#2.mp4", "copy?1.mp4", "copy?2.mp4", "copy%231.mp4", "copy 1.mp4")
    with store_with_weather(place) as (_, arguments, filesystem):
        for number, name in enumerate(names):
            content = place.source.read_bytes() + b"\0\0\0\x08free" * number
            filesystem.pipe(f"weather/{name}", content)
            (place.videos / name).write_bytes(content)
        videos = [f"s3://weather/{name}" for name in names] + [str(place.videos / name) for name in names]
        num = place.ask(videos, questions=1)
        found = expect(place.run(*arguments), 0) + all_answered(place, num)
        shown = {one["video_fingerprint"] for one in place.rows()}
        return found + ([f"{len(shown)} fingerprints of {num} videos"] if len(shown) != num else [])


def _with_answers(folder: Path) -> tuple[Place, int]:
    place = Place(folder)
    num = place.ask(place.add_videos(2), questions=1)
    ended = place.run()
    assert ended.code == 0, ended.log
    return place, num


def files_that_others_left(folder: Path) -> list[str]:
    """A part file with null keys, a foreign Parquet file, bytes, and seven kinds of malformed ``summary.json``."""
    place, num = _with_answers(folder)
    answers, runs = place.output / "answers", place.output / "runs"
    part = pq.ParquetFile(next(answers.glob("part-*.parquet"))).read()
    nulls = pa.nulls(part.num_rows, pa.string())
    keyless = part.set_column(part.schema.get_field_index("question_key"), "question_key", nulls)
    pq.write_table(keyless, answers / "part-0000.parquet")
    pq.write_table(pa.table({"a": [1]}), answers / "part-1111.parquet")
    (answers / "part-2222.parquet").write_bytes(b"PAR1 and no more")
    for number, text in enumerate(("{", "[]", '{"run_id": ', "", '{"run_id": {}}', "{}", '{"run_id": 7}')):
        (runs / f"broken-{number}").mkdir()
        (runs / f"broken-{number}" / "summary.json").write_text(text)
    found = []
    for view, count in (("answers", num), ("failures", 0), ("runs", 1)):
        said = _say("query", place.output, f"SELECT count(*) AS n FROM {view}", "--format", "json")
        if said.returncode or json.loads(said.stdout.splitlines()[0])["n"] != count:
            found.append(f"{view}: exit code {said.returncode}: {said.stdout}{said.stderr[-300:]}")
    for name in ("part-1111.parquet", "part-2222.parquet", "broken-0"):
        if name not in said.stderr:
            found.append(f"{name} is not named")
    for command in ("report", "compact"):  # each names the broken file, and goes on with the others
        said = _say(command, place.output)
        if said.returncode or said.stderr.count("part-2222.parquet is not readable") != 1 or "Traceback" in said.stderr:
            found.append(f"{command}: exit code {said.returncode}: {said.stderr[-300:]}")
    return found + expect(place.run(), 2, "part-2222.parquet is not readable", what="the same command")


def output_vanishes(folder: Path) -> list[str]:
    """It is renamed after the first commit: the job ends at once, and says which folder is gone."""
    place = Place(folder)
    num = place.ask(place.add_videos(NUM_VIDEOS))
    gone = folder / "gone"
    ended = place.run(during=when(lambda: place.num_files() > 0, lambda: place.output.rename(gone)))
    found = expect(ended, 1, str(place.output), what="first")
    shutil.rmtree(place.output, ignore_errors=True)
    gone.rename(place.output)
    return found + expect(place.run(), 0, what="second") + all_answered(place, num)


def column_that_drifts(folder: Path) -> list[str]:
    """Text in the first night's manifest, a number in the second's: view, report and evaluation read both."""
    place = Place(folder)
    videos = place.add_videos(2)
    place.ask(videos[:1], questions=1, level="three", answer="A")
    found = expect(place.run(), 0, what="first night")
    place.ask(videos[::-1], questions=1, level=3, answer="A")
    table = pq.read_table(place.manifest)  # the new video first, under an id of its own
    ids = table.column("video").to_pylist()
    names = ["0-0" if video == videos[0] else "1-0" for video in ids]
    pq.write_table(table.set_column(0, "question_id", pa.array(names)), place.manifest)
    found += expect(place.run(), 0, what="second night")
    for words in (("query", place.output, "SELECT question_id, level FROM answers"), ("report", place.output)):
        said = _say(*words)
        if said.returncode or "Traceback" in said.stderr:
            found.append(f"{words[0]}: exit code {said.returncode}: {said.stderr[-300:]}")
    return found


def clock_that_goes_back(folder: Path) -> list[str]:
    """A failed row of a night whose clock was a day ahead: the next night's failure takes its place, and is counted."""
    output, keys = folder / "out", [f"k{number}" for number in range(3)]
    for second, num_runs in ((86_400, 1), (0, 2), (-60, 3)):
        rows = [row(key, "failed", second, run=f"run-{num_runs}", num_runs=num_runs) for key in keys]
        commit(str(output), rows)
        shown = sorted(one["num_runs"] for one in read_answers(str(output)).to_pylist())
        with open_database(str(output)) as database:
            in_view = sorted(num for (num,) in database.execute("SELECT num_runs FROM answers").fetchall())
        if shown != [num_runs] * 3 or in_view != shown:
            return [f"after run {num_runs} readers are shown rows of {shown}, the view {in_view}"]
    return read_by_all(output, 3)


CASES = {
    case.__name__.replace("_", "-"): case
    for case in (
        types_of_other_programs,
        int96_dates,
        empty_objects_and_formulas,
        names_with_signs,
        files_that_others_left,
        output_vanishes,
        column_that_drifts,
        clock_that_goes_back,
    )
}

if __name__ == "__main__":
    sys.exit(run_cases(CASES, __doc__))

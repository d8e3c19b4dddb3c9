"""Attack: a video is replaced between planning and decoding, as by an upload in the middle of a night's run.

    python tests/attacks/replaced_object.py

A case holds where that run itself answers about the version that is there, under its key: no row says ``ok`` about
another version than the one it is filed under, and there is one row per question for every reader. At first the new
bytes were answered under the old version's key, ``ok``, with a false fingerprint; then the video failed, and the next
run answered about it.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

from pipeline.results.keys import video_fingerprint  # noqa: E402
from tests.attacks.jobs_under_attack import FAST, SERIAL, Place, all_answered, expect, run_cases  # noqa: E402
from tests.attacks.weather import store_with_weather, when  # noqa: E402

NUM_VIDEOS = 4


def _judge(
    place: Place,
    arguments: tuple[str, ...],
    num: int,
    replace: Callable[[], object],
    fingerprint: Callable[[], str],
    options: tuple[str, ...] = SERIAL,
) -> list[str]:
    """Replace the last video once the first is on record; nobody has read the last by then."""
    last = f"{NUM_VIDEOS - 1}-"
    before = fingerprint()
    ended = place.run(*arguments, during=when(lambda: place.num_files() > 0, replace), options=options)
    after = fingerprint()
    found = expect(ended, 0, "was replaced while it was read: it starts over", what="the run")
    if before == after:
        found.append("the version did not change")
    for row in place.rows():
        if row["question_id"].startswith(last) and row["status"] == "ok" and row["video_fingerprint"] != after:
            found.append(f"the run: {row['question_id']} is ok about the version that was replaced")
    found += all_answered(place, num)
    versions = {row["video_fingerprint"] for row in place.rows() if row["question_id"].startswith(last)}
    return found + ([f"answered about {versions}, not about {after}"] if versions != {after} else [])


def file(folder: Path) -> list[str]:
    """On a disk."""
    place = Place(folder)
    videos = place.add_videos(NUM_VIDEOS)
    last, fresh = Path(videos[-1]), folder / "fresh.mp4"
    fresh.write_bytes(place.source.read_bytes() + b"\0\0\0\x08free")
    return _judge(place, (), place.ask(videos), lambda: fresh.replace(last), lambda: video_fingerprint(str(last)))


def file_on_ray(folder: Path) -> list[str]:
    """Likewise, with workers of their own."""
    place = Place(folder)
    videos = place.add_videos(NUM_VIDEOS)
    last, fresh = Path(videos[-1]), folder / "fresh.mp4"
    fresh.write_bytes(place.source.read_bytes() + b"\0\0\0\x08free")
    num = place.ask(videos)
    return _judge(place, (), num, lambda: fresh.replace(last), lambda: video_fingerprint(str(last)), options=FAST)


def file_of_the_same_size(folder: Path) -> list[str]:
    """Only its time tells."""
    place = Place(folder)
    videos = place.add_videos(NUM_VIDEOS)
    last, fresh = Path(videos[-1]), folder / "fresh.mp4"
    fresh.write_bytes(place.source.read_bytes()[:-1] + b"!")
    return _judge(place, (), place.ask(videos), lambda: fresh.replace(last), lambda: video_fingerprint(str(last)))


def s3_object_on_ray(folder: Path) -> list[str]:
    """Likewise, with workers of their own."""
    return s3_object_of_the_same_size(folder, options=FAST)


def s3_object_of_the_same_size(folder: Path, options: tuple[str, ...] = SERIAL) -> list[str]:
    """Only its ETag tells."""
    place = Place(folder)
    with store_with_weather(place) as (_, arguments, filesystem):
        uris = [f"s3://weather/v{number}.mp4" for number in range(NUM_VIDEOS)]
        storage = json.loads(arguments[1])
        return _judge(
            place,
            arguments,
            place.ask(uris),
            lambda: filesystem.pipe(uris[-1], place.source.read_bytes()[:-1] + b"!"),
            lambda: video_fingerprint(uris[-1], storage_options=storage),
            options=options,
        )


CASES = {
    case.__name__.replace("_", "-"): case
    for case in (file, file_on_ray, file_of_the_same_size, s3_object_of_the_same_size, s3_object_on_ray)
}

if __name__ == "__main__":
    sys.exit(run_cases(CASES, __doc__))

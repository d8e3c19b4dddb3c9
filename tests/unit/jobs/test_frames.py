"""``frames.py ls | verify | rm`` over a store with sound and wrong files."""

import numpy as np
import pytest

from jobs.frames import main
from pipeline.video.frame_store.pictures import check_pixels, pack_picture
from pipeline.video.frame_store.piece_file import FramePicture, StoredPiece, pack_piece
from pipeline.video.frame_store.storage import FolderStorage
from pipeline.video.frame_store.store import piece_name

KEYS = ("0123456789abcdef-00000000000000aa", "0123456789abcdef-00000000000000bb", "fedcba9876543210-00000000000000aa")


def write_piece(storage, key, frames):
    image = np.full((8, 12, 3), 7, dtype=np.uint8)
    picture = FramePicture(content=pack_picture(image, "lossless"), pixel_check=check_pixels(image), is_bad=False)
    indices = np.array(frames, dtype=np.int64)
    pictures = (picture,) * len(frames)
    piece = StoredPiece(
        key=key, size=(8, 12), video=f"{key[:4]}.mp4", decoder="pyav", frame_indices=indices, pictures=pictures
    )
    storage.write(key, piece_name(indices), pack_piece(piece))


@pytest.fixture
def store(tmp_path):
    storage = FolderStorage(tmp_path / "store")
    for key in KEYS:
        write_piece(storage, key, [0, 5])
    write_piece(storage, KEYS[0], [7, 8, 9])
    return storage


def test_the_list_has_one_line_per_video_and_size(store, capsys):
    assert main(["ls", str(store.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if KEYS[0] in line]
    assert "0123.mp4" in line
    assert line.split()[2:7] == ["5", "8", "x", "12", "2"]
    assert lines[-1].startswith("3 entries")


def test_verify_names_what_is_wrong_and_removes_it_only_when_asked(store, capsys):
    assert main(["verify", str(store.root)]) == 0
    damaged, swapped = (store.root / key / store.names(key)[0] for key in KEYS[1:])
    damaged.write_bytes(damaged.read_bytes()[:-1])
    swapped.write_bytes((store.root / KEYS[0] / store.names(KEYS[0])[0]).read_bytes())
    assert main(["verify", str(store.root)]) == 3
    told = capsys.readouterr().out
    assert "cut off or damaged" in told
    assert "another video" in told
    assert told.endswith("2 files are sound, 2 not\n")
    assert damaged.exists()
    assert main(["verify", str(store.root), "--remove"]) == 0
    assert not damaged.exists()
    assert not swapped.exists()
    assert main(["verify", str(store.root)]) == 0


def test_entries_are_removed_by_key_by_fingerprint_and_all(store, capsys):
    assert main(["rm", str(store.root), KEYS[1]]) == 0
    assert sorted({file.key for file in store.walk()}) == [KEYS[0], KEYS[2]]
    assert main(["rm", str(store.root), "0123456789abcdef"]) == 0
    assert {file.key for file in store.walk()} == {KEYS[2]}
    assert main(["rm", str(store.root), "unknown"]) == 3
    assert main(["rm", str(store.root), "--all"]) == 0
    assert not list(store.walk())


@pytest.mark.parametrize("arguments", [["rm", "x"], ["rm", "x", "y", "--all"]])
def test_rm_says_what_it_removes(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "rm takes entries of ls, or --all" in capsys.readouterr().err


def test_an_empty_place_is_an_empty_store(tmp_path, capsys):
    (tmp_path / "none").mkdir()
    assert main(["ls", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == "0 entries, 0.00 GiB\n"

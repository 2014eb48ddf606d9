"""Folders of annotated recordings are listed in pairs; whatever is odd about one is said in a sentence."""

import pytest

from mircourse.datasets.folder import is_folder_spec, read_folder
from mircourse.errors import InputError


def touch(folder, *names):
    for name in names:
        (folder / name).touch()


def test_pairs_are_found_and_sorted(tmp_path):
    touch(tmp_path, "b.flac", "b.notes.csv", "a.WAV", "a.mid", "c.mp3", "readme.txt", "d.notes.csv")
    found = read_folder(f"folder:{tmp_path}")
    assert [(r.name, r.annotation.name) for r in found.recordings] == [("a", "a.mid"), ("b", "b.notes.csv")]
    assert [path.name for path in found.without_annotation] == ["c.mp3"]
    assert is_folder_spec(f"folder:{tmp_path}") and not is_folder_spec("band")


def test_notes_come_before_midi_and_dots_in_names_are_kept(tmp_path):
    touch(tmp_path, "op.28 no.4.wav", "op.28 no.4.notes.csv", "op.28 no.4.mid")
    (recording,) = read_folder(str(tmp_path)).recordings
    assert recording.name == "op.28 no.4" and recording.annotation.name.endswith(".notes.csv")


def test_only_chooses_by_stem_or_file_name(tmp_path):
    touch(tmp_path, "x_Am.wav", "x_Am.mid", "x_Cl.wav", "x_Cl.mid")
    assert [r.name for r in read_folder(str(tmp_path), only="*Am").recordings] == ["x_Am"]
    assert [r.name for r in read_folder(str(tmp_path), only="x_C*.wav").recordings] == ["x_Cl"]
    with pytest.raises(InputError, match=r"matches '\*Zz'.*x_Am"):
        read_folder(str(tmp_path), only="*Zz")


def test_what_cannot_be_used_is_said(tmp_path):
    with pytest.raises(InputError, match="not there"):
        read_folder(f"folder:{tmp_path / 'absent'}")
    (tmp_path / "piano").mkdir()
    with pytest.raises(InputError, match="folders below it"):
        read_folder(f"folder:{tmp_path}")
    touch(tmp_path, "x.wav")
    with pytest.raises(InputError, match=r"x\.notes\.csv.* beside x\.wav"):
        read_folder(f"folder:{tmp_path}")
    touch(tmp_path, "x.flac", "x.mid")
    with pytest.raises(InputError, match="share one name"):
        read_folder(f"folder:{tmp_path}")
    assert len(read_folder(f"folder:{tmp_path}", only="x.wav").recordings) == 1
    with pytest.raises(InputError, match="a file, not a folder"):
        read_folder(f"folder:{tmp_path / 'x.wav'}")

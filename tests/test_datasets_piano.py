"""The rendered piano band: the same from a seed, whole after a kill, split cleanly, labelled exactly."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import soundfile

from mircourse.band import corpus, procedural, samples, soundfonts, textures
from mircourse.cache import cache_folder
from mircourse.datasets import piano
from mircourse.errors import InputError
from mircourse.piano.evaluation import read_notes

SECONDS = 5.0  # of a piece, instead of two minutes
PIECE = (SECONDS + piano.TAIL_SECONDS) / 3600  # hours
prepare = partial(piano.prepare, piece_seconds=SECONDS, progress=False)
items = partial(piano.items, piece_seconds=SECONDS)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MIRCOURSE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MIRCOURSE_SAMPLES", raising=False)
    return tmp_path / "home"


@pytest.fixture
def quick(monkeypatch):
    """Computed pianos only, with short strings, and no scores that music21 would have to read."""
    monkeypatch.setattr(procedural, "draw_piano", partial(procedural.draw_piano, seconds=0.8))
    monkeypatch.setattr(piano, "RECORDED_SHARE", 0.0)
    monkeypatch.setattr(piano, "CORPUS_SHARE", 0.0)


def contents(folder):
    return {
        path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.suffix in (".wav", ".csv")
    }


@contextmanager
def no_file_longer_than(n_bytes):
    """What a full disk does, done by the system: a write beyond the limit fails, here and in child processes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# ---- what is rendered ----


def test_the_same_seed_is_the_same_band(home, quick, monkeypatch):
    monkeypatch.setattr(piano, "CORPUS_SHARE", 0.3)
    splits = {"train": 2 * PIECE, "test": PIECE, "unheard": PIECE}
    found = []
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        monkeypatch.setenv("MIRCOURSE_HOME", str(home / name))
        seconds = prepare(splits=splits, seed=seed, jobs=1)
        assert seconds == {split: pytest.approx(3600 * hours) for split, hours in splits.items()}
        found.append(contents(home / name / "band"))
    first, again, other = found
    assert len(first) == 2 * 4
    assert first == again
    assert set(first) == set(other) and all(first[name] != other[name] for name in first)


def test_items_are_plain_files_in_the_border_format(home, quick):
    prepare(splits={"train": 2 * PIECE}, jobs=1)
    found = items("train")
    assert [item.name for item in found] == ["train-00000", "train-00001"]
    info = soundfile.info(found[0].audio_path)
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    for item in found:
        audio, notes = item.audio(), item.notes()
        assert audio.dtype == np.float32 and len(audio) == 8 * 16000
        assert 0.1 < np.abs(audio).max() < 0.96
        np.testing.assert_array_equal(item.audio(1.25, 0.5), audio[20000:28000])
        np.testing.assert_array_equal(notes, read_notes(item.notes_path))
        assert len(notes) > 3 and (notes[:, 0] < SECONDS).all() and (notes[:, 1] <= 8.0).all()
        assert (notes[:, 1] > notes[:, 0]).all()
        assert ((notes[:, 2] >= 21) & (notes[:, 2] <= 108)).all()


def test_a_piece_without_notes_has_an_empty_list(home, quick, recwarn):
    prepare(splits={"train": PIECE}, jobs=1)
    (item,) = items("train")
    item.notes_path.write_text("")
    assert item.notes().shape == (0, 4)
    assert not recwarn.list


def test_what_is_not_rendered_or_not_a_split_is_said(home):
    with pytest.raises(InputError, match="mircourse prepare piano"):
        items("train")
    for call in (lambda: items("training"), lambda: prepare(splits={"training": 1.0})):
        with pytest.raises(InputError, match="no split 'training'"):
            call()


def test_other_lengths_and_seeds_are_other_bands(home):
    folders = {piano.folder_of("train", seed, length) for seed in (0, 1) for length in (120.0, 5.0, 7.5)}
    assert len(folders) == 6
    assert piano.folder_of("train") == piano.folder_of("train", 0, 120.0)


def test_more_hours_keep_what_is_there_and_pieces_share_an_instrument(home, quick, monkeypatch):
    drawn = []
    draw = piano._draw_instrument
    monkeypatch.setattr(piano, "_draw_instrument", lambda rng: drawn.append(1) or draw(rng))
    prepare(splits={"train": 2 * PIECE}, jobs=1)
    assert len(drawn) == 1
    before = {path: path.stat().st_mtime_ns for path in home.rglob("train-*")}
    prepare(splits={"train": 4 * PIECE}, jobs=1)
    assert len(drawn) == 3  # the third piece of the first group, and the second group
    assert len(items("train")) == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before
    prepare(splits={"train": 4 * PIECE}, jobs=1)
    assert len(drawn) == 3


def test_a_piece_that_lost_its_sound_is_rendered_again(home, quick):
    prepare(splits={"train": PIECE}, jobs=1)
    (item,) = items("train")
    sound = item.audio_path.read_bytes()
    item.audio_path.unlink()
    prepare(splits={"train": PIECE}, jobs=1)
    assert item.audio_path.read_bytes() == sound


# ---- interruptions ----

RENDER = f"""
from mircourse.datasets.piano import prepare
if __name__ == "__main__":
    prepare(splits={{"unheard": {12 * PIECE}}}, jobs=2, piece_seconds={SECONDS}, progress=False)
"""


def processes_of(pid):
    return psutil.Process(pid).children(recursive=True)


def ended(process):
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition, seconds=60.0):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.01)


def test_a_killed_run_is_taken_up_where_it_stood(home):
    killed = subprocess.Popen([sys.executable, "-c", RENDER])
    folder = piano.folder_of("unheard", 0, SECONDS)
    wait_until(lambda: list(folder.glob("*.notes.csv")) or killed.poll() is not None)
    workers = processes_of(killed.pid)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    wait_until(lambda: all(map(ended, workers)))

    kept = items("unheard")
    assert 0 < len(kept) < 12
    for item in kept:
        assert len(item.audio()) == 8 * 16000 and len(item.notes())
    before = {item.notes_path: item.notes_path.stat().st_mtime_ns for item in kept}
    stale, others = folder / "unheard-00099.wav.123.partial", folder / "unheard-00098.wav.124.partial"
    for path in (stale, others):
        path.write_bytes(b"RIFF half a file")
    os.utime(stale, (0, 0))

    prepare(splits={"unheard": 12 * PIECE}, jobs=1)
    assert len(items("unheard")) == 12
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not stale.exists()
    assert others.exists(), "another process may be writing it"

    resumed = contents(folder)
    for path in folder.iterdir():
        path.unlink()
    prepare(splits={"unheard": 12 * PIECE}, jobs=1)
    assert contents(folder) == resumed


def test_a_worker_that_is_killed_is_named_in_one_sentence(home):
    said = []

    def render():
        with pytest.raises(InputError) as caught:
            prepare(splits={"unheard": 30 * PIECE}, jobs=2)
        said.append(str(caught.value))

    before = set(processes_of(os.getpid()))
    thread = threading.Thread(target=render)
    thread.start()
    folder = piano.folder_of("unheard", 0, SECONDS)
    wait_until(lambda: list(folder.glob("*.notes.csv")) or not thread.is_alive())
    workers = [
        process
        for process in set(processes_of(os.getpid())) - before
        if "spawn_main" in str(process.cmdline())
    ]
    workers[0].kill()
    thread.join(60)
    assert len(said) == 1 and "--jobs 1" in said[0] and said[0].endswith(".")
    assert items("unheard")


# ---- folders that cannot be written ----


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_is_said_and_nothing_is_lost(home, jobs):
    prepare(splits={"unheard": PIECE}, jobs=1)
    before = contents(home / "band")
    with no_file_longer_than(100_000), pytest.raises(InputError, match="cannot be written.*MIRCOURSE_HOME"):
        prepare(splits={"unheard": 30 * PIECE}, jobs=jobs)
    folder = piano.folder_of("unheard", 0, SECONDS)
    assert not list(folder.glob("*.partial"))
    assert contents(home / "band") == before
    prepare(splits={"unheard": 2 * PIECE}, jobs=1)
    assert len(items("unheard")) == 2


def test_a_cache_that_is_no_folder_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MIRCOURSE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match="MIRCOURSE_HOME"):
        prepare(splits={"train": PIECE}, jobs=1)


# ---- splits ----


def test_no_two_pieces_are_drawn_from_the_same_numbers():
    draws = {
        tuple(piano._rng(kind, split, index, seed).random(3))
        for kind in ("piece", "instrument")
        for split in piano.SPLITS
        for index in range(40)
        for seed in range(3)
    }
    assert len(draws) == 2 * 4 * 40 * 3


def test_no_score_of_one_split_is_heard_in_another(monkeypatch):
    read = []

    def note_name(name):
        read.append(name)
        return SimpleNamespace(notes=np.array([[0.0, 20.0, 60.0, 0.0], [4.0, 20.0, 48.0, 1.0]]))

    monkeypatch.setattr(piano, "CORPUS_SHARE", 1.0)
    monkeypatch.setattr(corpus, "read", note_name)
    heard = {}
    for split in piano.SPLITS:
        for index in range(25):
            score = piano._draw_score(piano._rng("piece", split, index, 0), split, 120.0)
            assert (score[:, 0] + score[:, 1]).max() > 120 * 2.2
        heard[split], read = set(read), []
        allowed = corpus.names("test" if split == "unheard" else split)
        assert heard[split] <= set(allowed)
        assert len(heard[split]) > 20
    assert not heard["train"] & heard["validation"]
    assert not heard["train"] & (heard["test"] | heard["unheard"])
    assert not heard["validation"] & (heard["test"] | heard["unheard"])


def test_corpus_pieces_are_arranged_within_the_keyboard():
    piece = SimpleNamespace(
        notes=np.array([[0.0, 1.0, 24.0, 1.0], [0.0, 1.0, 104.0, 0.0], [1.0, 1.0, 60.0, 0.0]])
    )
    for seed in range(40):
        score = piano._arranged(np.random.default_rng(seed), piece, 10.0, limit=100.0)
        assert ((score[:, 2] >= 21) & (score[:, 2] <= 108)).all()
        assert np.isin(score[:, 3], [textures.LEAD, textures.INNER, textures.BASS]).all()
        assert score[:, 0].min() == 10.0
    assert piece.notes[0, 2] == 24.0


def test_the_held_out_family_is_never_an_instrument_of_training(monkeypatch):
    def font(family):
        return SimpleNamespace(family=family, path=family, pianos={0: "grand", 1: "bright", 3: "honky-tonk"})

    fonts = [font(piano.HELD_OUT_FAMILY), font("fluid"), font("musescore")]
    monkeypatch.setattr(soundfonts, "find_soundfonts", lambda: fonts)
    monkeypatch.setattr(samples, "sample_folders", lambda: ["salamander"])
    monkeypatch.setattr(samples, "bank_of_soundfont", lambda path, program: (path, program))
    monkeypatch.setattr(samples, "bank_of_folder", lambda folder: (folder, None))
    monkeypatch.setattr(procedural, "draw_piano", lambda rng, **_: ("computed", None))
    drawn = [
        piano._draw_instrument(piano._rng("instrument", split, group, 0))
        for split in ("train", "validation", "test")
        for group in range(150)
    ]
    assert set(drawn) == {
        ("computed", None), ("salamander", None),
        ("fluid", 0), ("fluid", 1), ("musescore", 0), ("musescore", 1),
    }  # fmt: skip
    assert 0.3 < np.mean([name == "computed" for name, _ in drawn]) < 0.6
    fonts[1:] = []
    monkeypatch.setattr(samples, "sample_folders", list)
    for group in range(50):
        assert piano._draw_instrument(piano._rng("instrument", "train", group, 0)) == ("computed", None)


def test_only_the_unheard_split_is_played_on_the_held_out_font(home, quick, monkeypatch):
    played, drawn = [], []
    draw = piano._draw_instrument

    def synthesizer(struck, keys, pedal, n_samples):
        played.append(len(struck))
        return np.ones(n_samples, dtype=np.float32)

    monkeypatch.setattr(piano, "_played_by_synthesizer", synthesizer)
    monkeypatch.setattr(piano, "_draw_instrument", lambda rng: drawn.append(1) or draw(rng))
    prepare(splits={"train": PIECE, "validation": PIECE, "test": PIECE}, jobs=1)
    assert (len(drawn), len(played)) == (3, 0)
    prepare(splits={"unheard": PIECE}, jobs=1)
    assert (len(drawn), len(played)) == (3, 1)


# ---- labels ----


def flux_onset(audio, label, rate=16000):
    """Moment of the steepest rise of the spectrum within 60 ms of a label, in seconds."""
    window, hop = 320, 40
    start = round((label - 0.08) * rate)
    frames = np.lib.stride_tricks.sliding_window_view(audio[start : start + round(0.16 * rate)], window)[
        ::hop
    ]
    spectrum = np.log1p(300 * np.abs(np.fft.rfft(frames * np.hanning(window), axis=1)))
    rise = np.maximum(spectrum[2:] - spectrum[:-2], 0).sum(axis=1)
    centres = (start + hop * (1 + np.arange(len(rise))) + window / 2) / rate
    return centres[np.argmax(rise)]


@pytest.mark.parametrize("split", ["train", "unheard"])
def test_labels_stand_where_the_sound_begins(home, quick, monkeypatch, split):
    pitches = [60, 40, 72, 55, 67, 84, 48, 64]

    def sparse(rng, split, seconds):
        return np.array([[3.0 * i, 1.0, pitch, textures.LEAD] for i, pitch in enumerate(pitches)])

    monkeypatch.setattr(piano, "_draw_score", sparse)
    prepare(splits={split: 6 * PIECE}, jobs=1)
    errors = []
    for item in items(split):
        audio, notes = item.audio(), item.notes()
        for onset, _, _, velocity in notes:
            if onset > 0.1 and velocity > 30:
                errors.append(flux_onset(audio, onset) - onset)
    errors = np.array(errors)
    assert len(errors) > 12
    assert abs(np.median(errors)) < 0.01
    assert np.mean(np.abs(errors) < 0.015) > 0.9


# ---- segments ----


def test_what_a_step_holds_depends_on_the_seed_and_the_step(home, quick):
    prepare(splits={"train": 3 * PIECE}, jobs=1)
    found = items("train")

    def steps(n, **options):
        stream = piano.segments(found, batch_size=3, seconds=1.0, **options)
        return [next(stream) for _ in range(n)]

    first, again, later, other = (
        steps(6, seed=0),
        steps(6, seed=0),
        steps(2, seed=0, start_step=4),
        steps(6, seed=1),
    )

    def flat(batches):
        return [array.tobytes() for batch in batches for pair in batch for array in pair]

    assert flat(first) == flat(again)
    assert flat(first[4:]) == flat(later)
    assert not set(flat(first)) & set(flat(other)) - {b""}
    assert all(audio.shape == (16000,) and audio.dtype == np.float32 for batch in first for audio, _ in batch)


def test_a_segment_holds_the_notes_that_sound_in_it(home, quick):
    prepare(splits={"train": PIECE}, jobs=1)
    (item,) = items("train")
    whole, all_notes = item.audio(), item.notes()
    stream = piano.segments([item], batch_size=8, seconds=0.7, seed=3)
    carried_over = 0
    for audio, notes in next(stream):
        (place,) = [
            start
            for start in np.flatnonzero(whole == audio[0])
            if np.array_equal(whole[start : start + len(audio)], audio)
        ]
        start = place / 16000
        expected = all_notes[(all_notes[:, 1] > start) & (all_notes[:, 0] < start + 0.7)]
        np.testing.assert_allclose(notes[:, :2] + start, expected[:, :2], atol=1e-9)
        np.testing.assert_array_equal(notes[:, 2:], expected[:, 2:])
        carried_over += int((notes[:, 0] < 0).sum())
    assert carried_over


def test_a_segment_longer_than_its_piece_ends_in_silence(home, quick):
    prepare(splits={"train": PIECE}, jobs=1)
    (item,) = items("train")
    ((audio, notes),) = next(piano.segments([item], batch_size=1, seconds=10.0, seed=0))
    assert audio.shape == (160000,)
    np.testing.assert_array_equal(audio[: 8 * 16000], item.audio())
    assert not audio[8 * 16000 :].any() and len(notes) == len(item.notes())


# ---- memory ----


def peak_of(work) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_neither_rendering_nor_reading_keeps_the_audio(home, quick, monkeypatch):
    bank = procedural.draw_piano(np.random.default_rng(0), sample_rate=16000)
    monkeypatch.setattr(piano, "_draw_instrument", lambda rng: bank)
    prepare(splits={"validation": PIECE}, jobs=1)  # imports and first compilations
    few = peak_of(lambda: prepare(splits={"train": 3 * PIECE}, jobs=1))
    many = peak_of(lambda: prepare(splits={"train": 18 * PIECE}, jobs=1))
    assert many < 1.3 * few
    stream = piano.segments(items("train"), batch_size=4, seconds=2.0, seed=0)
    next(stream)
    audio_of_a_step = 4 * 2 * 16000 * 4
    assert peak_of(lambda: [next(stream) and None for _ in range(60)]) < 6 * audio_of_a_step


def test_the_cache_holds_nothing_but_the_band(home, quick):
    prepare(splits={"train": PIECE}, jobs=1)
    assert {path.suffix for path in cache_folder("band").rglob("*") if path.is_file()} == {".wav", ".csv"}

"""What the tests of the command line share: small recordings, and a look at what was written and said."""

import numpy as np
import pretty_midi
import soundfile


def tone(seconds=1.0, sample_rate=16000):
    return 0.4 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * sample_rate)) / sample_rate)


def write(path, audio=None, sample_rate=16000, **options):
    soundfile.write(path, tone(sample_rate=sample_rate) if audio is None else audio, sample_rate, **options)
    return str(path)


def complaints(captured):
    """Lines of stderr; every one must be a sentence of ours."""
    lines = captured.err.splitlines()
    assert all(line.startswith("mircourse: ") and line.endswith(".") for line in lines), captured.err
    return lines


def assert_whole(folder, stem):
    """Both files of a transcription are there, are read back, and agree."""
    midi = pretty_midi.PrettyMIDI(str(folder / f"{stem}.mid"))
    rows = np.loadtxt(folder / f"{stem}.notes.csv", delimiter=",", ndmin=2).reshape(-1, 4)
    notes = [note for instrument in midi.instruments for note in instrument.notes]
    assert len(notes) == len(rows) > 0
    assert sorted(note.pitch for note in notes) == sorted(rows[:, 2])

"""What a performance asks for must be heard: velocity, pedal, release, volume, bend, drums, and exact onsets."""

import io
import shutil
import struct
import sys

import numpy as np
import pytest

from mircourse.band import soundfont_file, soundfont_modulators, soundfonts
from mircourse.errors import InputError

RATE = 16000
FONTS = soundfonts.find_soundfonts()
TIM = FONTS[0]


@pytest.fixture(scope="module", params=FONTS, ids=lambda font: font.family)
def font(request) -> soundfonts.Soundfont:
    """Every SoundFont of this machine; one after the other, because unpacking one takes seconds."""
    return request.param


def decibels(sound: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(sound.astype(float) ** 2)) + 1e-9))


def between(sound: np.ndarray, start: float, end: float) -> np.ndarray:
    return sound[round(start * RATE) : round(end * RATE)]


def play(font, *notes, pedal=None, seconds=3.0, **options) -> np.ndarray:
    pedal = None if pedal is None else np.array(pedal)
    return soundfonts.render_notes(np.array(notes), pedal, font, 0, round(seconds * RATE), **options)


def test_a_harder_stroke_is_louder(font):
    velocities = [16, 32, 48, 64, 80, 96, 112, 127]
    notes = [(0.1 + 2 * i, 1.1 + 2 * i, 60, velocity) for i, velocity in enumerate(velocities)]
    sound = play(font, *notes, seconds=16)
    levels = np.array([decibels(between(sound, 0.1 + 2 * i, 0.6 + 2 * i)) for i in range(len(velocities))])
    assert (np.diff(levels) > 0.8).all(), levels
    assert levels[-1] - levels[0] > 20


def test_the_pedal_sustains_and_its_release_stops(font):
    note = (0.1, 0.4, 60, 90)
    dry = play(font, note)
    held = play(font, note, pedal=[[0.05, 127], [2.0, 0]])
    assert decibels(between(held, 1.4, 1.9)) > decibels(between(dry, 1.4, 1.9)) + 20
    assert decibels(between(held, 2.7, 3.0)) < decibels(between(held, 1.7, 2.0)) - 20


def test_a_release_fades_instead_of_being_cut(font):
    sound = play(font, (0.1, 0.6, 48, 90))
    before, just_after, late = (
        decibels(between(sound, *span)) for span in ((0.5, 0.6), (0.61, 0.65), (2.0, 2.5))
    )
    assert before - 30 < just_after < before
    assert late < before - 40


def test_the_volume_controller_is_heard(font):
    note = (0.1, 1.0, 60, 100)
    difference = decibels(play(font, note, volume=127)) - decibels(play(font, note, volume=64))
    assert difference == pytest.approx(40 * np.log10(127 / 64), abs=1.0)


def test_the_same_notes_give_the_same_samples(font):
    notes = [(0.1 + 0.1 * i, 0.4 + 0.1 * i, 40 + i, 40 + i) for i in range(20)]
    pedal = [[0.5, 127], [1.5, 0]]
    assert np.array_equal(play(font, *notes, pedal=pedal), play(font, *notes, pedal=pedal))


def test_cut_out_presets_sound_like_the_whole_font():
    midirenderer = pytest.importorskip("midirenderer")
    import soundfile

    notes = np.array([[0.1, 1.0, 60, 90], [0.3, 1.0, 67, 60]])
    midi = soundfonts.midi_of_notes(notes, None, 1, seconds=2.0)
    whole, rate = soundfile.read(io.BytesIO(midirenderer.render_wave_from(TIM.path.read_bytes(), midi)))
    part = soundfonts.render(midi, TIM, rate)
    assert np.array_equal(part, whole.mean(axis=1).astype(np.float32))


def test_onset_lags_are_small_and_alignment_takes_them_away():
    print(f"\n{'family':12} {'preset':24} {'median':>7}   by key, A0 upwards in steps of six keys (ms)")
    for font in FONTS:
        for program, name in font.pianos.items():
            _, lags = soundfonts.onset_lags(font, program)
            lag = soundfonts.onset_lag(font, program)
            print(f"{font.family:12} {name:24} {1e3 * lag:7.2f}   {' '.join(f'{1e3 * s:.1f}' for s in lags)}")
            assert 0.0 < lag < 0.008
            assert np.nanmax(lags) < 0.03
    late, aligned = (play(TIM, (0.5, 1.0, 72, 100), align=align) for align in (False, True))
    first = [int(np.argmax(np.abs(sound) > np.abs(sound).max() / 10)) for sound in (late, aligned)]
    assert first[0] - first[1] == round(soundfonts.onset_lag(TIM) * RATE)


def test_the_length_is_exact_and_no_note_is_silence():
    assert play(TIM, (0.1, 0.5, 60, 90), seconds=1.23456).shape == (round(1.23456 * RATE),)
    silence = soundfonts.render_notes(np.zeros((0, 4)), None, TIM, 0, 8000)
    assert silence.shape == (8000,) and silence.dtype == np.float32 and not silence.any()
    tail = soundfonts.render_notes(np.array([[0.0, 1.0, 60, 90]]), None, TIM)
    assert len(tail) == round((1.0 + soundfonts.TAIL) * RATE)


def test_a_key_struck_again_while_it_is_held_sounds_again():
    sound = play(TIM, (0.1, 2.0, 60, 60), (1.0, 2.0, 60, 110))
    assert decibels(between(sound, 1.0, 1.2)) > decibels(between(sound, 0.8, 1.0)) + 6
    # The first note's written end must not stop the second stroke.
    assert decibels(between(sound, 1.7, 1.9)) > decibels(between(sound, 2.5, 2.7)) + 12


def test_loud_chords_are_not_clipped():
    chord = [(0.1, 1.0, pitch, 127) for pitch in range(30, 90)]
    soft = play(TIM, *chord, seconds=1.0, volume=32) * (127 / 32) ** 2
    assert np.abs(soft).max() > 1.0, "too soft to prove anything"
    assert np.abs(play(TIM, *chord, seconds=1.0) - soft).max() < 0.02


def test_bend_and_drums_are_heard():
    import pretty_midi

    def sound_of(instrument) -> np.ndarray:
        score = pretty_midi.PrettyMIDI()
        instrument.notes.append(pretty_midi.Note(100, 69 if not instrument.is_drum else 38, 0.1, 1.9))
        score.instruments.append(instrument)
        file = io.BytesIO()
        score.write(file)
        return soundfonts.render(file.getvalue(), TIM, RATE)

    def pitch(sound: np.ndarray) -> float:
        part = between(sound, 0.8, 1.8) * np.hanning(RATE)
        return float(np.argmax(np.abs(np.fft.rfft(part))))

    bent = pretty_midi.Instrument(73)
    bent.pitch_bends.append(pretty_midi.PitchBend(8191, 0.0))
    assert pitch(sound_of(bent)) / pitch(sound_of(pretty_midi.Instrument(73))) == pytest.approx(
        2 ** (2 / 12), abs=0.005
    )
    drum = sound_of(pretty_midi.Instrument(0, is_drum=True))
    assert decibels(between(drum, 0.1, 0.2)) > -50
    # A snare is noise: no single line of its spectrum holds much of its energy.
    spectrum = np.abs(np.fft.rfft(between(drum, 0.1, 0.3))) ** 2
    assert spectrum.max() < 0.3 * spectrum.sum()


# ---- the file format ----


def as_soundfont_3(font: soundfonts.Soundfont) -> bytes:
    """The first preset of a font with every sample compressed, the sample chunk not padded."""
    import soundfile

    small = soundfont_file.cut_out(soundfont_file.read_file(font.path), [(0, 0)])
    path_of_small = io.BytesIO(small)
    tables, waves = tables_of(path_of_small)
    headers = tables["shdr"].copy()
    packed = b""
    for row in headers[:-1]:
        file = io.BytesIO()
        wave = waves[row["start"] : row["end"]]
        soundfile.write(file, wave, int(row["rate"]), format="OGG", subtype="VORBIS")
        row["loop_start"] -= row["start"]
        row["loop_end"] -= row["start"]
        row["kind"] |= soundfont_file.VORBIS
        row["start"], row["end"] = len(packed), len(packed) + len(file.getvalue())
        packed += file.getvalue()
    packed += b"\0" * (1 - len(packed) % 2)
    tables["shdr"] = headers
    whole = soundfont_file._written("compressed", np.zeros(0), tables)
    empty = b"LIST" + struct.pack("<I", 12) + b"sdtasmpl" + struct.pack("<I", 0)
    full = (
        b"LIST" + struct.pack("<I", 12 + len(packed)) + b"sdtasmpl" + struct.pack("<I", len(packed)) + packed
    )
    return whole.replace(empty, full)


def tables_of(file: io.BytesIO):
    data = file.getvalue()
    start = data.index(b"smpl") + 8
    size = struct.unpack("<I", data[start - 4 : start])[0]
    tables, position = {}, data.index(b"pdta") + 4
    while position < len(data):
        name, length = struct.unpack("<4sI", data[position : position + 8])
        content = data[position + 8 : position + 8 + length]
        tables[name.decode()] = np.frombuffer(content, dtype=soundfont_file.TABLES[name.decode()])
        position += 8 + length
    return tables, np.frombuffer(data[start : start + size], dtype="<i2")


def test_compressed_samples_sound_like_the_plain_ones(tmp_path):
    path = tmp_path / "compressed.sf3"
    path.write_bytes(as_soundfont_3(TIM))
    assert soundfont_file.read_file(path).is_compressed
    notes = [(0.1 + 0.5 * i, 0.5 + 0.5 * i, 36 + 7 * i, 90) for i in range(5)]
    plain, compressed = play(TIM, *notes), play(path, *notes)
    assert decibels(plain - compressed) < decibels(plain) - 15


def test_a_modulator_that_halves_the_dynamics_is_obeyed():
    tables = soundfont_file.read_file(TIM.path).tables
    preset = [i for i, row in enumerate(tables["phdr"][:-1]) if (row["bank"], row["program"]) == (0, 0)]
    modulator = np.array([(0x0502, 48, -480, 0, 0), (0, 0, 0, 0, 0)], dtype=soundfont_modulators.SECOND)
    bags = tables["pbag"].copy()
    bags["modulator"][tables["phdr"]["bag"][preset[0]] + 1 :] = 1
    changed = {**tables, "pbag": bags, "pmod": modulator.view("V10").reshape(-1)}
    assert not soundfont_modulators.has_modulators(tables, preset)
    assert soundfont_modulators.has_modulators(changed, preset)

    font = soundfont_file.SoundfontFile(TIM.path, "", changed, soundfont_file.read_file(TIM.path).samples_at)
    midirenderer = pytest.importorskip("midirenderer")
    import soundfile

    def dynamics(font) -> float:
        levels = []
        for velocity in (42, 122):  # in the middle of a baked range, where the values are exact
            midi = soundfonts.midi_of_notes(np.array([[0.1, 1.0, 60, velocity]]), None, 0, seconds=1.0)
            wave = midirenderer.render_wave_from(soundfont_file.cut_out(font, [(0, 0)]), midi)
            levels.append(decibels(soundfile.read(io.BytesIO(wave))[0]))
        return levels[1] - levels[0]

    taken_away = dynamics(soundfont_file.read_file(TIM.path)) - dynamics(font)
    assert taken_away == pytest.approx(20 * np.log10(122 / 42), abs=0.3)


# ---- finding fonts, and what goes wrong ----


def test_pretty_midis_font_is_found_first_and_families_are_told_apart():
    assert TIM.family == "timgm6mb" and TIM.path.name == "TimGM6mb.sf2"
    assert {0, 1, 3} <= set(TIM.pianos)
    assert len({font.family for font in FONTS}) == len(FONTS)


def test_a_folder_in_the_environment_is_searched(tmp_path, monkeypatch):
    copy = tmp_path / "renamed.sf2"
    shutil.copy(TIM.path, copy)
    assert soundfonts.family_of(copy) == "timgm6mb"
    own = soundfont_file.cut_out(soundfont_file.read_file(TIM.path), [(0, 1)])
    (tmp_path / "My Piano.sf2").write_bytes(own.replace(b"TimGM6mb", b"Mine\0\0\0\0"))
    monkeypatch.setenv("MIRCOURSE_SOUNDFONTS", str(tmp_path))
    found = {font.family: font for font in soundfonts.find_soundfonts()}
    assert found["timgm6mb"].path == TIM.path.resolve(), "a copy is not a second font"
    assert found["my piano"].presets == {(0, 1): "Piano 2"}


@pytest.mark.parametrize("content", [b"", b"RIFF\x04\0\0\0sfbk", b"not a SoundFont at all, but long enough"])
def test_what_is_no_soundfont_is_named(tmp_path, monkeypatch, content):
    path = tmp_path / "broken.sf2"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.sf2 is not a whole SoundFont"):
        play(path, (0.1, 0.5, 60, 90))
    monkeypatch.setenv("MIRCOURSE_SOUNDFONTS", str(path))
    with pytest.raises(InputError, match=r"broken\.sf2"):
        soundfonts.find_soundfonts()


def test_a_truncated_soundfont_is_named(tmp_path):
    path = tmp_path / "cut.sf2"
    path.write_bytes(TIM.path.read_bytes()[:1_000_000])
    with pytest.raises(InputError, match=r"cut\.sf2 is not a whole SoundFont"):
        soundfont_file.read_file(path)


def test_missing_files_and_bad_notes_are_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="cannot be read"):
        play(tmp_path / "none.sf2", (0.1, 0.5, 60, 90))
    with pytest.raises(InputError, match="velocities 1 to 127"):
        play(TIM, (0.1, 0.5, 60, 0))
    with pytest.raises(InputError, match="MIDI"):
        soundfonts.render(b"no MIDI", TIM)
    monkeypatch.setenv("MIRCOURSE_SOUNDFONTS", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="does not exist"):
        soundfonts.find_soundfonts()


def test_without_a_synthesizer_the_way_to_get_one_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "midirenderer", None)
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    with pytest.raises(InputError, match="pip install pyfluidsynth"):
        play(TIM, (0.1, 0.5, 60, 90))


def test_fluidsynth_stands_in(monkeypatch):
    pytest.importorskip("fluidsynth", exc_type=ImportError)
    notes = [(0.1, 0.4, 60, 40), (1.1, 1.4, 60, 100)]
    ours = play(TIM, *notes)
    monkeypatch.setitem(sys.modules, "midirenderer", None)
    theirs = play(TIM, *notes)
    assert theirs.shape == ours.shape
    for span in ((0.1, 0.3), (1.1, 1.3)):
        assert decibels(between(theirs, *span)) == pytest.approx(decibels(between(ours, *span)), abs=3.0)

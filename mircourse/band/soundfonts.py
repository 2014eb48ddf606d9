"""Sound for the band from General MIDI SoundFonts: which are here, and what a performance sounds like on them.

Notes go as MIDI to `midirenderer` (a SoundFont synthesizer in Rust without dependencies), or to FluidSynth where
`midirenderer` has no wheel. Only the presets that a performance uses are handed over, which makes a call quick
(see `soundfont_file.cut_out`).

What to know about the synthesizer. It plays at most 64 voices at once; a stereo preset takes two a note, so with the
pedal down the 33rd note stops an earlier one. A note's sound begins a little after its MIDI event, because the
recordings in the font do: `onset_lag` measures by how much.
"""

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from mircourse.band.soundfont_file import SoundfontFile, cut_out, read_file
from mircourse.errors import InputError

SYSTEM_FOLDERS = (
    "/usr/share/sounds/sf2",
    "/usr/share/sounds/sf3",
    "/usr/share/soundfonts",
    "/usr/local/share/soundfonts",
    "/opt/homebrew/share/soundfonts",
    "/opt/homebrew/share/fluid-synth/sf2",
    "/usr/local/share/fluid-synth/sf2",
)
FAMILIES = {"timgm6mb": "timgm6mb", "fluid": "fluid", "musescore": "musescore"}
ACOUSTIC_PIANOS = {0: "grand", 1: "bright grand", 3: "honky-tonk (two strings out of tune)"}
TICKS_PER_SECOND = 10_000  # 0.1 ms; finer than the synthesizer's own block of 1.3 ms
RENDERER_RATE = 48_000
LOUDEST, QUIET = 0.98, 16  # of full scale; volume below which nothing is turned down further
TAIL = 3.0  # seconds after the last note's end when no length is asked for
SUSTAIN, VOLUME, REVERB, CHORUS = 64, 7, 91, 93  # MIDI controllers


@dataclass(frozen=True)
class Soundfont:
    """A SoundFont on this machine.

    Attributes
    ----------
    path : pathlib.Path
    family : str
        Fonts of one family share recordings: ``"timgm6mb"``, ``"fluid"``, ``"musescore"``, else the file's stem in
        small letters. The hard test holds out a whole family.
    """

    path: Path
    family: str

    @property
    def presets(self) -> dict[tuple[int, int], str]:
        """Names of all presets by (bank, program)."""
        return _file(self.path).presets

    @property
    def pianos(self) -> dict[int, str]:
        """Names of the acoustic pianos by General MIDI program (0-based); see `ACOUSTIC_PIANOS`."""
        presets = self.presets
        return {program: presets[0, program] for program in ACOUSTIC_PIANOS if (0, program) in presets}


def find_soundfonts() -> list[Soundfont]:
    """SoundFonts on this machine, the one inside `pretty_midi` first, one of each family.

    Then come those that `MIRCOURSE_SOUNDFONTS` names (files or folders, separated as in `PATH`), then those in
    the usual folders of Linux distributions and Homebrew.

    Raises
    ------
    InputError
        If `MIRCOURSE_SOUNDFONTS` names what does not exist or is no SoundFont.
    """
    found: dict[str, Soundfont] = {}
    for path, is_named in _candidates():
        path = path.resolve()
        try:
            font = Soundfont(path, family_of(path))
        except InputError:
            if is_named:
                raise
            continue
        found.setdefault(font.family, font)
    return list(found.values())


def family_of(path: str | Path) -> str:
    """Family by the title that a font gives itself, so that a renamed copy is known again; else by its stem."""
    path = Path(path)
    title = _file(path).title.lower().replace(" ", "")
    for text in (path.stem.lower(), title):
        for mark, family in FAMILIES.items():
            if mark in text:
                return family
    return path.stem.lower()


def _candidates() -> Iterator[tuple[Path, bool]]:
    from importlib.util import find_spec

    spec = find_spec("pretty_midi")  # finds the folder without importing the package
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / "TimGM6mb.sf2").is_file():
            yield Path(folder) / "TimGM6mb.sf2", False
    for name in os.environ.get("MIRCOURSE_SOUNDFONTS", "").split(os.pathsep):
        path = Path(name).expanduser()
        if not name:
            continue
        if not path.exists():
            raise InputError(
                f"MIRCOURSE_SOUNDFONTS names {path}, which does not exist; correct or unset the variable."
            )
        yield from ((file, True) for file in (_fonts_in(path) if path.is_dir() else [path]))
    for folder in SYSTEM_FOLDERS:
        yield from ((file, False) for file in _fonts_in(Path(folder)))


def _fonts_in(folder: Path) -> list[Path]:
    return sorted(
        file for file in folder.glob("*") if file.suffix.lower() in (".sf2", ".sf3") and file.is_file()
    )


def _file(path: Path) -> SoundfontFile:
    stat = path.stat() if path.exists() else None
    return _file_as_of(path, (stat.st_mtime_ns, stat.st_size) if stat else (0, 0))


@lru_cache(maxsize=32)
def _file_as_of(path: Path, _: tuple[int, int]) -> SoundfontFile:
    return read_file(path)


# ---- rendering ----


def render(midi: bytes, soundfont: Soundfont | str | Path, sample_rate: int = 16000) -> np.ndarray:
    """Play a standard MIDI file.

    Parameters
    ----------
    midi : bytes
        Write a late event, or a late end of track, to keep the last note's tail: the sound ends with it.
    soundfont : Soundfont or path
        An .sf2 or .sf3 file.
    sample_rate : int
        Hz.

    Returns
    -------
    np.ndarray, shape (n,), float32
        Mono, in the font's own level; the same bytes give the same samples.

    Raises
    ------
    InputError
        If the SoundFont or the MIDI cannot be read, or no synthesizer is installed.
    """
    path = soundfont.path if isinstance(soundfont, Soundfont) else Path(soundfont)
    return _resampled(_synthesized(midi, path), sample_rate)


def render_notes(
    notes: np.ndarray,
    pedal: np.ndarray | None,
    soundfont: Soundfont | str | Path,
    program: int = 0,
    n_samples: int | None = None,
    *,
    sample_rate: int = 16000,
    volume: int = 127,
    reverb: int = 0,
    align: bool = False,
) -> np.ndarray:
    """Play notes on one preset.

    Parameters
    ----------
    notes : np.ndarray, shape (N, 4)
        Onset s, offset s, MIDI pitch, velocity 1–127: the moments of the keys. A key that is struck again while it
        is held is let go first.
    pedal : np.ndarray, shape (M, 2), or None
        Time s and value 0–127 of the sustain pedal (half pedal is not known to General MIDI: 64 and more is down).
    soundfont : Soundfont or path
    program : int
        General MIDI program, 0-based.
    n_samples : int, optional
        Length of the result; the last offset and `TAIL` seconds if left out.
    sample_rate : int
        Hz.
    volume, reverb : int
        MIDI controllers 7 and 91, 0–127. The renderer writes 16 bits: a small volume costs resolution.
    align : bool
        Shift the sound back by `onset_lag`, so that onsets in the audio lie on the onsets in `notes`.

    Returns
    -------
    np.ndarray, shape (n_samples,), float32
        Mono, not normalised; above 1 where full scale does not suffice.

    Raises
    ------
    InputError
        As for `render`, or if the notes are out of range.
    """
    notes = np.asarray(notes, dtype=np.float64).reshape(-1, 4)
    if n_samples is None:
        n_samples = round((notes[:, 1].max(initial=0.0) + TAIL) * sample_rate)
    lag = onset_lag(soundfont, program) if align else 0.0
    path = soundfont.path if isinstance(soundfont, Soundfont) else Path(soundfont)
    seconds = n_samples / sample_rate + lag + 0.1
    controllers = {VOLUME: volume, REVERB: reverb, CHORUS: 0}
    sound = _synthesized(midi_of_notes(notes, pedal, program, seconds=seconds, controllers=controllers), path)
    if np.abs(sound).max(initial=0.0) > LOUDEST and volume > QUIET:
        # Chords that are too loud for 16 bits are played at a quarter of the level and raised again.
        controllers[VOLUME] = volume // 2
        sound = _synthesized(
            midi_of_notes(notes, pedal, program, seconds=seconds, controllers=controllers), path
        )
        sound *= (volume / controllers[VOLUME]) ** 2
    sound = _resampled(sound, sample_rate)[round(lag * sample_rate) :]
    if len(sound) < n_samples:
        return np.concatenate([sound, np.zeros(n_samples - len(sound), dtype=np.float32)])
    return sound[:n_samples]


def midi_of_notes(
    notes: np.ndarray,
    pedal: np.ndarray | None,
    program: int,
    *,
    seconds: float,
    controllers: dict[int, int] | None = None,
) -> bytes:
    """Write notes as a standard MIDI file (format 0, one channel) that lasts `seconds`.

    Parameters
    ----------
    notes, pedal, program
        See `render_notes`.
    seconds : float
        Time of the last event; later notes are left out.
    controllers : dict of int to int, optional
        Controller values set at the start.

    Returns
    -------
    bytes
    """
    notes = np.asarray(notes, dtype=np.float64).reshape(-1, 4)
    if len(notes) and not (
        np.isfinite(notes).all()
        and (notes[:, 0] >= 0).all()
        and (notes[:, 2] >= 0).all()
        and (notes[:, 2] <= 127).all()
        and (notes[:, 3] >= 1).all()
        and (notes[:, 3] <= 127).all()
    ):
        raise InputError(
            "Notes to be rendered need onsets from 0 s on, pitches 0 to 127 and velocities 1 to 127; check the array."
        )
    # At one tick a key is let go before it is struck; the pedal lies between the two.
    events = [(0, 0, bytes([0xB0, number, value])) for number, value in (controllers or {}).items()]
    events.append((0, 0, bytes([0xC0, program])))
    last = round(seconds * TICKS_PER_SECOND)
    for pitch in np.unique(notes[:, 2]):
        key = notes[notes[:, 2] == pitch]
        key = key[np.argsort(key[:, 0], kind="stable")]
        ends = np.minimum(key[:, 1], np.append(key[1:, 0], np.inf))
        for (onset, _, _, velocity), end in zip(key, ends, strict=True):
            start, stop = round(onset * TICKS_PER_SECOND), round(end * TICKS_PER_SECOND)
            if start < last:
                events.append((start, 3, bytes([0x90, round(pitch), round(velocity)])))
                events.append((min(max(stop, start + 1), last), 1, bytes([0x80, round(pitch), 0])))
    for time, value in np.asarray([] if pedal is None else pedal, dtype=np.float64).reshape(-1, 2):
        tick = max(round(time * TICKS_PER_SECOND), 0)
        if tick < last:
            events.append((tick, 2, bytes([0xB0, SUSTAIN, int(np.clip(round(value), 0, 127))])))
    events.append((last, 4, bytes([0xB0, SUSTAIN, 0])))
    events.sort(key=lambda event: event[:2])

    track = b"\0\xff\x51\x03" + (1_000_000).to_bytes(3, "big")  # one quarter note a second
    before = 0
    for tick, _, message in events:
        track += _variable_length(tick - before) + message
        before = tick
    track += b"\0\xff\x2f\0"
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, TICKS_PER_SECOND)
    return header + b"MTrk" + struct.pack(">I", len(track)) + track


def _variable_length(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))


def onset_lag(soundfont: Soundfont | str | Path, program: int = 0) -> float:
    """Seconds from a MIDI event to the audible onset of its note: the median over the keyboard.

    Measured on single notes (`onset_lags`), once for a preset.
    """
    return float(np.nanmedian(onset_lags(soundfont, program)[1]))


@lru_cache(maxsize=64)
def onset_lags(
    soundfont: Soundfont | str | Path, program: int = 0, *, velocity: int = 90
) -> tuple[np.ndarray, np.ndarray]:
    """Lag of every sixth key of the piano.

    The onset is where the short-term level (1 ms) first comes within 20 dB of its maximum over the note's first 80 ms.

    Returns
    -------
    pitches : np.ndarray, shape (K,)
    seconds : np.ndarray, shape (K,)
        NaN for a key that is silent.
    """
    pitches = np.arange(21.0, 109.0, 6.0)
    apart, first = 1.0, 0.1
    onsets = first + apart * np.arange(len(pitches))
    notes = np.stack([onsets, onsets + 0.5, pitches, np.full(len(pitches), velocity)], axis=1)
    n_samples = round((onsets[-1] + apart) * RENDERER_RATE)
    sound = render_notes(notes, None, soundfont, program, n_samples, sample_rate=RENDERER_RATE)
    window = RENDERER_RATE // 1000
    level = np.sqrt(np.convolve(sound**2, np.ones(window) / window, mode="full")[: len(sound)])
    lags = np.full(len(pitches), np.nan)
    for index, onset in enumerate(onsets):
        start = round(onset * RENDERER_RATE)
        note = level[start : start + round(0.08 * RENDERER_RATE)]
        if note.max() > 0:
            lags[index] = max(int(np.argmax(note >= note.max() / 10)) - window / 2, 0) / RENDERER_RATE
    pitches.flags.writeable = lags.flags.writeable = False  # the cache hands out the same arrays again
    return pitches, lags


# ---- synthesizers ----


def _synthesized(midi: bytes, path: Path) -> np.ndarray:
    """Mono sound at `RENDERER_RATE` from whichever synthesizer is installed."""
    _file(path)  # says so if it is no SoundFont
    try:
        import midirenderer
    except ImportError:
        return _by_fluidsynth(midi, path)
    import soundfile

    try:
        wave = midirenderer.render_wave_from(_cut_out(path, _used_presets(midi)), midi)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path.name} cannot be played ({error}); choose another SoundFont.") from error
    sound, _ = soundfile.read(io.BytesIO(wave), dtype="float32", always_2d=True)
    return sound.mean(axis=1)


def _used_presets(midi: bytes) -> tuple[tuple[int, int], ...]:
    """(Bank, program) of every preset that a MIDI file asks for; drums are bank 128."""
    bank = [0] * 16
    program = [0] * 16
    used: set[tuple[int, int]] = set()
    for message in _messages(midi):
        if message.type == "control_change" and message.control == 0:
            bank[message.channel] = message.value
        elif message.type == "program_change":
            program[message.channel] = message.program
        elif message.type == "note_on" and message.velocity:
            channel = message.channel
            used.add((128 if channel == 9 else bank[channel], program[channel]))
    return tuple(sorted(used))


def _messages(midi: bytes):
    import mido

    try:
        return list(mido.MidiFile(file=io.BytesIO(midi)))
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        raise InputError("This is not a whole standard MIDI file; write it anew.") from error


@lru_cache(maxsize=2)
def _cut_out(path: Path, used: tuple[tuple[int, int], ...]) -> bytes:
    """The used presets of a font; those that it lacks are replaced as synthesizers do, by bank 0 or the first."""
    font = _file(path)
    presets = font.presets
    wanted = set()
    for bank, program in used:
        substitutes = ((bank, program), (128 if bank == 128 else 0, program), (128 if bank == 128 else 0, 0))
        wanted.add(next((preset for preset in substitutes if preset in presets), next(iter(presets))))
    return cut_out(font, sorted(wanted or {next(iter(presets))}))


def _by_fluidsynth(midi: bytes, path: Path) -> np.ndarray:
    try:
        import fluidsynth  # pyright: ignore[reportMissingImports]
    except (ImportError, OSError, AttributeError) as error:
        raise InputError(
            "No SoundFont synthesizer is installed: run `pip install midirenderer`, or, where it has no wheel, "
            "install FluidSynth (`apt install libfluidsynth3` or `brew install fluid-synth`) and run "
            "`pip install pyfluidsynth`."
        ) from error
    synth = fluidsynth.Synth(gain=0.5, samplerate=float(RENDERER_RATE))
    try:
        if synth.sfload(str(path)) == -1:
            raise InputError(f"FluidSynth cannot read {path.name}; choose another SoundFont.")
        synth.system_reset()
        blocks, clock, done = [], 0.0, 0
        for message in _messages(midi):
            clock += message.time
            due = round(clock * RENDERER_RATE) - done
            if due > 0:
                blocks.append(synth.get_samples(due).reshape(-1, 2).mean(axis=1) / 32768)
                done += due
            _send(synth, message)
    finally:
        synth.delete()
    return np.concatenate([np.zeros(0), *blocks]).astype(np.float32)


def _send(synth, message) -> None:
    if message.type == "note_on" and message.velocity:
        synth.noteon(message.channel, message.note, message.velocity)
    elif message.type in ("note_on", "note_off"):
        synth.noteoff(message.channel, message.note)
    elif message.type == "control_change":
        synth.cc(message.channel, message.control, message.value)
    elif message.type == "program_change":
        synth.program_change(message.channel, message.program)
    elif message.type == "pitchwheel":
        synth.pitch_bend(message.channel, message.pitch)


def _resampled(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    if sample_rate == RENDERER_RATE:
        return sound
    import soxr

    return soxr.resample(sound, RENDERER_RATE, sample_rate).astype(np.float32)

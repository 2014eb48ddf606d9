"""The piano band: pieces played on many pianos in many rooms, every note's label exact.

Pieces are drawn from a seed and rendered in groups that share an instrument. Splits are by piece: no score
of one split is heard in another. `unheard` plays the test pieces' kin on a SoundFont family that no
training piece uses.

Each item is `NAME.wav` (16 kHz, mono, 16 bit) with `NAME.notes.csv` beside it, the border format of
`mircourse evaluate piano --data folder:DIR`.
"""

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mircourse.cache import cache_folder, remove_unfinished, whole_file
from mircourse.errors import InputError

SAMPLE_RATE = 16000
SPLITS = ("train", "validation", "test", "unheard")
HELD_OUT_FAMILY = "timgm6mb"
GROUP = 3
# Notes begin in the first PIECE_SECONDS of a piece; then they may ring on for TAIL_SECONDS.
PIECE_SECONDS, TAIL_SECONDS = 120.0, 3.0
# Shares of recorded instruments (where any are found) and of works from the corpus.
RECORDED_SHARE, CORPUS_SHARE = 0.55, 0.3
CREDITS = {
    "salamander": "Salamander Grand Piano V3 by Alexander Holm, CC BY 3.0",
    "fluid": "FluidR3 GM by Frank Wen, MIT",
    "musescore": "MuseScore General by S. Christian Collins, MIT; its grand is the public-domain Splendid Grand",
}
# A number that changes when the band sounds different, so that old renderings are not mistaken for new ones.
VERSION = 2


@dataclass(frozen=True)
class Item:
    """One rendered piece.

    Attributes
    ----------
    name : str
    audio_path, notes_path : pathlib.Path
    """

    name: str
    audio_path: Path
    notes_path: Path

    def audio(self, start: float = 0.0, seconds: float | None = None) -> np.ndarray:
        """Samples from `start` s on, float32 in [-1, 1]."""
        import soundfile

        first = round(start * SAMPLE_RATE)
        n_samples = -1 if seconds is None else round(seconds * SAMPLE_RATE)
        sound, _ = soundfile.read(self.audio_path, frames=n_samples, start=first, dtype="float32")
        return sound

    def notes(self) -> np.ndarray:
        """Notes, shape (N, 4): onset s, offset s, MIDI pitch, velocity."""
        if not self.notes_path.stat().st_size:  # numpy warns of an empty file
            return np.zeros((0, 4))
        return np.loadtxt(self.notes_path, delimiter=",", ndmin=2)


def folder_of(split: str, seed: int = 0, piece_seconds: float = PIECE_SECONDS) -> Path:
    """Where a split is rendered; pieces of another length than the usual one are another band."""
    length = "" if piece_seconds == PIECE_SECONDS else f"-{piece_seconds:g}s"
    return cache_folder("band", f"piano-v{VERSION}-seed{seed}{length}", split)


def items(split: str, *, seed: int = 0, piece_seconds: float = PIECE_SECONDS) -> list[Item]:
    """The rendered items of a split, in order.

    Parameters
    ----------
    split : {"train", "validation", "test", "unheard"}
    seed, piece_seconds
        As handed to `prepare`.

    Raises
    ------
    InputError
        If there is no such split, or nothing of it has been rendered yet.
    """
    _check_split(split)
    folder = folder_of(split, seed, piece_seconds)
    found = [
        Item(path.name.removesuffix(".notes.csv"), path.with_name(path.name.replace(".notes.csv", ".wav")), path)
        for path in sorted(folder.glob("*.notes.csv"))
    ]
    if not found:
        raise InputError(f"The piano band's {split} split is not rendered yet; run 'mircourse prepare piano' first.")
    return found


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise InputError(f"The piano band has no split '{split}'; choose one of {', '.join(SPLITS)}.")


def _rng(*key: object) -> np.random.Generator:
    from mircourse.band.samples import hash_of

    return np.random.default_rng([hash_of(str(part)) for part in key])


def instruments_heard() -> tuple[str, ...]:
    """Instruments of the training pieces that this machine renders, with their licences."""
    from mircourse.band import samples, soundfonts

    heard = ["computed pianos"]
    for folder in samples.sample_folders():
        known = next((text for mark, text in CREDITS.items() if mark in folder.name.lower()), None)
        heard.append(known or f"recorded notes of the folder '{folder.name}'")
    families = dict.fromkeys(font.family for font in soundfonts.find_soundfonts())
    heard += [CREDITS.get(family, family) for family in families if family != HELD_OUT_FAMILY]
    return tuple(heard)


def _draw_instrument(rng: np.random.Generator):
    """Pick a piano: computed, sampled or from a SoundFont, never from the held-out family."""
    from mircourse.band import procedural, samples, soundfonts

    recorded: list[Callable] = []
    for folder in samples.sample_folders():
        recorded += [lambda folder=folder: samples.bank_of_folder(folder)] * 3
    for font in soundfonts.find_soundfonts():
        if font.family != HELD_OUT_FAMILY:
            for program in list(font.pianos)[:2]:
                recorded.append(lambda path=font.path, p=program: samples.bank_of_soundfont(path, p))
    if recorded and rng.random() < RECORDED_SHARE:
        return recorded[int(rng.integers(len(recorded)))]()
    return procedural.draw_piano(rng, sample_rate=SAMPLE_RATE)


def _draw_score(rng: np.random.Generator, split: str, seconds: float) -> np.ndarray:
    """A score long enough for a piece: our own textures, or works of the corpus one after another."""
    from mircourse.band import corpus, textures

    beats = seconds * 2.2
    if rng.random() > CORPUS_SHARE:
        return textures.compose(rng, beats)
    parts, start = [], 0.0
    while start < beats:
        kind = str(rng.choice(["chorale", "quartet", "piano", "song", "folk"], p=[0.25, 0.2, 0.2, 0.1, 0.25]))
        names = corpus.names("test" if split == "unheard" else split, kinds=[kind])
        if not names:
            continue
        piece = corpus.read(names[int(rng.integers(len(names)))])
        parts.append(_arranged(rng, piece, start, limit=beats - start + 8))
        start = float((parts[-1][:, 0] + parts[-1][:, 1]).max()) + 2.0
    return np.concatenate(parts)


def _arranged(rng: np.random.Generator, piece, start: float, limit: float) -> np.ndarray:
    """A work moved to another key and register, its outer voices sometimes doubled in octaves."""
    from mircourse.band.textures import BASS, INNER, LEAD

    notes = piece.notes[piece.notes[:, 0] < limit].copy()
    part = notes[:, 3]
    voice = np.where(part == 0, LEAD, np.where(part == part.max(), BASS, INNER)).astype(float)
    notes[:, 2] += rng.integers(-6, 7)
    layers = [np.column_stack([notes[:, :3], voice])]
    for outer, octave, chance in ((LEAD, 12, 0.2), (BASS, -12, 0.3)):
        if rng.random() < chance:
            doubled = layers[0][voice == outer].copy()
            doubled[:, 2] += octave
            layers.append(doubled)
    score = np.concatenate(layers)
    score[:, 0] += start
    return score[(score[:, 2] >= 21) & (score[:, 2] <= 108)]


def _render_group(split: str, group: int, indices: list[int], seed: int, piece_seconds: float) -> float:
    """Render the pieces of a group that are missing; return the seconds of all its pieces."""
    folder = folder_of(split, seed, piece_seconds)
    rng = _rng("instrument", split, group, seed)
    bank = None
    for index in indices:
        name = f"{split}-{index:05d}"
        audio_path, notes_path = folder / f"{name}.wav", folder / f"{name}.notes.csv"
        if notes_path.exists() and audio_path.exists():
            continue
        if bank is None and split != "unheard":
            bank = _draw_instrument(rng)
        sound, notes = _render_piece(split, index, seed, piece_seconds, bank)
        # The notes are written last: an item exists when its notes do.
        with whole_file(audio_path) as file:
            file.write(_wav(sound))
        with whole_file(notes_path) as file:
            np.savetxt(file, notes, delimiter=",", fmt=["%.4f", "%.4f", "%d", "%d"])
    return len(indices) * (piece_seconds + TAIL_SECONDS)


def _render_piece(split: str, index: int, seed: int, piece_seconds: float, bank) -> tuple[np.ndarray, np.ndarray]:
    """Compose or choose, play and record one piece: its samples and its notes."""
    from mircourse.band import performance, room, sampler
    from mircourse.piano.targets import extend_with_pedal

    piece = _rng("piece", split, index, seed)
    played = performance.perform(piece, _draw_score(piece, split, piece_seconds))
    keys = played.keys[played.keys[:, 0] < piece_seconds]
    notes = extend_with_pedal(keys, played.pedal)
    n_samples = int((piece_seconds + TAIL_SECONDS) * SAMPLE_RATE)
    notes[:, 1] = np.minimum(notes[:, 1], n_samples / SAMPLE_RATE)
    # A loose or heavy action: what a key's velocity means differs from piano to piano.
    struck = notes.copy()
    struck[:, 3] = np.clip(127 * (notes[:, 3] / 127) ** piece.uniform(0.7, 1.4), 4, 127)
    if bank is not None:
        dry = sampler.render(bank, struck, n_samples, tuning_cents=float(np.clip(piece.normal(0, 12), -35, 35)))
    else:
        dry = _played_by_synthesizer(struck, keys, played.pedal, n_samples)
    return room.record(piece, dry, SAMPLE_RATE), notes


def _wav(sound: np.ndarray) -> bytes:
    """Encode samples; in memory, since libsndfile does not say why a disk refuses a file."""
    import soundfile

    encoded = io.BytesIO()
    soundfile.write(encoded, sound, SAMPLE_RATE, subtype="PCM_16", format="WAV")
    return encoded.getvalue()


def _played_by_synthesizer(struck: np.ndarray, keys: np.ndarray, pedal: np.ndarray, n_samples: int) -> np.ndarray:
    """The held-out SoundFont as a synthesizer plays it, a way of sounding that no training piece has."""
    from mircourse.band import soundfonts

    font = next((f for f in soundfonts.find_soundfonts() if f.family == HELD_OUT_FAMILY), None)
    if font is None:
        raise InputError("The SoundFont TimGM6mb is missing; it comes with pretty_midi: 'pip install pretty_midi'.")
    order = np.lexsort((keys[:, 2], keys[:, 0]))
    down = np.column_stack([keys[order, :3], struck[:, 3]])
    return soundfonts.render_notes(down, pedal, font, 0, n_samples, sample_rate=SAMPLE_RATE, align=True)


def prepare(
    *, hours: float = 3.0, seed: int = 0, jobs: int | None = None, splits: dict[str, float] | None = None,
    progress: bool = True, piece_seconds: float = PIECE_SECONDS,
) -> dict[str, float]:  # fmt: skip
    """Render the piano band; what is already there is kept.

    A run that was interrupted, even by a kill, goes on where it stopped. Memory does not grow with the hours.

    Parameters
    ----------
    hours : float
        Hours of training audio; validation gets 3 % of them and at least 6 minutes, test and unheard 12 minutes each.
    seed : int
    jobs : int, optional
        Processes; as many as there are cores when left out. One renders in this process.
    splits : dict, optional
        Hours a split, instead of the shares above.
    progress : bool
        Show a progress bar on stderr.
    piece_seconds : float
        Length of a piece without its tail.

    Returns
    -------
    dict
        Seconds of audio a split.

    Raises
    ------
    InputError
        If the cache cannot be written or has no room, or a rendering process was ended from outside.
    """
    shares = splits or {"train": hours, "validation": max(0.1, hours * 0.03), "test": 0.2, "unheard": 0.2}
    tasks: list[tuple[str, int, list[int], int, float]] = []
    for split, share in shares.items():
        _check_split(split)
        remove_unfinished(folder_of(split, seed, piece_seconds))
        n = int(np.ceil(share * 3600 / (piece_seconds + TAIL_SECONDS)))
        for group in range(-(-n // GROUP)):
            indices = list(range(group * GROUP, min((group + 1) * GROUP, n)))
            tasks.append((split, group, indices, seed, piece_seconds))
    return _render_all(tasks, dict.fromkeys(shares, 0.0), jobs or os.cpu_count() or 1, progress)


def _render_all(tasks: list[tuple], seconds: dict[str, float], jobs: int, progress: bool) -> dict[str, float]:
    """Render groups in this process or in several, add up `seconds` a split."""
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    from tqdm import tqdm

    pieces = sum(len(indices) for _, _, indices, *_ in tasks)
    with tqdm(total=pieces, desc="piano band", unit="piece", disable=not progress) as bar:

        def count(task: tuple, rendered: float) -> None:
            seconds[task[0]] += rendered
            bar.update(len(task[2]))

        if jobs == 1:
            for task in tasks:
                count(task, _render_group(*task))
            return seconds
        # Spawned, not forked: a process that has started torch's threads must not be forked.
        pool = ProcessPoolExecutor(min(jobs, len(tasks) or 1), get_context("spawn"), initializer=_follow_parent)
        try:
            futures = {pool.submit(_render_group, *task): task for task in tasks}
            for future in as_completed(futures):
                count(futures[future], future.result())
        except BrokenProcessPool as error:
            raise InputError(
                "A process that rendered the band was ended from outside, perhaps for want of memory; try again with "
                "fewer of them (--jobs 1): what is already there is kept."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
    return seconds


def _follow_parent() -> None:
    """End a rendering process when its parent is gone, even killed; leave Ctrl-C to the parent."""
    import multiprocessing
    import signal
    import threading
    from multiprocessing.connection import wait

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def segments(
    split_items: list[Item], *, batch_size: int, seconds: float, seed: int, start_step: int = 0
) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
    """Endless random segments; what step k holds depends on the seed and on k alone.

    Parameters
    ----------
    split_items : list of Item
    batch_size : int
    seconds : float
        Length of a segment.
    seed, start_step : int

    Yields
    ------
    list of (audio, notes)
        Audio float32 (n,), notes (N, 4) with times from the segment's start; notes that began before it
        keep a negative onset. What a piece lacks is silence.
    """
    import soundfile

    n_samples = round(seconds * SAMPLE_RATE)

    lengths = {item.name: soundfile.info(item.audio_path).duration for item in split_items}
    notes = {item.name: item.notes() for item in split_items}
    step = start_step
    while True:
        rng = np.random.default_rng([seed, step])
        batch = []
        for _ in range(batch_size):
            item = split_items[int(rng.integers(len(split_items)))]
            start = float(rng.uniform(0, max(lengths[item.name] - seconds, 0.0)))
            start = round(start * SAMPLE_RATE) / SAMPLE_RATE
            inside = notes[item.name]
            inside = inside[(inside[:, 1] > start) & (inside[:, 0] < start + seconds)].copy()
            inside[:, :2] -= start
            audio = item.audio(start, seconds)
            batch.append((np.pad(audio, (0, n_samples - len(audio))), inside))
        yield batch
        step += 1

"""The piano band: pieces played on many pianos in many rooms, every note's label exact.

Pieces are drawn from a seed and rendered in groups that share an instrument. Splits are by piece: no score
of one split is heard in another. `unheard` plays the test pieces' kin on a SoundFont family that no
training piece uses.

Each item is `NAME.wav` (16 kHz, mono, 16 bit) with `NAME.notes.csv` beside it, the border format of
`mircourse evaluate piano --data folder:DIR`.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mircourse.cache import cache_folder

SAMPLE_RATE = 16000
SPLITS = ("train", "validation", "test", "unheard")
HELD_OUT_FAMILY = "timgm6mb"
GROUP = 3
PIECE_SECONDS = 120.0
# Shares of recorded instruments (where any are found) and of works from the corpus.
RECORDED_SHARE, CORPUS_SHARE = 0.55, 0.3
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

        frames = -1 if seconds is None else int(round(seconds * SAMPLE_RATE))
        sound, _ = soundfile.read(self.audio_path, frames=frames, start=int(round(start * SAMPLE_RATE)), dtype="float32")
        return sound

    def notes(self) -> np.ndarray:
        """Notes, shape (N, 4): onset s, offset s, MIDI pitch, velocity."""
        return np.loadtxt(self.notes_path, delimiter=",", ndmin=2).reshape(-1, 4)


def folder_of(split: str, seed: int = 0) -> Path:
    """Where a split is rendered."""
    return cache_folder("band", f"piano-v{VERSION}-seed{seed}", split)


def items(split: str, *, seed: int = 0) -> list[Item]:
    """The rendered items of a split, in order.

    Raises
    ------
    InputError
        If nothing has been rendered yet.
    """
    from mircourse.errors import InputError

    folder = folder_of(split, seed)
    found = [
        Item(path.name.removesuffix(".notes.csv"), path.with_name(path.name.replace(".notes.csv", ".wav")), path)
        for path in sorted(folder.glob("*.notes.csv"))
    ]
    if not found:
        raise InputError(f"The piano band's {split} split is not rendered yet; run 'mircourse prepare piano' first.")
    return found


def _rng(*key: object) -> np.random.Generator:
    from mircourse.band.samples import hash_of

    return np.random.default_rng([hash_of(str(part)) for part in key])


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


def _draw_score(rng: np.random.Generator, split: str) -> np.ndarray:
    """A score long enough for a piece: our own textures, or works of the corpus one after another."""
    from mircourse.band import corpus, textures

    beats = PIECE_SECONDS * 2.2
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


def _render_group(split: str, group: int, indices: list[int], seed: int) -> float:
    """Render the pieces of a group that are missing; return their seconds."""
    import soundfile

    from mircourse.band import performance, room, sampler
    from mircourse.piano.targets import extend_with_pedal

    folder = folder_of(split, seed)
    rng = _rng("instrument", split, group, seed)
    bank = None
    total = 0.0
    for index in indices:
        name = f"{split}-{index:05d}"
        audio_path, notes_path = folder / f"{name}.wav", folder / f"{name}.notes.csv"
        if notes_path.exists():
            total += soundfile.info(audio_path).duration
            continue
        if bank is None and split != "unheard":
            bank = _draw_instrument(rng)
        piece = _rng("piece", split, index, seed)
        played = performance.perform(piece, _draw_score(piece, split))
        keys = played.keys[played.keys[:, 0] < PIECE_SECONDS]
        notes = extend_with_pedal(keys, played.pedal)
        n_samples = int((PIECE_SECONDS + 3.0) * SAMPLE_RATE)
        notes[:, 1] = np.minimum(notes[:, 1], n_samples / SAMPLE_RATE)
        # A loose or heavy action: what a key's velocity means differs from piano to piano.
        struck = notes.copy()
        struck[:, 3] = np.clip(127 * (notes[:, 3] / 127) ** piece.uniform(0.7, 1.4), 4, 127)
        if bank is not None:
            dry = sampler.render(bank, struck, n_samples, tuning_cents=float(np.clip(piece.normal(0, 12), -35, 35)))
        else:
            dry = _played_by_synthesizer(struck, keys, played.pedal, n_samples)
        sound = room.record(piece, dry, SAMPLE_RATE)
        # The notes are written last and by renaming: an item exists when its notes do.
        partial = audio_path.with_suffix(f".{os.getpid()}.partial")
        soundfile.write(partial, sound, SAMPLE_RATE, subtype="PCM_16", format="WAV")
        os.replace(partial, audio_path)
        partial = notes_path.with_suffix(f".{os.getpid()}.partial")
        np.savetxt(partial, notes, delimiter=",", fmt=["%.4f", "%.4f", "%d", "%d"])
        os.replace(partial, notes_path)
        total += n_samples / SAMPLE_RATE
    return total


def _played_by_synthesizer(struck: np.ndarray, keys: np.ndarray, pedal: np.ndarray, n_samples: int) -> np.ndarray:
    """The held-out SoundFont as a synthesizer plays it, a way of sounding that no training piece has."""
    from mircourse.band import soundfonts
    from mircourse.errors import InputError

    font = next((f for f in soundfonts.find_soundfonts() if f.family == HELD_OUT_FAMILY), None)
    if font is None:
        raise InputError("The SoundFont TimGM6mb is missing; it comes with pretty_midi: 'pip install pretty_midi'.")
    order = np.lexsort((keys[:, 2], keys[:, 0]))
    down = np.column_stack([keys[order, :3], struck[:, 3]])
    return soundfonts.render_notes(down, pedal, font, 0, n_samples, sample_rate=SAMPLE_RATE, align=True)


def prepare(
    *, hours: float = 3.0, seed: int = 0, jobs: int | None = None, splits: dict[str, float] | None = None,
    progress: bool = True,
) -> dict[str, float]:  # fmt: skip
    """Render the piano band; what is already there is kept.

    Parameters
    ----------
    hours : float
        Hours of training audio; validation, test and unheard get 5 minutes each and more with more hours.
    seed : int
    jobs : int, optional
        Processes; as many as there are cores when left out.
    splits : dict, optional
        Hours a split, instead of the shares above.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    dict
        Seconds of audio a split.
    """
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    from tqdm import tqdm

    shares = splits or {"train": hours, "validation": max(0.1, hours * 0.03), "test": 0.2, "unheard": 0.2}
    tasks: list[tuple[str, int, list[int]]] = []
    for split, share in shares.items():
        n = int(np.ceil(share * 3600 / (PIECE_SECONDS + 3.0)))
        tasks += [(split, g, list(range(g * GROUP, min((g + 1) * GROUP, n)))) for g in range(-(-n // GROUP))]
    seconds = dict.fromkeys(shares, 0.0)
    jobs = jobs or os.cpu_count() or 1
    bar = tqdm(total=sum(len(task[2]) for task in tasks), desc="piano band", unit="piece", disable=not progress)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_render_group, *task, seed): task for task in tasks}
        for future in as_completed(futures):
            split, _, indices = futures[future]
            seconds[split] += future.result()
            bar.update(len(indices))
    bar.close()
    return seconds


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
        keep a negative onset.
    """
    import soundfile

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
            batch.append((item.audio(start, seconds), inside))
        yield batch
        step += 1

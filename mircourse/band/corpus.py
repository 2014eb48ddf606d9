"""Scores for the keyboard from the music21 corpus, which comes with music21's pip package.

Chorales by Bach, string quartets condensed for two hands, the piano pieces and songs that the corpus holds,
and dance tunes from the collections of Ryan, O'Neill and Aird and the Northumbrian Minstrelsy, for which a left
hand is made from the harmony that the tune implies. The Essen folk songs are left out: their legal status is
unclear. Repeats are not played. The splits are by score; a few tunes come back in another setting (Bach harmonised
some of his tunes more than once), sometimes in another split.

Reading with music21 takes 0.07 s (a tune, a chorale) to 3 s (a movement of a quartet) a piece, so what was read
is kept in npz files below ``cache_folder("scores")``, one for every batch of sources: an interrupted build goes on
where it stopped.
"""

import hashlib
import os
import re
import warnings
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from mircourse.band import accompaniment
from mircourse.band.score import Piece, condense
from mircourse.cache import cache_folder
from mircourse.errors import InputError

SPLITS = ("train", "validation", "test")
VERSION = 1  # raised whenever the same score gives other notes; part of every cache file's name
BATCH_SECONDS = 2.0  # of reading; a batch is what an interruption loses at most

CHORALES = ("bach/bwv2[5-9][0-9].mxl", "bach/bwv[34][0-9][0-9].mxl", "bach/bwv24[458].*.mxl")
QUARTETS = (
    "beethoven/opus18no1/movement[23].mxl",
    "beethoven/opus59no[23]/movement[23].mxl",
    "haydn/*/movement*.mxl",
    "mozart/k80/*.mxl",
    "mozart/k15*/*.mxl",
    "mozart/k458/*.mxl",
    "schumann_robert/opus41no1/*.mxl",
)
PIANO = (
    "bach/bwv846.mxl",
    "chopin/mazurka06-2.krn",
    "cpebach/h186.mxl",
    "joplin/maple_leaf_rag.mxl",
    "mozart/k545/movement1_exposition.mxl",
    "schoenberg/opus19/*.mxl",
    "schumann_clara/*.mxl",
    "schumann_clara/opus17/movement3.xml",
    "verdi/laDonnaEMobile.mxl",
)
SONGS = (
    "beach/prayer_of_a_tired_child.musicxml",
    "handel/rinaldo/Lascia_chio_pianga.mxl",
    "johnson_j_r/lift_every_voice.mxl",
    "liliuokalani/aloha_oe.mxl",
    "schubert/Lindenbaum.xml",
    "schumann_robert/opus48no2.mxl",
)
TUNES = {  # how many tunes of a collection the default list takes
    "ryansMammoth/*.abc": 220,
    "oneills1850/*.abc": 160,
    "airdsAirs/*.abc": 80,
    "miscFolk/northumbrianminstrelsyopus.abc": 40,
}


@dataclass(frozen=True)
class Source:
    """A score in the corpus: a file, or the tune `number` of a file that holds many."""

    name: str
    kind: str
    path: str
    number: str = ""
    seconds: float = 0.05  # rough time of reading, to make even batches


def _hash(text: str) -> int:
    """64 bits that are the same on every machine (Python's own `hash` is not)."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def split_of(name: str) -> str:
    """Split of a piece by the hash of its name: 80 % train, 10 % validation, 10 % test."""
    share = _hash(name) / 2**64
    return "train" if share < 0.8 else "validation" if share < 0.9 else "test"


def names(split: str | None = None, *, kinds: Iterable[str] | None = None) -> list[str]:
    """Names of the default list, without reading a score.

    Parameters
    ----------
    split : str, optional
        ``"train"``, ``"validation"`` or ``"test"``; all three if left out.
    kinds : iterable of str, optional
        Any of ``"chorale"``, ``"quartet"``, ``"piano"``, ``"song"``, ``"folk"``; all if left out.

    Raises
    ------
    InputError
        If there is no such split or kind, or music21 has no corpus.
    """
    return [source.name for source in _chosen(split, kinds)]


def pieces(
    split: str | None = None,
    *,
    kinds: Iterable[str] | None = None,
    limit: int | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> list[Piece]:
    """Read the pieces of a split, from the cache where they are in it.

    Parameters
    ----------
    split, kinds
        As for `names`.
    limit : int, optional
        Read at most so many, drawn evenly from the list: enough for a first look.
    workers : int, optional
        Processes that read scores; the number of processors if left out.
    progress : bool
        Show a progress bar while scores are read.

    Returns
    -------
    list of Piece
        In the order of `names`.

    Raises
    ------
    InputError
        As for `names`, or if the cache cannot be written.
    """
    wanted = _chosen(split, kinds)
    if limit is not None and limit < len(wanted):
        wanted = [wanted[index] for index in np.linspace(0, len(wanted) - 1, limit).round().astype(int)]
    wanted_names = {source.name for source in wanted}
    batches = [batch for batch in _batches() if wanted_names & {source.name for source in batch}]
    build(batches, workers=workers, progress=progress)
    found = {piece.name: piece for batch in batches for piece in _load(_file(batch), wanted_names)}
    return [found[source.name] for source in wanted if source.name in found]


def read(name: str) -> Piece:
    """Read one score of the default list by its name: from the cache where it is in it, else with music21.

    Raises
    ------
    InputError
        If the list has no such score, or music21 cannot read it.
    """
    source = next((source for source in _sources() if source.name == name), None)
    if source is None:
        raise InputError(f"There is no score {name!r}; `names()` lists them.")
    batch = next(batch for batch in _batches() if source in batch)
    if _is_whole(_file(batch)):
        for piece in _load(_file(batch), {name}):
            return piece
    return read_source(source)


def build(
    batches: "list[tuple[Source, ...]] | None" = None, *, workers: int | None = None, progress: bool = True
) -> None:
    """Read every batch that is not in the cache yet (the whole default list if none is named)."""
    missing = [batch for batch in (_batches() if batches is None else batches) if not _is_whole(_file(batch))]
    if not missing:
        return
    from tqdm.auto import tqdm

    total = sum(len(batch) for batch in missing)
    with tqdm(total=total, desc="reading scores", unit="score", disable=not progress) as bar:
        processes = min(workers or os.cpu_count() or 1, len(missing))
        if processes == 1:
            for batch in missing:
                bar.update(_build_batch(batch, _file(batch)))
            return
        # Spawned, not forked: a process that has started torch's threads must not be forked.
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            tasks = [pool.submit(_build_batch, batch, _file(batch)) for batch in missing]
            try:
                for task in as_completed(tasks):
                    bar.update(task.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def read_source(source: Source) -> Piece:
    """Read one score with music21; tunes get a left hand.

    Raises
    ------
    InputError
        If music21 cannot read the score, or it holds no note.
    """
    from music21 import converter
    from music21.stream.base import Score

    from mircourse.band.score_reading import read_piece

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # overfull bars and the like; nothing a reader can mend
            if source.number:
                text = _tunes_of(_corpus() / source.path)[source.number]
                score = converter.parseData(text, format="abc")
            else:
                score = converter.parse(_corpus() / source.path, forceSource=True)
            if not isinstance(score, Score):
                raise InputError(f"{source.name} holds more than one score; name one of them.")
            piece = read_piece(score, source.name, source.kind)
            return _with_left_hand(piece, score) if source.kind == "folk" else piece
    except InputError:
        raise
    except Exception as error:  # music21 raises whatever its parsers meet
        raise InputError(
            f"music21 could not read the score {source.name} ({type(error).__name__}: {error}); leave it out."
        ) from error


def _with_left_hand(piece: Piece, score) -> Piece:
    """Add the accompaniment that the hash of the name chooses."""
    from music21 import key

    signatures = list(score.parts[0].flatten()[key.KeySignature])
    fifths = signatures[0].sharps if signatures else 0
    named = signatures[0] if signatures and isinstance(signatures[0], key.Key) else None
    tonic = named.tonic.pitchClass if named else (7 * fifths) % 12
    choice = np.random.default_rng(_hash(piece.name))
    metre = {"numerator": piece.metres[0, 1], "denominator": piece.metres[0, 2]}
    pulse, family = accompaniment.pulse_of(**metre)
    tune = piece.notes.copy()
    tune[:, 3] = accompaniment.TUNE
    chords = accompaniment.harmonise(tune, piece.bars, tonic=tonic, fifths=fifths, **metre)
    figures = accompaniment.FIGURES[family]
    figure = figures[choice.integers(len(figures))]
    layers = [tune, accompaniment.accompany(chords, figure=figure, **metre)]
    if choice.random() < 0.4:
        layers.append(accompaniment.thicken(tune, chords, pulse))
    notes = condense(np.concatenate(layers))
    return replace(piece, notes=notes, hands=np.array(accompaniment.HANDS))


# ---- the list ----


def _corpus() -> Path:
    """Folder of the music21 corpus, found without importing music21."""
    from importlib.util import find_spec

    spec = find_spec("music21")
    folder = Path(spec.origin).parent / "corpus" if spec and spec.origin else None
    if folder is None or not (folder / "bach").is_dir():
        raise InputError(
            "music21 or its corpus of scores is not installed; run `pip install music21` and try again."
        )
    return folder


@lru_cache(maxsize=1)
def _sources() -> tuple[Source, ...]:
    """The default list, in a fixed order."""
    listed: dict[str, Source] = {}
    for kind, patterns in (("piano", PIANO), ("song", SONGS), ("quartet", QUARTETS), ("chorale", CHORALES)):
        for path in (path for pattern in patterns for path in sorted(_corpus().glob(pattern))):
            relative = path.relative_to(_corpus()).as_posix()
            name = relative.rsplit(".", 1)[0]
            # About 35 kB of compressed or 1 MB of plain MusicXML are read in a second.
            rate = 35e3 if path.suffix == ".mxl" else 1e6
            listed.setdefault(name, Source(name, kind, relative, seconds=0.05 + path.stat().st_size / rate))
    for pattern, number in TUNES.items():
        files = sorted(_corpus().glob(pattern))
        tunes = {source.name: source for path in files for source in _tune_sources(path)}
        # Drawn from all over the collection, by another hash than the split's.
        drawn = sorted(tunes, key=lambda name: _hash(f"draw {name}"))
        listed.update((name, tunes[name]) for name in sorted(drawn[:number]))
    return tuple(listed.values())


def _tune_sources(path: Path) -> list[Source]:
    relative = path.relative_to(_corpus()).as_posix()
    folder = relative.rsplit("/", 1)[0]
    if folder == "ryansMammoth":
        return [Source(relative.rsplit(".", 1)[0], "folk", relative)]
    prefix = folder if folder == "oneills1850" else relative.rsplit(".", 1)[0]
    return [Source(f"{prefix}/{int(number):04d}", "folk", relative, number) for number in _tunes_of(path)]


@lru_cache(maxsize=64)
def _tunes_of(path: Path) -> dict[str, str]:
    """Tunes of an ABC file by their number; of two with one number the first."""
    tunes: dict[str, str] = {}
    for text in re.split(r"(?m)^(?=X:)", path.read_text(encoding="latin-1"))[1:]:
        number = re.match(r"X:\s*(\d+)", text)
        if number and "\nK:" in text:
            tunes.setdefault(number.group(1), text)
    return tunes


def _chosen(split: str | None, kinds: Iterable[str] | None) -> list[Source]:
    known = {source.kind for source in _sources()}
    kinds = known if kinds is None else {kinds} if isinstance(kinds, str) else set(kinds)
    if split is not None and split not in SPLITS:
        raise InputError(f"There is no split {split!r}; choose one of {', '.join(SPLITS)}.")
    if kinds - known:
        raise InputError(
            f"There are no scores of the kind {sorted(kinds - known)}; choose from {sorted(known)}."
        )
    return [s for s in _sources() if s.kind in kinds and split in (None, split_of(s.name))]


# ---- the cache ----


@lru_cache(maxsize=1)
def _batches() -> tuple[tuple[Source, ...], ...]:
    batches: list[list[Source]] = [[]]
    filled = 0.0
    for source in _sources():
        if filled > BATCH_SECONDS or (batches[-1] and batches[-1][-1].kind != source.kind):
            batches.append([])
            filled = 0.0
        batches[-1].append(source)
        filled += source.seconds
    return tuple(tuple(batch) for batch in batches)


def _file(batch: tuple[Source, ...]) -> Path:
    """A changed list or version gets another file, so that no stale batch is read."""
    content = hashlib.blake2b(repr((VERSION, [s.name for s in batch])).encode(), digest_size=6).hexdigest()
    return cache_folder("scores") / f"{batch[0].kind}-{content}.npz"


def _build_batch(batch: tuple[Source, ...], target: Path) -> int:
    arrays: dict[str, np.ndarray] = {}
    for source in batch:
        try:
            piece = read_source(source)
        except InputError as error:
            warnings.warn(str(error), stacklevel=2)
            continue
        fields = {
            "notes": piece.notes.astype(np.float32),
            "hands": piece.hands.astype(np.int8),
            "bars": piece.bars,
            "metres": piece.metres,
            "tempo": np.float64(piece.tempo),
            "fermatas": piece.fermatas,
        }
        arrays.update({f"{source.name}:{source.kind}:{field}": value for field, value in fields.items()})
    unfinished = target.with_name(f".{target.stem}-{os.getpid()}.npz")
    np.savez_compressed(unfinished, **arrays)  # pyright: ignore[reportArgumentType]
    unfinished.replace(target)
    return len(batch)


def _is_whole(path: Path) -> bool:
    """Whether a cache file can be read; one that cannot is built again."""
    try:
        with np.load(path):
            return True
    except (OSError, ValueError, BadZipFile, EOFError):
        return False


def _load(path: Path, wanted: set[str]) -> list[Piece]:
    fields: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    with np.load(path) as stored:
        for entry in stored.files:
            name, kind, field = entry.rsplit(":", 2)
            if name in wanted:
                fields.setdefault((name, kind), {})[field] = stored[entry]
    return [
        Piece(
            name=name,
            kind=kind,
            notes=value["notes"].astype(np.float64),
            hands=value["hands"].astype(np.int64),
            bars=value["bars"],
            metres=value["metres"],
            tempo=float(value["tempo"]),
            fermatas=value["fermatas"],
        )
        for (name, kind), value in fields.items()
    ]

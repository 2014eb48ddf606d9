"""The SoundFont file format: reading what is in a file, and cutting out the presets that are wanted.

A SoundFont 2 is a RIFF file of tables: presets own zones, zones own generators, one generator of a zone names an
instrument, whose zones name samples (SoundFont 2.04 technical specification, E-mu 1998). SoundFont 3 is the same
with every sample compressed as Ogg Vorbis, which few synthesizers read. `cut_out` writes a SoundFont 2 with the
wanted presets alone: it is small, so that a synthesizer which reads the whole file on every call is quick,
and on the way it turns SoundFont 3 into SoundFont 2 and modulators into generators
(see `soundfont_modulators`).
"""

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mircourse.band.soundfont_modulators import bake, has_modulators
from mircourse.errors import InputError

TABLES = {
    "phdr": np.dtype(
        [("name", "S20"), ("program", "<u2"), ("bank", "<u2"), ("bag", "<u2"), ("unused", "V12")]
    ),
    "pbag": np.dtype([("generator", "<u2"), ("modulator", "<u2")]),
    "pmod": np.dtype("V10"),
    "pgen": np.dtype([("operator", "<u2"), ("amount", "<u2")]),
    "inst": np.dtype([("name", "S20"), ("bag", "<u2")]),
    "ibag": np.dtype([("generator", "<u2"), ("modulator", "<u2")]),
    "imod": np.dtype("V10"),
    "igen": np.dtype([("operator", "<u2"), ("amount", "<u2")]),
    "shdr": np.dtype(
        [
            ("name", "S20"),
            ("start", "<u4"),
            ("end", "<u4"),
            ("loop_start", "<u4"),
            ("loop_end", "<u4"),
            ("rate", "<u4"),
            ("key", "u1"),
            ("correction", "i1"),
            ("link", "<u2"),
            ("kind", "<u2"),
        ]
    ),
}
INSTRUMENT, SAMPLE = 41, 53  # generators that point to an instrument and to a sample
VORBIS = 0x10  # flag in a sample's kind: compressed
SILENCE = 46  # zeros that must follow every sample (specification 6.1)


@dataclass(frozen=True)
class SoundfontFile:
    """A SoundFont's tables; samples are read from disk only when they are wanted.

    Attributes
    ----------
    path : pathlib.Path
    title : str
        The name that the file gives itself.
    tables : dict of str to np.ndarray
        The nine tables of the specification, the closing record of each included.
    samples_at : int
        Where the sample data begin, in bytes.
    """

    path: Path
    title: str
    tables: dict[str, np.ndarray]
    samples_at: int

    @property
    def presets(self) -> dict[tuple[int, int], str]:
        """Names of the presets by bank and program, in that order."""
        rows = self.tables["phdr"][:-1]
        return {
            (int(row["bank"]), int(row["program"])): _text(row["name"])
            for row in np.sort(rows, order=["bank", "program"])
        }

    @property
    def is_compressed(self) -> bool:
        """Whether a sample is Ogg Vorbis, as in SoundFont 3."""
        return bool((self.tables["shdr"]["kind"][:-1] & VORBIS).any())

    def sample_names(self, bank: int, program: int) -> list[str]:
        """Names of the recordings that a preset plays, in the order of the file."""
        chosen = [
            i
            for i, row in enumerate(self.tables["phdr"][:-1])
            if (row["bank"], row["program"]) == (bank, program)
        ]
        instruments = _targets(self.tables, "p", "phdr", chosen, INSTRUMENT)
        samples = _targets(self.tables, "i", "inst", instruments, SAMPLE)
        return [_text(self.tables["shdr"][i]["name"]) for i in samples]


def read_file(path: str | Path) -> SoundfontFile:
    """Read the tables of a SoundFont 2 or 3.

    Raises
    ------
    InputError
        If there is no such file, or it is no SoundFont.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _read(file, path)
    except OSError as error:
        raise InputError(
            f"The SoundFont {path} cannot be read ({error.strerror}); check the path."
        ) from error
    except (struct.error, KeyError, ValueError, IndexError) as error:
        raise InputError(f"{path} is not a whole SoundFont file; name an .sf2 or .sf3 file.") from error


def _read(file: io.BufferedReader, path: Path) -> SoundfontFile:
    riff, _, form = struct.unpack("<4sI4s", file.read(12))
    if (riff, form) != (b"RIFF", b"sfbk"):
        raise ValueError("no SoundFont")
    end = path.stat().st_size
    title, tables, samples_at = "", {}, 0
    position = 12
    while position + 12 <= end:
        file.seek(position)
        _, size, form = struct.unpack("<4sI4s", file.read(12))
        inner, stop = position + 12, position + 8 + size
        while inner + 8 <= stop:
            file.seek(inner)
            name, inner_size = struct.unpack("<4sI", file.read(8))
            label = name.decode("ascii")
            if label == "smpl":
                samples_at = inner + 8
            elif label == "INAM":
                title = _text(file.read(inner_size))
            elif form == b"pdta":
                tables[label] = np.frombuffer(file.read(inner_size), dtype=TABLES[label])
            inner += 8 + inner_size + inner_size % 2
        position = stop
        # Chunks of odd length are padded by the RIFF rules, but not by every program that writes SoundFont 3.
        file.seek(position)
        if size % 2 and file.read(4) != b"LIST":
            position += 1
    if set(tables) != set(TABLES) or not samples_at or not all(len(table) for table in tables.values()):
        raise ValueError("a table is missing")
    return SoundfontFile(path, title, tables, samples_at)


def cut_out(font: SoundfontFile, wanted: list[tuple[int, int]]) -> bytes:
    """Write a SoundFont 2 that holds some presets of a SoundFont, and the samples that they play.

    Parameters
    ----------
    font : SoundfontFile
    wanted : list of (bank, program)
        Presets to keep.

    Returns
    -------
    bytes
        A whole SoundFont 2 file, samples uncompressed, 16 bit.

    Raises
    ------
    InputError
        If the font has none of the presets, or a compressed sample cannot be decoded.
    """
    old = font.tables
    presets = [i for i, row in enumerate(old["phdr"][:-1]) if (row["bank"], row["program"]) in set(wanted)]
    if not presets:
        raise InputError(
            f"{font.path.name} has none of the presets {sorted(wanted)}; see its list of presets."
        )
    if has_modulators(old, presets):
        old = bake(old, presets)
        presets = list(range(len(presets)))
    instruments = _targets(old, "p", "phdr", presets, INSTRUMENT)
    samples = _targets(old, "i", "inst", instruments, SAMPLE)
    linked = {int(i) for i in old["shdr"]["link"][samples] if 0 < i < len(old["shdr"]) - 1}
    samples = sorted(set(samples) | linked)
    tables = {
        **_zones(old, "p", "phdr", presets, INSTRUMENT, instruments),
        **_zones(old, "i", "inst", instruments, SAMPLE, samples),
    }
    headers, waves = _samples(font, samples)
    tables["shdr"] = headers
    return _written(font.title, waves, tables)


def _targets(tables: dict, letter: str, owner: str, chosen: list[int], operator: int) -> list[int]:
    """Instruments (or samples) that the zones of the chosen presets (or instruments) name."""
    bags, generators = tables[letter + "bag"], tables[letter + "gen"]
    found: set[int] = set()
    for index in chosen:
        zones = slice(tables[owner]["bag"][index], tables[owner]["bag"][index + 1] + 1)
        first, last = bags["generator"][zones][[0, -1]]
        inside = generators[first:last]
        found.update(inside["amount"][inside["operator"] == operator].tolist())
    return sorted(found)


def _zones(
    tables: dict, letter: str, owner: str, chosen: list[int], operator: int, targets: list[int]
) -> dict[str, np.ndarray]:
    """The chosen presets (or instruments) with zones, generators and modulators numbered anew."""
    names = {"bag": letter + "bag", "generator": letter + "gen", "modulator": letter + "mod"}
    bags = tables[names["bag"]]
    owners = tables[owner][[*chosen, -1]].copy()
    new_bags: list[tuple[int, int]] = []
    kept: dict[str, list[np.ndarray]] = {"generator": [], "modulator": []}
    counts = {"generator": 0, "modulator": 0}
    for place, index in enumerate(chosen):
        owners["bag"][place] = len(new_bags)
        for zone in range(tables[owner]["bag"][index], tables[owner]["bag"][index + 1]):
            new_bags.append((counts["generator"], counts["modulator"]))
            for what, pieces in kept.items():
                piece = tables[names[what]][bags[what][zone] : bags[what][zone + 1]]
                pieces.append(piece)
                counts[what] += len(piece)
    owners["bag"][-1] = len(new_bags)
    new_bags.append((counts["generator"], counts["modulator"]))
    generators = np.concatenate([*kept["generator"], tables[names["generator"]][-1:]])
    place_of = {old: new for new, old in enumerate(targets)}
    pointing = generators["operator"][:-1] == operator
    generators["amount"][:-1][pointing] = [place_of[int(old)] for old in generators["amount"][:-1][pointing]]
    return {
        owner: owners,
        names["bag"]: np.array(new_bags, dtype=bags.dtype),
        names["modulator"]: np.concatenate([*kept["modulator"], tables[names["modulator"]][-1:]]),
        names["generator"]: generators,
    }


def _samples(font: SoundfontFile, chosen: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Headers and sound (int16) of the chosen samples, laid one after the other."""
    old = font.tables["shdr"]
    headers = old[[*chosen, -1]].copy()
    place_of = {index: place for place, index in enumerate(chosen)}
    waves: list[np.ndarray] = []
    position = 0
    with font.path.open("rb") as file:
        for place, index in enumerate(chosen):
            row = old[index]
            if row["kind"] & VORBIS:
                file.seek(font.samples_at + int(row["start"]))
                wave = _decoded(file.read(int(row["end"]) - int(row["start"])), font, _text(row["name"]))
                shift = position  # loops of compressed samples count from the sample's own start
            else:
                file.seek(font.samples_at + 2 * int(row["start"]))
                wave = np.frombuffer(file.read(2 * (int(row["end"]) - int(row["start"]))), dtype="<i2")
                shift = position - int(row["start"])
            headers["start"][place] = position
            headers["end"][place] = position + len(wave)
            headers["loop_start"][place] = int(row["loop_start"]) + shift
            headers["loop_end"][place] = min(int(row["loop_end"]) + shift, position + len(wave))
            headers["link"][place] = place_of.get(int(row["link"]), 0)
            headers["kind"][place] = int(row["kind"]) & ~VORBIS
            waves += [wave, np.zeros(SILENCE, dtype="<i2")]
            position += len(wave) + SILENCE
    return headers, np.concatenate(waves)


def _decoded(data: bytes, font: SoundfontFile, name: str) -> np.ndarray:
    import soundfile

    try:
        wave, _ = soundfile.read(io.BytesIO(data), dtype="int16")
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"The sample {name!r} of {font.path.name} cannot be decoded ({error}); use an .sf2 file instead."
        ) from error
    return wave


def _written(title: str, waves: np.ndarray, tables: dict[str, np.ndarray]) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)

    name = title.encode("latin-1", "replace")[:254] + b"\0"
    info = chunk(b"ifil", struct.pack("<HH", 2, 1)) + chunk(b"isng", b"EMU8000\0")
    info += chunk(b"INAM", name + b"\0" * (len(name) % 2))
    body = chunk(b"LIST", b"INFO" + info)
    body += chunk(b"LIST", b"sdta" + chunk(b"smpl", waves.astype("<i2", copy=False).tobytes()))
    body += chunk(b"LIST", b"pdta" + b"".join(chunk(key.encode(), tables[key].tobytes()) for key in TABLES))
    return chunk(b"RIFF", b"sfbk" + body)


def _text(raw: bytes) -> str:
    return bytes(raw).split(b"\0")[0].decode("latin-1").strip()

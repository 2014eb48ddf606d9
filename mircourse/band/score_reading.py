"""From a music21 score to a `Piece`: ties merged, grace notes and ornaments written out, hands assigned."""

from typing import TYPE_CHECKING

import numpy as np

from mircourse.band.score import Piece, condense, regular_bars
from mircourse.errors import InputError

if TYPE_CHECKING:
    from music21.stream.base import Part, Score

GRACE = 0.125  # quarter notes: 60–100 ms at usual tempi, as fast as grace notes are played
SINGERS = ("soprano", "alto", "tenor", "bass")
USUAL_TEMPO = {"chorale": 72.0, "quartet": 104.0, "piano": 92.0, "song": 84.0}
FOLK_TEMPO = {"2/4": 92.0, "4/4": 176.0, "2/2": 176.0, "3/4": 120.0, "6/8": 168.0, "9/8": 168.0}


def read_piece(score: "Score", name: str, kind: str) -> Piece:
    """Turn a parsed score into a piece for one keyboard.

    Where a score has a piano part and more than one other part, the piano part alone is taken; where a
    chorale has instruments besides the four singers, the singers alone are.

    Parameters
    ----------
    score : music21.stream.Score
    name, kind : str
        See `Piece`.

    Raises
    ------
    InputError
        If no note is left.
    """
    parts = _chosen_parts(score)
    rows: list[list[float]] = []
    fermatas: set[float] = set()
    for index, part in enumerate(parts):
        part_rows, part_fermatas = _read_part(part)
        rows.extend([onset, duration, pitch, index] for onset, duration, pitch in part_rows)
        fermatas.update(part_fermatas)
    notes = condense(np.array(rows, dtype=np.float64).reshape(-1, 4))
    if not len(notes):
        raise InputError(f"The score {name} holds no note that a piano has; leave it out.")
    metres = _metres(parts[0])
    end = max(float((notes[:, 0] + notes[:, 1]).max()), float(parts[0].highestTime))
    return Piece(
        name=name,
        kind=kind,
        notes=notes,
        hands=np.array([0] * (len(parts) - len(parts) // 2) + [1] * (len(parts) // 2)),
        bars=_bars(parts[0], end, metres),
        metres=metres,
        tempo=_tempo(score, kind, metres),
        fermatas=np.array(sorted(fermatas)),
    )


def _chosen_parts(score: "Score") -> "list[Part]":
    parts = list(score.parts)
    staves = [part for part in parts if "PartStaff" in part.classes]
    if len(staves) == 2 and len(parts) > 3:
        return staves
    if len(parts) > 4:
        singers = [part for part in parts if str(part.partName).lower() in SINGERS]
        if len(singers) == 4:
            return singers
    return parts


def _read_part(part: "Part") -> tuple[list[tuple[float, float, float]], list[float]]:
    """Onset, duration and pitch of every key stroke of a part, and the onsets of its fermatas."""
    from music21 import key
    from music21.chord import Chord
    from music21.harmony import Harmony
    from music21.note import Note

    flat = part.flatten()
    signatures = [(float(item.offset), item) for item in flat[key.KeySignature]]
    strokes: list[tuple[float, float, float]] = []
    held: dict[int, int] = {}  # pitch -> index of the stroke that a tie prolongs
    fermatas: list[float] = []
    graces: list = []
    for item in flat.notes:
        if isinstance(item, Harmony):  # a chord symbol is read, not struck
            continue
        onset = float(item.offset)
        if item.duration.isGrace:
            graces.append(item)
            continue
        # Grace notes come before the beat, so that the main note keeps its place.
        for count, grace in enumerate(reversed(graces), start=1):
            if onset - count * GRACE >= 0:
                strokes.extend((onset - count * GRACE, GRACE, float(p.midi)) for p in grace.pitches)
        graces = []
        if any("Fermata" in mark.classes for mark in item.expressions):
            fermatas.append(onset)
        ornament = _written_out(item, [sign for time, sign in signatures if time <= onset])
        if ornament:
            strokes.extend((onset + time, duration, pitch) for time, duration, pitch in ornament)
            continue
        duration = float(item.duration.quarterLength)
        for note in item.notes if isinstance(item, Chord) else [item]:
            if not isinstance(note, Note):
                continue
            pitch, tie = note.pitch.midi, note.tie.type if note.tie else None
            before = held.pop(pitch, None) if tie in ("stop", "continue") else None
            if before is not None and abs(sum(strokes[before][:2]) - onset) < 1e-6:
                first = strokes[before]
                strokes[before] = (first[0], onset + duration - first[0], first[2])
            else:
                before = len(strokes)
                strokes.append((onset, duration, float(pitch)))
            if tie in ("start", "continue"):
                held[pitch] = before
    return strokes, fermatas


def _written_out(item, signatures: list) -> list[tuple[float, float, float]]:
    """Play a trill, mordent or turn on a single note; empty where there is none.

    Returns
    -------
    list of (onset, duration, pitch)
        Onset counted from the note's own, in quarter notes.
    """
    from music21 import expressions
    from music21.note import Note

    ornamental = (expressions.Trill, expressions.GeneralMordent, expressions.Turn)
    marks = [mark for mark in item.expressions if isinstance(mark, ornamental)]
    if not isinstance(item, Note) or item.tie or not marks:
        return []
    try:
        before, rest, after = marks[0].realize(item, keySig=signatures[-1] if signatures else None)
    except expressions.ExpressionException:  # the note is too short for its ornament
        return []
    played, time = [], 0.0
    for note in [*before, *([rest] if rest is not None else []), *after]:
        if not isinstance(note, Note):
            return []
        duration = float(note.duration.quarterLength)
        played.append((time, duration, float(note.pitch.midi)))
        time += duration
    return played


def _metres(part: "Part") -> np.ndarray:
    from music21 import meter

    found = [
        (float(sign.offset), float(sign.numerator), float(sign.denominator))
        for sign in part.flatten()[meter.TimeSignature]
    ]
    if not found:
        found = [(0.0, 4.0, 4.0)]
    found[0] = (0.0, *found[0][1:])
    return np.array(found)


def _bars(part: "Part", end: float, metres: np.ndarray) -> np.ndarray:
    from music21.stream.base import Measure

    measures = np.unique([float(measure.offset) for measure in part[Measure]])
    if len(measures) < 2:
        measures = np.arange(0.0, end, 4.0 * metres[0, 1] / metres[0, 2])
    return regular_bars(measures[measures < end - 1e-6], end, metres)


def _tempo(score: "Score", kind: str, metres: np.ndarray) -> float:
    from music21 import tempo

    for mark in score.flatten()[tempo.MetronomeMark]:
        if mark.number:
            return float(np.clip(mark.getQuarterBPM() or 0.0, 40.0, 220.0))
    if kind == "folk":
        return FOLK_TEMPO.get(f"{metres[0, 1]:.0f}/{metres[0, 2]:.0f}", 120.0)
    return USUAL_TEMPO[kind]

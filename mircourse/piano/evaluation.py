"""How good is a piano transcription? Scores against the note list, and the files that notes live in.

Conventions
-----------
Notes are float64 arrays of shape (N, 4): onset s, offset s, MIDI pitch 21..108, velocity 1..127, sorted by onset,
then pitch; offsets follow the sustain pedal. The reference is always the note list, never a roll made for training:
a roll has lost up to a frame of time and merges what is struck twice within two frames, so scores against it flatter.

Metrics
-------
Precision, recall and F1, each per recording; over several recordings the mean of the per-recording scores
(`mean_metrics`), as published.

``note``                  onset within 50 ms, pitch equal;
``note_offset``           besides, offset within 50 ms or 20 % of the reference note's length, whichever is more;
``note_offset_velocity``  besides, velocity within 0.1 after the scale and shift that fit the estimate best;
``frame``                 keys that sound at the same moments, sampled at frame centres of the two note lists.

Matching follows `mir_eval.transcription` and `mir_eval.transcription_velocity` (maximum bipartite matching, time
bounds inclusive); it is solved key by key, which gives the same counts in a fraction of the memory, so that an
hour-long recording fits a laptop. As in mir_eval a score with nothing in its denominator is 0: an empty estimate has
precision 0, and two empty lists score 0 everywhere.

Sources: Raffel et al., "mir_eval: A Transparent Implementation of Common MIR Metrics", ISMIR 2014; Hawthorne et
al., ISMIR 2018, section 4.

Files
-----
``NAME.notes.csv``: one note a line, ``onset,offset,pitch,velocity``, no header when written (one is accepted when
read). ``NAME.mid``: any MIDI file; sustain pedal events (controller 64) are applied on reading.
"""

import io
import warnings
from pathlib import Path

import numpy as np

from mircourse.errors import InputError
from mircourse.piano.targets import FRAME_RATE, LOWEST_PITCH, N_KEYS, extend_with_pedal
from mircourse.training.atomic import write_atomically

COLUMNS = ("onset", "offset", "pitch", "velocity")
MIDI_SUFFIXES = (".mid", ".midi")


def validate(notes, name="notes"):
    """Check that an array holds notes of a piano, and return it sorted.

    Parameters
    ----------
    notes : array-like, shape (N, 4)
        Onset s, offset s, MIDI pitch, velocity.
    name : str
        What to call the notes in a message: a file name, or the name of an argument.

    Returns
    -------
    np.ndarray, shape (N, 4), float64
        Sorted by onset, then pitch.

    Raises
    ------
    InputError
        Naming the first note that is wrong and what was expected.
    """
    try:
        notes = np.asarray(notes, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"{name} must be rows of four numbers: onset s, offset s, MIDI pitch, velocity."
        ) from None
    if notes.size == 0:
        return np.zeros((0, 4))
    if notes.ndim != 2 or notes.shape[1] != 4:
        raise InputError(
            f"{name} must have four columns (onset s, offset s, MIDI pitch, velocity), but its shape is {notes.shape}."
        )
    onset, offset, pitch, velocity = notes.T
    good = (
        np.isfinite(notes).all(axis=1) & (onset >= 0) & (offset > onset) & (velocity >= 1) & (velocity <= 127)
    )
    good &= (pitch == np.rint(pitch)) & (pitch >= LOWEST_PITCH) & (pitch < LOWEST_PITCH + N_KEYS)
    if not good.all():
        first = int(np.argmin(good))
        raise InputError(f"{name}, note {first + 1}: {_complaint(notes[first])}.")
    return notes[np.lexsort((notes[:, 2], notes[:, 0]))]


def _complaint(note):
    """Say what is wrong with one note (onset, offset, pitch, velocity), or return None."""
    onset, offset, pitch, velocity = note
    if not np.all(np.isfinite(note)):
        return "every value must be a finite number"
    if onset < 0:
        return f"the onset {onset:g} s lies before the recording; times must be 0 or more"
    if offset <= onset:
        return f"the offset {offset:g} s must lie after the onset {onset:g} s"
    if pitch != round(pitch) or not LOWEST_PITCH <= pitch < LOWEST_PITCH + N_KEYS:
        return f"the pitch {pitch:g} is not a key of the piano; MIDI pitches run from 21 (A0) to 108 (C8)"
    if not 1 <= velocity <= 127:
        return f"the velocity {velocity:g} must lie between 1 and 127"
    return None


def evaluate(reference_notes, estimated_notes, *, lag=0.0, frame_rate=FRAME_RATE):
    """Score one transcription.

    Parameters
    ----------
    reference_notes, estimated_notes : array-like, shape (N, 4) and (M, 4)
        Onset s, offset s, MIDI pitch, velocity; offsets of both with the pedal applied.
    lag : float
        Seconds by which the sound is later than the reference says, added to the reference times.
    frame_rate : float
        Moments per second at which the frame scores compare the two lists.

    Returns
    -------
    dict of float
        ``note_f1``, ``note_precision``, ``note_recall``, and the same for ``note_offset``,
        ``note_offset_velocity`` and ``frame``; each in [0, 1].

    Raises
    ------
    InputError
        If either list is not a list of notes.
    """
    reference = validate(reference_notes, "The reference")
    estimate = validate(estimated_notes, "The estimate")
    reference[:, :2] += lag

    on_onset = _match(reference, estimate, offset_ratio=None)
    on_offset = _match(reference, estimate, offset_ratio=0.2)
    on_velocity = on_offset[
        _velocities_agree(reference[on_offset[:, 0], 3], estimate[on_offset[:, 1], 3], reference)
    ]

    scores = {}
    for name, pairs in (
        ("note", on_onset),
        ("note_offset", on_offset),
        ("note_offset_velocity", on_velocity),
    ):
        scores |= _precision_recall_f1(name, len(pairs), len(estimate), len(reference))
    return scores | _frame_scores(reference, estimate, frame_rate)


def mean_metrics(metrics):
    """Average per-recording scores: the mean of F1 values, not the F1 of mean precision and recall.

    Parameters
    ----------
    metrics : list of dict
        As `evaluate` returns them.

    Returns
    -------
    dict of float
        The mean of every score; empty for an empty list.
    """
    if not metrics:
        return {}
    return {name: float(np.mean([scores[name] for scores in metrics])) for name in metrics[0]}


def match(reference_notes, estimated_notes, *, lag=0.0, onset_tolerance=0.05):
    """Pair the notes of an estimate with those of a reference by onset and pitch.

    Parameters
    ----------
    reference_notes, estimated_notes : array-like, shape (N, 4) and (M, 4)
    lag : float
        Seconds added to the reference times.
    onset_tolerance : float
        Seconds.

    Returns
    -------
    np.ndarray, shape (K, 2), int
        Rows (index in the reference, index in the estimate), each index at most once, K as large as can be; indices
        count in the lists sorted by onset, then pitch.
    """
    reference = validate(reference_notes, "The reference")
    estimate = validate(estimated_notes, "The estimate")
    reference[:, :2] += lag
    return _match(reference, estimate, offset_ratio=None, onset_tolerance=onset_tolerance)


def _match(reference, estimate, *, offset_ratio, onset_tolerance=0.05):
    """Return index pairs (K, 2) of a maximum matching, solved one key at a time."""
    from mir_eval.transcription import match_notes

    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for pitch in np.intersect1d(reference[:, 2], estimate[:, 2]):
        in_reference = np.flatnonzero(reference[:, 2] == pitch)
        in_estimate = np.flatnonzero(estimate[:, 2] == pitch)
        hertz = 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)
        found = match_notes(
            reference[in_reference, :2],
            np.full(len(in_reference), hertz),
            estimate[in_estimate, :2],
            np.full(len(in_estimate), hertz),
            onset_tolerance=onset_tolerance,
            offset_ratio=offset_ratio,
        )
        if found:
            first, second = np.array(found).T
            pairs.append(np.column_stack([in_reference[first], in_estimate[second]]))
    return np.concatenate(pairs)


def _velocities_agree(reference, estimate, all_reference, tolerance=0.1):
    """Say which matched velocities agree, as `mir_eval.transcription_velocity.match_notes` does.

    Reference velocities are scaled to [0, 1] over the piece; estimates by the scale and shift that fit them best,
    so that neither a louder microphone nor a narrower range counts as an error.
    """
    if len(reference) == 0:
        return np.zeros(0, dtype=bool)
    lowest, highest = all_reference[:, 3].min(), all_reference[:, 3].max()
    wanted = (reference - lowest) / max(1.0, highest - lowest)
    design = np.column_stack([estimate, np.ones_like(estimate)])
    fitted = design @ np.linalg.lstsq(design, wanted, rcond=None)[0]
    return np.abs(fitted - wanted) < tolerance


def _frame_scores(reference, estimate, frame_rate):
    last = max(reference[:, 1].max(initial=0.0), estimate[:, 1].max(initial=0.0))
    n_frames = int(np.ceil(last * frame_rate))
    wanted = _sounding(reference, n_frames, frame_rate)
    given = _sounding(estimate, n_frames, frame_rate)
    return _precision_recall_f1("frame", int(np.sum(wanted & given)), int(np.sum(given)), int(np.sum(wanted)))


def _sounding(notes, n_frames, frame_rate):
    """Say which keys sound at the frame centres ``(f + 0.5) / frame_rate``: shape (n_frames, 88), bool."""
    # Decoded notes begin and end exactly at frame centres; a rounding error must not decide on which side.
    first, end = np.ceil(notes[:, :2].T * frame_rate - 0.5 - 1e-6).astype(np.int64)
    keys = np.rint(notes[:, 2]).astype(np.int64) - LOWEST_PITCH
    steps = np.zeros((N_KEYS, n_frames + 1), dtype=np.int32)
    np.add.at(steps, (keys, np.clip(first, 0, n_frames)), 1)
    np.add.at(steps, (keys, np.clip(end, 0, n_frames)), -1)
    return np.cumsum(steps[:, :-1], axis=1, dtype=np.int32).T > 0


def _precision_recall_f1(name, correct, given, wanted):
    precision = correct / given if given else 0.0
    recall = correct / wanted if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if correct else 0.0
    return {f"{name}_f1": f1, f"{name}_precision": precision, f"{name}_recall": recall}


def read_notes(path):
    """Read notes from ``.notes.csv``/``.csv`` or from MIDI (``.mid``, ``.midi``, pedal applied).

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    np.ndarray, shape (N, 4), float64
        Onset s, offset s, MIDI pitch, velocity; sorted by onset, then pitch.

    Raises
    ------
    InputError
        If the file is missing, of another kind, or holds anything but notes of a piano; with the line number.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file of notes (.notes.csv, .csv, .mid or .midi).")
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path.")
    if path.suffix.lower() in MIDI_SUFFIXES:
        return _read_midi(path)
    if path.suffix.lower() == ".csv":
        return _read_csv(path)
    raise InputError(
        f"{path} ends in {path.suffix or 'nothing'!r}; notes are read from .notes.csv, .csv, .mid and .midi."
    )


def _read_csv(path):
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(
            f"{path} is not a text file; expected lines 'onset,offset,pitch,velocity'."
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions.") from None
    notes, header_may_come = [], True
    for number, line in enumerate(text.splitlines(), start=1):
        fields = [field.strip() for field in line.split(",")]
        if fields == [""] or line.lstrip().startswith("#"):
            continue
        try:
            note = [float(field) for field in fields]
        except ValueError:
            if header_may_come and len(fields) == len(COLUMNS) and all(field[:1].isalpha() for field in fields):
                header_may_come = False
                continue
            raise InputError(
                f"{path}, line {number}: {line.strip()[:60]!r} is not a note; expected four numbers "
                "'onset s, offset s, MIDI pitch, velocity' with commas between."
            ) from None
        header_may_come = False
        if len(note) != len(COLUMNS):
            raise InputError(
                f"{path}, line {number}: {len(note)} values where four are expected "
                "(onset s, offset s, MIDI pitch, velocity)."
            )
        complaint = _complaint(note)
        if complaint:
            raise InputError(f"{path}, line {number}: {complaint}.")
        notes.append(note)
    return validate(notes, str(path))


def _read_midi(path):
    """Read every pitched channel as one piano with one sustain pedal."""
    import mido

    try:
        # Tracks merged in time with the tempo map applied: a pedal in a track of its own is heard as well.
        events = list(mido.MidiFile(path, clip=True))
    except Exception as error:  # mido raises a dozen kinds of error on a broken file
        raise InputError(f"{path} cannot be read as a MIDI file ({error or type(error).__name__}).") from None
    now, notes, pedal, sounding = 0.0, [], [], {}
    for event in events:
        now += event.time
        if event.is_meta or getattr(event, "channel", 9) == 9:  # channel 9 is percussion
            continue
        if event.type == "control_change" and event.control == 64:
            pedal.append((now, event.value))
        elif event.type in ("note_on", "note_off"):
            key = event.channel, event.note
            # A key struck again without a release in between ends its own note: there is one string.
            if key in sounding:
                onset, velocity = sounding.pop(key)
                notes.append((onset, now, event.note, velocity))
            if event.type == "note_on" and event.velocity > 0:
                sounding[key] = now, event.velocity
    notes += [(onset, now, pitch, velocity) for (_, pitch), (onset, velocity) in sounding.items()]
    held = extend_with_pedal(notes, pedal)
    return validate(held[held[:, 1] > held[:, 0]], str(path))


def write_notes(path, notes):
    """Write notes as CSV, one a line, times with four decimals, no header.

    Parameters
    ----------
    path : str or pathlib.Path
        Replaced as a whole or left as it was.
    notes : array-like, shape (N, 4)

    Raises
    ------
    InputError
        If `notes` are not notes, or the file cannot be written.
    """
    lines = []
    for onset, offset, pitch, velocity in validate(notes, "The notes to write"):
        # A note shorter than the rounding must not come back with no length at all.
        offset = max(round(offset, 4), round(onset, 4) + 1e-4)
        lines.append(f"{onset:.4f},{offset:.4f},{pitch:.0f},{velocity:.0f}\n")
    write_atomically(path, "".join(lines).encode())


def write_midi(path, notes):
    """Write notes as a MIDI file with one grand piano; the pedal is already in the offsets.

    Parameters
    ----------
    path : str or pathlib.Path
        Replaced as a whole or left as it was.
    notes : array-like, shape (N, 4)
        A note that would sound on past the next strike of its key ends there.

    Raises
    ------
    InputError
        If `notes` are not notes, or the file cannot be written.

    Notes
    -----
    960 ticks a beat at 120 beats per minute: times are kept to within 0.3 ms.
    """
    import pretty_midi

    file = pretty_midi.PrettyMIDI(resolution=960, initial_tempo=120.0)
    piano = pretty_midi.Instrument(program=0, name="Piano")
    tick = 60.0 / 120.0 / 960
    for onset, offset, pitch, velocity in extend_with_pedal(validate(notes, "The notes to write"), []):
        length = max(offset - onset, tick)
        piano.notes.append(pretty_midi.Note(round(velocity), int(pitch), onset, onset + length))
    file.instruments.append(piano)
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.write(data)
    write_atomically(path, data.getvalue())

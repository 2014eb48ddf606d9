"""What a transcriber is asked to say: a list of notes becomes four rolls, one cell a key and frame.

Conventions
-----------
**Notes** are float64 arrays of shape (N, 4): onset s, offset s, MIDI pitch, velocity 1-127, sorted by onset,
then pitch. Pitches 21..108 (A0..C8) are columns 0..87 of every roll.

**Frames.** Row ``f`` of a roll stands for the half-open time span ``[f, f + 1) / frame_rate``. A start is rounded
down and an end is rounded up, so a roll covers its note completely: the first row is on average half a frame
early, the last row on average half a frame late. The feature frame ``f`` is *centred* at ``f * hop_length``
(librosa's ``center=True``), the beginning of that span. No half frame is added anywhere here: the roll stays a
plain convention, and `mircourse.piano.decoding` alone takes the half frames back when rows become seconds.

**Pedal first.** A string sounds until its damper falls: extend the offsets with `extend_with_pedal` before
anything else, in the reference as in the training targets.

Source: Hawthorne et al., "Onsets and Frames: Dual-Objective Piano Transcription", ISMIR 2018; offset roll from
Hawthorne et al., "Enabling Factorized Piano Music Modeling and Generation with the MAESTRO Dataset", ICLR 2019.
"""

import numpy as np

LOWEST_PITCH = 21
N_KEYS = 88
FRAME_RATE = 31.25
ONSET_SECONDS = 0.032
PEDAL_DOWN = 64


def extend_with_pedal(notes, pedal):
    """Let every note sound until its damper falls.

    A note released while the sustain pedal is down sounds on until the pedal lifts, or until the same key is
    struck again; whichever comes first. A pedal that never lifts holds until the last event of the piece.

    Parameters
    ----------
    notes : array-like, shape (N, 4)
        Onset s, key release s, MIDI pitch, velocity.
    pedal : array-like, shape (M, 2)
        Time s and value 0-127 of each sustain pedal event (controller 64); 64 and above is down.

    Returns
    -------
    np.ndarray, shape (N, 4), float64
        A new array, sorted by onset, then pitch.
    """
    notes = np.array(notes, dtype=np.float64).reshape(-1, 4)
    notes = notes[np.lexsort((notes[:, 2], notes[:, 0]))]
    pedal = np.asarray(pedal, dtype=np.float64).reshape(-1, 2)
    if len(notes) == 0:
        return notes
    if len(pedal):
        notes[:, 1] = _damper_times(notes[:, 1], pedal)
    _end_at_next_strike(notes)
    return notes


def _damper_times(releases, pedal):
    """Return the time at which the damper falls after each key release, both in seconds."""
    pedal = pedal[np.argsort(pedal[:, 0], kind="stable")]
    times, down = pedal[:, 0], pedal[:, 1] >= PEDAL_DOWN
    last_event = max(releases.max(), times[-1])
    # next_lift[i]: the first lift at or after event i, found by walking backwards.
    lifts = np.where(down, np.inf, times)
    next_lift = np.append(np.minimum.accumulate(lifts[::-1])[::-1], np.inf)
    latest = np.searchsorted(times, releases, side="right") - 1
    held = (latest >= 0) & down[np.maximum(latest, 0)]
    return np.where(held, np.minimum(next_lift[latest + 1], last_event), releases)


def _end_at_next_strike(notes):
    """Cut, in place, every note at the next strike of its own key: there is one string to sound."""
    order = np.lexsort((notes[:, 0], notes[:, 2]))
    same_key = notes[order[1:], 2] == notes[order[:-1], 2]
    next_strike = notes[order[1:], 0]
    # Two strikes of one key at the same instant cannot be told apart; neither cuts the other to nothing.
    cuts = same_key & (next_strike > notes[order[:-1], 0]) & (next_strike < notes[order[:-1], 1])
    notes[order[:-1][cuts], 1] = next_strike[cuts]


def rolls(notes, n_frames, *, frame_rate=FRAME_RATE, onset_seconds=ONSET_SECONDS):
    """Draw notes on rolls.

    Parameters
    ----------
    notes : array-like, shape (N, 4)
        Onset s, offset s (pedal already applied), MIDI pitch, velocity; sorted by onset. Times count from the
        beginning of the roll: for an excerpt subtract its start first, and keep the notes that began before it.
    n_frames : int
        Rows of the rolls; what sounds before or after is left out.
    frame_rate : float
        Frames per second.
    onset_seconds : float
        How long an onset (and an offset) lasts on its roll. At 31.25 frames per second 32 ms nearly always
        cover two rows, which makes the rare positive cells less rare.

    Returns
    -------
    dict of np.ndarray, shape (n_frames, 88), float32
        ``onset``: 1 in the rows that touch ``[onset, min(offset, onset + onset_seconds))``;
        ``frame``: 1 in the rows that touch ``[onset, offset)``;
        ``offset``: 1 in the rows that touch ``[offset, offset + onset_seconds)``;
        ``velocity``: velocity / 127 where ``onset`` is 1, else 0;
        ``shift``: frames from the row's beginning to the onset where ``onset`` is 1, else 0 (0 to 1 in a note's
        first row, -1 to 0 in its second).
    """
    notes = np.asarray(notes, dtype=np.float64).reshape(-1, 4)
    start_s, end_s = notes[:, 0], notes[:, 1]
    keys = np.rint(notes[:, 2]).astype(np.int64) - LOWEST_PITCH
    if np.any((keys < 0) | (keys >= N_KEYS)):
        raise ValueError("pitches must be MIDI numbers 21..108, the keys of a piano")

    start = np.floor(start_s * frame_rate).astype(np.int64)
    end = np.maximum(_round_up(end_s * frame_rate), start + 1)
    onset_end = np.maximum(_round_up(np.minimum(end_s, start_s + onset_seconds) * frame_rate), start + 1)
    offset_start = np.floor(end_s * frame_rate).astype(np.int64)
    offset_end = np.maximum(_round_up((end_s + onset_seconds) * frame_rate), offset_start + 1)

    return {
        "onset": _spans(start, onset_end, keys, n_frames),
        "frame": _spans(start, end, keys, n_frames),
        "offset": _spans(offset_start, offset_end, keys, n_frames),
        "velocity": _onset_values(start, onset_end, keys, notes[:, 3] / 127.0, n_frames),
        "shift": _onset_values(start, onset_end, keys, start_s * frame_rate - start, n_frames, slope=-1.0),
    }


def _round_up(frames):
    """Round up, but not for the sake of a rounding error: 3.0000000001 frames are 3."""
    return np.ceil(frames - 1e-6).astype(np.int64)


def _spans(start, end, keys, n_frames):
    """Return a roll (n_frames, 88) that is 1 in rows start..end-1 of each note's key."""
    # Summed along contiguous rows in 32 bits: seven times faster than down the columns in 64.
    steps = np.zeros((N_KEYS, n_frames + 1), dtype=np.int32)
    np.add.at(steps, (keys, np.clip(start, 0, n_frames)), 1)
    np.add.at(steps, (keys, np.clip(end, 0, n_frames)), -1)
    sounding = np.cumsum(steps[:, :-1], axis=1, dtype=np.int32) > 0
    return np.ascontiguousarray(sounding.T, dtype=np.float32)


def _onset_values(start, end, keys, values, n_frames, slope=0.0):
    """Return a roll (n_frames, 88) with each note's value in rows start..end-1, later notes over earlier ones.

    The value changes by `slope` a row.
    """
    roll = np.zeros((n_frames, N_KEYS), dtype=np.float32)
    longest = int(np.max(end - start, initial=0))
    # Last rows first, so that the first row of a note is never lost to the tail of the note before it.
    for step in reversed(range(longest)):
        rows = start + step
        inside = (rows < end) & (rows >= 0) & (rows < n_frames)
        roll[rows[inside], keys[inside]] = values[inside] + slope * step
    return roll


def frame_weights(onset, frame, *, onset_weight=5.0):
    """Return the weight of each cell in the frame loss: the beginning of a note counts most.

    Parameters
    ----------
    onset, frame : array-like, shape (n_frames, 88)
        Rolls as `rolls` draws them.
    onset_weight : float
        The constant c of the paper.

    Returns
    -------
    np.ndarray, shape (n_frames, 88), float32
        c on the rows of the onset label; c / k on the k-th sounding row after it (5, 2.5, 1.67, ...: below 1 from
        the sixth row on); 1 where nothing sounds, and in a note whose onset lies before the roll.
    """
    is_onset = np.asarray(onset) > 0
    sounding = np.asarray(frame) > 0
    row = np.arange(len(is_onset), dtype=np.int32)[:, np.newaxis]
    last_onset = np.maximum.accumulate(np.where(is_onset, row, np.int32(-1)), axis=0)
    since = np.maximum(row - last_onset, 1, dtype=np.float32)
    decaying = sounding & (last_onset >= 0)
    return np.where(is_onset | decaying, np.float32(onset_weight) / since, np.float32(1))

"""From probabilities to notes: the onset gate, for whole recordings and for a stream of blocks.

The rule (Hawthorne et al., ISMIR 2018; `pianoroll_to_note_sequence` of magenta's note-seq)
-------------------------------------------------------------------------------------------
1. A cell is an onset where the onset probability exceeds its threshold; it sounds where the frame probability
   exceeds its own, or where it is an onset.
2. A note starts **only** at a rising edge of the thresholded onset. Sounding frames without an onset are ignored.
3. It ends at the first frame that does not sound, or where the same key is struck again: a rising onset while
   the key sounds cuts the note and starts the next. An onset that stays above its threshold is one note.

Seconds, without bias
---------------------
Row ``f`` stands for ``[f, f + 1) / frame_rate`` (see `mircourse.piano.targets`). Rolls round starts down and ends
up, so reading the first row as ``f / frame_rate`` would report every onset half a frame (16 ms) early and every
offset half a frame late. The decoder reports ``(first row + 0.5) / frame_rate`` and ``(last row + 0.5) /
frame_rate``: over notes that begin anywhere in their frames the mean error of a perfect roll is zero.

A model that is unsure between neighbouring rows says so in its probabilities. An onset label that begins in row
K covers on average d + 1 rows, d = onset_seconds * frame_rate (two rows at 31.25 frames per second). The
probabilities around a peak are the expected label, so their centroid lies at E[K] + d / 2, and the onset is placed
at (centroid - d / 2 + 0.5) / frame_rate: finer than a frame for soft peaks, the same as above for hard ones. (Only
a note that ends within its first row has a label of one row, and is read half a frame early.)
"""

import math

import numpy as np

from mircourse.piano.targets import FRAME_RATE, LOWEST_PITCH, N_KEYS, ONSET_SECONDS

DEFAULT_VELOCITY = 64
BLOCK_ROWS = 4096


class NoteDecoder:
    """Decode a stream of probabilities block by block, in memory that does not grow with the recording.

    Parameters
    ----------
    frame_rate : float
        Rows per second.
    onset_threshold, frame_threshold : float
        Probabilities above which a cell is an onset, or sounds.
    onset_seconds : float
        Length of the onset label the model was trained on.
    refine : bool
        Place onsets at the centroid of the probability peak; otherwise at the middle of its first row.

    Examples
    --------
    >>> decoder = NoteDecoder(31.25)
    >>> for onset, frame, velocity in blocks:          # doctest: +SKIP
    ...     for note in decoder.push(onset, frame, velocity):
    ...         print(note)
    >>> last_notes = decoder.finish()
    """

    def __init__(
        self,
        frame_rate=FRAME_RATE,
        onset_threshold=0.5,
        frame_threshold=0.5,
        *,
        onset_seconds=ONSET_SECONDS,
        refine=True,
    ):
        self.frame_rate = float(frame_rate)
        self.onset_threshold = onset_threshold
        self.frame_threshold = frame_threshold
        self.refine = refine
        self._onset_rows = onset_seconds * self.frame_rate
        self._most_rows = math.ceil(self._onset_rows - 1e-6) + 1
        self._before = 2
        self._after = self._most_rows + 1
        self._start_afresh()

    def _start_afresh(self):
        """Forget everything heard: before its first row a recording is silent."""
        self._first_row = -self._before  # the row of the recording that stands first in the buffers
        silence = np.zeros((self._before, N_KEYS), dtype=np.float32)
        self._onset, self._frame, self._velocity = silence, silence, silence
        self._shift = None
        self._open_time = np.full(N_KEYS, np.nan)
        self._open_velocity = np.zeros(N_KEYS)

    def push(self, onset, frame, velocity=None, shift=None):
        """Take the next rows and return the notes that have ended.

        Parameters
        ----------
        onset, frame : array-like, shape (rows, 88)
            Probabilities in [0, 1].
        velocity : array-like, shape (rows, 88), optional
            Velocity / 127, meaningful near onsets. Given in every call or in none.
        shift : array-like, shape (rows, 88), optional
            Rows from a row's beginning to the onset, from a model that regresses it. Given in every call or in none.

        Returns
        -------
        np.ndarray, shape (N, 4), float64
            Onset s, offset s, MIDI pitch, velocity; sorted by onset, then pitch, within this call. A note is
            reported a few rows after it ends, because its successor's onset may need the rows that follow.
        """
        onset, frame = _as_roll(onset, "onset"), _as_roll(frame, "frame")
        if onset.shape != frame.shape:
            raise ValueError(f"onset {onset.shape} and frame {frame.shape} must have the same shape")
        if velocity is None:
            velocity = np.full(onset.shape, DEFAULT_VELOCITY / 127, dtype=np.float32)
        else:
            velocity = _as_roll(velocity, "velocity")
            if velocity.shape != onset.shape:
                raise ValueError(
                    f"onset {onset.shape} and velocity {velocity.shape} must have the same shape"
                )
        self._onset = np.concatenate([self._onset, onset])
        self._frame = np.concatenate([self._frame, frame])
        self._velocity = np.concatenate([self._velocity, velocity])
        if shift is not None:
            before = np.zeros((len(self._onset) - len(onset), N_KEYS), dtype=np.float32)
            held = before if self._shift is None else self._shift
            self._shift = np.concatenate([held, _as_roll(shift, "shift")])
        return self._advance(len(self._onset) - self._after)

    def finish(self):
        """Return the notes that are still open, as if silence followed the last row, and start afresh.

        Returns
        -------
        np.ndarray, shape (N, 4), float64
        """
        silence = np.zeros((self._after + 1, N_KEYS), dtype=np.float32)
        notes = self.push(silence, silence, silence, None if self._shift is None else silence)
        self._start_afresh()
        return notes

    def _advance(self, until):
        """Decode the buffered rows from ``self._before`` to ``until`` (exclusive) and drop what is behind them."""
        if until <= self._before:
            return np.zeros((0, 4))
        rows = slice(self._before - 1, until)
        is_onset = self._onset[rows] > self.onset_threshold
        sounds = is_onset | (self._frame[rows] > self.frame_threshold)
        start_rows, start_keys = np.nonzero(is_onset[1:] & ~is_onset[:-1])
        stop_rows, stop_keys = np.nonzero(sounds[:-1] & ~sounds[1:])
        start_times, velocities = self._read_onsets(start_rows + self._before, start_keys)
        stop_times = (self._first_row + self._before + stop_rows - 0.5) / self.frame_rate
        notes = self._join(
            (start_rows, start_keys, start_times, velocities), (stop_rows, stop_keys, stop_times), until
        )
        done = until - self._before
        self._first_row += done
        self._onset, self._frame = self._onset[done:], self._frame[done:]
        self._velocity = self._velocity[done:]
        if self._shift is not None:
            self._shift = self._shift[done:]
        return notes

    def _read_onsets(self, rows, keys):
        """Return time in seconds and velocity 1-127 of the onsets that rise at the given buffer rows."""
        window = np.arange(-self._before, self._after)
        cells = rows[:, np.newaxis] + window, keys[:, np.newaxis]
        mass = _peak_mass(self._onset[cells].astype(np.float64), self._before, self._most_rows)
        shift = 0.0
        if self.refine:
            centroid = (mass @ window) / mass.sum(axis=1)
            # Half the belief lies after the row before the edge: the onset is not further off than that.
            shift = np.clip(centroid - self._onset_rows / 2, -0.5, 1.0)
        heard = mass * (self._onset[cells] > self.onset_threshold)
        if self._shift is not None:
            # Every row that hears the onset says where it is; they are believed in proportion to their certainty.
            said = window + self._shift[cells]
            shift = np.clip((heard * said).sum(axis=1) / heard.sum(axis=1), -1.0, 2.0) - 0.5
        times = (self._first_row + rows + shift + 0.5) / self.frame_rate
        velocities = (heard * self._velocity[cells]).sum(axis=1) / heard.sum(axis=1)
        return np.maximum(times, 0.0), np.clip(np.rint(velocities * 127), 1, 127)

    def _join(self, starts, stops, until):
        """Pair each start with what ends it: the next stop or the next start of its key. Unended notes stay open."""
        start_rows, start_keys, start_times, velocities = starts
        stop_rows, stop_keys, stop_times = stops
        opened = np.flatnonzero(~np.isnan(self._open_time))
        rows = np.concatenate([np.full(len(opened), -1), start_rows])
        keys = np.concatenate([opened, start_keys])
        times = np.concatenate([self._open_time[opened], start_times])
        velocities = np.concatenate([self._open_velocity[opened], velocities])

        # One number per event, growing with key, then row, makes "the next on this key" a search in a sorted list.
        stride = until + 2
        order = np.argsort(keys * stride + rows)
        keys, times, velocities = keys[order], times[order], velocities[order]
        places = keys * stride + rows[order]
        stop_order = np.argsort(stop_keys * stride + stop_rows)
        stop_places = (stop_keys * stride + stop_rows)[stop_order]

        followed = np.flatnonzero(keys[:-1] == keys[1:])
        next_start_place, next_start_time = np.full((2, len(keys)), np.inf)
        next_start_place[followed] = places[followed + 1]
        next_start_time[followed] = times[followed + 1]

        found = np.searchsorted(stop_places, places)
        stopped = np.flatnonzero(found < len(stop_places))
        stopped = stopped[stop_keys[stop_order][found[stopped]] == keys[stopped]]
        next_stop_place, next_stop_time = np.full((2, len(keys)), np.inf)
        next_stop_place[stopped] = stop_places[found[stopped]]
        next_stop_time[stopped] = stop_times[stop_order][found[stopped]]

        ends = np.where(next_stop_place < next_start_place, next_stop_time, next_start_time)
        # A note of one row would end where it begins, and regressed onsets may even fall behind one another.
        ends = np.maximum(ends, times + 0.5 / self.frame_rate)
        ended = np.isfinite(ends)
        self._open_time[:] = np.nan
        self._open_time[keys[~ended]] = times[~ended]
        self._open_velocity[keys[~ended]] = velocities[~ended]
        return _sorted_notes(times[ended], ends[ended], keys[ended], velocities[ended])


def _peak_mass(probability, edge, most_rows):
    """Keep, of each window, the mass that belongs to one onset label.

    Parameters
    ----------
    probability : np.ndarray, shape (N, window)
        Onset probabilities around rising edges at column `edge`.
    edge : int
    most_rows : int
        Rows the longest label covers: the mass one certain onset can have.

    Returns
    -------
    np.ndarray, shape (N, window)
    """
    # Away from the peak the mass may only fall: where it rises again, another onset begins.
    peak = edge + np.argmax(probability[:, edge : edge + 2], axis=1)[:, np.newaxis]
    columns = np.arange(probability.shape[1] - 1)
    rises = np.diff(probability, axis=1) > 0
    falls = np.diff(probability, axis=1) < 0
    foreign_after = np.logical_or.accumulate(rises & (columns >= peak), axis=1)
    foreign_before = np.logical_or.accumulate((falls & (columns < peak))[:, ::-1], axis=1)[:, ::-1]
    mass = probability.copy()
    mass[:, 1:][foreign_after] = 0.0
    mass[:, :-1][foreign_before] = 0.0
    # An onset that stays high longer than a label lasts starts where it rose; its tail says nothing about when.
    spent = np.cumsum(mass, axis=1)
    return np.clip(most_rows - (spent - mass), 0.0, mass)


def decode(
    onset,
    frame,
    velocity=None,
    shift=None,
    *,
    frame_rate=FRAME_RATE,
    onset_threshold=0.5,
    frame_threshold=0.5,
    onset_seconds=ONSET_SECONDS,
    refine=True,
):
    """Read notes from the probabilities of a whole recording, gated by onsets.

    Parameters
    ----------
    onset, frame : array-like, shape (n_frames, 88)
        Probabilities in [0, 1].
    velocity : array-like, shape (n_frames, 88), optional
        Velocity / 127; without it every note has velocity 64.
    shift : array-like, shape (n_frames, 88), optional
        Rows from a row's beginning to the onset, from a model that regresses it.
    frame_rate, onset_threshold, frame_threshold, onset_seconds, refine
        As for `NoteDecoder`.

    Returns
    -------
    np.ndarray, shape (N, 4), float64
        Onset s, offset s, MIDI pitch, velocity; sorted by onset, then pitch.

    Notes
    -----
    Two strikes of one key need a row between their labels that is not an onset: with two label rows they must be
    three rows (96 ms at 31.25 frames per second) apart to be surely told from one.
    """
    onset, frame = _as_roll(onset, "onset"), _as_roll(frame, "frame")
    velocity = None if velocity is None else _as_roll(velocity, "velocity")
    if not len(onset) == len(frame) == (len(onset) if velocity is None else len(velocity)):
        raise ValueError("onset, frame and velocity must have the same number of rows")
    decoder = NoteDecoder(
        frame_rate, onset_threshold, frame_threshold, onset_seconds=onset_seconds, refine=refine
    )
    notes = []
    for first in range(0, len(onset), BLOCK_ROWS):
        rows = slice(first, first + BLOCK_ROWS)
        more = [None if roll is None else roll[rows] for roll in (velocity, shift)]
        notes.append(decoder.push(onset[rows], frame[rows], *more))
    notes.append(decoder.finish())
    notes = np.concatenate(notes)
    return notes[np.lexsort((notes[:, 2], notes[:, 0]))]


def decode_frames(frame, *, frame_rate=FRAME_RATE, threshold=0.5, velocity=None):
    """Read notes from frame probabilities alone: every run of rows above the threshold is a note.

    This is what a transcriber without an onset head can do; struck-again keys melt into one note, and every
    flicker of a probability makes a new one.

    Parameters
    ----------
    frame : array-like, shape (n_frames, 88)
        Probabilities in [0, 1].
    frame_rate : float
    threshold : float
    velocity : array-like, shape (n_frames, 88), optional
        Velocity / 127, read in the first row of each run; without it every note has velocity 64.

    Returns
    -------
    np.ndarray, shape (N, 4), float64
        Onset s, offset s, MIDI pitch, velocity; sorted by onset, then pitch.
    """
    sounds = _as_roll(frame, "frame") > threshold
    edges = np.diff(sounds.T.astype(np.int8), axis=1, prepend=0, append=0)
    keys, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    if velocity is None:
        velocities = np.full(len(keys), float(DEFAULT_VELOCITY))
    else:
        velocities = np.clip(np.rint(_as_roll(velocity, "velocity")[starts, keys] * 127), 1, 127)
    onsets = (starts + 0.5) / frame_rate
    offsets = np.maximum(ends - 0.5, starts + 1.0) / frame_rate
    return _sorted_notes(onsets, offsets, keys, velocities)


def _as_roll(values, name):
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] != N_KEYS:
        raise ValueError(f"{name} must have the shape (rows, {N_KEYS}), not {values.shape}")
    return values


def _sorted_notes(onsets, offsets, keys, velocities):
    order = np.lexsort((keys, onsets))
    notes = np.column_stack([onsets, offsets, keys + LOWEST_PITCH, velocities])
    return notes[order].astype(np.float64)

"""Answers to lab2/decode, right and wrong; mircourse.checks.report tells how they are used."""

import itertools

import numpy as np
import torch


def decode(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    onset = onset_probability > threshold
    sounds = onset | (frame_probability > threshold)
    notes = []
    for key in range(88):
        start = None
        for t in range(len(onset)):
            rises = onset[t, key] and (t == 0 or not onset[t - 1, key])
            if start is not None and (rises or not sounds[t, key]):
                notes.append((start / frame_rate, t / frame_rate, key + 21))
                start = None
            if rises:
                start = t
        if start is not None:
            notes.append((start / frame_rate, len(onset) / frame_rate, key + 21))
    notes = sorted(notes, key=lambda note: (note[0], note[2]))
    return np.array(notes, dtype=float).reshape(-1, 3)


def stub(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    raise NotImplementedError()


def stub_with_scaffold(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    notes = []
    return np.array(notes).reshape(-1, 3)


def right_time_first(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    """Go through time once, with what is open in a dictionary."""
    n_frames = len(onset_probability)
    open_notes, notes = {}, []
    for t, key in itertools.product(range(n_frames), range(88)):
        onset = onset_probability[t, key] >= threshold
        sounds = onset or frame_probability[t, key] >= threshold
        rises = onset and not (t > 0 and onset_probability[t - 1, key] >= threshold)
        if key in open_notes and (rises or not sounds):
            notes.append([open_notes.pop(key), t, key])
        if rises:
            open_notes[key] = t
    notes += [[start, n_frames, key] for key, start in open_notes.items()]
    notes = np.array(sorted(notes, key=lambda n: (n[0], n[2])), dtype=np.float64).reshape(-1, 3)
    notes[:, :2] /= frame_rate
    notes[:, 2] += 21
    return notes


def right_search(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    """Start from every rise and walk on."""
    onset = np.pad(onset_probability > threshold, ((1, 1), (0, 0)))
    sounds = onset | np.pad(frame_probability > threshold, ((1, 1), (0, 0)))
    rises = onset[1:] & ~onset[:-1]
    rows = []
    for t, key in zip(*np.nonzero(rises), strict=True):
        end = t + 1
        while sounds[end + 1, key] and not rises[end, key]:
            end += 1
        rows.append((t / frame_rate, end / frame_rate, 21.0 + key))
    return np.array(rows) if rows else np.empty((0, 3))


def right_vectorised(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    """Key-major edges and a search in sorted places; no loop."""
    onset = (onset_probability > threshold).T
    sounds = onset | (frame_probability > threshold).T
    n_keys, n_frames = onset.shape
    closed = np.zeros((n_keys, 1), dtype=bool)
    rises = onset & ~np.hstack([closed, onset[:, :-1]])
    stops = np.hstack([~sounds | rises, ~closed])
    places = np.flatnonzero(np.hstack([rises, closed]))
    ends = np.flatnonzero(stops)
    ends = ends[np.searchsorted(ends, places, side="right")]
    keys, starts = np.divmod(places, n_frames + 1)
    notes = np.stack([starts / frame_rate, (ends % (n_frames + 1)) / frame_rate, keys + 21.0], axis=1)
    return notes[np.lexsort((notes[:, 2], notes[:, 0]))]


def right_groups(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    """Split every sounding run at the rises in it, and drop what stands before the first."""
    onset = onset_probability > threshold
    sounds = onset | (frame_probability > threshold)
    notes = []
    for key in range(onset.shape[1]):
        for active, group in itertools.groupby(range(len(onset)), key=lambda t: sounds[t, key]):
            if not active:
                continue
            run = list(group)
            cuts = [t for t in run if onset[t, key] and (t == 0 or not onset[t - 1, key])]
            for start, end in zip(cuts, [*cuts[1:], run[-1] + 1], strict=False):
                notes.append((start / frame_rate, end / frame_rate, key + 21))
    notes.sort(key=lambda note: (note[0], note[2]))
    return np.asarray(notes, dtype=np.float32).reshape(len(notes), 3)


def right_torch(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    onset = torch.from_numpy(onset_probability) > threshold
    sounds = onset | (torch.from_numpy(frame_probability) > threshold)
    before = torch.cat([torch.zeros_like(onset[:1]), onset[:-1]])
    notes = []
    for t, key in torch.nonzero(onset & ~before).tolist():
        end = t + 1
        while end < len(onset) and sounds[end, key] and not (onset[end, key] and not onset[end - 1, key]):
            end += 1
        notes.append([t / frame_rate, end / frame_rate, key + 21])
    return torch.tensor(notes, dtype=torch.float64).reshape(-1, 3)


def _runs(active, starts):
    """Yield (start, end, key) for every start, until the key is not active."""
    for t, key in np.argwhere(starts):
        end = t + 1
        while end < len(active) and active[end, key]:
            end += 1
        yield t, end, key


def _notes(rows, frame_rate):
    rows = np.array(sorted(rows, key=lambda row: (row[0], row[2])), dtype=float).reshape(-1, 3)
    return rows / [frame_rate, frame_rate, 1] + [0, 0, 21]


def _rises(roll):
    return roll & ~np.vstack([np.zeros((1, roll.shape[1]), dtype=bool), roll[:-1]])


def wrong_no_gate__runs(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    sounds = np.maximum(onset_probability, frame_probability) > threshold
    return _notes(_runs(sounds, _rises(sounds)), frame_rate)


def wrong_frames_only__runs(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    frame = frame_probability > threshold
    return _notes(_runs(frame, _rises(frame)), frame_rate)


def wrong_overlap__runs(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    onset = onset_probability > threshold
    return _notes(_runs(onset | (frame_probability > threshold), _rises(onset)), frame_rate)


def wrong_no_cut__state(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    onset = onset_probability > threshold
    sounds = onset | (frame_probability > threshold)
    rows = []
    for key in range(88):
        start = -1
        for t in range(len(onset) + 1):
            alive = t < len(onset) and sounds[t, key]
            if start < 0 and alive and onset[t, key] and not (t and onset[t - 1, key]):
                start = t
            elif start >= 0 and not alive:
                rows.append((start, t, key))
                start = -1
    return _notes(rows, frame_rate)


def wrong_first_frame__diff(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    onset = onset_probability > threshold
    sounds = onset | (frame_probability > threshold)
    rises = np.zeros_like(onset)
    rises[1:] = onset[1:] & ~onset[:-1]
    rows = []
    for t, key in np.argwhere(rises):
        end = t + 1
        while end < len(onset) and sounds[end, key] and not rises[end, key]:
            end += 1
        rows.append((t, end, key))
    return _notes(rows, frame_rate)


def wrong_sorted_by_pitch__not_sorted(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    notes = decode(onset_probability, frame_probability, frame_rate, threshold)
    return np.array([note for key in range(88) for note in notes if note[2] == key + 21]).reshape(-1, 3)


def wrong_empty_without_columns__plain(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    return np.array(decode(onset_probability, frame_probability, frame_rate, threshold).tolist())


def wrong_key_as_pitch__and_unsorted(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    return decode(onset_probability, frame_probability, frame_rate, threshold) - [0, 0, 21]


def wrong_fixed_threshold__half(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    return right_search(onset_probability, frame_probability, frame_rate)


def wrong_every_onset_frame__runs(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    onset = onset_probability > threshold
    sounds = onset | (frame_probability > threshold)
    rows = []
    for t, key in np.argwhere(onset):
        end = t + 1
        while end < len(onset) and sounds[end, key] and not onset[end, key]:
            end += 1
        rows.append((t, end, key))
    return _notes(rows, frame_rate)


def wrong__list(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    return decode(onset_probability, frame_probability, frame_rate, threshold).tolist()


def wrong__four_columns(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    return np.pad(decode(onset_probability, frame_probability, frame_rate, threshold), ((0, 0), (0, 1)))


def wrong__drops_short_notes(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    notes = decode(onset_probability, frame_probability, frame_rate, threshold)
    return notes[notes[:, 1] - notes[:, 0] > 1.5 / frame_rate]


def wrong__merges_keys(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    onset, frame = np.zeros_like(onset_probability), np.zeros_like(frame_probability)
    onset[:, 40], frame[:, 40] = onset_probability.max(axis=1), frame_probability.max(axis=1)
    return decode(onset, frame, frame_rate, threshold)


def wrong__columns_in_another_order(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    return decode(onset_probability, frame_probability, frame_rate, threshold)[:, [2, 0, 1]]


def wrong__first_onset_only(onset_probability, frame_probability, frame_rate=31.25, threshold=0.5):
    notes = decode(onset_probability, frame_probability, frame_rate, threshold)
    return notes[np.unique(notes[:, 2], return_index=True)[1]]

"""Answers to lab2/onset_targets, right and wrong; mircourse.checks.report tells how they are used."""

import math

import numpy as np
import torch


def onset_targets(notes, n_frames, frame_rate=31.25):
    roll = np.zeros((n_frames, 88))
    for onset, offset, pitch, _ in notes:
        start = int(np.floor(onset * frame_rate))
        end = int(np.ceil(min(offset, onset + 0.032) * frame_rate))
        end = max(end, start + 1)
        roll[start:end, int(pitch) - 21] = 1
    return roll


def stub(notes, n_frames, frame_rate=31.25):
    raise NotImplementedError()


def stub_with_scaffold(notes, n_frames, frame_rate=31.25):
    roll = np.zeros((n_frames, 88))
    ...
    return roll


def right_indexed(notes, n_frames, frame_rate=31.25):
    roll = np.zeros((n_frames, 88), dtype=np.float32)
    for i in range(len(notes)):
        start = math.floor(notes[i, 0] * frame_rate)
        end = math.ceil(min(notes[i, 1], notes[i, 0] + 0.032) * frame_rate)
        for frame in range(start, max(end, start + 1)):
            if frame < n_frames:
                roll[frame, int(notes[i, 2] - 21)] = 1.0
    return roll


def right_vectorised(notes, n_frames, frame_rate=31.25):
    start = np.floor(notes[:, 0] * frame_rate)
    end = np.maximum(np.ceil(np.minimum(notes[:, 1], notes[:, 0] + 0.032) * frame_rate), start + 1)
    frames = np.arange(n_frames)[:, None]
    inside = (frames >= start) & (frames < end)
    one_hot = (notes[:, 2].astype(int)[:, None] - 21) == np.arange(88)
    return (inside.astype(float) @ one_hot.astype(float) > 0).astype(float)


def right_einsum(notes, n_frames, frame_rate=31.25):
    start = np.floor(notes[:, 0] * frame_rate)
    end = np.fmax(np.ceil(np.fmin(notes[:, 1], notes[:, 0] + 0.032) * frame_rate), start + 1)
    frames = np.arange(n_frames)
    inside = (frames[None] >= start[:, None]) * (frames[None] < end[:, None])
    keys = np.eye(128)[notes[:, 2].astype(int)][:, 21:109]
    return np.clip(np.einsum("nt,nk->tk", inside.astype(float), keys), 0, 1)


def right_with_hop(notes, n_frames, frame_rate=31.25):
    hop = 1 / frame_rate
    roll = np.zeros((n_frames, 88))
    for onset, offset, pitch, _ in notes:
        start = int(onset // hop)
        end = -int(-min(offset, onset + 0.032) // hop)
        roll[start : max(start + 1, end), round(pitch) - 21] = 1
    return roll


def right_overlap_test(notes, n_frames, frame_rate=31.25):
    """Mark the frames that the label's time span touches."""
    begins, ends = np.arange(n_frames) / frame_rate, (np.arange(n_frames) + 1) / frame_rate
    roll = np.zeros((n_frames, 88))
    for onset, offset, pitch, _ in notes:
        label_end = min(offset, onset + 0.032)
        touched = (ends > onset) & (begins < max(label_end, onset + 1e-9))
        roll[touched, int(pitch) - 21] = 1
    return roll


def right_torch(notes, n_frames, frame_rate=31.25):
    roll = torch.zeros(n_frames, 88)
    for onset, offset, pitch, _ in torch.as_tensor(notes):
        start = int(torch.floor(onset * frame_rate))
        end = int(torch.ceil(min(offset, onset + 0.032) * frame_rate))
        roll[start : max(end, start + 1), int(pitch) - 21] = 1
    return roll


def right_view(notes, n_frames, frame_rate=31.25):
    roll = np.zeros((88, n_frames + 50))
    for onset, offset, pitch, _ in notes.tolist():
        start = int(onset * frame_rate)
        end = math.ceil(min(offset, onset + 0.032) * frame_rate)
        roll[int(pitch) - 21, start : end if end > start else start + 1] = 1
    return roll.T[:n_frames]


def wrong_round__loop(notes, n_frames, frame_rate=31.25):
    roll = np.zeros((n_frames, 88))
    for onset, offset, pitch, _ in notes:
        start, end = (int(round(t * frame_rate)) for t in (onset, min(offset, onset + 0.032)))
        for frame in range(start, max(end, start + 1)):
            if frame < n_frames:
                roll[frame, int(pitch) - 21] = 1
    return roll


def wrong_one_frame__indexed(notes, n_frames, frame_rate=31.25):
    roll = np.zeros((n_frames, 88))
    for note in notes:
        frame = int(note[0] * frame_rate)
        if frame < n_frames:
            roll[frame, int(note[2]) - 21] = 1
    return roll


def wrong_key_off_by_one__short(notes, n_frames, frame_rate=31.25):
    roll = np.zeros((n_frames, 88))
    for onset, offset, pitch, _ in notes:
        start = int(onset * frame_rate)
        end = math.ceil(min(offset, onset + 0.032) * frame_rate)
        roll[start : max(end, start + 1), int(pitch) - 20] = 1
    return roll


def wrong_truncated_end__and_bool(notes, n_frames, frame_rate=31.25):
    roll = np.zeros((n_frames, 88), dtype=bool)
    for onset, offset, pitch, _ in notes:
        start, end = int(onset * frame_rate), int(min(offset, onset + 0.032) * frame_rate)
        roll[start : max(start + 1, end), int(pitch) - 21] = True
    return roll


def wrong_whole_note__no_minimum(notes, n_frames, frame_rate=31.25):
    roll = np.zeros((n_frames, 88))
    for onset, offset, pitch, _ in notes:
        roll[int(onset * frame_rate) : math.ceil(offset * frame_rate), int(pitch) - 21] = 1
    return roll


def wrong_fixed_frame_rate__hop(notes, n_frames, frame_rate=31.25):
    roll = np.zeros((n_frames, 88))
    for onset, offset, pitch, _ in notes:
        start = int(onset * 16000 / 512)
        end = math.ceil(min(offset, onset + 0.032) * 16000 / 512)
        roll[start : max(start + 1, end), int(pitch) - 21] = 1
    return roll


def wrong__bool(notes, n_frames, frame_rate=31.25):
    return onset_targets(notes, n_frames, frame_rate).astype(bool)


def wrong__nothing_returned(notes, n_frames, frame_rate=31.25):
    onset_targets(notes, n_frames, frame_rate)


def wrong__fixed_shape(notes, n_frames, frame_rate=31.25):
    return onset_targets(notes, 40, frame_rate)


def wrong__ceil_start(notes, n_frames, frame_rate=31.25):
    roll = np.zeros((n_frames, 88))
    for onset, offset, pitch, _ in notes:
        start = math.ceil(onset * frame_rate)
        end = math.ceil(min(offset, onset + 0.032) * frame_rate)
        roll[start : max(end, start + 1), int(pitch) - 21] = 1
    return roll


def wrong__only_last_note(notes, n_frames, frame_rate=31.25):
    for note in notes:
        roll = onset_targets(note[None], n_frames, frame_rate)
    return roll


def wrong__end_from_start_frame(notes, n_frames, frame_rate=31.25):
    roll = np.zeros((n_frames, 88))
    for onset, offset, pitch, _ in notes:
        start = int(onset * frame_rate)
        roll[start : start + math.ceil(min(offset - onset, 0.032) * frame_rate), int(pitch) - 21] = 1
    return roll


def wrong__all_ones(notes, n_frames, frame_rate=31.25):
    return np.ones((n_frames, 88))

"""Answers to lab2/frame_weights, right and wrong; mircourse.checks.report tells how they are used."""

import numpy as np
import torch


def frame_weights(onset_roll, frame_roll):
    weights = np.ones(frame_roll.shape)
    k = np.zeros(frame_roll.shape[1])
    for t in range(len(frame_roll)):
        onset, sounds = onset_roll[t] > 0, frame_roll[t] > 0
        k = np.where(onset, 0, k + 1)
        weights[t, sounds] = 5 / np.maximum(k[sounds], 1)
        weights[t, onset] = 5
    return weights


def stub(onset_roll, frame_roll):
    raise NotImplementedError()


def stub_with_scaffold(onset_roll, frame_roll):
    weights = np.ones(frame_roll.shape)
    return weights


def right_loop(onset_roll, frame_roll):
    weights = np.ones_like(frame_roll)
    n_frames, n_keys = frame_roll.shape
    for key in range(n_keys):
        k = 1
        for t in range(n_frames):
            if onset_roll[t, key] == 1:
                weights[t, key] = 5
                k = 1
            elif frame_roll[t, key] == 1:
                weights[t, key] = 5 / k
                k += 1
    return weights


def right_accumulate(onset_roll, frame_roll):
    t = np.arange(len(onset_roll))[:, None]
    last = np.maximum.accumulate(np.where(onset_roll == 1, t, -(10**9)), axis=0)
    weights = 5 / np.maximum(t - last, 1)
    weights[frame_roll == 0] = 1
    return weights


def right_multiplied(onset_roll, frame_roll):
    """Carry k forward and mix with arithmetic instead of masks."""
    k = np.zeros(88)
    rows = []
    for onset, frame in zip(onset_roll, frame_roll, strict=True):
        k = (k + 1) * (1 - onset)
        held = frame * (1 - onset)
        rows.append(5 * onset + held * 5 / np.maximum(k, 1) + (1 - frame))
    return np.array(rows)


def right_float32(onset_roll, frame_roll):
    return frame_weights(onset_roll, frame_roll).astype(np.float32)


def right_torch(onset_roll, frame_roll):
    onset, frame = torch.from_numpy(onset_roll), torch.from_numpy(frame_roll)
    weights, k = torch.ones_like(frame), torch.zeros(88)
    for t in range(len(frame)):
        k = torch.where(onset[t] > 0, torch.zeros_like(k), k + 1)
        weights[t] = torch.where(frame[t] > 0, 5 / k.clamp(min=1), weights[t])
    return weights


def right_runs(onset_roll, frame_roll):
    weights = np.ones_like(frame_roll)
    for key in np.flatnonzero(frame_roll.any(axis=0)):
        label_ends = np.flatnonzero((onset_roll[:-1, key] == 1) & (onset_roll[1:, key] == 0)) + 1
        weights[onset_roll[:, key] == 1, key] = 5
        for first in label_ends:
            t = first
            while t < len(frame_roll) and frame_roll[t, key] and not onset_roll[t, key]:
                weights[t, key] = 5 / (t - first + 1)
                t += 1
    return weights


def wrong_k_from_two__loop(onset_roll, frame_roll):
    weights = np.ones_like(frame_roll)
    for key in range(88):
        k = 1
        for t in range(len(frame_roll)):
            if onset_roll[t, key]:
                weights[t, key], k = 5, 1
            elif frame_roll[t, key]:
                k += 1
                weights[t, key] = 5 / k
    return weights


def wrong_silence_zero__zeros(onset_roll, frame_roll):
    return frame_weights(onset_roll, frame_roll) * (frame_roll > 0)


def wrong_never_below_one__maximum(onset_roll, frame_roll):
    return np.maximum(frame_weights(onset_roll, frame_roll), 1)


def wrong_only_onsets__arithmetic(onset_roll, frame_roll):
    return 1 + 4 * onset_roll


def wrong_whole_note__arithmetic(onset_roll, frame_roll):
    return 1 + 4 * np.maximum(onset_roll, frame_roll)


def wrong_whole_numbers__dtype(onset_roll, frame_roll):
    weights = np.ones(frame_roll.shape, dtype=int)
    weights[...] = frame_weights(onset_roll, frame_roll)
    return weights


def wrong_writes_into_frame_roll__same_name(onset_roll, frame_roll):
    weights = frame_roll
    weights[:] = frame_weights(onset_roll, frame_roll.copy())
    return weights


def wrong_not_reset__loop(onset_roll, frame_roll):
    weights = np.ones_like(frame_roll)
    k = np.zeros(88)
    for t in range(len(frame_roll)):
        held = (frame_roll[t] > 0) & (onset_roll[t] == 0)
        k += held
        weights[t, held] = 5 / k[held]
        weights[t, onset_roll[t] > 0] = 5
    return weights


def wrong__zero_division(onset_roll, frame_roll):
    weights = np.ones_like(frame_roll)
    for key in range(88):
        k = 0
        for t in range(len(frame_roll)):
            if onset_roll[t, key]:
                weights[t, key], k = 5, 0
            elif frame_roll[t, key]:
                weights[t, key] = 5 / k
                k += 1
    return weights


def wrong__first_key_only(onset_roll, frame_roll):
    weights = np.ones_like(frame_roll)
    weights[:, 0] = frame_weights(onset_roll, frame_roll)[:, 0]
    return weights


def wrong__squares(onset_roll, frame_roll):
    weights = frame_weights(onset_roll, frame_roll)
    return np.where(weights < 5, weights**2, weights)


def wrong__transposed(onset_roll, frame_roll):
    return frame_weights(onset_roll, frame_roll).T


def wrong__all_one(onset_roll, frame_roll):
    return np.ones_like(frame_roll)

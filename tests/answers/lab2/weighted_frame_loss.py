"""Answers to lab2/weighted_frame_loss, right and wrong; mircourse.checks.report tells how they are used."""

import sys
import warnings

import numpy as np
import torch


def weighted_frame_loss(logits, frame_roll, weights):
    largest = np.maximum(logits, 0)
    log_partition = largest + np.log(np.exp(-largest) + np.exp(logits - largest))
    entropy = log_partition - logits * frame_roll
    return np.mean(weights * entropy)


def stub(logits, frame_roll, weights):
    raise NotImplementedError()


def stub_with_scaffold(logits, frame_roll, weights):
    loss = 0.0
    return loss


def right_logaddexp(logits, frame_roll, weights):
    return float((weights * (np.logaddexp(0, logits) - frame_roll * logits)).mean())


def right_log_sigmoids(logits, frame_roll, weights):
    log_p, log_q = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    return -(weights * (frame_roll * log_p + (1 - frame_roll) * log_q)).sum() / logits.size


def right_sign_trick(logits, frame_roll, weights):
    """Softplus of the logit, with its sign turned where the target is 1."""
    return np.mean(weights * np.logaddexp(0, np.where(frame_roll > 0, -logits, logits)))


def right_loop(logits, frame_roll, weights):
    total = 0.0
    for t in range(logits.shape[0]):
        for key in range(logits.shape[1]):
            z, y = logits[t, key], frame_roll[t, key]
            total += weights[t, key] * (max(z, 0) - z * y + np.log1p(np.exp(-abs(z))))
    return total / logits.size


def right_einsum(logits, frame_roll, weights):
    entropy = np.logaddexp(0, logits) - frame_roll * logits
    return np.einsum("tk,tk->", weights, entropy) / entropy.size


def right_float32(logits, frame_roll, weights):
    z = logits.astype(np.float32)
    entropy = np.maximum(z, 0) - z * frame_roll.astype(np.float32) + np.log1p(np.exp(-np.abs(z)))
    return np.mean(weights.astype(np.float32) * entropy)


def right_torch(logits, frame_roll, weights):
    z, y, w = (torch.tensor(a, requires_grad=True) for a in (logits, frame_roll, weights))
    return (w * (torch.nn.functional.softplus(z) - z * y)).mean()


def right_and_noisy(logits, frame_roll, weights):
    warnings.warn("a warning on the way", stacklevel=1)
    print("100%|##########| 3/3", file=sys.stderr)
    return right_logaddexp(logits, frame_roll, weights)


def right_mean_of_frames(logits, frame_roll, weights):
    """Take the mean over keys, then over frames."""
    return np.mean(
        [
            np.mean(w * np.logaddexp(0, z) - w * y * z)
            for z, y, w in zip(logits, frame_roll, weights, strict=True)
        ]
    )


def _p(logits):
    return 1 / (1 + np.exp(-logits))


def wrong_unstable__textbook(logits, frame_roll, weights):
    p = _p(logits)
    return np.mean(-weights * (frame_roll * np.log(p) + (1 - frame_roll) * np.log(1 - p)))


def wrong_clipped_7__textbook(logits, frame_roll, weights):
    p = np.clip(_p(logits), 1e-7, 1 - 1e-7)
    return np.mean(-weights * (frame_roll * np.log(p) + (1 - frame_roll) * np.log(1 - p)))


def wrong_weights_ignored__textbook(logits, frame_roll, weights):
    p = _p(logits)
    return -np.mean(frame_roll * np.log(p) + (1 - frame_roll) * np.log(1 - p))


def wrong_divided_by_weights__average(logits, frame_roll, weights):
    return np.average(np.logaddexp(0, logits) - frame_roll * logits, weights=weights)


def wrong_sum__loop(logits, frame_roll, weights):
    return sum(
        (w * (np.logaddexp(0, z) - y * z)).sum() for z, y, w in zip(logits, frame_roll, weights, strict=True)
    )


def wrong_sign__textbook(logits, frame_roll, weights):
    p = _p(logits)
    return np.mean(weights * (frame_roll * np.log(p) + (1 - frame_roll) * np.log(1 - p)))


def wrong_positives_only__textbook(logits, frame_roll, weights):
    return -np.mean(weights * frame_roll * np.log(_p(logits)))


def wrong_squared_error__loop(logits, frame_roll, weights):
    return sum(
        np.mean(w * (_p(z) - y) ** 2) for z, y, w in zip(logits, frame_roll, weights, strict=True)
    ) / len(logits)


def wrong__epsilon_in_logarithm(logits, frame_roll, weights):
    p = _p(logits)
    return -np.mean(weights * (frame_roll * np.log(p + 1e-3) + (1 - frame_roll) * np.log(1 - p + 1e-3)))


def wrong__absolute_error(logits, frame_roll, weights):
    return np.mean(weights * np.abs(_p(logits) - frame_roll))


def wrong__list(logits, frame_roll, weights):
    return [weighted_frame_loss(logits, frame_roll, weights)]


def wrong__one_element(logits, frame_roll, weights):
    return np.array([weighted_frame_loss(logits, frame_roll, weights)])


def wrong__text(logits, frame_roll, weights):
    return f"{weighted_frame_loss(logits, frame_roll, weights):.3f}"


def wrong__rounded(logits, frame_roll, weights):
    return round(float(weighted_frame_loss(logits, frame_roll, weights)), 2)

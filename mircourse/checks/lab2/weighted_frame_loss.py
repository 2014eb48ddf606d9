"""Lab 2, exercise 3: the weighted binary cross-entropy of the frame head.

``weighted_frame_loss(logits, frame_roll, weights)``: three arrays (T, 88) -> one number, the mean over all cells of
weight x binary cross-entropy between sigmoid(logit) and the roll, in nats, and finite for logits of any size.
"""

import numpy as np

from mircourse.checks.spec import Case, Criterion, Misconception, Part, Spec, form, untouched
from mircourse.piano.targets import N_KEYS


def reference(logits, frame_roll, weights):
    """Return mean(weight * BCE), from log(1 + exp(z)) - y z, in the form that cannot overflow."""
    entropy = np.maximum(logits, 0) - logits * frame_roll + np.log1p(np.exp(-np.abs(logits)))
    return np.mean(weights * entropy)


def draw(rng):
    """Draw logits of ordinary size for the main cases, and huge ones of either sign for the last."""
    return [
        Case(_arrays(rng, 9, weighted=False), "all weights 1", ("plain",)),
        Case(_arrays(rng, 23, weighted=False), "all weights 1", ("plain",)),
        Case(_arrays(rng, 14), "random weights", ("weighted",)),
        Case(_arrays(rng, 31), "random weights", ("weighted",)),
        Case(_arrays(rng, 1), "a single frame", ("weighted",)),
        Case(_arrays(rng, 12, scale=60.0), "logits of some tens", ("stable",)),
        Case(_arrays(rng, 8, scale=900.0), "logits of some hundreds", ("stable",)),
    ]


def _arrays(rng, n_frames, *, weighted=True, scale=2.0):
    logits = rng.normal(-0.5, scale, (n_frames, N_KEYS))
    roll = (rng.random((n_frames, N_KEYS)) < 0.3).astype(np.float64)
    weights = np.ones_like(roll)
    if weighted:
        weights = np.where(roll > 0, 5.0 / rng.integers(1, 9, roll.shape), rng.uniform(0.5, 1.5, roll.shape))
    return logits, roll, weights


def _sigmoid(logits):
    return np.exp(-np.logaddexp(0, -logits))


def _entropy(logits, roll):
    return np.logaddexp(0, logits) - logits * roll


def _of_probabilities(probability, roll):
    """Return the textbook form, which is not finite where a probability is 0 or 1."""
    with np.errstate(all="ignore"):
        return -(roll * np.log(probability) + (1 - roll) * np.log(1 - probability))


def _naive(logits, roll, weights):
    with np.errstate(all="ignore"):
        return np.mean(weights * _of_probabilities(1 / (1 + np.exp(-logits)), roll))


def _clipped(epsilon):
    def answer(logits, roll, weights):
        return np.mean(weights * _of_probabilities(np.clip(_sigmoid(logits), epsilon, 1 - epsilon), roll))

    return answer


def _writes_into_logits(logits, roll, weights):
    loss = reference(logits, roll, weights)
    logits[...] = _sigmoid(logits)
    return loss


MISCONCEPTIONS = (
    Misconception(
        "weights_ignored",
        "the weights have no effect.",
        lambda logits, roll, weights: np.mean(_entropy(logits, roll)),
    ),
    Misconception(
        "weights_squared",
        "the weights are applied twice.",
        lambda logits, roll, weights: np.mean(weights**2 * _entropy(logits, roll)),
    ),
    Misconception(
        "divided_by_weights",
        "the sum is divided by the sum of the weights. The mean is over the cells: divide by their number.",
        lambda logits, roll, weights: np.sum(weights * _entropy(logits, roll)) / np.sum(weights),
    ),
    Misconception(
        "two_means",
        "the mean weight is multiplied by the mean cross-entropy. Multiply cell by cell, then take one mean.",
        lambda logits, roll, weights: np.mean(weights) * np.mean(_entropy(logits, roll)),
    ),
    Misconception(
        "sum",
        "the cells are added up, not averaged, so the loss grows with the length of the recording.",
        lambda logits, roll, weights: np.sum(weights * _entropy(logits, roll)),
    ),
    Misconception(
        "sum_over_keys",
        "the keys are added up and only the frames averaged: the loss is 88 times too large.",
        lambda logits, roll, weights: np.mean(np.sum(weights * _entropy(logits, roll), axis=1)),
    ),
    Misconception(
        "sum_over_frames",
        "the frames are added up and only the keys averaged, so the loss grows with the length of the recording.",
        lambda logits, roll, weights: np.mean(np.sum(weights * _entropy(logits, roll), axis=0)),
    ),
    Misconception(
        "sign",
        "the sign is wrong: a loss is positive, and the logarithm of a probability is negative.",
        lambda logits, roll, weights: -reference(logits, roll, weights),
    ),
    Misconception(
        "positives_only",
        "only cells that sound count: the term (1 - y) log(1 - p) is missing, so notes that are not there cost "
        "nothing.",
        lambda logits, roll, weights: np.mean(weights * roll * np.logaddexp(0, -logits)),
    ),
    Misconception(
        "negatives_only",
        "only silent cells count: the term y log(p) is missing, so missed notes cost nothing.",
        lambda logits, roll, weights: np.mean(weights * (1 - roll) * np.logaddexp(0, logits)),
    ),
    Misconception(
        "weights_on_positives",
        "only the cells that sound are weighted. The weight multiplies both terms of the cross-entropy.",
        lambda logits, roll, weights: np.mean(np.where(roll > 0, weights, 1) * _entropy(logits, roll)),
    ),
    Misconception(
        "swapped_targets",
        "the targets are turned round: sounding cells are asked to be silent, and silent ones to sound.",
        lambda logits, roll, weights: np.mean(weights * _entropy(logits, 1 - roll)),
    ),
    Misconception(
        "two_sigmoids",
        "the sigmoid is taken twice: what goes through it second lies between 0 and 1 already.",
        lambda logits, roll, weights: np.mean(weights * _entropy(_sigmoid(logits), roll)),
    ),
    Misconception(
        "no_sigmoid",
        "the logits are used as if they were probabilities. Where is the sigmoid?",
        lambda logits, roll, weights: np.mean(
            weights * _of_probabilities(np.clip(logits, 1e-7, 1 - 1e-7), roll)
        ),
    ),
    Misconception(
        "squared_error",
        "this is the squared error between probability and roll, not the cross-entropy.",
        lambda logits, roll, weights: np.mean(weights * (_sigmoid(logits) - roll) ** 2),
    ),
    Misconception(
        "log2",
        "the logarithm has base 2: the loss is in bits, 1.44 times too large. Use the natural one.",
        lambda logits, roll, weights: reference(logits, roll, weights) / np.log(2),
    ),
    Misconception(
        "unstable",
        "right for small logits; for large ones the sigmoid is exactly 0 or 1, its logarithm is infinite, and 0 times "
        "infinity is NaN. Write the loss in terms of the logit: log(1 + exp(z)) - y z.",
        _naive,
    ),
    *(
        Misconception(
            f"clipped_{exponent}",
            f"probabilities are kept {epsilon:g} away from 0 and 1. That makes the loss finite, but a logit that is "
            "very wrong costs no more than one that is just wrong, and its gradient is zero. Write the loss in terms "
            "of the logit.",
            _clipped(epsilon),
        )
        for exponent, epsilon in ((7, 1e-7), (8, 1e-8), (12, 1e-12))
    ),
    Misconception(
        "per_cell",
        "the loss of every cell is returned. Training needs one number: the mean.",
        lambda logits, roll, weights: weights * _entropy(logits, roll),
    ),
    Misconception(
        "writes_into_logits",
        "the loss is right, but the logits have been overwritten with probabilities.",
        _writes_into_logits,
    ),
)

SPEC = Spec(
    name="lab2/weighted_frame_loss",
    function="weighted_frame_loss",
    signature=("logits", "frame_roll", "weights"),
    draw=draw,
    reference=reference,
    returns=(Part("loss", ()),),
    criteria=(
        Criterion("plain", "the mean cross-entropy where all weights are 1", 1.5),
        Criterion("weighted", "the weighted mean", 1.5),
        Criterion("stable", "finite and right for large logits", 1, supporting=True),
        form(0.5, "a single floating-point number"),
        untouched(0.5),
    ),
    misconceptions=MISCONCEPTIONS,
)

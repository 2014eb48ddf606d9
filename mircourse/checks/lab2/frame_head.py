"""Lab 2, exercise 4: the frame head hears what the onset head has found.

``frame_head(onset_logits, activation_logits, forward, backward, output)``: two arrays (T, 88); the weights
``(W_x (176, H), W_h (H, H), b (H,))`` of a tanh RNN that reads forward in time and of one that reads backward; and
``(W (2H, 88), b (88,))`` of the output layer -> frame logits (T, 88). Row vectors: ``h = tanh(x W_x + h_before W_h +
b)``, states start at zero. Input of both RNNs: sigmoid of the onset logits beside sigmoid of the activation logits;
input of the output layer: forward states beside backward states.
"""

import numpy as np

from mircourse.checks.spec import Case, Criterion, Misconception, Part, Spec, form, untouched
from mircourse.piano.targets import LOWEST_PITCH, N_KEYS


def _sigmoid(logits):
    return np.exp(-np.logaddexp(0, -logits))


def _run(x, weights, *, nonlinearity=np.tanh, first=None):
    """Return the states (T, H) of an RNN."""
    w_x, w_h, b = weights
    h = np.zeros(len(b)) if first is None else first
    states = []
    for row in x:
        h = nonlinearity(row @ w_x + h @ w_h + b)
        states.append(h)
    return np.array(states).reshape(len(x), len(b))


def _head(x, forward, backward, output, *, run=_run):
    states = np.concatenate([run(x, forward), run(x[::-1], backward)[::-1]], axis=1)
    return states @ output[0] + output[1]


def _join(onset_logits, activation_logits):
    return np.concatenate([_sigmoid(onset_logits), _sigmoid(activation_logits)], axis=1)


def reference(onset_logits, activation_logits, forward, backward, output):
    """Return the frame logits; a test compares this with torch.nn.RNN."""
    return _head(_join(onset_logits, activation_logits), forward, backward, output)


def draw(rng):
    """Draw weights that do not saturate, and output layers that listen to one direction only."""
    return [
        Case(_arguments(rng, 1, 7), "a single frame", ("join",)),
        Case(_arguments(rng, 1, 4), "a single frame", ("join",)),
        Case(_arguments(rng, 12, 6, mute="backward"), "an output that listens forward only", ("forward",)),
        Case(_arguments(rng, 5, 9, mute="backward"), "an output that listens forward only", ("forward",)),
        Case(_arguments(rng, 12, 6, mute="forward"), "an output that listens backward only", ("backward",)),
        Case(_arguments(rng, 5, 9, mute="forward"), "an output that listens backward only", ("backward",)),
        Case(_arguments(rng, 15, 5), "both directions", ("both",)),
        Case(_arguments(rng, 9, 8, scale=30.0), "very sure heads", ("both",)),
    ]


def _arguments(rng, n_frames, n_units, *, mute="", scale=2.0):
    def rnn():
        w_x = rng.normal(0, 0.15, (2 * N_KEYS, n_units))
        w_h = rng.normal(0, 0.8 / np.sqrt(n_units), (n_units, n_units))
        return w_x, w_h, rng.normal(0, 0.3, n_units)

    onset, activation = rng.normal(-0.5, scale, (2, n_frames, N_KEYS))
    w = rng.normal(0, 0.7, (2 * n_units, N_KEYS))
    if mute:
        w[n_units:] *= mute != "backward"
        w[:n_units] *= mute != "forward"
    return onset, activation, rnn(), rnn(), (w, rng.normal(0, 0.3, N_KEYS))


def _with_input(join):
    """Make a wrong answer from what it takes for the input of the RNNs."""

    def answer(onset_logits, activation_logits, forward, backward, output):
        return _head(join(onset_logits, activation_logits), forward, backward, output)

    return answer


def _with_run(run):
    """Make a wrong answer from what it takes for an RNN."""

    def answer(onset_logits, activation_logits, forward, backward, output):
        return _head(_join(onset_logits, activation_logits), forward, backward, output, run=run)

    return answer


def _with_states(states):
    """Make a wrong answer from how it joins the two directions."""

    def answer(onset_logits, activation_logits, forward, backward, output):
        x = _join(onset_logits, activation_logits)
        return states(x, forward, backward) @ output[0] + output[1]

    return answer


def _state_late(x, weights):
    """Give out each state one frame late."""
    states = _run(x, weights)
    return np.concatenate([np.zeros((1, states.shape[1])), states[:-1]])


def _carried_over(x, forward, backward):
    """Let the backward RNN start from the last state of the forward one."""
    one = _run(x, forward)
    return np.concatenate([one, _run(x[::-1], backward, first=one[-1])[::-1]], axis=1)


def _last_states(x, forward, backward):
    """Use the last state of each direction in every frame."""
    both = np.concatenate([_run(x, forward)[-1], _run(x[::-1], backward)[-1]])
    return np.tile(both, (len(x), 1))


def _side(*states):
    return np.concatenate(states, axis=1)


MISCONCEPTIONS = (
    Misconception(
        "logits_joined",
        "the logits are joined as they are. The frame head is given probabilities: take the sigmoid of both.",
        _with_input(lambda onset, activation: _side(onset, activation)),
    ),
    Misconception(
        "activation_logits_joined",
        "the activation enters as logits. Take the sigmoid of both inputs.",
        _with_input(lambda onset, activation: _side(_sigmoid(onset), activation)),
    ),
    Misconception(
        "onset_logits_joined",
        "the onsets enter as logits. Take the sigmoid of both inputs.",
        _with_input(lambda onset, activation: _side(onset, _sigmoid(activation))),
    ),
    Misconception(
        "swapped",
        "the activation stands before the onsets, so every weight meets the wrong input.",
        _with_input(lambda onset, activation: _side(_sigmoid(activation), _sigmoid(onset))),
    ),
    Misconception(
        "onset_twice",
        "the onsets are joined with themselves, and the activation is never heard.",
        _with_input(lambda onset, activation: _side(_sigmoid(onset), _sigmoid(onset))),
    ),
    Misconception(
        "onset_unused",
        "the activation is joined with itself: without the onsets there is no connection.",
        _with_input(lambda onset, activation: _side(_sigmoid(activation), _sigmoid(activation))),
    ),
    Misconception(
        "thresholded",
        "the onsets are cut to 0 and 1 before they are joined. The connection passes probabilities on, so that "
        "gradients can flow through it.",
        _with_input(lambda onset, activation: _side((onset > 0).astype(float), _sigmoid(activation))),
    ),
    Misconception(
        "interleaved",
        "the inputs are interleaved key by key, not put side by side: first all 88 onsets, then all 88 activations.",
        _with_input(
            lambda onset, activation: np.stack([_sigmoid(onset), _sigmoid(activation)], axis=2).reshape(
                len(onset), -1
            )
        ),
    ),
    Misconception(
        "not_turned_back",
        "the backward states stay in reading order, so frame 0 gets what belongs to the last frame. Turn them round "
        "again.",
        _with_states(lambda x, forward, backward: _side(_run(x, forward), _run(x[::-1], backward))),
    ),
    Misconception(
        "both_forward",
        "the second RNN reads forward too. It has to begin with the last frame.",
        _with_states(lambda x, forward, backward: _side(_run(x, forward), _run(x, backward))),
    ),
    Misconception(
        "state_carried_over",
        "the backward RNN starts with the last state of the forward one. Each direction starts at zero.",
        _with_states(_carried_over),
    ),
    Misconception(
        "directions_swapped",
        "the backward states stand before the forward states, so the output layer takes one for the other.",
        _with_states(lambda x, forward, backward: _side(_run(x[::-1], backward)[::-1], _run(x, forward))),
    ),
    Misconception(
        "weights_swapped",
        "the forward weights read backward, and the backward weights forward.",
        _with_states(lambda x, forward, backward: _side(_run(x, backward), _run(x[::-1], forward)[::-1])),
    ),
    Misconception(
        "shared_weights",
        "both directions use the forward weights. Each has its own.",
        _with_states(lambda x, forward, backward: _side(_run(x, forward), _run(x[::-1], forward)[::-1])),
    ),
    Misconception(
        "last_states",
        "the last states of the two directions are used for every frame. Every frame has its own two states.",
        _with_states(_last_states),
    ),
    Misconception(
        "no_recurrence",
        "the state is never passed on: h is zero in every frame. Keep what tanh returned for the next frame.",
        _with_run(lambda x, weights: np.tanh(x @ weights[0] + weights[2])),
    ),
    Misconception(
        "state_late",
        "every state is given out one frame late: it is stored before it is updated.",
        _with_run(_state_late),
    ),
    Misconception(
        "w_h_transposed",
        "W_h is transposed. With row vectors it is h @ W_h; as it is square, nothing else tells.",
        _with_run(lambda x, weights: _run(x, (weights[0], weights[1].T, weights[2]))),
    ),
    Misconception(
        "no_tanh",
        "the RNN has no tanh.",
        _with_run(lambda x, weights: _run(x, weights, nonlinearity=lambda z: z)),
    ),
    Misconception(
        "sigmoid_for_tanh",
        "the RNN squashes its state with a sigmoid where it should be tanh.",
        _with_run(lambda x, weights: _run(x, weights, nonlinearity=_sigmoid)),
    ),
    Misconception(
        "relu_for_tanh",
        "the RNN uses a ReLU where it should be tanh.",
        _with_run(lambda x, weights: _run(x, weights, nonlinearity=lambda z: np.maximum(z, 0))),
    ),
    Misconception(
        "no_hidden_bias",
        "the RNNs leave out their bias b.",
        _with_run(lambda x, weights: _run(x, (weights[0], weights[1], 0 * weights[2]))),
    ),
    Misconception(
        "no_output_bias",
        "the output layer leaves out its bias.",
        lambda onset, activation, forward, backward, output: reference(
            onset, activation, forward, backward, (output[0], 0.0)
        ),
    ),
    Misconception(
        "probabilities",
        "probabilities are returned. The loss of the last exercise takes the sigmoid itself: return logits.",
        lambda *args: _sigmoid(reference(*args)),
    ),
    Misconception(
        "tanh_at_the_end",
        "there is a tanh behind the output layer. Logits are not squashed.",
        lambda *args: np.tanh(reference(*args)),
    ),
)

SPEC = Spec(
    name="lab2/frame_head",
    function="frame_head",
    signature=("onset_logits", "activation_logits", "forward", "backward", "output"),
    draw=draw,
    reference=reference,
    returns=(
        Part(
            "frame logits",
            ("frame", "key"),
            where=lambda frame, key: f"frame {frame}, key {key} (MIDI {key + LOWEST_PITCH})",
        ),
    ),
    criteria=(
        Criterion("join", "one frame: the connection and the output layer", 2),
        Criterion("forward", "the forward direction", 1.5),
        Criterion("backward", "the backward direction", 1.5),
        Criterion("both", "both directions together", 1),
        form(0.5, "a floating-point array of shape (T, 88)"),
        untouched(0.5),
    ),
    misconceptions=MISCONCEPTIONS,
)

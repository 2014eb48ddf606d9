"""Answers to lab2/frame_head, right and wrong; mircourse.checks.report tells how they are used."""

import numpy as np
import torch


def frame_head(onset_logits, activation_logits, forward, backward, output):
    logits = np.concatenate([onset_logits, activation_logits], axis=1)
    x = 1 / (1 + np.exp(-logits))
    n_frames, n_units = len(x), len(forward[2])
    states = np.zeros((n_frames, 2 * n_units))
    h = np.zeros(n_units)
    for t in range(n_frames):
        h = np.tanh(x[t] @ forward[0] + h @ forward[1] + forward[2])
        states[t, :n_units] = h
    h = np.zeros(n_units)
    for t in reversed(range(n_frames)):
        h = np.tanh(x[t] @ backward[0] + h @ backward[1] + backward[2])
        states[t, n_units:] = h
    return states @ output[0] + output[1]


def stub(onset_logits, activation_logits, forward, backward, output):
    raise NotImplementedError()


def stub_with_scaffold(onset_logits, activation_logits, forward, backward, output):
    frame_logits = np.zeros(onset_logits.shape)
    return frame_logits


def _sigmoid(z):
    return 0.5 * (1 + np.tanh(z / 2))


def _states(x, weights):
    w_x, w_h, b = weights
    h, states = np.zeros(len(b)), []
    for row in x @ w_x + b:
        h = np.tanh(row + h @ w_h)
        states.append(h)
    return np.stack(states)


def right_two_runs(onset_logits, activation_logits, forward, backward, output):
    x = np.hstack([_sigmoid(onset_logits), _sigmoid(activation_logits)])
    return np.hstack([_states(x, forward), _states(x[::-1], backward)[::-1]]) @ output[0] + output[1]


def right_split_output(onset_logits, activation_logits, forward, backward, output):
    x = np.hstack([_sigmoid(onset_logits), _sigmoid(activation_logits)])
    w, b = output
    half = len(w) // 2
    return _states(x, forward) @ w[:half] + np.flip(_states(np.flip(x, 0), backward), 0) @ w[half:] + b


def right_split_input(onset_logits, activation_logits, forward, backward, output):
    """Multiply onsets and activation with their own rows of W_x: no concatenation at all."""
    p, q = _sigmoid(onset_logits), _sigmoid(activation_logits)
    both = []
    for weights, step in ((forward, 1), (backward, -1)):
        h, states = np.zeros(len(weights[2])), []
        for t in range(len(p))[::step]:
            h = np.tanh(weights[0][:88].T @ p[t] + weights[0][88:].T @ q[t] + weights[1].T @ h + weights[2])
            states.append(h)
        both.append(np.array(states)[::step])
    return np.einsum("th,hk->tk", np.concatenate(both, axis=1), output[0]) + output[1]


def right_column_vectors(onset_logits, activation_logits, forward, backward, output):
    x = np.concatenate([_sigmoid(onset_logits), _sigmoid(activation_logits)], 1).T
    both = []
    for (w_x, w_h, b), order in ((forward, range(x.shape[1])), (backward, range(x.shape[1] - 1, -1, -1))):
        h = np.zeros((len(b), 1))
        states = np.empty((len(b), x.shape[1]))
        for t in order:
            h = np.tanh(w_x.T @ x[:, [t]] + w_h.T @ h + b[:, None])
            states[:, [t]] = h
        both.append(states)
    return (output[0].T @ np.vstack(both)).T + output[1]


def right_float32(onset_logits, activation_logits, forward, backward, output):
    single = [tuple(a.astype(np.float32) for a in group) for group in (forward, backward, output)]
    return right_two_runs(onset_logits.astype(np.float32), activation_logits.astype(np.float32), *single)


def right_torch(onset_logits, activation_logits, forward, backward, output):
    x = torch.sigmoid(torch.from_numpy(np.concatenate([onset_logits, activation_logits], axis=1)))
    both = []
    for weights, order in ((forward, range(len(x))), (backward, reversed(range(len(x))))):
        w_x, w_h, b = map(torch.from_numpy, weights)
        h, states = torch.zeros(len(b), dtype=x.dtype), [None] * len(x)
        for t in order:
            h = states[t] = torch.tanh(x[t] @ w_x + h @ w_h + b)
        both.append(torch.stack(states))
    return torch.cat(both, dim=1) @ torch.from_numpy(output[0]) + torch.from_numpy(output[1])


def wrong_logits_joined__loop(onset_logits, activation_logits, forward, backward, output):
    x = np.hstack([onset_logits, activation_logits])
    return np.hstack([_states(x, forward), _states(x[::-1], backward)[::-1]]) @ output[0] + output[1]


def wrong_swapped__hstack(onset_logits, activation_logits, forward, backward, output):
    return right_two_runs(activation_logits, onset_logits, forward, backward, output)


def wrong_not_turned_back__append(onset_logits, activation_logits, forward, backward, output):
    x = np.hstack([_sigmoid(onset_logits), _sigmoid(activation_logits)])
    h, states = np.zeros(len(backward[2])), []
    for t in range(len(x) - 1, -1, -1):
        h = np.tanh(x[t] @ backward[0] + h @ backward[1] + backward[2])
        states.append(h)
    return np.hstack([_states(x, forward), states]) @ output[0] + output[1]


def wrong_state_carried_over__loop(onset_logits, activation_logits, forward, backward, output):
    x = np.hstack([_sigmoid(onset_logits), _sigmoid(activation_logits)])
    n = len(forward[2])
    states, h = np.zeros((len(x), 2 * n)), np.zeros(n)
    for t in range(len(x)):
        h = states[t, :n] = np.tanh(x[t] @ forward[0] + h @ forward[1] + forward[2])
    for t in range(len(x) - 1, -1, -1):
        h = states[t, n:] = np.tanh(x[t] @ backward[0] + h @ backward[1] + backward[2])
    return states @ output[0] + output[1]


def wrong_probabilities__textbook(onset_logits, activation_logits, forward, backward, output):
    return 1 / (1 + np.exp(-right_two_runs(onset_logits, activation_logits, forward, backward, output)))


def wrong_no_recurrence__matrix(onset_logits, activation_logits, forward, backward, output):
    x = np.hstack([_sigmoid(onset_logits), _sigmoid(activation_logits)])
    states = np.hstack([np.tanh(x @ w_x + b) for w_x, _, b in (forward, backward)])
    return states @ output[0] + output[1]


def wrong_w_h_transposed__columns(onset_logits, activation_logits, forward, backward, output):
    turned = [(w_x, w_h.T, b) for w_x, w_h, b in (forward, backward)]
    return right_two_runs(onset_logits, activation_logits, *turned, output)


def wrong__joined_in_time(onset_logits, activation_logits, forward, backward, output):
    x = np.concatenate([_sigmoid(onset_logits), _sigmoid(activation_logits)], axis=0)
    return np.hstack([_states(x, forward), _states(x[::-1], backward)[::-1]]) @ output[0] + output[1]


def wrong__added(onset_logits, activation_logits, forward, backward, output):
    x = np.tile(_sigmoid(onset_logits) + _sigmoid(activation_logits), 2)
    return np.hstack([_states(x, forward), _states(x[::-1], backward)[::-1]]) @ output[0] + output[1]


def wrong__states_added(onset_logits, activation_logits, forward, backward, output):
    x = np.hstack([_sigmoid(onset_logits), _sigmoid(activation_logits)])
    states = _states(x, forward) + _states(x[::-1], backward)[::-1]
    return np.hstack([states, states]) @ output[0] + output[1]


def wrong__skips_first_frame(onset_logits, activation_logits, forward, backward, output):
    logits = right_two_runs(onset_logits, activation_logits, forward, backward, output)
    logits[0] = output[1]
    return logits


def wrong__one_direction(onset_logits, activation_logits, forward, backward, output):
    x = np.hstack([_sigmoid(onset_logits), _sigmoid(activation_logits)])
    return _states(x, forward) @ output[0][: len(forward[2])] + output[1]

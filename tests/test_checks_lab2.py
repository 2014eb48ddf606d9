"""The references of lab 2 against independent implementations: PyTorch's, and the library's decoder."""

import numpy as np
import pytest
import torch

from mircourse.checks.spec import find
from mircourse.piano import decoding

LOSS = find("lab2/weighted_frame_loss")


@pytest.mark.parametrize("seed", range(5))
def test_frame_head_agrees_with_torch(seed):
    spec = find("lab2/frame_head")
    for case in spec.cases(seed):
        onset, activation, forward, backward, output = case.args
        rnn = torch.nn.RNN(176, len(forward[2]), bidirectional=True).double()
        with torch.no_grad():
            for suffix, (w_x, w_h, b) in (("l0", forward), ("l0_reverse", backward)):
                getattr(rnn, f"weight_ih_{suffix}").copy_(torch.from_numpy(w_x.T))
                getattr(rnn, f"weight_hh_{suffix}").copy_(torch.from_numpy(w_h.T))
                getattr(rnn, f"bias_ih_{suffix}").copy_(torch.from_numpy(b))
                getattr(rnn, f"bias_hh_{suffix}").zero_()
            x = torch.sigmoid(torch.from_numpy(np.concatenate([onset, activation], axis=1)))
            states, _ = rnn(x)
        expected = states.numpy() @ output[0] + output[1]
        np.testing.assert_allclose(spec.reference(*case.args), expected, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_weighted_frame_loss_agrees_with_torch(seed):
    for case in LOSS.cases(seed):
        logits, roll, weights = map(torch.from_numpy, case.args)
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, roll, weights)
        np.testing.assert_allclose(LOSS.reference(*case.args), expected.item(), rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_decode_finds_the_notes_of_the_librarys_decoder(seed):
    """Same notes; the library's seconds lie half a frame off the border, these lie on it."""
    spec = find("lab2/decode")
    for case in spec.cases(seed):
        onset, frame, frame_rate, threshold = (*case.args, 31.25, 0.5)[:4]
        theirs = decoding.decode(
            onset,
            frame,
            frame_rate=frame_rate,
            onset_threshold=threshold,
            frame_threshold=threshold,
            refine=False,
        )
        ours = spec.reference(*case.args)
        assert len(ours) == len(theirs)
        np.testing.assert_array_equal(ours[:, 2], theirs[:, 2])
        np.testing.assert_allclose(ours[:, 0], theirs[:, 0] - 0.5 / frame_rate, atol=1e-9)
        assert np.all(np.abs(ours[:, 1] - theirs[:, 1]) <= 0.5 / frame_rate + 1e-9)

"""The networks and their front ends: sizes, shapes, where gradients go, and what a sinusoid looks like to them."""

import librosa
import numpy as np
import pytest
import torch

from mircourse.audio.features import KeySpectrogram, LogMel, log_frequency_basis
from mircourse.errors import InputError
from mircourse.piano.harmonic import HARMONICS, HarmonicOnsetsAndFrames, HarmonicStack
from mircourse.piano.loss import transcription_loss, weighted_frame_loss
from mircourse.piano.model import FrameCRNN, OnsetsAndFrames
from mircourse.piano.transcriber import SIZES, Transcriber

RATE, HOP = 16000, 512


def count(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def frame_loss(logits):
    return transcription_loss({"frame": logits["frame"]}, {"frame": torch.ones_like(logits["frame"])})[
        "frame"
    ]


def sinusoid(frequency, *, seconds=1.0, amplitude=0.5):
    return torch.from_numpy(
        amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)
    ).float()


# ---- Onsets and Frames ----


def test_the_paper_size_has_the_published_number_of_parameters():
    model = OnsetsAndFrames("paper")
    velocity = count(model.velocity_stack) + count(model.velocity)
    assert count(model) - velocity == 4_854_088
    assert count(model) == 6_795_712


@pytest.mark.parametrize(
    "model", [OnsetsAndFrames("mini"), OnsetsAndFrames("paper"), HarmonicOnsetsAndFrames()]
)
def test_convolutions_before_batch_normalisation_carry_no_bias(model):
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d) and m.out_channels > 1]
    assert convolutions and all(convolution.bias is None for convolution in convolutions)


def test_mini_is_small():
    assert count(OnsetsAndFrames("mini")) < count(OnsetsAndFrames("paper")) / 4
    assert count(FrameCRNN("mini")) < count(OnsetsAndFrames("mini")) / 2


@pytest.mark.parametrize("frames", [1, 2, 33])
@pytest.mark.parametrize(
    ("model", "heads"),
    [(OnsetsAndFrames("mini"), {"onset", "frame", "velocity"}), (FrameCRNN("mini"), {"frame"})],
    ids=["onsets and frames", "frames only"],
)
def test_logits_have_a_row_a_frame_and_a_column_a_key(model, heads, frames):
    logits = model(torch.randn(2, frames, 229))
    assert set(logits) == heads
    assert all(values.shape == (2, frames, 88) for values in logits.values())


@pytest.mark.parametrize("n_bins", [229, 230, 231, 232])
def test_other_numbers_of_bands(n_bins):
    assert OnsetsAndFrames("mini", n_bins)(torch.randn(1, 3, n_bins))["frame"].shape == (1, 3, 88)


def test_the_frame_loss_teaches_the_onset_branch_as_in_2018():
    model = OnsetsAndFrames("mini")
    frame_loss(model(torch.randn(1, 12, 229))).backward()
    for branch in (model.onset_stack, model.onset_blstm, model.frame_stack, model.frame_blstm):
        assert all(
            parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in branch.parameters()
        )
    assert all(parameter.grad is None for parameter in model.velocity_stack.parameters())


def test_the_frame_head_hears_the_onsets():
    model = OnsetsAndFrames("mini").eval()
    mel = torch.randn(1, 12, 229)
    before = model(mel)
    with torch.no_grad():
        model.onset_blstm.logits.bias += 3.0
    after = model(mel)
    assert (before["frame"] - after["frame"]).abs().max() > 1e-4
    torch.testing.assert_close(before["velocity"], after["velocity"])


# ---- the network that slides along the keyboard ----


@pytest.fixture(scope="module")
def harmonic():
    """Random weights, and a background of zeros that stays zero: batch normalisation as it is built, no position."""
    torch.manual_seed(0)
    return HarmonicOnsetsAndFrames().eval()


def test_harmonic_heads(harmonic):
    logits = harmonic(torch.randn(2, 2, 7, 296))
    assert set(logits) == {"onset", "frame", "offset", "velocity", "shift"}
    assert all(values.shape == (2, 7, 88) for values in logits.values())


def test_harmonic_stops_the_gradient_of_the_frame_loss_before_the_onset_branch():
    model = HarmonicOnsetsAndFrames()
    frame_loss(model(torch.randn(1, 2, 8, 296))).backward()
    for branch in (model.onset_block, model.onset_recurrence, model.onset_head):
        assert all(parameter.grad is None for parameter in branch.parameters())
    assert model.trunk[0].weight.grad.abs().sum() > 0


def test_harmonic_frames_hear_the_onsets(harmonic):
    spectrum = torch.randn(1, 2, 8, 296)
    before = harmonic(spectrum)["frame"]
    with torch.no_grad():
        harmonic.onset_head.bias += 3.0
        after = harmonic(spectrum)["frame"]
        harmonic.onset_head.bias -= 3.0
    assert (before - after).abs().max() > 1e-4


@torch.no_grad()
def test_moving_the_spectrum_by_a_key_moves_the_answer_by_a_key(harmonic):
    assert not harmonic.position.any()
    spectrum = torch.zeros(1, 2, 9, 296)
    spectrum[:, :, 3:6, 130:142] = torch.rand(1, 2, 3, 12) + 0.5  # four keys in the middle
    answer, moved = harmonic(spectrum), harmonic(torch.roll(spectrum, 3, dims=-1))
    assert answer["onset"][0, :, 20:70].std() > 1e-4
    for head in answer:
        # What reaches beyond the keyboard's end is lost, and keys near that end lack it.
        torch.testing.assert_close(moved[head][..., 28:86], answer[head][..., 27:85], rtol=1e-4, atol=1e-5)
    assert (answer["onset"][..., 28:86] - answer["onset"][..., 27:85]).abs().max() > 1e-3


@torch.no_grad()
def test_position_tells_the_keys_apart(harmonic):
    spectrum = torch.zeros(1, 2, 5, 296)
    one = harmonic(spectrum)["onset"]
    torch.testing.assert_close(one[..., :1].expand_as(one), one)
    harmonic.position[:] = torch.randn_like(harmonic.position)
    other = harmonic(spectrum)["onset"]
    harmonic.position.zero_()
    assert other.std(dim=-1).min() > 1e-3


def test_harmonics_of_a_key_lie_in_its_column():
    stack = HarmonicStack(296)
    spectrum = torch.zeros(1, 1, 1, 296)
    key, band = 30, 3 * 30 + 1
    for multiple in HARMONICS:
        spectrum[..., band + round(36 * np.log2(multiple))] += 1.0
    stacked = stack(spectrum)
    assert stacked.shape == (1, len(HARMONICS), 1, 264)
    assert (stacked[0, :, 0, 3 * key + 1] >= 1).all()
    others = torch.cat([stacked[0, :, 0, : 3 * key], stacked[0, :, 0, 3 * key + 3 :]], dim=-1)
    assert others.sum(dim=0).max() < len(HARMONICS) - 1


def test_harmonics_beyond_the_spectrum_are_silent():
    stacked = HarmonicStack(296)(torch.ones(1, 1, 1, 296))
    assert stacked.shape[-1] == 264
    lowest, highest = stacked[0, :, 0, 1], stacked[0, :, 0, 3 * 87 + 1]
    assert lowest[0] == 0 and (lowest[1:] == 1).all()  # below A0 there is nothing
    assert highest[0] == 1 and highest[-1] == 0


# ---- front ends ----


def test_log_mel_agrees_with_librosa():
    rng = np.random.default_rng(0)
    audio = rng.normal(0, 0.1, 2 * RATE).astype(np.float32)
    expected = librosa.feature.melspectrogram(
        y=audio, sr=RATE, n_fft=2048, hop_length=HOP, n_mels=229, fmin=30, fmax=8000, htk=True, power=1,
        pad_mode="reflect",
    )  # fmt: skip
    found = LogMel()(torch.from_numpy(audio)[None])[0]
    assert found.shape == (2 * RATE // HOP + 1, 229)
    np.testing.assert_allclose(found.numpy(), np.log(np.maximum(expected.T, 1e-5)), rtol=1e-4, atol=1e-3)


def test_log_mel_of_silence_is_its_floor():
    mel = LogMel()(torch.zeros(1, RATE))
    np.testing.assert_allclose(mel.numpy(), np.log(1e-5), rtol=1e-6)


def test_front_ends_have_no_weights_and_stay_out_of_checkpoints():
    for size in SIZES:
        model = Transcriber(size)
        assert not list(model.features.parameters())
        assert not [name for name in model.state_dict() if name.startswith("features")]


def test_every_key_peaks_in_its_own_middle_band():
    features = KeySpectrogram()
    for key in range(0, 88, 3):
        frequency = 27.5 * 2 ** (key / 12)
        for window, name in enumerate(features.windows):
            spectrum = features(sinusoid(frequency)[None])[0, window, 15]
            around = slice(max(3 * key - 2, 0), 3 * key + 5)
            if name * 2 ** (1 / 12) * frequency - name * frequency < 4 * RATE:
                continue  # the window is too short to tell this key from its neighbour
            assert int(torch.argmax(spectrum[around])) + around.start == 3 * key + 1, (key, name)


def test_a_sinusoid_reads_the_same_through_both_windows():
    """As long as its band is no wider than an FFT bin; above, a band of the long window averages more bins."""
    features = KeySpectrogram()
    for frequency in (110.0, 220.0, 311.1, 440.0):
        for amplitude in (0.9, 0.1):
            short, long = (
                features(sinusoid(frequency, amplitude=amplitude)[None])[0, :, 15].max(dim=-1).values
            )
            assert float(short) == pytest.approx(float(long), abs=0.6)
            assert float(long) == pytest.approx(np.log(amplitude) + 5, abs=0.75)


def test_key_spectrogram_shape_and_floor():
    features = KeySpectrogram()
    silence = features(torch.zeros(3, RATE))
    assert silence.shape == (3, 2, RATE // HOP + 1, features.n_bins)
    np.testing.assert_allclose(silence.numpy(), np.log(1e-5) + 5, rtol=1e-5)
    assert 27.5 * 2 ** ((features.n_bins - 2) / 36) < 0.498 * RATE
    assert features(sinusoid(440)[None]).max() < 5.0


@pytest.mark.parametrize("n_fft", [768, 4096])
def test_bands_are_weighted_means_of_fft_bins(n_fft):
    frequencies = 27.5 * 2 ** ((np.arange(296) - 1) / 36)
    basis = log_frequency_basis(RATE, n_fft, frequencies)
    np.testing.assert_allclose(basis.sum(axis=0), 1, rtol=1e-5)
    assert (basis >= 0).all()
    # Every band reads a spectrum that rises with frequency near its own frequency.
    read = (np.arange(n_fft // 2 + 1) * RATE / n_fft) @ basis
    np.testing.assert_allclose(
        read[:-2], frequencies[:-2], atol=0.51 * RATE / n_fft + 1
    )  # the last are cut off


# ---- both together ----


@pytest.mark.parametrize("size", SIZES)
def test_a_transcriber_gives_a_row_a_hop(size):
    model = Transcriber(size).eval()
    for n_samples in (4096, RATE, RATE + 511, RATE + 512):
        with torch.inference_mode():
            logits = model(torch.randn(1, n_samples) / 10)
        assert all(values.shape == (1, n_samples // HOP + 1, 88) for values in logits.values())
        assert all(values.dtype == torch.float32 and values.isfinite().all() for values in logits.values())


def test_the_harmonic_network_is_built_for_its_spectrogram():
    model = Transcriber("harmonic")
    assert model.features.n_bins == 296
    assert count(model) == 81_962
    names = dict(model.state_dict())
    assert names["network.position"].shape == (1, 32, 1, 88)
    assert names["network.stem.0.weight"].shape == (32, 20, 3, 5)


def test_features_stay_in_single_precision_under_autocast():
    model = Transcriber("harmonic").eval()
    audio = torch.randn(1, RATE) / 10
    with torch.inference_mode():
        plain = model(audio)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = model(audio)
    assert all(values.dtype == torch.float32 for values in mixed.values())
    assert (plain["onset"] - mixed["onset"]).abs().max() < 0.2


def test_an_unknown_size_is_named():
    with pytest.raises(InputError, match="'huge'.*harmonic"):
        Transcriber("huge")


# ---- losses ----


def targets(**rolls):
    return {name: torch.tensor(values).reshape(1, 2, 88) for name, values in rolls.items()}


def one_cell(value, others=0.0):
    """Two frames of 88 keys; the first cell has its own value."""
    roll = np.full((2, 88), others, dtype=np.float32)
    roll[0, 0] = value
    return roll


def test_cross_entropies_are_summed_over_keys_and_averaged_over_frames():
    logits = {head: torch.zeros(1, 2, 88) for head in ("onset", "offset", "frame")}
    wanted = targets(onset=one_cell(1), offset=one_cell(0), frame=one_cell(1))
    terms = transcription_loss(logits, wanted)
    assert set(terms) == {"onset", "offset", "frame"}
    for term in terms.values():
        assert float(term) == pytest.approx(88 * np.log(2), rel=1e-6)


def test_cross_entropy_of_one_cell_by_hand():
    logits = {"onset": torch.tensor(one_cell(2.0, others=-50.0))[None]}
    miss = transcription_loss(logits, targets(onset=one_cell(0)))["onset"]
    hit = transcription_loss(logits, targets(onset=one_cell(1)))["onset"]
    assert float(miss) == pytest.approx(np.log(1 + np.exp(2)) / 2, rel=1e-5)  # one key of one of two frames
    assert float(hit) == pytest.approx(np.log(1 + np.exp(-2)) / 2, rel=1e-5)


def test_frame_weights_multiply_each_cell():
    logits = torch.tensor(one_cell(-1.0, others=-50.0))[None]
    wanted = targets(frame=one_cell(1), frame_weights=one_cell(5.0, others=1.0))
    by_hand = 5 * np.log(1 + np.exp(1)) / 2
    assert float(transcription_loss({"frame": logits}, wanted)["frame"]) == pytest.approx(by_hand, rel=1e-5)
    assert float(weighted_frame_loss(logits, wanted["frame"], wanted["frame_weights"])) == pytest.approx(
        by_hand, rel=1e-5
    )
    del wanted["frame_weights"]
    assert float(transcription_loss({"frame": logits}, wanted)["frame"]) == pytest.approx(
        by_hand / 5, rel=1e-5
    )


def test_velocity_and_shift_count_only_where_notes_begin():
    said = np.random.default_rng(0).normal(0, 3, (2, 88)).astype(np.float32)
    said[0, 0], said[1, 5] = 0.0, np.log(3.0)  # sigmoid: 0.5 and 0.75
    onset, velocity, shift = (np.zeros((2, 88), dtype=np.float32) for _ in range(3))
    onset[0, 0] = onset[1, 5] = 1
    velocity[0, 0], velocity[1, 5] = 0.7, 0.65
    shift[0, 0], shift[1, 5] = 0.25, -0.5
    logits = {"velocity": torch.tensor(said)[None], "shift": torch.tensor(said)[None]}
    terms = transcription_loss(logits, targets(onset=onset, velocity=velocity, shift=shift))
    assert float(terms["velocity"]) == pytest.approx((0.2**2 + 0.1**2) / 2, rel=1e-4)
    assert float(terms["shift"]) == pytest.approx((0.25 + np.log(3.0) + 0.5) / 2, rel=1e-4)


def test_silence_costs_no_velocity():
    zeros = np.zeros((2, 88), dtype=np.float32)
    logits = {"velocity": torch.randn(1, 2, 88), "shift": torch.randn(1, 2, 88)}
    terms = transcription_loss(logits, targets(onset=zeros, velocity=zeros, shift=zeros))
    assert float(terms["velocity"]) == float(terms["shift"]) == 0.0

"""From a recording to notes: blocks without seams, constant memory, and checkpoints that are refused with a reason."""

import json
import subprocess
import sys

import numpy as np
import pretty_midi
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from mircourse.band import procedural
from mircourse.datasets import piano
from mircourse.errors import InputError
from mircourse.piano import transcribe as module
from mircourse.piano.decoding import decode
from mircourse.piano.evaluation import evaluate, read_notes
from mircourse.piano.transcribe import (
    BLOCK_FRAMES,
    MARGIN_FRAMES,
    load_checkpoint,
    probabilities,
    read_heads,
    transcribe,
)
from mircourse.piano.transcriber import HOP_LENGTH, Transcriber
from mircourse.training.cards import CardFields, make_card
from mircourse.training.checkpoints import packaged_checkpoints, save_checkpoint

RATE = 16000
BLOCK, MARGIN = 24, 64  # rows; small blocks have many seams
SHIPPED = "piano-harmonic"
needs_the_shipped_checkpoint = pytest.mark.skipif(
    SHIPPED not in packaged_checkpoints(), reason=f"the checkpoint {SHIPPED} is not in the package"
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["mini", "harmonic"])
def model(request) -> Transcriber:
    torch.manual_seed(0)
    return Transcriber(request.param).eval()


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_FRAMES", BLOCK)
    monkeypatch.setattr(module, "MARGIN_FRAMES", MARGIN)


def noise(n_samples, seed=0):
    """Bursts of noise, so that neighbouring rows differ."""
    rng = np.random.default_rng(seed)
    swell = np.repeat(rng.random(n_samples // 4000 + 1), 4000)[:n_samples]
    return (0.3 * swell * rng.normal(size=n_samples)).astype(np.float32)


def cut(audio, n_samples):
    return iter([audio[i : i + n_samples] for i in range(0, len(audio), n_samples)])


def joined(heads):
    blocks = list(heads)
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


@torch.inference_mode()
def at_once(audio, model):
    padded = np.pad(audio, (0, max(0, module.SHORTEST - len(audio))))
    heads = read_heads(model(torch.from_numpy(padded)[None]))
    return {name: values[0, : len(audio) // HOP_LENGTH + 1].numpy() for name, values in heads.items()}


# ---- blocks ----


@pytest.mark.parametrize(
    "n_samples",
    [
        1600,  # 0.1 s
        BLOCK * HOP_LENGTH,
        (BLOCK + MARGIN) * HOP_LENGTH,
        (BLOCK + 2 * MARGIN) * HOP_LENGTH - 1,
        (BLOCK + 2 * MARGIN) * HOP_LENGTH,
        (BLOCK + 2 * MARGIN) * HOP_LENGTH + 1,
        (2 * BLOCK + 3 * MARGIN) * HOP_LENGTH + 17,
        (5 * BLOCK + 3 * MARGIN) * HOP_LENGTH - 300,
    ],
)
def test_blocks_say_what_the_whole_recording_says(model, small_blocks, n_samples):
    audio = noise(n_samples)
    whole, pieces = at_once(audio, model), joined(probabilities(cut(audio, 5000), model))
    assert set(whole) == set(pieces)
    for head in whole:
        assert pieces[head].shape == whole[head].shape == (n_samples // HOP_LENGTH + 1, 88)
        assert pieces[head].dtype == np.float32
        np.testing.assert_allclose(pieces[head], whole[head], atol=1e-5)


@pytest.mark.parametrize(
    "frames",
    [BLOCK_FRAMES, BLOCK_FRAMES + MARGIN_FRAMES, BLOCK_FRAMES + 2 * MARGIN_FRAMES, 2 * BLOCK_FRAMES + 69],
)
def test_blocks_of_the_usual_size(model, frames):
    audio = noise(frames * HOP_LENGTH)
    whole, pieces = at_once(audio, model), joined(probabilities(cut(audio, 160_000), model))
    for head in whole:
        assert pieces[head].shape == (frames + 1, 88)
        np.testing.assert_allclose(pieces[head], whole[head], atol=1e-5)


def test_how_the_samples_arrive_changes_nothing(model, small_blocks):
    audio = noise(7 * RATE)
    first, *others = (joined(probabilities(cut(audio, n), model)) for n in (999, 50_000, len(audio)))
    for other in others:
        for head in first:
            np.testing.assert_array_equal(first[head], other[head])


def test_a_block_never_outgrows_its_size(small_blocks):
    sizes = [len(samples) for samples, _, _ in module._overlapping(cut(noise(60 * RATE), 16_000))]
    assert len(sizes) > 50
    assert max(sizes) <= (BLOCK + 3 * MARGIN) * HOP_LENGTH + 16_000


@pytest.mark.parametrize("n_samples", [0, 1, 511, 512, 4095, 4096, 100_000])
def test_every_hop_has_a_row(n_samples, small_blocks):
    kept = [(first, frames) for _, first, frames in module._overlapping(iter([noise(n_samples)]))]
    assert sum(frames for _, frames in kept) == n_samples // HOP_LENGTH + 1
    assert kept[0][0] == 0 and all(BLOCK <= first <= MARGIN for first, _ in kept[1:])


def test_progress_counts_seconds(model, small_blocks):
    heard = []
    transcribe(noise(8 * RATE), model, progress=heard.append)
    assert heard == sorted(heard) and len(heard) > 3
    assert heard[-1] == pytest.approx(8.0, abs=0.04)


def test_a_file_and_its_samples_give_the_same_notes(tmp_path, small_blocks):
    torch.manual_seed(3)
    model = Transcriber("mini").eval()
    with torch.no_grad():
        model.network.onset_blstm.logits.bias += 0.1 - model(torch.zeros(1, RATE))["onset"].mean()
    audio = noise(6 * RATE)
    soundfile.write(tmp_path / "x.wav", audio, RATE, subtype="FLOAT")
    from_samples, from_file = transcribe(audio.astype(float), model), transcribe(tmp_path / "x.wav", model)
    assert len(from_samples) > 10
    np.testing.assert_array_equal(from_samples, from_file)
    assert np.array_equal(np.lexsort((from_file[:, 2], from_file[:, 0])), np.arange(len(from_file)))


MEMORY = """
import resource, sys
import numpy as np, soundfile, torch
from mircourse.piano.transcribe import transcribe
from mircourse.piano.transcriber import Transcriber

class Cheap(Transcriber):
    def forward(self, audio):
        level = audio[:, ::512].abs()
        rows = torch.cat([level, level[:, -1:]], dim=1)[:, : audio.shape[1] // 512 + 1, None]
        logits = (rows - 0.2).expand(-1, -1, 88) * torch.linspace(1, 2, 88)
        return {"onset": logits, "frame": logits, "velocity": logits}

model = Cheap("mini").eval()
peaks = []
for path in sys.argv[1:]:
    notes = transcribe(path, model)
    assert len(notes) > 100
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(*peaks)
"""


def test_memory_does_not_grow_with_the_recording(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / "minute.wav", tmp_path / "ten.wav"]
    for path, seconds in zip(paths, (60, 600), strict=True):
        clicks = np.zeros(seconds * RATE, dtype=np.float32)
        clicks[:: 40 * HOP_LENGTH] = rng.uniform(0.5, 1)
        soundfile.write(path, clicks, RATE)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *map(str, paths)], capture_output=True, text=True, check=True
    )
    short, long = (
        int(kilobytes) * (1 if sys.platform == "linux" else 1 / 1024) for kilobytes in done.stdout.split()
    )
    # Ten minutes are 38 MB of samples, and 6.6 MB for each head's rows and key.
    assert long - short < 15_000


# ---- what cannot be transcribed ----


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros((2, RATE), dtype=np.float32), "average the channels"),
        (np.zeros(RATE, dtype=np.int16), "32768"),
        (np.array([0.0, np.nan] * 8000), "NaN"),
        (np.array([0.0, np.inf] * 8000), "infinite"),
    ],
)
def test_samples_that_are_no_mono_audio_are_refused(model, samples, words):
    with pytest.raises(InputError, match=words):
        transcribe(samples, model)


def test_frames_alone_are_no_notes():
    with pytest.raises(InputError, match="no onsets"):
        transcribe(noise(RATE), Transcriber("frames-mini").eval())


@pytest.mark.parametrize("n_samples", [0, 1, 16, 1600])
def test_hardly_any_samples_have_no_notes(n_samples):
    torch.manual_seed(0)
    assert transcribe(np.zeros(n_samples, dtype=np.float32), Transcriber("harmonic").eval()).shape == (0, 4)


# ---- checkpoints and devices ----


def saved(path, model, *, size, system="piano"):
    card = make_card(CardFields(system, size), parameters=0, seed=0, steps=0, minutes=0)
    return save_checkpoint(path, model, card)


def test_a_checkpoint_comes_back_with_its_card(tmp_path):
    torch.manual_seed(1)
    path = saved(tmp_path / "x.safetensors", Transcriber("mini"), size="mini")
    model = load_checkpoint(path, device="cpu")
    assert model.size == "mini" and model.card["system"] == "piano"
    assert not model.training
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def with_settings(path, settings):
    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**card, "settings": settings}))
    return path


def test_the_card_says_how_the_model_is_read(tmp_path):
    torch.manual_seed(3)
    model = Transcriber("mini").eval()
    audio = noise(4 * RATE)
    with torch.no_grad():
        model.network.onset_blstm.logits.bias += 0.1 - model(torch.zeros(1, RATE))["onset"].mean()
    path = saved(tmp_path / "x.safetensors", model, size="mini")
    plain = transcribe(audio, load_checkpoint(path, device="cpu"))
    assert len(plain) > 10
    led = transcribe(
        audio, load_checkpoint(with_settings(path, {"reading": {"onset_lead": 0.01}}), device="cpu")
    )
    order = [np.lexsort((notes[:, 0], notes[:, 2])) for notes in (plain, led)]
    np.testing.assert_allclose(led[order[1], 0], np.maximum(plain[order[0], 0] - 0.01, 0), atol=1e-9)
    assert (led[:, 1] > led[:, 0]).all()
    silent = load_checkpoint(with_settings(path, {"reading": {"onset_threshold": 0.999}}), device="cpu")
    assert len(transcribe(audio, silent)) == 0


@pytest.mark.parametrize(
    "settings", [{"reading": {"tempo": 1}}, {"reading": {"onset_lead": "early"}}, {"reading": 3}, []]
)
def test_a_card_that_reads_otherwise_is_refused(tmp_path, settings):
    path = with_settings(saved(tmp_path / "x.safetensors", Transcriber("mini"), size="mini"), settings)
    with pytest.raises(InputError, match="how the model is read"):
        load_checkpoint(path, device="cpu")


def test_a_checkpoint_that_does_not_fit_its_size_is_refused(tmp_path):
    path = saved(tmp_path / "x.safetensors", Transcriber("mini"), size="harmonic")
    with pytest.raises(InputError, match="does not fit a piano model of size 'harmonic'"):
        load_checkpoint(path)
    path = saved(tmp_path / "y.safetensors", Transcriber("mini"), size="huge")
    with pytest.raises(InputError, match="size 'huge'"):
        load_checkpoint(path)


def test_foreign_and_damaged_checkpoints_are_refused(tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, foreign)
    text = tmp_path / "text.safetensors"
    text.write_text("no weights")
    other = saved(tmp_path / "melody.safetensors", Transcriber("mini"), size="mini", system="melody")
    half = saved(tmp_path / "half.safetensors", Transcriber("mini"), size="mini")
    half.write_bytes(half.read_bytes()[:5000])
    lone = saved(tmp_path / "lone.safetensors", Transcriber("mini"), size="mini")
    lone.with_suffix(".json").unlink()
    card = saved(tmp_path / "card.safetensors", Transcriber("mini"), size="mini")
    card.with_suffix(".json").write_text(json.dumps(["not a card"]))
    for path, words in (
        (foreign, "not written by this course"),
        (text, "damaged or not a safetensors"),
        (other, "system 'melody'"),
        (half, "damaged"),
        (lone, "no card"),
        (card, "not the card"),
        (tmp_path / "absent.safetensors", "no checkpoint"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            load_checkpoint(path)
        assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize("device", ["cuda", "mps", "tpu", ""])
def test_devices_that_are_not_there_are_named(tmp_path, monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    path = saved(tmp_path / "x.safetensors", Transcriber("mini"), size="mini")
    with pytest.raises(InputError, match=f"'{device}'"):
        load_checkpoint(path, device=device)
    for fine in ("auto", "cpu"):
        assert next(load_checkpoint(path, device=fine).parameters()).device.type == "cpu"


# ---- the shipped checkpoint ----


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Fifteen seconds of the band's test split on a computed piano, and their notes."""
    bank = procedural.draw_piano(np.random.default_rng(2026), sample_rate=RATE, seconds=4.0)
    share, piano.CORPUS_SHARE = piano.CORPUS_SHARE, 0.0
    try:
        sound, notes = piano._render_piece("test", 3, 0, 12.0, bank)
    finally:
        piano.CORPUS_SHARE = share
    path = tmp_path_factory.mktemp("played") / "test piece.wav"
    soundfile.write(path, sound, RATE)
    assert len(sound) == 15 * RATE and len(notes) > 40
    return path, notes


@needs_the_shipped_checkpoint
def test_the_shipped_checkpoint_hears_the_band(played, tmp_path):
    path, notes = played
    command = [
        sys.executable,
        "-m",
        "mircourse.cli",
        "run",
        "piano",
        path,
        "-o",
        tmp_path / "out",
        "--device",
        "cpu",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    midi = pretty_midi.PrettyMIDI(str(tmp_path / "out" / "test piece.mid"))
    (instrument,) = midi.instruments
    assert instrument.program == 0 and not instrument.is_drum
    from_midi = np.array([[note.start, note.end, note.pitch, note.velocity] for note in instrument.notes])
    from_table = read_notes(tmp_path / "out" / "test piece.notes.csv")
    assert len(from_midi) == len(from_table)
    for found in (from_midi[np.lexsort((from_midi[:, 2], from_midi[:, 0]))], from_table):
        scores = evaluate(notes, found)
        assert scores["note_f1"] >= 0.8, scores


@needs_the_shipped_checkpoint
def test_the_shipped_checkpoint_hears_no_seams(played):
    path, _ = played
    model = load_checkpoint("default", device="cpu")
    audio = np.tile(soundfile.read(path, dtype="float32")[0], 5)  # two seams
    whole, pieces = at_once(audio, model), joined(probabilities(cut(audio, 160_000), model))
    for head in ("onset", "frame"):
        # A trained network remembers a held note for longer than a block's margin, but hardly decides otherwise.
        assert np.abs(whole[head] - pieces[head]).mean() < 1e-3
    notes = [decode(h["onset"], h["frame"], h["velocity"], h["shift"]) for h in (whole, pieces)]
    assert evaluate(*notes)["note_f1"] > 0.98
    assert model.card["system"] == "piano" and model.card["size"] == "harmonic"

"""Checkpoints and cards: what is written comes back, and what cannot be used is refused in one sentence."""

import json

import pytest
import torch
from safetensors.torch import save_file

from mircourse.errors import InputError
from mircourse.training import checkpoints
from mircourse.training.cards import CardFields, card_markdown, machine, make_card
from mircourse.training.checkpoints import (
    add_scores,
    find_checkpoint,
    load_card,
    load_checkpoint,
    load_weights,
    packaged_checkpoints,
    save_checkpoint,
)


def small_model() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(3, 4, bias=False), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)
    )


def small_card(**changes):
    about = CardFields(
        "toy",
        "mini",
        data="three hours of bits",
        command="mircourse train toy",
        licences=("TimGM6mb, GPL-2",),
        settings={"threshold": 0.5},
    )
    return make_card(
        about,
        parameters=30,
        seed=4,
        steps=1200,
        minutes=2.345,
        scores={"band, test": {"note_f1": 0.91234567}},
    ) | {**changes}


@pytest.fixture
def saved(tmp_path):
    return save_checkpoint(tmp_path / "toy-mini.safetensors", small_model(), small_card())


def test_weights_come_back_in_float32_and_the_card_as_written(saved):
    model = small_model()
    state, card = load_checkpoint(saved, system="toy", size="mini")
    assert card == small_card()
    assert state["0.weight"].dtype == torch.float32
    torch.testing.assert_close(state["0.weight"], model.state_dict()["0.weight"], atol=1e-3, rtol=1e-3)
    # Vectors are not rounded, counters stay whole numbers.
    torch.testing.assert_close(state["2.bias"], model.state_dict()["2.bias"], atol=0, rtol=0)
    assert state["1.num_batches_tracked"].dtype == torch.int64
    other = small_model()
    assert load_weights(other, saved, system="toy") == card
    assert not list(saved.parent.glob(".*"))


def test_matrices_are_halved_except_those_that_half_precision_cannot_hold(tmp_path):
    weights = {"small": torch.randn(100, 100), "large": torch.full((2, 2), 1e6)}
    path = save_checkpoint(tmp_path / "a.safetensors", weights, small_card())
    assert path.stat().st_size < 21_000
    state, _ = load_checkpoint(path)
    torch.testing.assert_close(state["large"], weights["large"])
    exact = save_checkpoint(tmp_path / "b.safetensors", weights, small_card(), dtype="float32")
    torch.testing.assert_close(load_checkpoint(exact)[0]["small"], weights["small"], atol=0, rtol=0)


def test_tensors_that_share_memory_are_saved(tmp_path):
    block = torch.randn(4, 4)
    path = save_checkpoint(
        tmp_path / "views.safetensors", {"a": block[:2], "b": block[2:], "c": block}, small_card()
    )
    torch.testing.assert_close(load_checkpoint(path)[0]["b"], block[2:], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("length", [0, 4, 100, -10])
def test_a_truncated_checkpoint_is_refused(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(InputError, match="damaged or not a safetensors file"):
        load_checkpoint(saved)


def test_a_text_file_is_refused(tmp_path):
    path = tmp_path / "poem.safetensors"
    path.write_text("shall I compare thee to a summer's day?\n" * 20)
    with pytest.raises(InputError, match="damaged or not a safetensors file"):
        load_checkpoint(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="not written by this course"):
        load_checkpoint(path)


def test_a_later_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT_VERSION", 2)
    path = save_checkpoint(tmp_path / "later.safetensors", small_model(), small_card())
    monkeypatch.undo()
    with pytest.raises(InputError, match="update mircourse"):
        load_checkpoint(path)


def test_another_system_or_size_is_refused(saved):
    with pytest.raises(InputError, match="system 'toy', not 'piano'"):
        load_checkpoint(saved, system="piano")
    with pytest.raises(InputError, match="size 'mini', not 'paper'"):
        load_checkpoint(saved, system="toy", size="paper")


def test_weights_that_do_not_fit_are_refused(saved):
    with pytest.raises(InputError, match="do not fit Linear"):
        load_weights(torch.nn.Linear(3, 3), saved)


def test_weights_that_are_not_numbers_are_refused(tmp_path):
    path = save_checkpoint(
        tmp_path / "nan.safetensors", {"weight": torch.tensor([1.0, float("nan")])}, small_card()
    )
    with pytest.raises(InputError, match="not numbers"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "has no card"),
        (b"{", "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b"[1]", "not the card"),
        (b'{"system": "piano", "size": "mini"}', "belongs to another checkpoint"),
    ],
)
def test_a_card_that_cannot_be_used_is_refused(saved, content, sentence):
    card = saved.with_suffix(".json")
    card.unlink()
    if content is not None:
        card.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        load_checkpoint(saved)


def test_missing_files_and_wrong_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="There is no checkpoint file"):
        load_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="There is no checkpoint file"):
        load_checkpoint(tmp_path)
    with pytest.raises(InputError, match="ends in .safetensors"):
        save_checkpoint(tmp_path / "model.pt", small_model(), small_card())


def test_a_kill_between_card_and_weights_leaves_no_weights_without_a_card(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(checkpoints, "write_atomically", lambda path, data: written.append(path.suffix))
    save_checkpoint(tmp_path / "a.safetensors", small_model(), small_card())
    assert written == [".json", ".safetensors"]


def test_a_save_that_fails_leaves_the_old_checkpoint(saved, monkeypatch):
    before = saved.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match="No space left on device"):
        save_checkpoint(saved, torch.nn.Linear(2, 2), small_card())
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert not list(saved.parent.glob(".*"))
    load_checkpoint(saved)


def test_scores_of_band_and_recordings_stand_apart(saved):
    add_scores(saved, "real, Disklavier", {"note_f1": 0.8, "frame_f1": 0.7})
    card = load_card(saved)
    assert card["scores"] == {
        "band, test": {"note_f1": 0.91235},
        "real, Disklavier": {"note_f1": 0.8, "frame_f1": 0.7},
    }
    text = card_markdown(card)
    assert "| band, test | 0.912 | – |" in text
    assert "| real, Disklavier | 0.800 | 0.700 |" in text
    assert "`mircourse train toy`" in text and "TimGM6mb, GPL-2" in text


def test_a_card_names_the_machine_but_no_host_or_path():
    import socket

    text = json.dumps(machine())
    assert machine()["processor"] and machine()["cores"] >= 1 and machine()["torch"]
    assert socket.gethostname() not in text
    assert "/" not in text.replace(machine()["processor"], "")


def test_checkpoints_are_found_by_name_path_and_run_folder(saved, tmp_path):
    for name, path in packaged_checkpoints().items():
        assert find_checkpoint(name) == path
    assert find_checkpoint(str(saved)) == saved
    run = tmp_path / "run"
    save_checkpoint(run / "best.safetensors", small_model(), small_card())
    assert find_checkpoint(run) == run / "best.safetensors"
    with pytest.raises(InputError, match="There is no checkpoint nowhere"):
        find_checkpoint("nowhere")


def test_every_packaged_checkpoint_loads_and_stays_small():
    for path in packaged_checkpoints().values():
        state, card = load_checkpoint(path)
        assert state and card["scores"] and card["command"]
        assert path.stat().st_size <= 20_000_000

"""The training loop on a toy: echo the input of the step before, with a small GRU."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mircourse.errors import InputError
from mircourse.training.cards import CardFields
from mircourse.training.loop import TrainingPlan, train

ABOUT = CardFields("toy", "mini", data="random bits", command="none")


class Echo(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cells = torch.nn.GRU(2, 16, batch_first=True)
        self.dropout = torch.nn.Dropout(0.1)
        self.out = torch.nn.Linear(16, 2)

    def forward(self, x):
        return self.out(self.dropout(self.cells(x)[0]))


def toy() -> Echo:
    torch.manual_seed(3)
    return Echo()


def batches(start):
    step = start
    while True:
        bits = np.random.default_rng((5, step)).integers(0, 2, (8, 12, 2)).astype(np.float32)
        yield {"x": bits, "y": np.concatenate([np.zeros_like(bits[:, :1]), bits[:, :-1]], axis=1)}
        step += 1


def loss_function(model, batch):
    return torch.nn.functional.binary_cross_entropy_with_logits(model(batch["x"]), batch["y"])


def validate(model):
    batch = next(batches(10**6))
    right = (model(torch.as_tensor(batch["x"])) > 0) == (torch.as_tensor(batch["y"]) > 0.5)
    return {"score": right.float().mean().item()}


def plan(**changes) -> TrainingPlan:
    return TrainingPlan(
        **{"steps": 40, "learning_rate": 0.02, "device": "cpu", "progress": False, "validations": 4} | changes
    )


def test_it_learns_the_toy_and_leaves_a_checkpoint_with_a_card(tmp_path):
    result = train(toy(), loss_function, batches, plan(steps=200), validate=validate, folder=tmp_path, about=ABOUT)
    assert result.losses.shape == (200,)
    assert result.losses[-20:].mean() < 0.1 < result.losses[:5].mean()
    assert validate(result.model)["score"] == 1.0
    assert [entry["step"] for entry in result.validations] == [50, 100, 150, 200]
    assert result.checkpoint and result.checkpoint.exists()
    assert result.card["steps"] == 200 and result.card["minutes"] >= 0
    assert result.card["scores"]["band, validation"]["score"] == 1.0

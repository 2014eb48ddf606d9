"""What the onset gate and the connection are worth: the same budget with and without them, several seeds.

    python benchmarks/key_finding.py --family harmonic --steps 300 --seeds 0 1 2 --folder runs/

trains the frame-only network and Onsets and Frames of a family, and scores three readings on the band's test
split: frame-only (runs of frames above the threshold that validation chose), Onsets and Frames without its gate
(runs of its own frame head, threshold chosen the same way) and Onsets and Frames. Runs are kept in the folder and
taken up again after an interruption.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from mircourse.datasets.piano import items
from mircourse.piano.decoding import decode, decode_frames
from mircourse.piano.evaluation import evaluate, mean_metrics
from mircourse.piano.training import train_piano
from mircourse.piano.transcribe import read_heads

METRICS = ("note_f1", "note_offset_f1", "frame_f1")
SECONDS = 40.0


@torch.inference_mode()
def heads_of(model, split, count):
    """What the heads say of the first seconds of some pieces, and the reference notes."""
    heard = []
    for item in items(split)[:count]:
        notes = item.notes()
        notes = notes[notes[:, 0] < SECONDS - 0.1]
        notes[:, 1] = np.minimum(notes[:, 1], SECONDS)  # what the excerpt does not hold nobody can hear
        logits = model(torch.from_numpy(item.audio(0.0, SECONDS))[None])
        heads = {name: values[0].numpy() for name, values in read_heads(logits).items()}
        heard.append((heads, notes))
    return heard


def score(heard, read):
    """Mean scores of a way of reading heads."""
    return mean_metrics([evaluate(notes, read(heads)) for heads, notes in heard])


def by_runs(model):
    """Read runs of frames above the threshold that is best on validation pieces."""
    validation = heads_of(model, "validation", 9)
    thresholds = np.arange(0.15, 0.9, 0.05)
    scores = [score(validation, lambda h, t=t: decode_frames(h["frame"], threshold=t))["note_f1"] for t in thresholds]
    best = float(thresholds[int(np.argmax(scores))])
    return lambda heads: decode_frames(heads["frame"], threshold=best)


def main():
    """Train, score, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=("harmonic", "mini"), default="harmonic")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows: dict[str, list[dict[str, float]]] = {"frame-only": [], "no gate": [], "Onsets and Frames": []}
    for seed in arguments.seeds:
        budget = {"steps": arguments.steps, "seed": seed, "device": "cpu", "validations": 1}
        size = arguments.family
        only = train_piano(f"frames-{size}", folder=arguments.folder / f"frames-{size}-{seed}", **budget).model.eval()
        full = train_piano(size, folder=arguments.folder / f"{size}-{seed}", **budget).model.eval()
        heard = heads_of(full, "test", 9)
        rows["frame-only"].append(score(heads_of(only, "test", 9), by_runs(only)))
        rows["no gate"].append(score(heard, by_runs(full)))
        gated = score(heard, lambda h: decode(h["onset"], h["frame"], h["velocity"], h.get("shift")))
        rows["Onsets and Frames"].append(gated)
        for name, scores in rows.items():
            print(seed, name, {metric: round(scores[-1][metric], 4) for metric in METRICS}, flush=True)
    print(f"\n{'':20}" + "".join(f"{metric:>24}" for metric in METRICS))
    for name, scores in rows.items():
        cells = [[one[metric] for one in scores] for metric in METRICS]
        print(f"{name:20}" + "".join(f"{np.mean(c):>16.3f} ± {np.std(c):.3f}" for c in cells))
    (arguments.folder / f"key_finding_{arguments.family}.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

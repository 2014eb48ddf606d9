"""The scores that the band plays: what a piece keeps of its score, and that splits and cache are stable."""

import numpy as np
import pytest

from mircourse.band import accompaniment, corpus
from mircourse.band.score import condense, regular_bars
from mircourse.errors import InputError

CHORALE = corpus.Source("bach/bwv66.6", "chorale", "bach/bwv66.6.mxl")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MIRCOURSE_HOME", str(tmp_path))
    return tmp_path


def sources(*names: str) -> tuple[corpus.Source, ...]:
    return tuple(source for source in corpus._sources() if source.name in names)


def assert_playable(notes: np.ndarray) -> None:
    assert np.array_equal(np.lexsort((notes[:, 2], notes[:, 0])), np.arange(len(notes)))
    assert ((notes[:, 2] >= 21) & (notes[:, 2] <= 108)).all()
    assert (notes[:, 0] >= 0).all() and (notes[:, 1] > 0).all()
    for pitch in np.unique(notes[:, 2]):
        key = notes[notes[:, 2] == pitch]
        assert (key[:-1, 0] + key[:-1, 1] <= key[1:, 0] + 1e-6).all(), (
            f"key {pitch} is struck while it is held"
        )


def test_a_chorale_keeps_its_voices_bars_and_fermatas():
    piece = corpus.read_source(CHORALE)
    assert_playable(piece.notes)
    assert piece.length == 36.0
    assert piece.metres.tolist() == [[0.0, 4.0, 4.0]]
    assert piece.bars[:3].tolist() == [0.0, 1.0, 5.0]  # a pick-up of one quarter
    assert piece.hands.tolist() == [0, 0, 1, 1]
    assert len(piece.fermatas) == 6
    soprano = piece.notes[piece.notes[:, 3] == 0]
    # C#5 B4 A4 B4: the soprano's first notes in the score.
    assert soprano[:4, 2].tolist() == [73, 71, 69, 71]
    assert soprano[:4, 0].tolist() == [0.0, 0.5, 1.0, 2.0]


def test_ties_are_merged_and_graces_and_ornaments_written_out():
    from music21 import expressions, meter, note, stream, tie

    measure = stream.Measure([meter.TimeSignature("4/4")])
    for pitch, kind in (("C4", "start"), ("C4", "stop"), ("E4", None), ("G4", None)):
        item = note.Note(pitch, quarterLength=1)
        item.tie = tie.Tie(kind) if kind else None
        if pitch == "E4":
            item.expressions.append(expressions.Trill())
        if pitch == "G4":
            measure.append(note.Note("F4", quarterLength=0.5).getGrace())
        measure.append(item)

    from mircourse.band.score_reading import GRACE, read_piece

    notes = read_piece(stream.Score([stream.Part([measure])]), "made/up", "piano").notes
    assert notes[0, :3].tolist() == [0.0, 2.0, 60.0]
    trill = notes[(notes[:, 0] >= 2) & (notes[:, 0] < 3 - GRACE)]
    assert trill[:, 2].tolist() == [64, 65, 64, 65, 64, 65, 64]
    grace = notes[notes[:, 0] == 3.0 - GRACE]
    assert 65.0 in grace[:, 2]
    assert notes[-1, :3].tolist() == [3.0, 1.0, 67.0]


def test_a_tune_gets_a_left_hand_below_it():
    (source,) = sources(corpus.names(kinds="folk")[0])
    piece = corpus.read_source(source)
    assert_playable(piece.notes)
    right, left = piece.notes[piece.hand == 0], piece.notes[piece.hand == 1]
    assert len(left) > len(piece.bars)
    assert left[:, 2].mean() < right[:, 2].mean() - 7
    again = corpus.read_source(source)
    assert np.array_equal(piece.notes, again.notes)


@pytest.mark.parametrize(("tonic", "fifths", "roots"), [(0, 0, [0, 5, 7, 0]), (9, 0, [9, 2, 4, 9])])
def test_harmonise_finds_the_cadence_that_a_tune_spells(tonic, fifths, roots):
    minor = tonic == 9
    triads = [[(root - tonic) % 12 + step for step in (0, 3 if minor else 4, 7)] for root in roots]
    if minor:
        triads[2][1] += 1  # the dominant keeps its leading note
    tune = np.array(
        [
            [4 * bar + beat, 1.0, 60 + tonic + tones[(0, 1, 2, 0)[beat]]]
            for bar, tones in enumerate(triads)
            for beat in range(4)
        ]
    )
    chords = accompaniment.harmonise(
        tune, np.arange(4) * 4.0, tonic=tonic, fifths=fifths, numerator=4, denominator=4
    )
    assert [chord.root for chord in chords] == [root for root in roots for _ in range(2)]


@pytest.mark.parametrize("metre", [(2, 4), (4, 4), (3, 4), (6, 8), (9, 8), (3, 8)])
def test_every_figure_stays_inside_its_chord(metre):
    numerator, denominator = metre
    bar = 4.0 * numerator / denominator
    tune = np.array([[0.0, bar, 72.0], [bar, bar, 67.0], [2 * bar, bar / 2, 72.0]])
    chords = accompaniment.harmonise(
        tune, np.arange(3) * bar, tonic=0, fifths=0, numerator=numerator, denominator=denominator
    )
    _, family = accompaniment.pulse_of(numerator, denominator)
    for figure in accompaniment.FIGURES[family]:
        notes = accompaniment.accompany(chords, numerator=numerator, denominator=denominator, figure=figure)
        assert len(notes)
        for chord in chords:
            inside = (notes[:, 0] >= chord.start - 1e-9) & (notes[:, 0] < chord.end - 1e-9)
            assert set(notes[inside, 2].astype(int) % 12) <= set(chord.pitch_classes), figure
            assert (notes[inside, 0] + notes[inside, 1] <= chord.end + 1e-9).all(), figure


def test_condense_shares_strokes_and_lets_go_before_striking_again():
    notes = condense(
        np.array([[0, 4, 60, 1], [0, 2, 60, 0], [3, 2, 60, 2], [1, 1, 20, 0], [1, 0, 64, 0], [1, 1, 64, 3]])
    )
    assert notes.tolist() == [[0, 3, 60, 0], [1, 1, 64, 3], [3, 2, 60, 2]]


def test_bars_cut_by_a_repeat_sign_are_joined():
    bars = np.array([0.0, 0.5, 2.5, 4.0, 4.5])
    assert regular_bars(bars, 6.5, np.array([[0.0, 2.0, 4.0]])).tolist() == [0.0, 0.5, 2.5, 4.5]


def test_an_excerpt_starts_at_zero_and_ends_with_its_last_bar():
    piece = corpus.read_source(CHORALE)
    excerpt = piece.excerpt(1, 3)
    assert excerpt.bars.tolist() == [0.0, 4.0]
    assert excerpt.length <= 8.0
    inside = (piece.notes[:, 0] >= 1.0) & (piece.notes[:, 0] < 9.0)
    assert np.array_equal(excerpt.notes[:, 2], piece.notes[inside, 2])
    assert excerpt.metres.tolist() == [[0.0, 4.0, 4.0]]
    with pytest.raises(InputError, match="has the bars 0 to 10"):
        piece.excerpt(3, 3)


def test_the_split_is_by_name_and_about_80_10_10():
    names = corpus.names()
    assert len(names) == len(set(names))
    assert not any(name.startswith("essen") for name in names)
    shares = [len(corpus.names(split)) / len(names) for split in corpus.SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.05)
    assert sum(len(corpus.names(split)) for split in corpus.SPLITS) == len(names)
    # These do not move when the list grows: trained checkpoints rely on it.
    assert [corpus.split_of(name) for name in ("bach/bwv66.6", "joplin/maple_leaf_rag")] == ["train", "test"]


def test_pieces_come_from_the_cache_the_second_time(home, monkeypatch):
    first = corpus.pieces(kinds=["song"], limit=2, workers=1, progress=False)
    assert [piece.kind for piece in first] == ["song", "song"]

    def must_not_run(*_):
        raise AssertionError("a score was read although it is in the cache")

    monkeypatch.setattr(corpus, "read_source", must_not_run)
    again = corpus.pieces(kinds=["song"], limit=2, workers=1, progress=False)
    for one, two in zip(first, again, strict=True):
        assert one.name == two.name
        assert np.array_equal(one.notes, two.notes)


def test_a_torn_cache_file_is_read_again(home):
    batch = sources("schumann_robert/opus48no2")
    corpus.build([batch], workers=1, progress=False)
    file = corpus._file(batch)
    file.write_bytes(file.read_bytes()[:200])
    corpus.build([batch], workers=1, progress=False)
    assert [piece.name for piece in corpus._load(file, {batch[0].name})] == [batch[0].name]


@pytest.mark.parametrize("ask", [{"split": "training"}, {"kinds": "opera"}])
def test_what_does_not_exist_is_named(ask):
    with pytest.raises(InputError, match="choose"):
        corpus.names(**ask)

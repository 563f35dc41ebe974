"""FAST words: there and back, fitted or published, and what is done with words that make no sense."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tokenizers import ByteLevelBPETokenizer
from tokenizers.trainers import BpeTrainer

from vst_vla.vla.heads.fast_codec import FastCodec

RNG = np.random.default_rng(0)
CHUNKS = np.sin(RNG.uniform(0, 6, (300, 1, 7)) + np.arange(8)[:, None] / 4).astype(np.float32)


@pytest.fixture(scope="module")
def codec() -> FastCodec:
    return FastCodec.fit(CHUNKS, num_words=400, scale=10.0)


def test_chunks_come_back_within_the_rounding_in_fewer_words(codec: FastCodec) -> None:
    words = codec.encode(CHUNKS)
    back = np.stack([codec.decode(row, chunk=8, action_dim=7) for row in words])
    assert np.abs(back - CHUNKS).max() < 0.5 / 10 * np.sqrt(8) + 1e-6, "each of 8 coefficients is off by at most 0.05"
    assert np.abs(back - CHUNKS).mean() < 0.04
    assert np.mean([len(row) for row in words]) < 0.6 * 8 * 7
    assert max(max(row) for row in words) < codec.num_words <= 400


def test_a_larger_scale_is_finer() -> None:
    fine = FastCodec.fit(CHUNKS[:50], num_words=400, scale=100.0)
    back = fine.decode(fine.encode(CHUNKS[:1])[0], chunk=8, action_dim=7)
    assert np.abs(back - CHUNKS[0]).max() < 0.005 * np.sqrt(8) + 1e-6


def test_what_was_never_seen_can_still_be_written(codec: FastCodec) -> None:
    wild = np.full((1, 8, 7), 3.0, np.float32)
    back = codec.decode(codec.encode(wild)[0], chunk=8, action_dim=7)
    assert np.abs(back - 3.0).max() < 0.15


def test_it_travels_in_a_folder(codec: FastCodec, tmp_path: Path) -> None:
    codec.save(tmp_path / "words")
    again = FastCodec.load(tmp_path / "words")
    assert again.encode(CHUNKS) == codec.encode(CHUNKS)
    assert (again.scale, again.offset, again.num_words) == (codec.scale, codec.offset, codec.num_words)


def test_the_same_chunks_make_the_same_words(codec: FastCodec) -> None:
    assert FastCodec.fit(CHUNKS, num_words=400, scale=10.0).merges.to_str() == codec.merges.to_str()


def test_a_folder_in_the_published_format_is_read(tmp_path: Path) -> None:
    """Written as the published processor writes its own: byte-level BPE, `min_token`, chr(coefficient - min_token)."""
    from scipy.fft import dct, idct

    coefficients = np.around(dct(CHUNKS, axis=1, norm="ortho") * 10)
    lowest = int(coefficients.min())
    texts = ["".join(map(chr, (chunk.flatten() - lowest).astype(int))) for chunk in coefficients]
    theirs = ByteLevelBPETokenizer()
    letters = [chr(i) for i in range(int(coefficients.max()) - lowest + 1)]
    trainer = BpeTrainer(vocab_size=600, initial_alphabet=letters, max_token_length=10000, show_progress=False)
    theirs._tokenizer.train_from_iterator(texts, trainer=trainer)
    theirs._tokenizer.save(str(tmp_path / "tokenizer.json"))
    settings = {"scale": 10, "min_token": lowest, "vocab_size": 600, "action_dim": None, "time_horizon": None}
    (tmp_path / "processor_config.json").write_text(json.dumps(settings))
    codec = FastCodec.load(tmp_path)
    assert codec.encode(CHUNKS[:3]) == [theirs.encode(text).ids for text in texts[:3]]
    back = codec.decode(theirs.encode(texts[0]).ids, chunk=8, action_dim=7)
    np.testing.assert_allclose(back, idct(coefficients[0] / 10, axis=0, norm="ortho"), atol=1e-5)


@pytest.mark.parametrize("words", [[], [3], list(range(256)), [0] * 200])
def test_senseless_words_make_a_finite_chunk(codec: FastCodec, words: list[int]) -> None:
    chunk = codec.decode(words, chunk=8, action_dim=7)
    assert chunk.shape == (8, 7)
    assert np.isfinite(chunk).all()


def test_bad_tokenizers_are_one_line(
    codec: FastCodec, tmp_path: Path, head_batches: ModuleType, robot_folder: Path
) -> None:
    with pytest.raises(ValueError, match="num_words of head fast is 100, expected at least 256"):
        FastCodec.fit(CHUNKS, num_words=100, scale=10.0)
    with pytest.raises(ValueError, match=r"no action tokenizer at .*tokenizer.json is missing"):
        FastCodec.load(tmp_path / "nowhere")
    codec.save(tmp_path / "words")
    head = {"name": "fast", "chunk": 8, "num_words": 300, "tokenizer": str(tmp_path / "words")}
    with pytest.raises(ValueError, match=r"has \d+ words, head fast has room for 300: set head.num_words="):
        head_batches.make_model(robot_folder, head)
    (tmp_path / "words" / "processor_config.json").write_text("{}")
    with pytest.raises(ValueError, match="has no 'scale', expected FAST's settings"):
        FastCodec.load(tmp_path / "words")

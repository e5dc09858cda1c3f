# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Frames of speech: against explicit formulas, and from folders of good and bad recordings."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastntk import datasets
from fastntk._support import memory
from fastntk.datasets import filterbank, speech

soundfile: Any = pytest.importorskip(
    "soundfile", reason="soundfile, of the extra 'data', is not installed"
)
RATE, SYSTEM_SPEECH = 16000, speech.SYSTEM_SPEECH
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTNTK_DATA", str(tmp_path / "own"))
    monkeypatch.setattr(speech, "SYSTEM_SPEECH", tmp_path / "system")


def record(path: str, seconds: float = 0.5, rate: int = RATE, **how: Any) -> np.ndarray[Any, Any]:
    """Write noise of 16 bits, and return what a reader should find."""
    sound = RNG.integers(-8000, 8000, round(seconds * rate)) / 2**15
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate, **how)
    return sound


def explicit(sound: np.ndarray[Any, Any], frame: int, band: int, rate: int, top: float) -> float:
    """Return one log-mel energy by its definition, sum by sum."""
    width, step = round(0.025 * rate), round(0.01 * rate)
    length = next(2**k for k in range(20) if 2**k >= width)
    piece = sound[frame * step : frame * step + width]
    window = np.array([math.sin(math.pi * t / width) ** 2 for t in range(width)])

    def mel(hertz: float) -> float:
        return 1127.010480 * math.log(1 + hertz / 700)

    edges = [mel(20) + k * (mel(top) - mel(20)) / 33 for k in range(34)]
    energy = 0.0
    for k in range(length // 2 + 1):
        pitch = mel(k * rate / length)
        low, middle, high = edges[band : band + 3]
        weight = max(0.0, min((pitch - low) / (middle - low), (high - pitch) / (high - middle)))
        if weight:
            turns = np.exp(-2j * np.pi * k * np.arange(width) / length)
            energy += weight * abs(complex(np.sum(piece * window * turns))) ** 2 / width
    return math.log(max(energy, 1e-10))


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_energies_are_those_of_the_definition(rate: int) -> None:
    sound = RNG.uniform(-0.5, 0.5, rate // 5)
    top = min(8000.0, rate / 2)
    found = filterbank.log_mel(sound, rate, top, 32)
    assert found.shape == (filterbank.frames_of(len(sound), rate), 32)
    assert len(found) == 1 + (len(sound) - round(0.025 * rate)) // round(0.01 * rate)
    for frame, band in ((0, 0), (0, 31), (3, 7), (len(found) - 1, 20)):
        expected = explicit(sound, frame, band, rate, top)
        assert found[frame, band] == pytest.approx(expected, abs=2e-6)


def test_every_band_has_a_frequency_of_the_transform() -> None:
    for rate in (8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000):
        bank = filterbank.filters(rate, min(8000.0, rate / 2), 32)
        assert (bank.max(axis=1) > 0.1).all()


def test_long_sound_is_transformed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = RNG.uniform(-0.5, 0.5, RATE)
    whole = filterbank.log_mel(sound, RATE, 8000.0, 32)
    monkeypatch.setattr(filterbank, "_FRAMES", 7)
    assert filterbank.log_mel(sound, RATE, 8000.0, 32).tobytes() == whole.tobytes()


def test_silence_and_short_sound_have_numbers_or_none() -> None:
    assert (filterbank.log_mel(np.zeros(800), RATE, 8000.0, 32) == math.log(1e-10)).all()
    assert filterbank.log_mel(np.zeros(399), RATE, 8000.0, 32).shape == (0, 32)


@pytest.mark.parametrize("hop", [None, 3, 5])
def test_frames_are_side_by_side(hop: int | None) -> None:
    sounds = {
        name: record(f"talk/{name}", seconds) for name, seconds in (("b.wav", 0.6), ("a.flac", 0.4))
    }
    found = datasets.load("talk", hop=hop, preprocessing="raw")
    rows, files = [], []
    for label, name in enumerate(("a.flac", "b.wav")):
        energies = filterbank.log_mel(sounds[name], RATE, 8000.0, 32)
        for first in range(0, len(energies) - 23, hop or 3):
            rows.append(energies[first : first + 24].ravel())
            files.append(label)
    assert found.X.tobytes() == np.array(rows).tobytes()
    assert found.y is not None
    assert found.y.tolist() == files
    assert found.label_names == ("a.flac", "b.wav")
    assert found.sample_shape == (24, 32)
    assert found.name == "talk"
    assert "unpublished" in found.description
    few = datasets.load("talk", hop=hop, preprocessing="raw", n=5)
    assert few.X.tobytes() == found.X[:5].tobytes()
    with pytest.raises(ValueError, match=rf"n=1000: expected at most the {len(rows)} samples"):
        datasets.load("talk", hop=hop, n=1000)
    usual = datasets.load("talk", hop=hop)
    np.testing.assert_allclose(usual.X.std(axis=0), 1.0, rtol=1e-12)
    assert datasets.load_file("talk").X.shape == (len(datasets.load("talk").X), 768)


def test_labels_are_folders_where_there_are_several() -> None:
    for name in ("anna/1/x.wav", "anna/2/y.wav", "bela/z.WAV"):
        record(f"talk/{name}", 0.3, format="WAV")
    Path("talk/notes.txt").write_text("what was said")
    found = datasets.load("talk")
    assert found.label_names == ("anna", "bela")
    assert found.y is not None
    assert np.unique(found.y, return_counts=True)[1].tolist() == [4, 2]


def test_channels_are_averaged_and_rates_may_differ() -> None:
    left, right = RNG.integers(-8000, 8000, (2, RATE // 2)) / 2**15
    Path("talk").mkdir()
    soundfile.write("talk/a.wav", np.c_[left, right], RATE)
    found = datasets.load("talk", preprocessing="raw")
    expected = filterbank.log_mel((left + right) / 2, RATE, 8000.0, 32)
    assert found.X[0].tobytes() == expected[:24].tobytes()
    record("talk/b.wav", rate=8000)
    found = datasets.load("talk", preprocessing="raw")
    expected = filterbank.log_mel((left + right) / 2, RATE, 4000.0, 32)
    assert found.X[0].tobytes() == expected[:24].tobytes()
    assert "from 20 to 4000 Hz" in found.description


def test_bands_end_at_8000_hz() -> None:
    record("talk/a.wav", rate=44100)
    assert "from 20 to 8000 Hz" in datasets.load("talk").description


def test_the_data_set_speech() -> None:
    with pytest.raises(FileNotFoundError, match=r"name='speech': .*pocketsphinx-testdata.*unpubl"):
        datasets.load("speech")
    record("system/a.wav")
    assert "system" in datasets.load("speech").description
    record("own/speech/a.wav", 0.7)
    found = datasets.load("speech")
    assert found.name == "speech"
    assert found.X.shape == (1 + (68 - 24) // 3, 768)
    assert "own/speech" in found.description
    with pytest.raises(ValueError, match=r"label=1: expected None for a folder of audio"):
        datasets.load("speech", label=1)


@pytest.mark.skipif(
    not SYSTEM_SPEECH.is_dir(), reason="the Debian package pocketsphinx-testdata is not installed"
)
def test_the_recordings_of_debian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "SYSTEM_SPEECH", SYSTEM_SPEECH)
    found = datasets.load("speech")
    assert found.X.shape == (786, 768)
    assert len(found.label_names) == 5
    assert not datasets.near_duplicates(found, k=1).repeated


def damaged(name: str) -> None:
    record(f"talk/{name}", 1.0)
    whole = Path(f"talk/{name}").read_bytes()
    Path(f"talk/{name}").write_bytes(whole[: len(whole) // 2])


def test_recordings_that_cannot_be_read() -> None:
    Path("talk").mkdir()
    with pytest.raises(ValueError, match=r"name='talk': expected a folder with audio files"):
        datasets.load("talk")
    record("talk/a.wav", 0.2)
    with pytest.raises(ValueError, match=r"name='talk': expected recordings of at least 24 frames"):
        datasets.load("talk")
    Path("talk/a.wav").write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"talk/a\.wav: cannot be read as audio"):
        datasets.load("talk")
    Path("talk/a.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"talk/a\.wav: cannot be read as audio"):
        datasets.load("talk")
    record("talk/a.wav", 1.0, rate=7999)
    with pytest.raises(ValueError, match=r"talk/a\.wav: has 7999 samples of sound a second"):
        datasets.load("talk")
    sound = np.zeros(RATE)
    sound[100] = np.nan
    soundfile.write("talk/a.wav", sound, RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"talk/a\.wav: has sound that is not finite"):
        datasets.load("talk")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.au"])
def test_recordings_that_are_cut_off(name: str) -> None:
    damaged(name)
    with pytest.raises(ValueError, match=rf"talk/{name}: (is cut off|cannot be read as audio)"):
        datasets.load("talk")


def test_a_recording_of_a_stream_does_not_know_its_length() -> None:
    record("talk/a.wav", 1.0)
    content = bytearray(Path("talk/a.wav").read_bytes())
    content[4:8] = b"\xff\xff\xff\xff"
    Path("talk/a.wav").write_bytes(content)
    assert len(datasets.load("talk").X) == 1 + (98 - 24) // 3


def test_recordings_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    record("talk/a.wav", 5.0)
    monkeypatch.setattr(memory, "available_memory", lambda: 10**6)
    with pytest.raises(MemoryError, match=r"name='talk': \d+ samples of 768 features needs .*n=…"):
        datasets.load("talk")
    with pytest.raises(MemoryError, match=r"the sound of talk/a\.wav needs .*shorter files"):
        datasets.load("talk", n=2)


def test_folders_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    record("talk/a.wav")

    def refuse(path: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)  # root may read everything
    with pytest.raises(PermissionError, match=r"name: Permission denied: 'talk'"):
        datasets.load("talk")
    monkeypatch.setenv("FASTNTK_DATA", "own")
    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(PermissionError, match=r"name='speech', in \$FASTNTK_DATA: Permission den"):
        datasets.load("speech")


def test_speech_without_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    record("talk/a.wav")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ModuleNotFoundError, match=r"a folder of audio needs soundfile.*\[data\]"):
        datasets.load("talk")

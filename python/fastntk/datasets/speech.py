# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Frames of speech: log-mel energies of any folder of audio, several frames side by side.

This stands in for the 768 features of LibriSpeech that the paper has, which are unpublished: the
dimension is the same, and the speech is real, but they are not the paper's numbers.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastntk._support.memory import require_memory
from fastntk.datasets import filterbank
from fastntk.datasets.contents import opened
from fastntk.datasets.dataset import RawSamples
from fastntk.datasets.optional import library
from fastntk.datasets.sources import DATA_VARIABLE, data_folder

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray
    from fastntk.datasets.options import ReadOptions

BANDS, STACKED, HOP = 32, 24, 3

# Speech has little above that, and LibriSpeech nothing.
_HIGHEST = 8000.0

# Below that, bands would lie between the frequencies of the transform.
_LOWEST_RATE = 8000

# What a length that is not known is at least, with what it is of.
_UNKNOWN = 2**32 - 1

_ENDINGS = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".au")

# The recordings of Debian's pocketsphinx-testdata that are read speech, of LibriVox.
SYSTEM_SPEECH = Path("/usr/share/pocketsphinx/test/data/librivox")


class _Recording(NamedTuple):
    path: Path
    rate: int
    channels: int
    length: int

    def frames(self) -> int:
        return filterbank.frames_of(self.length, self.rate)


def read_speech(options: ReadOptions) -> RawSamples:
    """Return the frames of the user's folder of speech, or else of Debian's recordings."""
    own = data_folder()
    for folder in (*([] if own is None else [own / "speech"]), SYSTEM_SPEECH):
        try:
            there = folder.is_dir()
        except OSError as error:  # on the way there is a folder that may not be entered
            error.strerror = f"name='speech', in ${DATA_VARIABLE}: {error.strerror}"
            raise
        if there:
            return read_folder(folder, options, "speech")
    raise FileNotFoundError(
        f"name='speech': no folder of audio is there: expected one as name, or one at "
        f"${DATA_VARIABLE}/speech; or install the Debian package pocketsphinx-testdata. "
        "The paper's own features of LibriSpeech are unpublished"
    )


def read_folder(folder: Path, options: ReadOptions, name: str = "") -> RawSamples:
    """Return the frames of all audio in a folder and in those below it, by their paths."""
    options.require_only(("hop",), "a folder of audio")
    hop = HOP if options.hop is None else options.hop
    soundfile = library("soundfile", "a folder of audio")
    recordings = [
        _described(path, options.argument, soundfile) for path in _audio(folder, options.argument)
    ]
    counts = [max(0, 1 + (each.frames() - STACKED) // hop) for each in recordings]
    total = sum(counts)
    if total == 0:
        raise ValueError(
            f"{options.argument}={str(folder)!r}: expected recordings of at least {STACKED} frames "
            f"of {1000 * filterbank.STEP:g} ms"
        )
    wanted = total if options.n is None else min(total, options.n)
    require_memory(
        3 * 8 * wanted * BANDS * STACKED,
        f"{options.argument}={str(folder)!r}: {wanted} samples of {BANDS * STACKED} features",
        "take fewer with n=…, or a larger hop",
    )
    highest = min(_HIGHEST, min(each.rate for each in recordings) / 2)
    groups, group_names = _groups(folder, [each.path for each in recordings])
    values, labels = np.empty((wanted, BANDS * STACKED)), np.empty(wanted, dtype=np.int64)
    first = 0
    for recording, count, group in zip(recordings, counts, groups, strict=True):
        rows = slice(first, min(wanted, first + count))
        if rows.stop > rows.start:
            sound = _sound(recording, options.argument, soundfile)
            energies = filterbank.log_mel(sound, recording.rate, highest, BANDS)
            values[rows] = _stacked(energies, hop)[: rows.stop - rows.start]
            labels[rows] = group
        first = rows.stop
    return RawSamples(
        name=name or folder.resolve().name,
        values=values,
        labels=labels,
        source=f"log-mel energies of {len(recordings)} recordings in {folder}: {BANDS} bands from "
        f"{filterbank.LOWEST:g} to {highest:g} Hz, {STACKED} frames of 10 ms side by side, one "
        f"sample for each {hop} frames; labels by folder or file. A stand-in: the paper's features "
        "of LibriSpeech are unpublished",
        usual="standardized",
        licence="that of the recordings (those of Debian's pocketsphinx-testdata: BSD-2)",
        label_names=group_names,
        sample_shape=(STACKED, BANDS),
    )


def _audio(folder: Path, argument: str) -> list[Path]:
    """Return the audio files below a folder, in the order of their paths."""

    def refuse(error: OSError) -> None:
        error.strerror = f"{argument}: {error.strerror}"
        raise error

    paths = [
        Path(where) / name
        for where, _, names in os.walk(folder, onerror=refuse)
        for name in names
        if name.lower().endswith(_ENDINGS)
    ]
    if not paths:
        raise ValueError(
            f"{argument}={str(folder)!r}: expected a folder with audio files "
            f"({', '.join(_ENDINGS)}), found none"
        )
    return sorted(paths)


def _described(path: Path, argument: str, soundfile: Any) -> _Recording:
    """Return what the header of a file says, without the sound."""
    with opened(path, argument) as stream:
        _require_whole(stream, path)
        try:
            with soundfile.SoundFile(stream) as sound:
                found = _Recording(path, sound.samplerate, sound.channels, len(sound))
        except (soundfile.LibsndfileError, TypeError) as error:
            raise ValueError(f"{path}: cannot be read as audio: {error}") from error
    if found.rate < _LOWEST_RATE:
        raise ValueError(
            f"{path}: has {found.rate} samples of sound a second: expected at least {_LOWEST_RATE}"
        )
    return found


def _require_whole(stream: Any, path: Path) -> None:
    """Raise ValueError for a file of WAV, AIFF or AU that is shorter than it says.

    Of these libsndfile reads what is there. Who writes a stream does not know its length, and says
    0 or the largest number.
    """
    head, size = stream.read(12), os.fstat(stream.fileno()).st_size
    stream.seek(0)
    kind, words = head[:4], head[4:].ljust(8, b"\0")
    if kind == b"RIFF":
        stated = struct.unpack("<I", words[:4])[0] + 8
    elif kind == b"FORM":
        stated = struct.unpack(">I", words[:4])[0] + 8
    elif kind == b".snd":
        stated = sum(struct.unpack(">2I", words))
    else:
        return
    # Some leave out the last byte, which only makes the length even.
    if size + 1 < stated < _UNKNOWN:
        raise ValueError(f"{path}: is cut off: it has {size} bytes, and should have {stated}")


def _sound(recording: _Recording, argument: str, soundfile: Any) -> FloatArray:
    """Return the mean of the channels of a recording."""
    require_memory(
        2 * 8 * recording.length * recording.channels,
        f"{argument}: the sound of {recording.path}",
        "cut it into shorter files",
    )
    with opened(recording.path, argument) as stream:
        try:
            sound, _ = soundfile.read(stream, dtype="float64", always_2d=True)
        except (soundfile.LibsndfileError, TypeError) as error:
            raise ValueError(f"{recording.path}: cannot be read as audio: {error}") from error
    if len(sound) != recording.length:
        raise ValueError(
            f"{recording.path}: is cut off: it has {len(sound)} of the {recording.length} samples "
            "of sound that it should have"
        )
    mean: FloatArray = sound.mean(axis=1)
    if not np.isfinite(mean).all():
        raise ValueError(f"{recording.path}: has sound that is not finite: expected numbers")
    return mean


def _stacked(energies: FloatArray, hop: int) -> FloatArray:
    """Return each `hop`-th run of frames as one row, the frames one after the other."""
    runs = np.lib.stride_tricks.sliding_window_view(energies, STACKED, axis=0)[::hop]
    return runs.transpose(0, 2, 1).reshape(len(runs), -1)


def _groups(folder: Path, paths: list[Path]) -> tuple[list[int], tuple[str, ...]]:
    """Return the label of each file, and what the labels are: folders if there are several."""
    relative = [path.relative_to(folder) for path in paths]
    folders = [each.parts[0] if len(each.parts) > 1 else "." for each in relative]
    names = sorted(set(folders))
    if len(names) == 1:
        return list(range(len(paths))), tuple(each.as_posix() for each in relative)
    return [names.index(each) for each in folders], tuple(names)

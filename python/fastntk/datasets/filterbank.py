# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Logarithms of the energy of sound in bands of the mel scale, one row for each 10 ms."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray

# The usual ones of speech recognition: windows of 25 ms, one each 10 ms, from 20 Hz up.
WINDOW, STEP, LOWEST = 0.025, 0.010, 20.0

# Sound has samples in [−1, 1]: this is far below what 16 bits can hold, and stands for silence.
_FLOOR = 1e-10

# Frames that are transformed at a time.
_FRAMES = 2048


def mel(hertz: FloatArray) -> FloatArray:
    """Return the pitch of frequencies on the scale of HTK."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0))


@functools.lru_cache(maxsize=4)
def filters(rate: int, highest: float, bands: int) -> FloatArray:
    """Return triangular filters in mel, as HTK and Kaldi have them: (bands, frequencies)."""
    edges = np.linspace(mel(np.array(LOWEST)), mel(np.array(highest)), bands + 2)
    points = mel(scipy.fft.rfftfreq(_length(rate), 1 / rate))
    rising = (points - edges[:-2, np.newaxis]) / np.diff(edges)[:-1, np.newaxis]
    falling = (edges[2:, np.newaxis] - points) / np.diff(edges)[1:, np.newaxis]
    result: FloatArray = np.maximum(0.0, np.minimum(rising, falling))
    result.flags.writeable = False
    return result


def _length(rate: int) -> int:
    """Return the length of the transforms: the power of two that a window fits in."""
    return int(2 ** np.ceil(np.log2(round(WINDOW * rate))))


def frames_of(samples: int, rate: int) -> int:
    """Return how many whole windows there are in so many samples of sound."""
    return max(0, 1 + (samples - round(WINDOW * rate)) // round(STEP * rate))


def log_mel(sound: FloatArray, rate: int, highest: float, bands: int) -> FloatArray:
    """Return the logarithms of energies: (frames, bands)."""
    width, step = round(WINDOW * rate), round(STEP * rate)
    count, bank = frames_of(len(sound), rate), filters(rate, highest, bands)
    result = np.empty((count, bands))
    if count == 0:
        return result
    windows = np.lib.stride_tricks.sliding_window_view(sound, width)[::step]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(width) / width)
    for first in range(0, count, _FRAMES):
        rows = slice(first, min(count, first + _FRAMES))
        spectrum = scipy.fft.rfft(windows[rows] * hann, _length(rate), workers=1)
        power = (spectrum.real**2 + spectrum.imag**2) / width
        # Not by BLAS, whose sums depend on the number of its threads.
        energies = np.einsum("fk,bk->fb", power, bank)
        result[rows] = np.log(np.maximum(energies, _FLOOR))
    return result

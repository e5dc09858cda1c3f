# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Estimators for scikit-learn: regression and classification with neural kernels, features."""

try:
    from sklearn.utils.validation import validate_data  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"fastntk.sklearn needs scikit-learn 1.6 or later ({error}): pip install 'fastntk[study]'",
        name=error.name,
    ) from error

from fastntk.infinite.scikit_learn import NeuralKernel
from fastntk.sklearn.classifier import NTKClassifier
from fastntk.sklearn.features import NTKFeatures
from fastntk.sklearn.kernel_cache import KernelCache, kernel_cache
from fastntk.sklearn.regressor import NTKRegressor

__all__ = [
    "KernelCache",
    "NTKClassifier",
    "NTKFeatures",
    "NTKRegressor",
    "NeuralKernel",
    "kernel_cache",
]


def __dir__() -> list[str]:
    """Return the public names, and not those of the files that they come from."""
    return sorted(__all__)

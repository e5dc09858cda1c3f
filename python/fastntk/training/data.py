# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a network is trained with: samples and targets, checked, where the work is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fastntk.devices.places import place_of
from fastntk.networks.targets import require_fitting, targets

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk.devices.place import Place
    from fastntk.networks.any_network import AnyNetwork

# As the two parts of the argument `validation` are called in errors.
VALIDATION = ("validation[0]", "validation[1]")


class TrainingData(NamedTuple):
    """Samples and targets as the core takes them at a place.

    Attributes
    ----------
    place : Place
    X, y : object
        Samples (n, d), and targets (n, C).
    validation : (object, object) or None
        Other samples and targets, which are evaluated only.
    probe : ndarray (m, d) or None
        Samples on the host on which the kernel is followed.
    """

    place: Place
    X: Any
    y: Any
    validation: tuple[Any, Any] | None
    probe: FloatArray | None

    @classmethod
    def checked(
        cls,
        network: AnyNetwork,
        loss: str,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        validation: tuple[npt.ArrayLike, npt.ArrayLike] | None,
        probe: npt.ArrayLike | None,
        device: str | None,
    ) -> TrainingData:
        """Check the arguments of `fastntk.train` with these names."""
        if validation is not None and (
            not isinstance(validation, (tuple, list)) or len(validation) != 2
        ):
            raise TypeError(f"validation is a {type(validation).__name__}: expected a pair (X, y)")
        require_fitting(loss, network)
        others = {} if validation is None else dict(zip(VALIDATION, validation, strict=True))
        place = place_of(device, {"X": X, "y": y, **others, "probe": probe})

        def pair(
            X: npt.ArrayLike, y: npt.ArrayLike, names: tuple[str, str] = ("X", "y")
        ) -> tuple[Any, Any]:
            samples = network.samples(X, names[0], place)
            given = place.host_array(y, names[1])
            n, outputs = len(samples), network.n_outputs
            labels = targets(given, names[1], loss, n, outputs, network.dtype)
            return samples, place.from_host(labels)

        return cls(
            place,
            *pair(X, y),
            validation=None if validation is None else pair(*validation, VALIDATION),
            probe=(
                None if probe is None else place.on_host(network.samples(probe, "probe", place))
            ),
        )

    @property
    def description(self) -> dict[str, Any]:
        """What a checkpoint must agree with: arrays of the host, by the names of the arguments."""
        on_host, others = self.place.on_host, self.validation
        return {
            "X": on_host(self.X),
            "y": on_host(self.y),
            "validation": None if others is None else [on_host(array) for array in others],
            "probe": self.probe,
        }

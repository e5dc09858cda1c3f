# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Bad input: an error that names the argument, its value and what was expected."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import fastntk
from fastntk import infinite
from fastntk._support import memory
from fastntk._support.arguments import shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float64("nan"), "nan"),
        (np.float32(0.1257), "0.1257"),
        (np.bool_(True), "True"),
        (np.str_("a"), "'a'"),
        (np.array(2.5), "2.5"),
        (np.array([0.12, 2.0], np.float32), "[0.12, 2.0]"),
        (np.array([[1, 2], [3, 4]]), "[[1, 2], [3, 4]]"),
        (np.arange(1000.0), "[0.0, 1.0, 2.0, …, 997.0, 998.0, 999.0]"),
        ([np.float64(1.5), {"a": np.int64(2)}], "[1.5, {'a': 2}]"),
        (np.timedelta64(3, "s"), "np.timedelta64(3,'s')"),
        (np.array(["a"]), "array(['a'], dtype='<U1')"),
        ([10**5000], "<list>"),
    ],
)
def test_values_are_shown_as_they_are_typed(value: object, text: str) -> None:
    assert shown(value) == text
    assert len(shown([value] * 100)) < 2000


def test_arrays_of_many_dimensions_are_shown_in_short() -> None:
    assert len(shown(np.random.default_rng(0).random((5, 5, 5, 5)))) < 500


def test_errors_have_the_indices_of_what_was_given() -> None:
    net, X = fastntk.MLP([2, 3, 1]), np.eye(4, 2)
    number = np.array([0.5, 1.0, np.nan, 2.0])
    pair = np.stack([np.zeros(4), number], axis=1)
    of_parameters = np.zeros((net.n_parameters, 2))
    of_parameters[5, 1] = np.inf
    train: Any = {"loss": "mse", "learning_rate": 0.1}
    for call, told in (
        (lambda: fastntk.train(net, X, number, **train), "y[2]=nan: expected numbers"),
        (lambda: fastntk.train(net, X, number[:, np.newaxis], **train), "y[2, 0]=nan: expected"),
        (lambda: net.vjp(X, number), "u[2]=nan: expected"),
        (lambda: net.vjp(X, pair[:, np.newaxis]), "u[2, 0, 1]=nan: expected"),
        (lambda: net.jvp(X, of_parameters), "v[5, 1]=inf: expected"),
        (lambda: net.jvp(X, of_parameters[:, 1]), "v[5]=inf: expected"),
        (lambda: infinite.predict(X, number, X), "y[2]=nan: expected"),
        (lambda: infinite.predict(X, pair, X), "y[2, 1]=nan: expected"),
        (
            lambda: fastntk.MLP.from_weights([np.eye(4)], [number]),
            "biases[0][2]=nan: expected",
        ),
        (
            lambda: fastntk.train(fastntk.MLP([2, 2]), X, np.full((4, 2), 0.25), learning_rate=0.1),
            "y[0]=[0.25, 0.25]: expected probabilities that sum to 1 (sum: 0.5)",
        ),
        (
            lambda: fastntk.train(fastntk.MLP([2, 2]), X, [[2.0, -1.0]] * 4, learning_rate=0.1),
            "y[0]=[2.0, -1.0]: expected probabilities that sum to 1 (one is negative)",
        ),
        (lambda: fastntk.conditioning(pair[:2] + 1), "K is not symmetric: K[0, 1]=1.5 but K[1, 0]"),
        (lambda: fastntk.gradient_angles(-np.eye(2)), "K[0, 0]=-1.0: expected a positive diagon"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(told)}"):
            call()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"widths": [3]}, ValueError, r"widths=\[3\]: expected at least the input dimension"),
        ({"widths": []}, ValueError, r"widths=\[\]: expected at least one integer"),
        ({"widths": [3, 0, 1]}, ValueError, r"widths\[1\]=0: expected an integer of at least 1"),
        ({"widths": [3, 2.5, 1]}, TypeError, r"widths\[1\]=2.5: expected an integer"),
        ({"widths": [3, True]}, TypeError, r"widths\[1\]=True: expected an integer"),
        ({"widths": 5}, TypeError, "widths=5: expected a sequence of integers"),
        ({"activation": "rleu"}, ValueError, "activation='rleu': expected one of 'identity', 're"),
        ({"activation": 3}, ValueError, "activation=3: expected one of"),
        ({"weight_std": 0.0}, ValueError, "weight_std=0.0: expected a finite number above 0"),
        ({"weight_std": float("nan")}, ValueError, "weight_std=nan: expected a finite number"),
        ({"weight_std": "1"}, TypeError, "weight_std='1': expected a finite number"),
        ({"bias_std": -1}, ValueError, "bias_std=-1: expected a finite number of at least 0"),
        ({"activation_scale": 0}, ValueError, "activation_scale=0: expected a finite number of at"),
        ({"seed": -1}, ValueError, "seed=-1: expected an integer of at least 0"),
        ({"seed": 1.0}, TypeError, "seed=1.0: expected an integer of at least 0"),
        ({"dtype": "int32"}, ValueError, "dtype='int32': expected 'float32' or 'float64'"),
    ],
)
def test_bad_networks(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fastntk.MLP(**{"widths": [3, 4, 1], **arguments})


_NET = fastntk.MLP([3, 4, 1])
_X = np.random.default_rng(2).standard_normal((4, 3))
_K = _NET.ntk(_X)


@pytest.mark.parametrize("bad", ["False", 1, 0, None, 1.0, np.array([True])])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("bounds", lambda flag: fastntk.conditioning(_K, bounds=flag)),
        ("eigenvectors", lambda flag: fastntk.conditioning(_K, eigenvectors=flag)),
        ("overwrite", lambda flag: fastntk.conditioning(_K.copy(), overwrite=flag)),
        ("drop_last", lambda flag: fastntk.batch_conditioning(_K, drop_last=flag)),
        ("shared", lambda flag: fastntk.ntk_depths(_X, [1], width=4, shared=flag)),
        ("infinite", lambda flag: fastntk.depth_study(_X, depths=[1], width=4, infinite=flag)),
        ("bounds", lambda flag: fastntk.depth_study(_X, depths=[1], width=4, bounds=flag)),
        ("bounds", lambda flag: fastntk.kernel_report(_NET, _X, "never made", bounds=flag)),
        ("keep_kernel", lambda flag: fastntk.kernel_report(_NET, _X, "never", keep_kernel=flag)),
        ("normalize", lambda flag: infinite.ntk(_X, normalize=flag)),
        ("covariance", lambda flag: infinite.predict(_X, _X, _X, covariance=flag)),
        ("mmap", lambda flag: fastntk.PackedKernel.load("no such file", mmap=flag)),
        (
            "inplace",
            lambda flag: fastntk.train(
                fastntk.MLP([3, 4, 1]), _X, _X[:, 0], loss="mse", learning_rate=0.1, inplace=flag
            ),
        ),
    ],
)
def test_flags_are_truth_values(name: str, call: Any, bad: Any) -> None:
    with pytest.raises(TypeError, match=rf"{name}=.*: expected True or False"):
        call(bad)


def test_truth_values_of_numpy_are_flags() -> None:
    yes: Any
    no: Any = np.False_
    for yes in (True, np.True_):
        assert fastntk.conditioning(_K, bounds=yes).bounds is not None
        np.testing.assert_array_equal(_NET.ntk(_X, progress=yes), _K)
    assert fastntk.conditioning(_K, bounds=no).bounds is None
    changed = fastntk.MLP([3, 4, 1])
    before = changed.weights[0].copy()
    arguments: dict[str, Any] = {"loss": "mse", "learning_rate": 0.1}
    fastntk.train(changed, _X, _X[:, 0], inplace=no, **arguments)
    np.testing.assert_array_equal(changed.weights[0], before)
    fastntk.train(changed, _X, _X[:, 0], inplace=yes, **arguments)
    assert not np.array_equal(changed.weights[0], before)


@pytest.mark.parametrize("bad", [1, 0, "yes", 1.0, [True]])
def test_progress_is_a_truth_value_or_a_function(bad: Any) -> None:
    message = r"progress=.*: expected True, False or a function of \(stage, done, total\)"
    for call in (_NET.ntk, infinite.ntk, _NET.jacobian):
        with pytest.raises(TypeError, match=message):
            call(_X, progress=bad)


@pytest.mark.parametrize("bad", ["x", None, 3, infinite.Network(depth=1), fastntk.MLP])
def test_what_is_no_network(bad: Any) -> None:
    y = _X[:, 0]
    calls: list[Any] = [
        lambda: fastntk.train(bad, _X, y, loss="mse", learning_rate=0.1),
        lambda: fastntk.find_learning_rate(bad, _X, y),
        lambda: fastntk.learning_rate_bound(bad, _X),
        lambda: fastntk.convergence_rate(bad, _X, y),
        lambda: fastntk.kernel_report(bad, _X, "never made"),
        lambda: fastntk.linearity.hessian_norm(bad, _X),
        lambda: fastntk.linearity.hessian_vector_product(bad, _X, y),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"net=.*: expected a fastntk\.MLP"):
            call()


def test_callbacks_are_functions() -> None:
    with pytest.raises(TypeError, match=r"callback=3: expected None or a function of \(step"):
        fastntk.train(_NET, _X, _X[:, 0], loss="mse", learning_rate=0.1, callback=3)  # type: ignore[arg-type]


def test_numbers_of_numpy_and_arrays_of_no_dimension() -> None:
    study = fastntk.depth_study(_X, depths=[0], width=4, seeds=np.int64(2), progress=False)  # type: ignore[arg-type]
    assert {result.seed for result in study.results} == {0, 1}
    rate: Any = np.array(0.1)
    one, other = (
        fastntk.train(_NET, _X, _X[:, 0], loss="mse", learning_rate=given) for given in (0.1, rate)
    )
    np.testing.assert_array_equal(one.loss, other.loss)
    with pytest.raises(TypeError, match=r"learning_rate=\[0\.1\]: expected a finite"):
        fastntk.train(_NET, _X, _X[:, 0], loss="mse", learning_rate=np.array([0.1]))  # type: ignore[arg-type]


@pytest.mark.parametrize("huge", [10**400, Fraction(10**400, 3)])
def test_numbers_beyond_the_range_of_floats(huge: Any) -> None:
    with pytest.raises(ValueError, match="weight_std is beyond the range of float64: expected a"):
        fastntk.MLP([3, 1], weight_std=huge)


@pytest.mark.parametrize("bad", [-math.inf, math.inf, math.nan])
def test_numbers_without_bounds_are_finite(bad: float) -> None:
    with pytest.raises(ValueError, match=rf"breakpoints\[0\]={bad}: expected a finite number"):
        fastntk.activations.custom(np.sin, name="a sine", breakpoints=(bad,))


def test_degrees_are_bounded_by_the_range_of_their_second_moment() -> None:
    activations = fastntk.activations
    for make, largest in (
        (activations.monomial, 150),
        (activations.rectified_monomial, 150),
        (activations.hermite, 170),
    ):
        assert 0 < make(largest).second_moment < float("inf")
        for degree in (largest + 1, 2**31, 10**400):
            with pytest.raises(ValueError, match=rf"degree.*: .*at least 1 and at most {largest}"):
                make(degree)
    with pytest.raises(OverflowError):
        float(math.prod(range(1, 302, 2)))  # the second moment of the degree 151


def test_functions_of_the_user_are_real_and_have_a_name() -> None:
    with pytest.raises(TypeError, match="name=3: expected a string"):
        fastntk.activations.custom(np.tanh, name=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"function=.*: expected one whose values are real numbers"):
        fastntk.activations.custom(lambda x: x + 1j)  # type: ignore[arg-type, return-value]


def test_pairs_and_activations_of_the_wrong_type() -> None:
    with pytest.raises(TypeError, match=r"pair=\(0, 1\): expected an AnglePair"):
        fastntk.angle_bound(_K, (0, 1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"activations=\[\]: expected at least one name"):
        fastntk.angle_curves([0.1], [1], [])
    with pytest.raises(TypeError, match="activations='relu': expected a sequence of names"):
        fastntk.angle_curves([0.1], [1], "relu")
    with pytest.raises(TypeError, match="K=None: expected an array of numbers"):
        fastntk.spectrum(None)  # type: ignore[arg-type]
    with pytest.raises(MemoryError, match=r"the kernel of 1099511627776 × 1099511627776 needs"):
        infinite.limit_kernel(2**40)


BAD_SAMPLES: list[tuple[Any, type[Exception], str]] = [
    (np.ones(3), ValueError, r"X has shape \(3,\): expected a matrix, one sample a row"),
    (np.ones((2, 2, 3)), ValueError, r"X has shape \(2, 2, 3\): expected a matrix"),
    (5.0, ValueError, r"X has shape \(\): expected a matrix"),
    (np.ones((0, 3)), ValueError, r"X has shape \(0, 3\): expected at least one row and column"),
    (np.ones((2, 4)), ValueError, r"X has shape \(2, 4\): expected 3 columns, one for each input"),
    ([[1, 2, np.nan]], ValueError, r"X\[0, 2\]=.*nan.*: expected .* finite .*\(1 of 3 are not\)"),
    ([[1, -np.inf, 0]], ValueError, r"X\[0, 1\]=.*-inf"),
    ([[1j, 0, 0]], TypeError, "X has dtype complex128: expected real numbers"),
    ([["a", "b", "c"]], TypeError, "X has dtype <U1: expected real numbers"),
    ([[None, 1, 2]], TypeError, "X has dtype object: expected real numbers"),
]


@pytest.mark.parametrize(("X", "error", "message"), BAD_SAMPLES)
def test_bad_samples(X: Any, error: type[Exception], message: str) -> None:
    net = fastntk.MLP([3, 4, 1])
    for call in (net, net.ntk, net.gradient_features):
        with pytest.raises(error, match=message):
            call(X)
    with pytest.raises(error, match=message.replace("X", "Z", 1)):
        net.ntk(np.ones((2, 3)), X)


FINITE = np.random.default_rng(5).standard_normal((6, 3))


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (
            np.ones((2, 2, 3)),
            ValueError,
            r"matrix, .*; X\.reshape\(2, 6\) is one row for each",
        ),
        ([[1, 2, 3], [1, 2]], ValueError, "X is a list .* expected numbers, in rows of the same"),
        (sparse.csr_array(FINITE), TypeError, r"X is a sparse csr_array: .* X\.toarray\(\)"),
        (sparse.coo_matrix(FINITE), TypeError, r"X is a sparse coo_matrix: .* X\.toarray\(\)"),
        (np.full((2, 3), b"1"), TypeError, r"X has dtype \|S1: expected real numbers"),
        (np.zeros((2, 3), "M8[s]"), TypeError, "X has dtype datetime64.*: expected real numbers"),
        (np.zeros((2, 3), "m8[s]"), TypeError, "X has dtype timedelta64.*: expected real numbers"),
        ([[10**400, 1, 2]], TypeError, "X has dtype object: expected real numbers"),
    ],
)
def test_what_numpy_would_not_convert_or_convert_to_nonsense(
    X: Any, error: type[Exception], message: str
) -> None:
    for call in (fastntk.MLP([3, 4, 1]).ntk, infinite.ntk):
        with pytest.raises(error, match=message):
            call(X)


def test_a_kernel_of_all_outputs_is_told_how_to_become_a_matrix() -> None:
    net = fastntk.MLP([3, 8, 2])
    K = net.ntk(FINITE, outputs="full")
    hint = r"K has shape \(6, 6, 2, 2\): .* by K\.transpose\(0, 2, 1, 3\)\.reshape\(12, 12\)"
    with pytest.raises(ValueError, match=hint):
        fastntk.conditioning(K)
    flat = K.transpose(0, 2, 1, 3).reshape(12, 12)
    assert fastntk.conditioning(flat).n == 12
    v = np.arange(12.0)
    np.testing.assert_allclose(net.ntk_operator(FINITE, outputs="full") @ v, flat @ v, rtol=1e-12)


def test_masked_elements_are_refused_with_their_place() -> None:
    masked = np.ma.masked_less(FINITE, -1.0)
    i, j = np.argwhere(FINITE < -1.0)[0]
    place = rf"\[{i}, {j}\] is masked: expected numbers only \(\d+ of 18 are masked"
    net = fastntk.MLP([3, 4, 1])
    for values in (masked, list(masked)):
        for call in (net, net.ntk, infinite.ntk, lambda X: fastntk.depth_study(X, depths=[0])):
            with pytest.raises(ValueError, match="X" + place):
                call(values)
    with pytest.raises(ValueError, match=r"K\[\d, \d\] is masked"):
        fastntk.conditioning(np.ma.masked_greater(net.ntk(FINITE), 0.5))
    y = np.ma.masked_less(np.arange(6.0), 1)
    with pytest.raises(ValueError, match=r"y\[0\] is masked"):
        fastntk.train(net, FINITE, y, loss="mse", learning_rate=0.1)
    with pytest.raises(ValueError, match=r"y\[0\] is masked"):
        infinite.predict(FINITE, y, FINITE, ridge=1.0)
    with pytest.raises(ValueError, match=r"theta\[0\] is masked"):
        infinite.gradient_angle(np.ma.masked_less([0.1, 0.2], 0.15))


def test_masked_arrays_without_masked_elements_are_data() -> None:
    net = fastntk.MLP([3, 4, 1])
    np.testing.assert_array_equal(net.ntk(np.ma.array(FINITE)), net.ntk(FINITE))
    np.testing.assert_array_equal(net.ntk(list(np.ma.array(FINITE))), net.ntk(FINITE))


def test_tables_of_nullable_and_boolean_columns_are_numbers() -> None:
    pd = pytest.importorskip("pandas")
    net = fastntk.MLP([3, 4, 1])
    table = pd.DataFrame(FINITE, columns=list("abc"))
    for same in (table, table.astype("Float64"), table.convert_dtypes()):
        np.testing.assert_array_equal(net.ntk(same), net.ntk(FINITE))
    mixed = table.assign(a=[True, False] * 3, b=pd.array(range(6), dtype="Int8"))
    given = np.column_stack([[1, 0] * 3, range(6), FINITE[:, 2]])
    np.testing.assert_array_equal(net.ntk(mixed), net.ntk(given))
    flags = pd.DataFrame({name: pd.array([True, False], "boolean") for name in "abc"})
    np.testing.assert_array_equal(net.ntk(flags), net.ntk([[1, 1, 1], [0, 0, 0]]))
    # The type of nullable float32 is float32: kernels keep the precision they have.
    kernel = pd.DataFrame(net.ntk(FINITE).astype(np.float32))
    found = [fastntk.conditioning(K).noise_floor for K in (kernel, kernel.astype("Float32"))]
    assert found[0] == found[1] > 1e-8


@pytest.mark.parametrize(
    ("column", "error", "message"),
    [
        (
            [1, None, 3],
            ValueError,
            r"X\[1, 1\] is missing \(column 'b'\): .*\(1 of 9",
        ),
        ([1.0, 2.0, np.nan], ValueError, r"X\[2, 1\] is missing \(column 'b'\)"),
        (["u", "v", "w"], TypeError, "X has the column 'b' of dtype .*: expected columns of num"),
        (np.zeros(3, "M8[s]"), TypeError, "X has the column 'b' of dtype datetime64.*: expected"),
    ],
)
def test_tables_with_what_is_no_number(column: Any, error: type[Exception], message: str) -> None:
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(np.ones((3, 3)), columns=list("abc"))
    table["b"] = pd.array([1, None, 3], dtype="Int64") if column[1] is None else column
    with pytest.raises(error, match=message):
        fastntk.MLP([3, 4, 1]).ntk(table)


class _Tensor:
    """Refuses to become an array, as tensors of PyTorch do that need a gradient."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise self.error

    def detach(self) -> Any:
        raise AssertionError("never asked")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Can't call numpy() on Tensor that requires grad."),
        TypeError("Got unsupported ScalarType BFloat16"),
    ],
)
def test_tensors_that_cannot_become_arrays(error: Exception) -> None:
    message = r"X is a _Tensor that cannot become an array \(.*\): hand over X\.detach\(\)\.cpu\(\)"
    with pytest.raises(TypeError, match=message):
        fastntk.MLP([3, 4, 1]).ntk(_Tensor(error))


def test_other_byte_orders_and_precisions_are_converted() -> None:
    net = fastntk.MLP([3, 4, 1])
    np.testing.assert_array_equal(net.ntk(FINITE.astype(">f8")), net.ntk(FINITE))
    half = FINITE.astype(np.float16)
    np.testing.assert_array_equal(net.ntk(half), net.ntk(half.astype(np.float64)))
    # float32 in the other byte order is float32: a kernel's noise floor says so.
    K = net.ntk(FINITE).astype(np.float32)
    floors = [fastntk.conditioning(k).noise_floor for k in (K, K.astype(K.dtype.newbyteorder()))]
    assert floors[0] == floors[1]


def test_numbers_that_vanish_in_float32() -> None:
    """They had been taken for samples that are 0, whose kernel is 0 and right."""
    net = fastntk.MLP([3, 4, 1], dtype="float32")
    message = (
        "X with elements of at most .*: expected larger ones, as float32 has none below 1.2e-38"
    )
    for size in (1e-200, 1e-42):
        calls: list[Any] = [net, net.ntk, net.jacobian, net.smallest_angle]
        calls.append(lambda X: fastntk.depth_study(X, depths=[1], width=4, seeds=1, progress=False))
        for call in calls:
            with pytest.raises(ValueError, match=message):
                call(size * FINITE)
        with pytest.raises(
            ValueError, match=r"v with elements of at most .*: expected larger ones"
        ):
            net.jvp(FINITE, np.full(net.n_parameters, size))
    # The largest decides, numbers that came in float32 are what they are, and 0 is 0.
    assert net.ntk(np.concatenate([FINITE, 1e-60 * FINITE])).any()
    tiny = (1e-42 * FINITE).astype(np.float32)
    assert net.smallest_angle(tiny) == net.smallest_angle(np.ldexp(tiny, 100))
    assert not net.ntk(0 * FINITE).any()
    assert net.astype("float64").ntk(1e-60 * FINITE).any()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_with_complex_vectors(packed: bool, dtype: str) -> None:
    net = fastntk.MLP([3, 8, 1], dtype=dtype)
    kernel: Any = net.ntk(FINITE, out="packed") if packed else net.ntk_operator(FINITE)
    dense = net.ntk(FINITE, dtype="float64")
    V = np.random.default_rng(0).standard_normal((2, 6, 4))
    vectors = V[0] + 1j * V[1]
    rtol = 1e-12 if dtype == "float64" else 1e-5
    for v in (
        vectors,
        vectors[:, 0],
        vectors[:, :1],
        1j * V[0, :, 1],
        vectors.astype(np.complex64),
    ):
        found = kernel @ v
        assert found.dtype == ("complex128" if dtype == "float64" else "complex64")
        np.testing.assert_allclose(found, dense @ v, rtol=max(rtol, 1e-5 * (v.itemsize == 8)))
        np.testing.assert_allclose(v.T @ kernel, v.T @ dense, rtol=max(rtol, 1e-5))
    np.testing.assert_array_equal((kernel @ vectors).real, kernel @ V[0])


def test_views_of_the_operator_multiply_complex_vectors() -> None:
    net = fastntk.MLP([3, 8, 1])
    K, operator = net.ntk(FINITE), net.ntk_operator(FINITE)
    v = np.arange(6.0) + 1j
    for same in (operator.H, operator.T, 2.0 * operator - operator):
        np.testing.assert_allclose(same @ v, K @ v, rtol=1e-12)
    np.testing.assert_allclose((operator @ operator) @ v, K @ (K @ v), rtol=1e-12)
    np.testing.assert_allclose(operator.rmatvec(v), K @ v, rtol=1e-12)


@pytest.mark.parametrize("packed", [False, True])
def test_operands_that_are_no_numbers(packed: bool) -> None:
    net = fastntk.MLP([3, 8, 1])
    kernel: Any = net.ntk(FINITE, out="packed") if packed else net.ntk_operator(FINITE)
    for bad in (np.zeros(6, "M8[s]"), np.full(6, b"1"), np.full(6, None)):
        with pytest.raises(TypeError, match=r"(x|vectors) has dtype .*: expected real or complex"):
            kernel @ bad
    masked: Any = np.ma.MaskedArray(np.arange(6.0), mask=np.arange(6) == 2).view(_First)
    products: list[Any] = [lambda v: kernel @ v, lambda v: v.T @ kernel]
    for product in products:
        with pytest.raises(ValueError, match=r"(x|vectors)\[2\] is masked: expected numbers only"):
            product(masked)
    assert np.isnan(kernel @ np.full(6, np.nan)).all()  # as with NumPy's matmul


class _First(np.ma.MaskedArray[Any, Any]):
    """A masked array that leaves products to the other operand."""

    __array_ufunc__: Any = None


def test_numbers_that_overflow_in_float32() -> None:
    net = fastntk.MLP([2, 4, 1], dtype="float32")
    with pytest.raises(ValueError, match=r"X\[0, 1\]=.*1e\+300.*: expected .* finite in float32"):
        net([[1.0, 1e300]])


@pytest.mark.parametrize(
    ("outputs", "error"),
    [(2, ValueError), (-1, ValueError), ("sum", TypeError), (1.0, TypeError), (None, TypeError)],
)
def test_bad_outputs(outputs: Any, error: type[Exception]) -> None:
    net = fastntk.MLP([3, 4, 2])
    with pytest.raises(error, match="outputs="):
        net.ntk(np.ones((2, 3)), outputs=outputs)


def test_bad_precision_of_a_kernel() -> None:
    with pytest.raises(ValueError, match="dtype='float16': expected 'float32' or 'float64'"):
        fastntk.MLP([3, 4, 1]).ntk(np.ones((2, 3)), dtype="float16")


def test_what_does_not_fit_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 10**6)
    net = fastntk.MLP([3, 100, 1])
    X = np.ones((1000, 3))
    with pytest.raises(
        MemoryError,
        match=r"the kernel of 1000 × 1000 in float64 .* needs 9\.2 MiB, but 976\.6 KiB .*"
        r"fewer samples or dtype='float32'",
    ):
        net.ntk(X)
    with pytest.raises(MemoryError, match=r"2 kernels of 1000 × 1000 in float32 and the feat"):
        fastntk.ntk_depths(X, [1, 2], width=5, network_dtype="float32")
    with pytest.raises(MemoryError, match=r"1000 × 400 matrix of gradient features .*ask for the"):
        net.gradient_features(X)


def test_a_kernel_of_astronomical_size_is_refused() -> None:
    X = np.broadcast_to(np.ones((1, 1)), (10**7, 1))
    with pytest.raises(MemoryError, match=r"10000000 × 10000000 in float64 .* needs 7\d\d\.\d TiB"):
        fastntk.MLP([1, 1]).ntk(X)


def test_available_memory_is_plausible() -> None:
    available = memory.available_memory()
    assert available is None or 10**7 < available < 10**15


def test_little_memory_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(memory, "available_memory", lambda: asked.append(True))
    memory.require_memory(memory.ALWAYS_THERE, "little", "take less")
    assert not asked
    memory.require_memory(memory.ALWAYS_THERE + 1, "more", "take less")
    assert asked


def test_available_memory_respects_control_groups(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    limit, usage = tmp_path / "max", tmp_path / "current"
    limit.write_text("5000\n")
    usage.write_text("2000\n")
    monkeypatch.setattr(memory, "_CGROUP_FILES", ((str(limit), str(usage)),))
    assert memory.available_memory() == 3000
    limit.write_text("max\n")
    assert memory.available_memory() != 3000


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (2**41, "2.0 TiB")],
)
def test_human_bytes(count: int, text: str) -> None:
    assert memory.human_bytes(count) == text


def test_an_output_whose_elements_share_memory_is_refused() -> None:
    net, n = fastntk.MLP([3, 8, 1]), len(_X)
    K = net.ntk(_X)
    view = np.lib.stride_tricks.as_strided
    for strides in ((0, 8), (8, 8), (0, 0)):
        with pytest.raises(ValueError, match=r"out has strides .* do not share memory"):
            net.ntk(_X, out=view(np.zeros(2 * n), (n, n), strides))
    for out in (np.zeros((n, n)).T, np.zeros((n, n))[::-1, ::-1], np.zeros((n, 2 * n))[:, ::2]):
        assert np.array_equal(net.ntk(_X, out=out), K)


def test_packed_kernels_and_nothing_where_arrays_are_wanted() -> None:
    packed = fastntk.PackedKernel.from_dense(_K)
    for call in (fastntk.smallest_angle, fastntk.gradient_angles):
        with pytest.raises(TypeError, match=r"K is a PackedKernel: .* hand over K.to_dense\(\)"):
            call(packed)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="K=None: expected an array of numbers"):
        fastntk.spectrum(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("draw", "argument", "expected"),
    [
        (fastntk.figures.figure4, "study", "ConvergenceStudy"),
        (fastntk.figures.plot_convergence_study, "study", "ConvergenceStudy"),
        (fastntk.figures.table1, "study", "ConvergenceStudy"),
        (fastntk.figures.plot_depth_study, "study", "DepthStudy"),
        (fastntk.figures.plot_history, "history", "History"),
        (fastntk.figures.plot_learning_rates, "search", "LearningRateSearch"),
        (fastntk.figures.plot_linearization, "study", "LinearizationStudy"),
    ],
)
def test_figures_say_what_they_draw(draw: Any, argument: str, expected: str) -> None:
    with pytest.raises(TypeError, match=rf"^{argument}=5: expected a fastntk\.{expected}$"):
        draw(5)


@pytest.mark.parametrize("method", ["matmat", "matvec", "dot"])
def test_operators_name_what_they_multiply(method: str) -> None:
    operator = fastntk.MLP([2, 3, 1]).ntk_operator(np.eye(2))
    name = "X" if method == "matmat" else "x"
    with pytest.raises((TypeError, ValueError), match=rf"^{name}\b(?!_)"):
        getattr(operator, method)([["a", "b"], ["c", "d"]])

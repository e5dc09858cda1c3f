# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The rules of the package's structure, which README's "How it is built" states.

Imports are read from the sources, those for annotations and those within functions included.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import fastntk
from fastntk.layers.activation import CONSTRUCTORS as LAYERS_OF_ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT = Path(fastntk.__file__).parent
MOST_ENTRIES, MOST_FLOORS, MOST_ARGUMENTS = 24, 13, 8

# What users may count on; a name that is not here is the package's own affair.
PUBLIC: dict[str, tuple[str, ...]] = {
    "fastntk": (
        "AngleCurves",
        "AnglePair",
        "BatchConditioning",
        "Bounds",
        "Conditioning",
        "ConstancyResult",
        "ConstancyStudy",
        "ConvergenceRate",
        "ConvergenceResult",
        "ConvergenceStudy",
        "DepthResult",
        "DepthStudy",
        "FiniteNetwork",
        "History",
        "Interval",
        "KernelReport",
        "KernelSolution",
        "LearningRateSearch",
        "LinearizationStudy",
        "MLP",
        "MonteCarlo",
        "Network",
        "PackedKernel",
        "__version__",
        "activations",
        "amx",
        "angle_bound",
        "angle_curves",
        "architectures",
        "batch_conditioning",
        "closest_pairs",
        "conditioning",
        "conjugate_gradients",
        "constancy_study",
        "convergence_rate",
        "convergence_study",
        "cuda",
        "datasets",
        "depth_study",
        "distributed",
        "figures",
        "find_learning_rate",
        "from_torch",
        "gradient_angles",
        "infinite",
        "kernel_report",
        "layers",
        "learning_rate_bound",
        "linearity",
        "linearization_error",
        "monte_carlo_ntk",
        "ntk_depths",
        "paper",
        "sklearn",
        "smallest_angle",
        "spectrum",
        "train",
    ),
    "fastntk.activations": (
        "Activation",
        "FINITE_WIDTH",
        "Function",
        "Softmax",
        "abrelu",
        "absolute",
        "celu",
        "cosine",
        "custom",
        "elu",
        "erf",
        "exp_normalized",
        "exponential",
        "gabor",
        "gaussian",
        "gaussian_nodes",
        "gelu",
        "gelu_tanh",
        "get",
        "hardsigmoid",
        "hardswish",
        "hardtanh",
        "hermite",
        "identity",
        "label_of",
        "leaky_relu",
        "mish",
        "monomial",
        "names",
        "polynomial",
        "rbf",
        "rectified_monomial",
        "relu",
        "relu6",
        "restore",
        "selu",
        "sigmoid",
        "sign",
        "silu",
        "sine",
        "softplus",
        "softsign",
        "squareplus",
        "tanh",
    ),
    "fastntk.amx": (
        "disabled",
        "is_available",
        "why_not",
    ),
    "fastntk.architectures": ("Architecture",),
    "fastntk.cuda": (
        "Device",
        "Options",
        "cublas_library",
        "current_options",
        "devices",
        "dotted",
        "is_available",
        "options",
        "runtime_version",
        "too_old",
        "why_not",
    ),
    "fastntk.datasets": (
        "Dataset",
        "NAMES",
        "NearDuplicates",
        "PREPROCESSINGS",
        "WITH_TEST_PART",
        "load",
        "load_file",
        "near_duplicates",
    ),
    "fastntk.depth_sweep": ("independent_seed", "ntk_depths"),
    "fastntk.distributed": (
        "StoredKernel",
        "TilePlan",
        "closest_pairs",
        "load",
        "nngp",
        "ntk",
        "ntk_by_layer",
        "ntk_depths",
        "ntk_operator",
        "plan",
        "plan_depths",
        "store",
    ),
    "fastntk.figures": (
        "figure4",
        "plot_angle_curves",
        "plot_constancy",
        "plot_convergence_study",
        "plot_depth_study",
        "plot_history",
        "plot_learning_rates",
        "plot_linearization",
        "save",
        "table1",
    ),
    "fastntk.infinite": (
        "Edge",
        "Kernels",
        "LayeredNetwork",
        "Network",
        "NeuralKernel",
        "Prediction",
        "Regression",
        "angle_map",
        "conditioning",
        "edge_of_chaos",
        "embedding_angle",
        "gradient_angle",
        "kernels",
        "limit_angle",
        "limit_condition_number",
        "limit_kernel",
        "nngp",
        "ntk",
        "ntk_operator",
        "ntk_tiles",
        "predict",
        "smallest_angle",
    ),
    "fastntk.info": ("describe",),
    "fastntk.layers": (
        "Activation",
        "Dense",
        "Layer",
        "LayerNorm",
        "RMSNorm",
        "Rescale",
        "Residual",
        *LAYERS_OF_ACTIVATIONS,
    ),
    "fastntk.linearity": (
        "HessianNorms",
        "KernelChange",
        "KernelDrift",
        "LinearizedMLP",
        "hessian_norm",
        "hessian_operator",
        "hessian_vector_product",
        "kernel_change",
        "kernel_drift",
        "loss_hessian",
    ),
    "fastntk.paper": (
        "figure",
        "reproduce",
        "table",
    ),
    "fastntk.sklearn": (
        "KernelCache",
        "NTKClassifier",
        "NTKFeatures",
        "NTKRegressor",
        "NeuralKernel",
        "kernel_cache",
    ),
    "fastntk.studies.rates": (
        "ConvergenceRate",
        "TailFit",
        "convergence_rate",
        "fit_tail",
    ),
}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_of(path): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(ROOT.rglob("*.py"))
}


def imported(name: str) -> Iterator[tuple[str, str | None]]:
    """Yield (module, name taken from it, or None for the module itself)."""
    for node in ast.walk(SOURCES[name]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in SOURCES:
                    yield alias.name, None
        elif isinstance(node, ast.ImportFrom) and node.module in SOURCES:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner, None) if inner in SOURCES else (node.module, alias.name)


MODULES = {name: {module for module, _ in imported(name)} - {name} for name in SOURCES}


def room(module: str) -> str:
    """Return the entry of the package's folder to which a module belongs."""
    return ".".join(module.split(".")[:2])


ROOMS = {
    each: {room(other) for name in SOURCES if room(name) == each for other in MODULES[name]}
    - {each}
    for each in map(room, SOURCES)
}


def floors(graph: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Return on which floor each stands, above all that it imports; refuse a circle."""
    found: dict[str, int] = {}

    def visit(name: str, way: tuple[str, ...]) -> int:
        assert name not in way, " → ".join([*way[way.index(name) :], name])
        if name not in found:
            found[name] = 1 + max((visit(other, (*way, name)) for other in graph[name]), default=0)
        return found[name]

    for name in graph:
        visit(name, ())
    return found


def test_no_circle_among_modules() -> None:
    floors(MODULES)


def test_imports_among_rooms_run_one_way_on_few_floors() -> None:
    assert max(floors(ROOMS).values()) <= MOST_FLOORS


def test_few_rooms() -> None:
    entries = {
        path.name
        for path in ROOT.iterdir()
        if path.suffix in {".py", ""} and path.name not in {"__pycache__", "__init__.py"}
    }
    assert len(entries - {"__main__.py"}) <= MOST_ENTRIES, sorted(entries)


def own(name: str) -> bool:
    """Return whether a name is one that only its own file uses."""
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("module", SOURCES)
def test_no_underscore_names_of_others(module: str) -> None:
    taken = [f"{other}.{name}" for other, name in imported(module) if name and own(name)]
    taken += [
        ast.unparse(node)
        for node in ast.walk(SOURCES[module])
        if isinstance(node, ast.Attribute)
        and own(node.attr)
        and node.attr not in {"_core", "_replace", "_asdict", "_fields", "_make"}  # NamedTuple's
        and not defines(SOURCES[module], node.attr)
    ]
    assert not taken


def defines(tree: ast.Module, name: str) -> bool:
    """Return whether a file gives this name to something, an attribute, method or variable."""
    return any(
        (isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name)
        or (isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store))
        or (
            isinstance(node, ast.Attribute)
            and node.attr == name
            and isinstance(node.ctx, ast.Store)
        )
        or (isinstance(node, ast.Constant) and node.value == name)  # __slots__
        for node in ast.walk(tree)
    )


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len([argument for argument in every if argument.arg not in {"self", "cls"}])


def public_objects() -> set[tuple[str, str]]:
    """Return (module, qualified name) of all functions and methods that users may call."""
    found = set()
    for module, names in PUBLIC.items():
        for value in (getattr(importlib.import_module(module), name) for name in names):
            if inspect.isfunction(value):
                found.add((value.__module__, value.__qualname__))
            elif inspect.isclass(value):
                found |= {
                    (base.__module__, f"{base.__qualname__}.{name}")
                    for base in value.__mro__
                    for name in vars(base)
                    if not own(name)
                }
    return found


def functions(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, Any]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield inside + node.name, node
            yield from functions(node, f"{inside}{node.name}.<locals>.")
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{inside}{node.name}.")
        else:
            yield from functions(node, inside)


def is_command(function: ast.FunctionDef) -> bool:
    """Return whether a function takes the options of a command, one argument for each."""
    return any(
        isinstance(decorator, ast.Call) and "command" in ast.unparse(decorator.func)
        for decorator in function.decorator_list
    )


def test_short_argument_lists() -> None:
    public = public_objects()
    long = {
        f"{module}.{name}": arguments(node)
        for module, tree in SOURCES.items()
        for name, node in functions(tree)
        if arguments(node) > MOST_ARGUMENTS
        and (module, name) not in public
        and not is_command(node)
    }
    assert not long


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names(module: str) -> None:
    found = importlib.import_module(module)
    assert sorted(found.__all__) == sorted(PUBLIC[module])
    listed = set(dir(found))
    assert set(found.__all__) <= listed
    # Tab completion shows what users may count on alone; a single file shows all that is in it.
    if hasattr(found, "__path__"):
        assert listed == set(found.__all__)
    for name in found.__all__:
        assert getattr(found, name) is not None


# What `import fastntk` loads beside itself and what NumPy and SciPy's linear algebra load.
LOADED = {"_queue", "concurrent.futures.thread", "mmap", "queue"}


def imported_late() -> set[str]:
    """Return the modules that functions import, and those of the names that come when asked for."""
    found = {f"fastntk.{place}" for place in fastntk._LAZY_NAMES.values()}
    found |= set(fastntk._LAZY_MODULES.values())
    for tree in SOURCES.values():
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.ImportFrom) and node.module in SOURCES:
                        inner = {f"{node.module}.{alias.name}" for alias in node.names}
                        found |= (inner & SOURCES.keys()) or {node.module}
    return found


def test_what_the_import_of_the_package_loads() -> None:
    """What is imported late would otherwise be loaded all the same, by one line elsewhere."""
    program = (
        "import sys, scipy.linalg.cython_blas\n"
        "there = set(sys.modules)\n"
        "import fastntk\n"
        "print(*(set(sys.modules) - there))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(completed.stdout.split())
    late = imported_late()
    assert {"fastntk.mlp", "fastntk.eigenvalues.extremes"} <= loaded
    assert {"fastntk.cuda", "fastntk.kernels.error_bounds", "fastntk.networks.files"} <= late
    assert not loaded & late
    assert {name for name in loaded if name.split(".")[0] != "fastntk"} <= LOADED
    assert fastntk.train is vars(fastntk)["train"]  # what was asked for once is there


def test_places_of_old() -> None:
    """What was documented under another module is still found there, by import as well."""
    for name, value in vars(importlib.import_module("fastntk.depth_sweep")).items():
        assert getattr(fastntk.depth_sweep, name) is value
    assert fastntk.depth_sweep.ntk_depths is fastntk.ntk_depths
    assert fastntk.depth_sweep.independent_seed(0, 1) != fastntk.depth_sweep.independent_seed(0, 2)
    assert fastntk.linearity.hessian_norm.__module__.startswith("fastntk.linearity")


def test_no_name_twice() -> None:
    for names in PUBLIC.values():
        assert len(set(names)) == len(names)
    assert len(list(itertools.chain(*PUBLIC.values()))) > 100

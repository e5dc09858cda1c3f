// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "array_args.hpp"
#include "borrowed_blas.hpp"
#include "fastntk/host.hpp"
#include "gil.hpp"
#include "on_host.hpp"
#include "py_device.hpp"
#include "py_features.hpp"
#include "py_hessian.hpp"
#include "py_network.hpp"
#include "py_symmetric.hpp"
#include "py_training.hpp"
#include "py_wiring.hpp"

#ifdef FASTNTK_CUDA
#include "on_gpu.hpp"
#endif

// The extension module fastntk._core registers the functions of the core. Each binding checks its
// arguments once, releases the GIL, calls, and returns.
namespace fastntk::python {

namespace {

Split split_named(const std::string& name) {
  static const std::map<std::string, Split> known = {{"none", Split::none},
                                                     {"layers", Split::layers},
                                                     {"outputs", Split::outputs},
                                                     {"output_pairs", Split::output_pairs}};
  const auto found = known.find(name);
  if (found == known.end()) throw bad_argument("split", "one that the core has");
  return found->second;
}

template <class P, class T, class AnyNetwork>
void py_evaluate(const AnyNetwork& network, const typename P::template Array<T>& x,
                 typename P::template Array<T>& out, const typename P::Where& where,
                 const ProgressCallback& monitor) {
  const auto device = P::device(where);
  const auto samples = P::template input<T>(device, x, network.get().input_width, "X");
  const auto f = P::template output<T>(device, out, samples.rows, network.outputs(), "out");
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  P::run(device, [&](const auto& fitting) {
    evaluate(fitting, network.on(device), samples, f, on_progress);
  });
}

template <class P, class T, class AnyNetwork>
void py_input_jacobians(const AnyNetwork& network, const typename P::template Array<T>& x,
                        std::vector<typename P::template Array<T>> out,
                        const typename P::Where& where, const ProgressCallback& monitor) {
  const auto device = P::device(where);
  const Index width = network.get().input_width;
  const auto samples = P::template input<T>(device, x, width, "X");
  if (static_cast<Index>(out.size()) != network.outputs()) {
    throw bad_argument("out", "one array for each output");
  }
  std::vector<Matrix<T>> jacobians;
  jacobians.reserve(out.size());
  for (auto& jacobian : out) {
    jacobians.push_back(P::template output<T>(device, jacobian, samples.rows, width, "out"));
  }
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  P::run(device, [&](const auto& fitting) {
    input_jacobians(fitting, network.on(device), samples, jacobians, on_progress);
  });
}

template <class P, class T, class AnyNetwork>
void py_gradient_features(const AnyNetwork& network, Index output,
                          const typename P::template Array<T>& x,
                          typename P::template Array<T>& out, const typename P::Where& where,
                          const ProgressCallback& monitor) {
  const auto device = P::device(where);
  const auto samples = P::template input<T>(device, x, network.get().input_width, "X");
  network.output_range(output, 1);
  const auto features =
      P::template output<T>(device, out, samples.rows, network.parameters(), "out");
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  P::run(device, [&](const auto& fitting) {
    gradient_features(fitting, network.on(device), output, samples, features, on_progress);
  });
}

template <class P, class T, class G, class AnyNetwork>
void py_ntk(const AnyNetwork& network, std::pair<Index, Index> outputs, const std::string& split,
            const typename P::template Array<T>& x,
            const std::optional<typename P::template Array<T>>& z,
            std::vector<typename P::template Array<G>> out, const typename P::Where& where,
            const ProgressCallback& monitor) {
  const auto device = P::device(where);
  const Index width = network.get().input_width;
  const auto rows = P::template input<T>(device, x, width, "X");
  std::optional<Matrix<const T>> cols;
  if (z) cols = P::template input<T>(device, *z, width, "Z");
  const Range range = network.output_range(outputs.first, outputs.second);
  const Split by = split_named(split);
  if (out.size() != kernel_count(network.get(), range, by)) {
    throw bad_argument("out", "one array for each kernel");
  }
  std::vector<Matrix<G>> kernels;
  kernels.reserve(out.size());
  for (auto& kernel : out) {
    kernels.push_back(
        P::template output<G>(device, kernel, rows.rows, cols ? cols->rows : rows.rows, "out"));
  }
  const Monitor on_progress = python_monitor(monitor);
  const WithoutLock no_lock;
  P::run(device, [&](const auto& fitting) {
    ntk(fitting, network.on(device), range, by, rows, cols, kernels, on_progress);
  });
}

template <class T, class AnyNetwork>
std::vector<T> py_pair_angles(const AnyNetwork& network, std::pair<Index, Index> outputs,
                              const Array<T>& x, const std::vector<std::pair<Index, Index>>& pairs,
                              int threads, const ProgressCallback& monitor) {
  const HostDevice device = host_device(threads);
  const auto samples = input_matrix<T>(x, network.get().input_width, "X");
  const Range range = network.output_range(outputs.first, outputs.second);
  for (const auto& [i, j] : pairs) {
    if (i < 0 || j < 0 || i >= samples.rows || j >= samples.rows) {
      throw bad_argument("pairs", "rows of X");
    }
  }
  const Monitor on_progress = python_monitor(monitor);
  std::vector<T> angles(pairs.size());
  const WithoutLock no_lock;
  pair_angles(device, network.get(), range, samples, pairs, angles, on_progress);
  return angles;
}

// Registers what is asked of every network before anything is computed.
template <class P, class Class>
void register_questions(py::class_<Class>& registered) {
  registered
      .def(
          "training_bytes",
          [](const Class& self, Index batch, bool gathered, const typename P::Where& where) {
            return training_bytes(P::device(where), self.get(), batch, gathered);
          },
          py::arg("batch"), py::arg("gathered"), py::arg(P::kWhere),
          "The memory, in bytes, of training in batches of so many samples, which are gathered "
          "first where they have an order.")
      .def(
          "feature_bytes",
          [](const Class& self, Index samples, Index outputs, Index itemsize) {
            return feature_bytes(self.get(), samples, outputs, itemsize);
          },
          py::arg("samples"), py::arg("outputs"), py::arg("itemsize"),
          "The memory, in bytes, of the features of so many samples and outputs, for all readouts, "
          "in numbers of `itemsize` bytes.")
      .def(
          "packed_weight_bytes",
          [](const Class& self, Index samples, Index itemsize, bool for_products,
             const typename P::Where& where) {
            const auto device = P::device(where);
            const FeatureUse use = for_products ? FeatureUse::products : FeatureUse::grams;
            return itemsize == sizeof(float)
                       ? packed_weight_bytes<float>(device, self.get(), samples, use)
                       : packed_weight_bytes<double>(device, self.get(), samples, use);
          },
          py::arg("samples"), py::arg("itemsize"), py::arg("for_products"), py::arg(P::kWhere),
          "The memory, in bytes, of the weights that are packed for the passes of so many samples, "
          "whose features are kept in numbers of `itemsize` bytes.")
      .def(
          "kernel_count",
          [](const Class& self, std::pair<Index, Index> outputs, const std::string& split) {
            return kernel_count(self.get(), self.output_range(outputs.first, outputs.second),
                                split_named(split));
          },
          py::arg("outputs"), py::arg("split"),
          "How many kernels `ntk` computes for the outputs (first, count).")
      .def(
          "kernel_mirror",
          [](const Class& self, std::pair<Index, Index> outputs, const std::string& split) {
            return kernel_mirror(self.get(), self.output_range(outputs.first, outputs.second),
                                 split_named(split));
          },
          py::arg("outputs"), py::arg("split"),
          "For each of these kernels the index of the one that holds its transpose, where both "
          "sets of samples are the same.");
}

template <class P, class T>
void register_network(py::module_& module, const char* name) {
  using Class = PyNetwork<P, T>;
  using Weights = std::pair<double, double>;
  py::class_<Class> result(
      module, name,
      "A network with weights of one precision: hidden layers, and one readout or more.");
  result
      .def(py::init([](Index input_width, const std::string& activation,
                       std::array<double, 2> parameters, std::uintptr_t function,
                       std::uintptr_t derivative, double activation_scale) {
             return Class(input_width,
                          activation_named(activation, parameters, {function, derivative, 0}),
                          activation_scale);
           }),
           py::arg("input_width"), py::arg("activation"), py::arg("parameters"),
           py::arg("function"), py::arg("derivative"), py::arg("activation_scale"),
           "parameters: as many as activations() says, and then zeros; function, derivative: the "
           "addresses of C functions of one double, for the activation \"custom\".")
      .def(
          "add_hidden",
          [](Class& self, const Array<T>& weights, const std::optional<Array<T>>& bias,
             double weight_scale, double bias_scale, Weights kernel_weights) {
            self.add_hidden({weights, bias, weight_scale, bias_scale, kernel_weights.first,
                             kernel_weights.second});
          },
          py::arg("weights").noconvert(), py::arg("bias").noconvert(), py::arg("weight_scale"),
          py::arg("bias_scale"), py::arg("kernel_weights"),
          "weights (n_out, n_in) and bias (n_out,) have the precision of the class. "
          "kernel_weights: what the layer's own part of a tangent kernel is multiplied by, for its "
          "weights and for its bias.")
      .def(
          "add_readout",
          [](Class& self, Index depth, const Array<T>& weights, const std::optional<Array<T>>& bias,
             double weight_scale, double bias_scale, Weights kernel_weights) {
            self.add_readout(depth, {weights, bias, weight_scale, bias_scale, kernel_weights.first,
                                     kernel_weights.second});
          },
          py::arg("depth"), py::arg("weights").noconvert(), py::arg("bias").noconvert(),
          py::arg("weight_scale"), py::arg("bias_scale"), py::arg("kernel_weights"),
          "The same for the map from hidden layer `depth` (0: from the inputs) to the outputs.")
      .def(
          "add_activated_readout",
          [](Class& self, const Array<T>& weights, const std::optional<Array<T>>& bias,
             double weight_scale, double bias_scale, Weights kernel_weights,
             const std::string& activation, std::array<double, 2> parameters,
             std::array<std::uintptr_t, 3> functions) {
            OutputActivation psi = activation::Softmax{};
            if (activation != "softmax") psi = activation_named(activation, parameters, functions);
            self.add_activated_readout({weights, bias, weight_scale, bias_scale,
                                        kernel_weights.first, kernel_weights.second},
                                       psi);
          },
          py::arg("weights").noconvert(), py::arg("bias").noconvert(), py::arg("weight_scale"),
          py::arg("bias_scale"), py::arg("kernel_weights"), py::arg("activation"),
          py::arg("parameters"), py::arg("functions"),
          "The same for the map from the last hidden layer, with an activation of the outputs: one "
          "of the activations(), \"softmax\", or \"custom\" with its functions, φ, φ' and φ''.")
      .def("with_parameters", &Class::with_parameters, py::arg("arrays").noconvert(),
           "The same network, of a single readout, with parameters in other arrays: (weights, "
           "bias) of each layer.");
  register_questions<P>(result);
}

template <class P, class T>
void register_wiring(py::module_& module, const char* name) {
  using Class = PyWiring<P, T>;
  using Weights = std::pair<double, double>;
  py::class_<Class> result(
      module, name,
      "A network of steps with parameters of one precision. Node 0 is the inputs; each step makes "
      "another node, whose number is returned, and the last one is the outputs.");
  result.def(py::init<Index>(), py::arg("input_width"))
      .def(
          "add_linear",
          [](Class& self, std::size_t source, const Array<T>& weights,
             const std::optional<Array<T>>& bias, double weight_scale, double bias_scale,
             Weights kernel_weights) {
            return self.add_linear(source, {weights, bias, weight_scale, bias_scale,
                                            kernel_weights.first, kernel_weights.second});
          },
          py::arg("source"), py::arg("weights").noconvert(), py::arg("bias").noconvert(),
          py::arg("weight_scale"), py::arg("bias_scale"), py::arg("kernel_weights"),
          "weights (n_out, n_in) and bias (n_out,) as for add_hidden of a network.")
      .def(
          "add_activation",
          [](Class& self, std::size_t source, const std::string& activation,
             std::array<double, 2> parameters, std::uintptr_t function, std::uintptr_t derivative,
             double scale) {
            return self.add_activation(
                source, activation_named(activation, parameters, {function, derivative, 0}), scale);
          },
          py::arg("source"), py::arg("activation"), py::arg("parameters"), py::arg("function"),
          py::arg("derivative"), py::arg("scale"), "An activation as of a network, and its scale.")
      .def("add_sum", &Class::add_sum, py::arg("source"), py::arg("branch"), py::arg("scale"),
           "source + scale · branch.")
      .def("add_normalization", &Class::add_normalization, py::arg("source"), py::arg("centred"),
           py::arg("epsilon"),
           "√n z/√(‖z‖² + n epsilon), or the same of z less its mean if it is centred.")
      .def("add_gain_shift", &Class::add_gain_shift, py::arg("source"), py::arg("gain").noconvert(),
           py::arg("shift").noconvert(), py::arg("kernel_weights"),
           "gain ∘ source + shift, either of which may be missing.")
      .def("end_network", &Class::end_network,
           "The last node is the outputs of a network. Others, for which steps are added after it, "
           "share steps with it; there are kernels of all of them at once, and nothing else.");
  register_questions<P>(result);
}

// Registers the functions of one kind of networks, PyNetwork or PyWiring.
template <class P, class T, class AnyNetwork>
void register_functions(py::module_& module) {
  using Guard = py::call_guard<typename P::Guard>;
  module.def("evaluate", &py_evaluate<P, T, AnyNetwork>, Guard(), py::arg("network"),
             py::arg("X").noconvert(), py::arg("out").noconvert(), py::arg(P::kWhere),
             py::arg("monitor"),
             "out (n, C) = the outputs at the samples X (n, d) of the network's first readout.");
  module.def(
      "input_jacobians", &py_input_jacobians<P, T, AnyNetwork>, Guard(), py::arg("network"),
      py::arg("X").noconvert(), py::arg("out").noconvert(), py::arg(P::kWhere), py::arg("monitor"),
      "out: for each output, an array (n, d) for its derivatives with respect to the inputs.");
  module.def("gradient_features", &py_gradient_features<P, T, AnyNetwork>, Guard(),
             py::arg("network"), py::arg("output"), py::arg("X").noconvert(),
             py::arg("out").noconvert(), py::arg(P::kWhere), py::arg("monitor"),
             "out (n, P) = the gradients of one output with respect to the parameters.");
}

template <class T, class AnyNetwork>
void register_pair_angles(py::module_& module) {
  module.def("pair_angles", &py_pair_angles<T, AnyNetwork>, py::arg("network"), py::arg("outputs"),
             py::arg("X").noconvert(), py::arg("pairs"), py::arg("threads"), py::arg("monitor"),
             "The angles between the gradients at the pairs (i, j) of rows of X, to all digits.");
}

// T is the network's precision, G that of the features and the Gram matrices.
template <class P, class T, class G, class AnyNetwork>
void register_ntk(py::module_& module) {
  using Guard = py::call_guard<typename P::Guard>;
  module.def("ntk", &py_ntk<P, T, G, AnyNetwork>, Guard(), py::arg("network"), py::arg("outputs"),
             py::arg("split"), py::arg("X").noconvert(), py::arg("Z").noconvert(),
             py::arg("out").noconvert(), py::arg(P::kWhere), py::arg("monitor"),
             "out: as many kernels (n, m) as kernel_count says; m = n without Z. The kernels may "
             "have another precision than the network. split: \"none\", \"layers\", \"outputs\" or "
             "\"output_pairs\".");
}

template <class P, class T, class G>
void register_gram(py::module_& module, const char* features_name) {
  using Guard = py::call_guard<typename P::Guard>;
  using Class = PyFeatures<P, T, G>;
  register_ntk<P, T, G, PyNetwork<P, T>>(module);
  register_ntk<P, T, G, PyWiring<P, T>>(module);
  const auto made_of = [](auto* which) {
    using AnyNetwork = std::remove_pointer_t<decltype(which)>;
    return py::init([](const AnyNetwork& network, std::pair<Index, Index> outputs,
                       const typename P::template Array<T>& x, bool for_products,
                       const typename P::Where& where, const ProgressCallback& monitor) {
      return std::make_unique<Class>(network, network.output_range(outputs.first, outputs.second),
                                     x, for_products ? FeatureUse::products : FeatureUse::grams,
                                     where, monitor);
    });
  };
  py::class_<Class> features(
      module, features_name,
      "H and Δ of some samples: FeaturesGOfT in the precision G, of a network of precision T. "
      "`outputs` is a range (first, count), and what is computed is summed over it unless one "
      "output is named, by its number in the range. Arrays have the precision G. With "
      "`for_products` they lie as products with the Jacobian need them, without it as kernels do.");
  const auto define = [&](auto made) {
    features.def(std::move(made), py::keep_alive<1, 2>(), Guard(), py::arg("network"),
                 py::arg("outputs"), py::arg("X").noconvert(), py::arg("for_products"),
                 py::arg(P::kWhere), py::arg("monitor"));
  };
  define(made_of(static_cast<PyNetwork<P, T>*>(nullptr)));
  define(made_of(static_cast<PyWiring<P, T>*>(nullptr)));
  features.def_property_readonly("rows", &Class::rows)
      .def("kernel", &Class::kernel, Guard(), py::arg("other"), py::arg("rows"), py::arg("cols"),
           py::arg("out").noconvert(), py::arg(P::kWhere), py::arg("monitor"),
           "out (rows, cols) = the kernel at the ranges (first, count) of rows of these and of the "
           "other features.")
      .def("packed_kernel", &Class::packed_kernel, Guard(), py::arg("out").noconvert(),
           py::arg(P::kWhere), py::arg("monitor"),
           "out (n(n+1)/2,) = the packed kernel of all samples.")
      .def("inverse_norms", &Class::inverse_norms, Guard(), py::arg(P::kWhere), py::arg("monitor"),
           "1/√K(x, x) of each sample, and 0 where there is no gradient or none that is finite.")
      .def("closest_pairs", &Class::closest_pairs, Guard(), py::arg("others").none(true),
           py::arg("inverse_norms"), py::arg("inverse_norms_of_others"), py::arg("k"),
           py::arg(P::kWhere), py::arg("monitor"),
           "The (cosine, i, j) of the k pairs of samples with the smallest angles, i < j, or of "
           "those of a sample i of other features and one j of these.")
      .def("transposed_products", &Class::transposed_products, Guard(), py::arg("output"),
           py::arg("vectors").noconvert(), py::arg("out").noconvert(), py::arg(P::kWhere),
           py::arg("monitor"),
           "out (k, P) = Fᵀ u for the rows u of vectors (k, n); F is the Jacobian of the output.")
      .def("products", &Class::products, Guard(), py::arg("output"), py::arg("weighted"),
           py::arg("vectors").noconvert(), py::arg("out").noconvert(), py::arg(P::kWhere),
           py::arg("monitor"),
           "out (k, n) = F v, or F diag(ω) v if it is weighted, for the rows v of vectors (k, P).");
}

// Registers what both devices have, under the same names.
template <class P>
void register_device(py::module_& module) {
  register_network<P, float>(module, "Network32");
  register_network<P, double>(module, "Network64");
  register_wiring<P, float>(module, "Wiring32");
  register_wiring<P, double>(module, "Wiring64");
  register_functions<P, float, PyNetwork<P, float>>(module);
  register_functions<P, double, PyNetwork<P, double>>(module);
  register_functions<P, float, PyWiring<P, float>>(module);
  register_functions<P, double, PyWiring<P, double>>(module);
  register_hessian_products<P, float, PyNetwork<P, float>>(module);
  register_hessian_products<P, double, PyNetwork<P, double>>(module);
  register_hessian_products<P, float, PyWiring<P, float>>(module);
  register_hessian_products<P, double, PyWiring<P, double>>(module);
  register_passes_with_curvature<P, float>(module);
  register_passes_with_curvature<P, double>(module);
  register_gram<P, float, float>(module, "Features32Of32");
  register_gram<P, float, double>(module, "Features64Of32");
  register_gram<P, double, float>(module, "Features32Of64");
  register_gram<P, double, double>(module, "Features64Of64");
  register_training<P, float>(module, "TrainedLayer32");
  register_training<P, double>(module, "TrainedLayer64");
}

// The core's own errors say how much memory could not be had. Others are those of small pieces,
// which have only the name of their class to say.
void translate_memory_errors(std::exception_ptr thrown) {
  try {
    if (thrown) std::rethrow_exception(std::move(thrown));
  } catch (const std::bad_alloc& error) {
    const bool small = typeid(error) == typeid(std::bad_alloc);
    PyErr_SetString(PyExc_MemoryError,
                    small ? "the core needs a little memory, less than 1 MiB, which is not to be "
                            "had: take fewer samples, or fewer threads (OPENBLAS_NUM_THREADS)"
                          : error.what());
  }
}

}  // namespace

}  // namespace fastntk::python

PYBIND11_MODULE(_core, module) {
  namespace fp = fastntk::python;
  module.doc() = "The numerical core of fastntk.";
  pybind11::register_local_exception_translator(&fp::translate_memory_errors);
  fp::borrow_blas();              // an unusable BLAS is an ImportError here, not a surprise later
  fastntk::panel_instructions();  // nor instructions that the processor does not have
  fp::register_device<fp::OnHost>(module);
  fp::register_pair_angles<float, fp::PyNetwork<fp::OnHost, float>>(module);
  fp::register_pair_angles<double, fp::PyNetwork<fp::OnHost, double>>(module);
  fp::register_pair_angles<float, fp::PyWiring<fp::OnHost, float>>(module);
  fp::register_pair_angles<double, fp::PyWiring<fp::OnHost, double>>(module);
  fp::register_parameter_change<float>(module);
  fp::register_parameter_change<double>(module);
  module.def("mean_outcomes", &fp::py_mean_outcomes, pybind11::arg("outcomes").noconvert(),
             "The means of the columns of outcomes (n, 2).");
  fp::register_symmetric(module);
  module.def(
      "lapack_routine",
      [](const std::string& name, const std::string& parameters) {
        const fp::Routine routine = fp::borrow_lapack(name, parameters);
        return std::pair(reinterpret_cast<std::uintptr_t>(routine.pointer), routine.integer_size);
      },
      pybind11::arg("name"), pybind11::arg("parameters"),
      "The address of a routine of SciPy's LAPACK, and the size of its integers. parameters: a "
      "letter for each, \"c\" for a character, \"i\" for an integer, \"r\" for a real number.");
  module.def(
      "activations",
      [] {
        std::vector<std::pair<std::string, int>> result;
        for (const auto& named : fastntk::named_activations()) {
          result.emplace_back(named.name, named.parameters);
        }
        return result;
      },
      "The names of the activations, each with its number of parameters; all but \"custom\".");
  module.def("panel_instructions", &fastntk::panel_instructions,
             "The instructions that the products of Gram matrices are compiled for: \"avx512\", "
             "\"avx2\", \"neon\" or, where GEMM forms them, \"generic\".");
  module.def("instruction_set", &fastntk::instruction_set,
             "The version of the elementwise loops that this processor runs.");
  module.def(
      "amx_why_not",
      []() -> std::optional<std::string> {
        if (const char* const reason = fastntk::amx::why_not()) return reason;
        return std::nullopt;
      },
      "Why AMX cannot be used; None if it can.");
  module.def(
      "use_amx", [](bool use) { fp::amx_in_use() = use && fastntk::amx::why_not() == nullptr; },
      pybind11::arg("use"), "Has AMX multiply matrices of float32, if it can, or the BLAS.");
  module.attr("few_rows") = fastntk::few_rows::kMost;
  module.attr("few_vectors") = fastntk::few_vectors::kMost;
#ifdef FASTNTK_CUDA
  module.attr("cuda_runtime") = fastntk::cuda_runtime_version();
  pybind11::module_ cuda = module.def_submodule("cuda", "The same on NVIDIA GPUs.");
  fp::register_gpu(cuda);
  fp::register_device<fp::OnGpu>(cuda);
#else
  module.attr("cuda_runtime") = 0;
#endif
}

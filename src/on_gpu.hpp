// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "array_args.hpp"
#include "fastntk/cuda/cuda.hpp"
#include "gil.hpp"

// The bindings on NVIDIA GPUs offer what py_device.hpp lists, and the GPU's memory for Python.
namespace fastntk::python {

// This is a matrix in the memory of a GPU, as the Python class DeviceArray describes it.
template <class T>
struct GpuArray {
  T* data = nullptr;
  Index rows = 0;
  Index cols = 0;
  Index stride = 0;
  std::optional<std::uintptr_t> stream;  // whose work, as far as it is given to it, comes first
  bool read_only = false;
};

// This is a GPU and how to compute on it.
struct PyGpu {
  CudaDevice device;
};

// Returns the functions of the library of this name, which is opened once and stays open.
inline const cublas::Functions<cublas::Types>& cublas_functions(const std::string& library) {
  static std::map<std::string, cublas::Functions<cublas::Types>> opened;  // under the GIL
  const auto found = opened.find(library);
  if (found != opened.end()) return found->second;
  return opened.emplace(library, open_cublas({library.c_str()})).first->second;
}

inline Arithmetic arithmetic_named(const std::string& name) {
  static const std::map<std::string, Arithmetic> known = {
      {"standard", Arithmetic::standard},
      {"tf32", Arithmetic::tf32},
      {"emulated_float64", Arithmetic::emulated_float64}};
  const auto found = known.find(name);
  if (found == known.end()) throw bad_argument("arithmetic", "one that the core has");
  return found->second;
}

struct OnGpu {
  using Device = CudaDevice;
  using Where = PyGpu;
  using Guard = KeepCurrentGpu;
  static constexpr const char* kWhere = "gpu";
  template <class T>
  using Array = GpuArray<T>;

  static const CudaDevice& device(const PyGpu& gpu) {
    gpu.device.make_current();
    return gpu.device;
  }

  template <class T>
  static Matrix<const T> input(const CudaDevice& device, const GpuArray<T>& array, Index cols,
                               const std::string& name) {
    if (array.cols != cols) {
      throw bad_argument(name, "a matrix with " + std::to_string(cols) + " columns");
    }
    if (array.stream) device.wait_for(*array.stream);
    return {array.data, array.rows, array.cols, array.stride};
  }
  // The memory of a result may still be in use as well: by what was given to the stream before the
  // array that had it was let go.
  template <class T>
  static Matrix<T> output(const CudaDevice& device, GpuArray<T>& array, Index rows, Index cols,
                          const std::string& name) {
    if (array.rows != rows || array.cols != cols) {
      throw bad_argument(
          name, "a matrix of shape (" + std::to_string(rows) + ", " + std::to_string(cols) + ")");
    }
    if (array.read_only) throw bad_argument(name, "an array that can be written");
    if (array.stream) device.wait_for(*array.stream);
    return {array.data, array.rows, array.cols, array.stride};
  }
  // A packed matrix is a single row.
  template <class T>
  static SymmetricStorage<T> output_symmetric(const CudaDevice& device, GpuArray<T>& array,
                                              const std::string& name) {
    const Matrix<T> matrix = output<T>(device, array, array.rows, array.cols, name);
    if (matrix.rows == matrix.cols) return SymmetricStorage<T>::full(matrix);
    const Index n = packed_rows(matrix.cols);
    if (matrix.rows != 1 || SymmetricStorage<T>::packed_size(n) != matrix.cols) {
      throw bad_argument(name, "a square matrix or a packed one of n(n+1)/2 elements");
    }
    return SymmetricStorage<T>::packed(matrix.data, n);
  }
  template <class T>
  static Index cols_of(const GpuArray<T>& array) {
    return array.cols;
  }

  template <class Work>
  static auto run(const CudaDevice& device, Work work) {
    return with_tiles_that_fit(device, work);
  }

  static constexpr bool kCopies = true;
  template <class T>
  class Copies {
   public:
    const T* add(const CudaDevice& device, const T* host, Index rows, Index cols) {
      const auto found = buffers_.find(host);
      if (found != buffers_.end()) return found->second.view().data;
      CudaDevice::Buffer<T> buffer(rows, cols);
      device.write(host, buffer.view());
      return buffers_.emplace(host, std::move(buffer)).first->second.view().data;
    }
    T* writable(T* host) const { return buffers_.at(host).view().data; }
    void read_back(const CudaDevice& device, T* host) const {
      device.read(buffers_.at(host).view(), host);
    }

   private:
    std::map<const T*, CudaDevice::Buffer<T>> buffers_;
  };

  template <class T, class Work>
  static auto with_host_result(const CudaDevice& device, Matrix<T> host, Work work) {
    const CudaDevice::Buffer<T> buffer(host.rows, host.cols);
    const auto result = work(buffer.view());
    device.read(buffer.view(), host.data);
    return result;
  }
};

// This is memory of a GPU, for the arrays of callers whose own arrays are on the host.
class PyGpuMemory {
 public:
  PyGpuMemory(const PyGpu& gpu, Index bytes) {
    if (bytes < 0) throw bad_argument("bytes", "at least 0");
    gpu.device.make_current();
    buffer_ = CudaDevice::Buffer<unsigned char>(1, bytes);
  }
  std::uintptr_t pointer() const { return reinterpret_cast<std::uintptr_t>(buffer_.view().data); }

 private:
  CudaDevice::Buffer<unsigned char> buffer_;
};

template <class T>
void py_write(const Array<T>& from, GpuArray<T> to, const PyGpu& gpu) {
  const auto target = OnGpu::output<T>(OnGpu::device(gpu), to, to.rows, to.cols, "to");
  const auto source = input_matrix<T>(from, target.cols, "from");
  if (source.rows != target.rows) throw bad_argument("from", "as many rows as `to` has");
  const WithoutLock no_lock;
  gpu.device.write(source.data, target);
}

template <class T>
void py_read(const GpuArray<T>& from, Array<T>& to, const PyGpu& gpu) {
  const auto source = OnGpu::input<T>(OnGpu::device(gpu), from, from.cols, "from");
  const auto target = output_matrix<T>(to, source.rows, source.cols, "to");
  const WithoutLock no_lock;
  gpu.device.read(source, target.data);
}

inline void register_gpu(py::module_& module) {
  // NOLINTNEXTLINE(performance-unnecessary-value-param): the signature that is asked for
  py::register_local_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const CudaOutOfMemory& what) {
      const std::string message =
          std::string("the GPU has not enough memory, even for the smallest tiles (") +
          what.what() +
          "): take fewer samples, float32, or device=\"cuda\" with arrays of the host, "
          "for which kernels larger than the GPU's memory are computed in parts";
      PyErr_SetString(PyExc_MemoryError, message.c_str());
    }
  });
  py::class_<PyGpu>(module, "Gpu")
      .def(py::init([](int number, const std::string& arithmetic, Index tile, int lanes,
                       const std::string& cublas) {
             if (tile < 1) throw bad_argument("tile", "at least 1");
             if (lanes < 1) throw bad_argument("lanes", "at least 1");
             return PyGpu{CudaDevice(cublas_functions(cublas),
                                     {number, arithmetic_named(arithmetic), tile, lanes})};
           }),
           py::call_guard<KeepCurrentGpu>(), py::kw_only(), py::arg("number"),
           py::arg("arithmetic"), py::arg("tile"), py::arg("lanes"), py::arg("cublas"))
      .def_property_readonly(
          "memory",
          [](const PyGpu& gpu) {
            const KeepCurrentGpu keep;
            const auto memory = gpu.device.memory();
            return std::pair(memory.free, memory.total);
          },
          "(free, total) in bytes");
  py::class_<PyGpuMemory>(module, "Memory")
      .def(py::init<const PyGpu&, Index>(), py::call_guard<KeepCurrentGpu>(), py::arg("gpu"),
           py::arg("bytes"))
      .def_property_readonly("pointer", &PyGpuMemory::pointer);
  const auto copies = [&](auto write, auto read) {
    module.def("write", write, py::call_guard<KeepCurrentGpu>(), py::arg("source").noconvert(),
               py::arg("to"), py::arg("gpu"));
    module.def("read", read, py::call_guard<KeepCurrentGpu>(), py::arg("source"),
               py::arg("to").noconvert(), py::arg("gpu"));
  };
  copies(&py_write<float>, &py_read<float>);
  copies(&py_write<double>, &py_read<double>);
}

}  // namespace fastntk::python

template <class T>
struct pybind11::detail::type_caster<fastntk::python::GpuArray<T>> {
  PYBIND11_TYPE_CASTER(fastntk::python::GpuArray<T>, const_name("DeviceArray"));

  // The checks of what lies at the pointer are those of the Python class.
  bool load(handle source, bool /*convert*/) {
    if (!hasattr(source, "pointer") || !hasattr(source, "read_only")) return false;
    if (!dtype::of<T>().equal(source.attr("dtype"))) return false;
    const auto shape = source.attr("shape").cast<std::pair<fastntk::Index, fastntk::Index>>();
    // NOLINTNEXTLINE(performance-no-int-to-ptr): so addresses come from Python
    value.data = reinterpret_cast<T*>(source.attr("pointer").cast<std::uintptr_t>());
    value.rows = shape.first;
    value.cols = shape.second;
    value.stride = source.attr("strides").cast<std::pair<fastntk::Index, fastntk::Index>>().first;
    value.stream = source.attr("stream").cast<std::optional<std::uintptr_t>>();
    value.read_only = source.attr("read_only").cast<bool>();
    return true;
  }
};

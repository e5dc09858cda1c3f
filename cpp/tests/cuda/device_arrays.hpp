// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "fastntk/cuda/cuda_device.hpp"
#include "fastntk/network.hpp"
#include "padded_matrix.hpp"

namespace fastntk::test {

// Returns the functions of runtime/cublas.cpp, found as those of the library are.
inline const cublas::Functions<cublas::Types>& fake_cublas() {
  static const auto functions = open_cublas({nullptr});
  return functions;
}

// This is a matrix on the device with a margin on all sides, as PaddedMatrix is on the host.
template <class T>
class DeviceMatrix {
 public:
  // The elements are NaN.
  DeviceMatrix(const CudaDevice& device, Index rows, Index cols)
      : DeviceMatrix(device, PaddedMatrix<T>(rows, cols), PaddedMatrix<T>::kMark) {}
  // This one is for reading only: its margin is NaN.
  DeviceMatrix(const CudaDevice& device, const PaddedMatrix<T>& values)
      : DeviceMatrix(device, values, PaddedMatrix<T>::kNan) {}
  DeviceMatrix(const CudaDevice& device, const PaddedMatrix<T>& values, T margin)
      : device_(&device),
        rows_(values.rows()),
        cols_(values.cols()),
        buffer_(rows_ + 2, cols_ + kLeft + kRight) {
    std::vector<T> all(size(), margin);
    for (Index i = 0; i < rows_; ++i) {
      std::copy_n(values.view().row(i), cols_, all.data() + (i + 1) * stride() + kLeft);
    }
    device.write(all.data(), buffer_.view());
  }

  Matrix<T> view() const { return buffer_.view().block(1, rows_, kLeft, cols_); }

  PaddedMatrix<T> get() const {
    std::vector<T> all(size());
    device_->read(buffer_.view(), all.data());
    PaddedMatrix<T> result(rows_, cols_);
    bool intact = true;
    for (Index i = 0; i < rows_ + 2; ++i) {
      for (Index j = 0; j < stride(); ++j) {
        const T value = all[static_cast<std::size_t>(i * stride() + j)];
        if (i >= 1 && i <= rows_ && j >= kLeft && j < kLeft + cols_) {
          result(i - 1, j - kLeft) = value;
        } else {
          intact = intact && value == PaddedMatrix<T>::kMark;
        }
      }
    }
    CHECK(intact);
    return result;
  }

 private:
  static constexpr Index kLeft = 2;
  static constexpr Index kRight = 3;
  Index stride() const { return kLeft + cols_ + kRight; }
  std::size_t size() const { return static_cast<std::size_t>((rows_ + 2) * stride()); }

  const CudaDevice* device_;
  Index rows_;
  Index cols_;
  CudaDevice::Buffer<T> buffer_;
};

// This is a network with its parameters on the device.
template <class T>
class DeviceNetwork {
 public:
  DeviceNetwork(const CudaDevice& device, const Network<T>& network) : network_(network) {
    for (Layer<T>& layer : network_.hidden) upload(device, layer);
    for (Readout<T>& readout : network_.readouts) upload(device, readout.layer);
  }
  const Network<T>& get() const { return network_; }

 private:
  void upload(const CudaDevice& device, Layer<T>& layer) {
    const auto put = [&](Matrix<const T> from) {
      PaddedMatrix<T> values(from.rows, from.cols);
      for (Index i = 0; i < from.rows; ++i) {
        std::copy_n(from.row(i), from.cols, values.view().row(i));
      }
      arrays_.push_back(std::make_unique<DeviceMatrix<T>>(device, values));
      return arrays_.back()->view();
    };
    if (layer.bias != nullptr) layer.bias = put({layer.bias, 1, layer.outputs()}).data;
    layer.weights = put(layer.weights);
  }

  std::vector<std::unique_ptr<DeviceMatrix<T>>> arrays_;
  Network<T> network_;
};

}  // namespace fastntk::test

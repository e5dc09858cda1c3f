// SPDX-FileCopyrightText: The fastntk authors
// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "fastntk/finished.hpp"
#include "fastntk/host_memory.hpp"
#include "fastntk/matrix.hpp"
#include "fastntk/matrix_buffer.hpp"
#include "fastntk/panel_products.hpp"
#include "fastntk/panels.hpp"
#include "fastntk/partition.hpp"

// This has the weights of layers as products of panels read them, on processors that
// panel_products.hpp was written for. The bits of a sample's numbers do not depend on the samples
// that are multiplied with it.
namespace fastntk {

// This is a matrix of weights, or its transpose, each row of which samples are multiplied with: a
// unit.
template <class T>
struct WeightOperand {
  Matrix<const T> weights;
  bool transposed = false;

  Index units() const { return transposed ? weights.cols : weights.rows; }
  Index terms() const { return transposed ? weights.rows : weights.cols; }
};

// These are some matrices of weights. Those that many blocks of samples use are packed ahead, once,
// by tasks; those that few use, by each of them.
template <class T>
class PackedWeights {
 public:
  using Buffer = MatrixBuffer<T, HostMemory>;

  // Products are of at most so many units.
  static constexpr Index kUnits = Panels<T>::kSlab;

  PackedWeights() = default;
  PackedWeights(const std::vector<WeightOperand<T>>& operands, Index panel_rows, bool ahead)
      : panel_rows_(panel_rows), operands_(operands.begin(), operands.end()) {
    if (!ahead) return;
    memory_ = {1, numbers(operands, panel_rows)};
    T* place = memory_.view().data;
    for (std::size_t i = 0; i < operands.size(); ++i) {
      Operand& operand = operands_[i];
      operand.packed = {place, operand.units(), operand.terms(), 1, panel_rows};
      place += operand.packed.padded_rows() * operand.terms();
      operand.first_task = tasks();
      for (Index first = 0; first < operand.units(); first += kUnits) {
        tasks_.push_back({i, {first, std::min(kUnits, operand.units() - first)}});
      }
    }
    finished_ = Finished(tasks());
  }

  // Returns how many numbers these weights are, packed ahead.
  static Index numbers(const std::vector<WeightOperand<T>>& operands, Index panel_rows) {
    Index result = 0;
    for (const WeightOperand<T>& operand : operands) {
      result += Partition::round_up(operand.units(), panel_rows) * operand.terms();
    }
    return result;
  }

  Index tasks() const { return static_cast<Index>(tasks_.size()); }
  void pack(Index index) {
    const Task& task = tasks_[static_cast<std::size_t>(index)];
    const Operand& operand = operands_[task.operand];
    pack_units(operand, task.units, task.units.first, operand.packed);
    finished_.mark(index);
  }

  // Packs these rows and columns of the weights of an operand anew, where they have changed since
  // they were packed ahead: they begin with a panel, and end with one or with the last of all.
  void repack(std::size_t index, Range rows, Range cols) const {
    const Operand& operand = operands_[index];
    const Matrix<const T> block =
        operand.weights.block(rows.first, rows.count, cols.first, cols.count);
    if (operand.transposed) {
      pack_transposed<T>(block, cols.first, operand.packed, rows.first);
    } else {
      fastntk::pack<T>(block, rows.first, 0, operand.packed, cols.first);
    }
  }

  // Returns a buffer for what products pack themselves.
  Buffer make_workspace() const {
    Index numbers = 0;
    for (const Operand& operand : operands_) {
      if (operand.packed.data != nullptr) continue;
      const Index units = std::min(kUnits, operand.units());
      numbers = std::max(numbers, Partition::round_up(units, panel_rows_) * operand.terms());
    }
    return {1, numbers};
  }

  // Returns the products of at most kUnits units of an operand, in rows, with these samples, whole
  // panels of them, in columns. They lie in `product`. The matrix is empty if the work was stopped.
  template <class Lane>
  Matrix<const T> units_by_samples(const Lane& lane, std::size_t index, Range units,
                                   const PanelRows<const T>& samples, const Buffer& workspace,
                                   const Matrix<T>& product) const {
    const auto [packed, rows] = ready(lane, index, units, workspace);
    if (packed.data == nullptr) return {};
    return multiply_panels<T>(packed, rows, samples.all, samples.rows(), false, product);
  }
  // Returns the transpose.
  template <class Lane>
  Matrix<const T> samples_by_units(const Lane& lane, std::size_t index, Range units,
                                   const PanelRows<const T>& samples, const Buffer& workspace,
                                   const Matrix<T>& product) const {
    const auto [packed, rows] = ready(lane, index, units, workspace);
    if (packed.data == nullptr) return {};
    return multiply_panels<T>(samples.all, samples.rows(), packed, rows, false, product);
  }

 private:
  struct Operand : WeightOperand<T> {
    Panels<T> packed;
    Index first_task = 0;

    // NOLINTNEXTLINE(google-explicit-constructor)
    Operand(const WeightOperand<T>& operand) : WeightOperand<T>(operand) {}
  };
  struct Task {
    std::size_t operand;
    Range units;
  };

  // Returns panels and which of their rows are these units, or nothing if the work was stopped.
  template <class Lane>
  std::pair<Panels<const T>, Range> ready(const Lane& lane, std::size_t index, Range units,
                                          const Buffer& workspace) const {
    const Operand& operand = operands_[index];
    if (lane.stopped()) return {{}, units};
    if (operand.packed.data != nullptr) {
      const Index last = (units.first + units.count - 1) / kUnits;
      for (Index task = units.first / kUnits; task <= last; ++task) {
        if (!finished_.wait(lane, operand.first_task + task)) return {{}, units};
      }
      return {operand.packed, units};
    }
    const Panels<T> own(workspace.view().data, units.count, operand.terms(), 1, panel_rows_);
    pack_units(operand, units, 0, own);
    return {own, {0, units.count}};
  }
  static void pack_units(const Operand& operand, Range units, Index first, const Panels<T>& to) {
    if (operand.transposed) {
      pack_transposed<T>(operand.weights.col_block(units.first, units.count), first, to);
    } else {
      fastntk::pack<T>(operand.weights.row_block(units.first, units.count), first, 0, to);
    }
  }

  Index panel_rows_ = 0;
  std::vector<Operand> operands_;
  std::vector<Task> tasks_;
  Finished finished_{0};
  Buffer memory_;
};

}  // namespace fastntk

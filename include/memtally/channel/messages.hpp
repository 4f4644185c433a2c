// SPDX-License-Identifier: Apache-2.0
//
// Typed messages that lie in the ring: FloatVector, ByteVector, DoubleMatrix.  Made from a channel, one is room to be
// filled and sent; received, it is the message itself, and gives its room back when it goes.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <memtally/channel.hpp>

namespace memtally {

template <typename T>
class MessageVector {
  static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 8);

 public:
  using value_type = T;

  // Room for as many elements as fit the channel's default_message_bytes(), or for `count`.  Waits for it as the
  // channel's WhenFull says; not valid if there is none.
  explicit MessageVector(Channel& channel) : MessageVector(channel, channel.default_message_bytes() / sizeof(T)) {}
  MessageVector(Channel& channel, size_t count) : loan_(channel.claim(count * sizeof(T))) { Own(loan_, count); }
  MessageVector(Producer& producer, size_t count) : loan_(producer.claim(count * sizeof(T))) { Own(loan_, count); }
  MessageVector(MessageVector&& other) noexcept { *this = std::move(other); }
  MessageVector& operator=(MessageVector&& other) noexcept {
    if (this == &other) return *this;
    loan_ = std::move(other.loan_);
    view_ = std::move(other.view_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }
  // Nothing if its size is no multiple of an element's.
  static std::optional<MessageVector> FromView(View view) {
    if (view.size() % sizeof(T) != 0) return std::nullopt;
    MessageVector vector;
    vector.size_ = vector.capacity_ = view.size() / sizeof(T);
    vector.data_ = reinterpret_cast<T*>(const_cast<std::byte*>(view.data()));
    vector.view_ = std::move(view);
    return vector;
  }

  bool is_valid() const { return data_ != nullptr; }
  // Why it is not valid.
  Status status() const { return is_valid() ? Status::Ok : loan_.status(); }
  // Publishes the elements; channel.send(message) is the same.
  Status commit() {
    const Status status = loan_.commit(size_ * sizeof(T));
    data_ = nullptr;
    return status;
  }

  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  // Throws std::length_error beyond the capacity, which was fixed when the message was made.
  void resize(size_t count) {
    if (!try_resize(count)) throw std::length_error("a message cannot grow beyond the room that was claimed for it");
  }
  bool try_resize(size_t count) {
    if (count > capacity_ || !is_valid()) return false;
    size_ = count;
    return true;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](size_t i) {
    assert(i < size_);
    return data_[i];
  }
  const T& operator[](size_t i) const {
    assert(i < size_);
    return data_[i];
  }
  T& at(size_t i) {
    if (i >= size_) throw std::out_of_range("no such element in this message");
    return data_[i];
  }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

 private:
  MessageVector() = default;
  void Own(const Loan& loan, size_t count) {
    if (!loan) return;
    data_ = reinterpret_cast<T*>(loan.data());
    size_ = capacity_ = count;
  }

  Loan loan_;
  View view_;
  T* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

using FloatVector = MessageVector<float>;
using ByteVector = MessageVector<uint8_t>;

// Rows behind one another; on the way: rows, columns (64 bits each), elements.
class DoubleMatrix {
 public:
  DoubleMatrix(Channel& channel, size_t rows, size_t columns)
      : loan_(Fits(rows, columns) ? channel.claim(kHead + rows * columns * sizeof(double)) : Loan()) {
    if (!loan_) return;
    const uint64_t shape[2] = {rows, columns};
    memcpy(loan_.data(), shape, kHead);
    Set(loan_.data(), rows, columns);
  }
  DoubleMatrix(DoubleMatrix&& other) noexcept { *this = std::move(other); }
  DoubleMatrix& operator=(DoubleMatrix&& other) noexcept {
    if (this == &other) return *this;
    loan_ = std::move(other.loan_);
    view_ = std::move(other.view_);
    elements_ = std::exchange(other.elements_, nullptr);
    rows_ = std::exchange(other.rows_, 0);
    columns_ = std::exchange(other.columns_, 0);
    return *this;
  }
  // Nothing if its size does not go with its rows and columns.
  static std::optional<DoubleMatrix> FromView(View view) {
    uint64_t shape[2];
    if (view.size() < kHead) return std::nullopt;
    memcpy(shape, view.data(), kHead);
    if (!Fits(shape[0], shape[1]) || view.size() != kHead + shape[0] * shape[1] * sizeof(double)) return std::nullopt;
    DoubleMatrix matrix;
    matrix.Set(const_cast<std::byte*>(view.data()), shape[0], shape[1]);
    matrix.view_ = std::move(view);
    return matrix;
  }

  bool is_valid() const { return elements_ != nullptr; }
  Status status() const { return is_valid() ? Status::Ok : loan_.status(); }
  Status commit() {
    elements_ = nullptr;
    return loan_.commit();
  }
  size_t rows() const { return rows_; }
  size_t cols() const { return columns_; }
  double& operator()(size_t row, size_t column) {
    assert(row < rows_ && column < columns_);
    return elements_[row * columns_ + column];
  }
  double operator()(size_t row, size_t column) const {
    assert(row < rows_ && column < columns_);
    return elements_[row * columns_ + column];
  }
  double& at(size_t row, size_t column) {
    if (row >= rows_ || column >= columns_) throw std::out_of_range("no such element in this matrix");
    return elements_[row * columns_ + column];
  }

 private:
  static constexpr size_t kHead = 2 * sizeof(uint64_t);
  DoubleMatrix() = default;
  static bool Fits(uint64_t rows, uint64_t columns) {
    return columns == 0 || rows <= (uint64_t{1} << 40) / sizeof(double) / columns;
  }
  void Set(std::byte* data, size_t rows, size_t columns) {
    elements_ = reinterpret_cast<double*>(data + kHead);
    rows_ = rows;
    columns_ = columns;
  }

  Loan loan_;
  View view_;
  double* elements_ = nullptr;
  size_t rows_ = 0;
  size_t columns_ = 0;
};

}  // namespace memtally

// Result<T>: a value or an Errno. The one way errors travel in teacup; converted to -errno in one place, the
// system-call dispatcher. TRY(expr) yields the value or returns the error from the enclosing function.
#pragma once

#include <new>
#include <type_traits>
#include <utility>

#include "kernel/base/errno.h"

namespace teacup {

template <typename T>
class [[nodiscard]] Result {
 public:
  using Value = T;

  Result(const T& value) : ok_(true) { new (&storage_.value) T(value); }
  Result(T&& value) : ok_(true) { new (&storage_.value) T(std::move(value)); }
  Result(Errno error) : ok_(false) { storage_.error = error; }
  Result(Result&& other) : ok_(other.ok_) {
    if (ok_) {
      new (&storage_.value) T(std::move(other.storage_.value));
    } else {
      storage_.error = other.storage_.error;
    }
  }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;
  ~Result() {
    if (ok_) storage_.value.~T();
  }

  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  Errno error() const { return ok_ ? Errno::OK : storage_.error; }
  bool is(Errno error) const { return !ok_ && storage_.error == error; }
  T& value() & { return storage_.value; }
  const T& value() const& { return storage_.value; }
  T&& value() && { return std::move(storage_.value); }
  T value_or(T other) const { return ok_ ? storage_.value : other; }

 private:
  union Storage {
    Storage() {}
    ~Storage() {}
    T value;
    Errno error;
  } storage_;
  bool ok_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using Value = void;

  Result() : error_(Errno::OK) {}
  Result(Errno error) : error_(error) {}

  bool ok() const { return error_ == Errno::OK; }
  explicit operator bool() const { return ok(); }
  Errno error() const { return error_; }
  bool is(Errno error) const { return error_ == error; }
  void value() const {}

 private:
  Errno error_;
};

// A reference that may have failed to come about.
template <typename T>
class [[nodiscard]] Result<T&> {
 public:
  using Value = T&;

  Result(T& value) : value_(&value), error_(Errno::OK) {}
  Result(Errno error) : value_(nullptr), error_(error) {}

  bool ok() const { return value_ != nullptr; }
  explicit operator bool() const { return ok(); }
  Errno error() const { return error_; }
  bool is(Errno error) const { return error_ == error; }
  T& value() const { return *value_; }

 private:
  T* value_;
  Errno error_;
};

}  // namespace teacup

#define TRY(expression)                                        \
  __extension__({                                              \
    auto&& try_result_ = (expression);                         \
    if (!try_result_.ok()) [[unlikely]]                        \
      return try_result_.error();                              \
    static_cast<decltype(try_result_)&&>(try_result_).value(); \
  })

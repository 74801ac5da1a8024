// Ref<T>: a counted reference to an arena object. The count lives in the object, so a Ref is one pointer,
// valid in every process of the machine. Objects derive from RefCounted<T>; the last reference calls
// T::destroy(T*), which T supplies (usually through kernel/frame/object.h) and which may drop further
// references but must not block on them.
#pragma once

#include <atomic>
#include <utility>

#include "kernel/base/panic.h"
#include "kernel/base/types.h"

namespace teacup {

template <typename T>
class RefCounted {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  void ref() const { count_.fetch_add(1, std::memory_order_relaxed); }
  void unref() const {
    if (drop()) T::destroy(const_cast<T*>(static_cast<const T*>(this)));
  }
  // For caches that hold no count of their own: takes a reference unless the object is already dying.
  bool try_ref() const {
    u32 count = count_.load(std::memory_order_relaxed);
    while (count != 0) {
      if (count_.compare_exchange_weak(count, count + 1, std::memory_order_acq_rel)) return true;
    }
    return false;
  }
  u32 ref_count() const { return count_.load(std::memory_order_relaxed); }

 protected:
  // Gives up a reference without destroying: true if it was the last. For chains that would recurse.
  bool drop() const { return count_.fetch_sub(1, std::memory_order_acq_rel) == 1; }

 private:
  mutable std::atomic<u32> count_{1};
};

template <typename T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  Ref(const Ref& other) : pointer_(other.pointer_) {
    if (pointer_ != nullptr) pointer_->ref();
  }
  Ref(Ref&& other) noexcept : pointer_(std::exchange(other.pointer_, nullptr)) {}
  template <typename U>
  requires std::is_convertible_v<U*, T*> Ref(Ref<U> other) : pointer_(other.leak()) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(pointer_, other.pointer_);
    return *this;
  }
  ~Ref() {
    if (pointer_ != nullptr) pointer_->unref();
  }

  // Takes over a count the caller holds (a new object is born with one).
  static Ref adopt(T* pointer) {
    Ref result;
    result.pointer_ = pointer;
    return result;
  }
  // Adds a count of its own.
  static Ref share(T* pointer) {
    if (pointer != nullptr) pointer->ref();
    return adopt(pointer);
  }
  // Hands the count to the caller.
  [[nodiscard]] T* leak() { return std::exchange(pointer_, nullptr); }

  T* get() const { return pointer_; }
  T& operator*() const { return *pointer_; }
  T* operator->() const { return pointer_; }
  explicit operator bool() const { return pointer_ != nullptr; }
  bool operator==(const Ref& other) const { return pointer_ == other.pointer_; }
  bool operator==(const T* other) const { return pointer_ == other; }

 private:
  T* pointer_ = nullptr;
};

}  // namespace teacup

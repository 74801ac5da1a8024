// The heap of kernel objects, in the arena. Size classes of powers of two and their halves up to 32 KiB in 64
// KiB slabs; larger blocks take whole slabs. Memory is zeroed on allocation and never given back to the host
// by itself, and a slab keeps its class for ever, so a stale pointer to a task still points at a task
// (kernel/sync/wait.cc relies on it).
//
// Locks: the heap's own (kHeap). Callable holding any other.
#pragma once

#include <new>
#include <utility>

#include "kernel/base/ref.h"
#include "kernel/base/result.h"
#include "kernel/base/types.h"

namespace teacup {

// Creates the heap; once per machine (the template, or a test's set-up).
void heap_start();

// Slabs of their own for objects that are looked at by who holds no reference yet: their memory is never
// anything else, so that a count found there is some object's of the family, or zero. (A type says so by
// kHeapFamily.)
enum class HeapFamily : u8 { kAny, kFiles };

// nullptr when the arena or the machine's memory limit is exhausted. Aligned to 16, from 64 bytes on to 64.
// Of a family other than kAny: no more than 32 KiB.
void* heap_allocate(size_t size, HeapFamily family = HeapFamily::kAny);
void heap_free(void* block);
// Bytes handed out, for meminfo and leak tests.
u64 heap_in_use();

// A new arena object, born with one reference if T is counted. ENOMEM.
template <typename T, typename... Args>
Result<T*> make(Args&&... args) {
  HeapFamily family = HeapFamily::kAny;
  if constexpr (requires { T::kHeapFamily; }) family = T::kHeapFamily;
  void* block = heap_allocate(sizeof(T), family);
  if (block == nullptr) return Errno::NOMEM;
  return new (block) T(std::forward<Args>(args)...);
}
template <typename T, typename... Args>
Result<Ref<T>> make_ref(Args&&... args) {
  T* object = TRY(make<T>(std::forward<Args>(args)...));
  return Ref<T>::adopt(object);
}
template <typename T>
void destroy(T* object) {
  if (object == nullptr) return;
  object->~T();
  heap_free(object);
}

// An owned array of plain data in the heap.
template <typename T>
class HeapArray {
 public:
  HeapArray() = default;
  HeapArray(HeapArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  HeapArray& operator=(HeapArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~HeapArray() { heap_free(data_); }
  // Zeroed. ENOMEM.
  static Result<HeapArray> create(size_t size) {
    HeapArray array;
    if (size == 0) return array;
    if (size > (size_t{1} << 40) / sizeof(T)) return Errno::NOMEM;
    array.data_ = static_cast<T*>(heap_allocate(size * sizeof(T)));
    if (array.data_ == nullptr) return Errno::NOMEM;
    array.size_ = size;
    return array;
  }
  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  // The memory is the caller's to free from then on.
  T* release() {
    size_ = 0;
    return std::exchange(data_, nullptr);
  }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace teacup

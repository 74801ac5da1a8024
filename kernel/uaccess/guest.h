// Guest memory. The kernel touches it only through the types here: a pointer that a guest passed is an
// address with a direction, and every access goes through copy routines whose faults come back as EFAULT.
// Ranges that meet the kernel's are EFAULT before anything is touched.
//
// Faults: guest memory is mapped by the host, which pages it in by itself; a fault that reaches us is a bad
// address (or SIGBUS: past the end of a file), never one that the kernel has to serve. So copying under a
// sleeping lock is safe.
#pragma once

#include <span>
#include <string_view>
#include <type_traits>

#include "kernel/abi/fs.h"
#include "kernel/base/layout.h"
#include "kernel/base/result.h"

namespace teacup {

// Copies and returns how many bytes were NOT copied. No range check: for the types below.
extern "C" size_t guest_copy_raw(void* to, const void* from, size_t size);
extern "C" size_t guest_zero_raw(void* to, size_t size);

Result<void> copy_from_guest(void* to, u64 from, size_t size);
Result<void> copy_to_guest(u64 to, const void* from, size_t size);
Result<void> zero_guest(u64 to, size_t size);
// As far as it goes: the number of bytes copied, EFAULT if that is none of size > 0.
Result<size_t> copy_from_guest_partly(void* to, u64 from, size_t size);
Result<size_t> copy_to_guest_partly(u64 to, const void* from, size_t size);

// A guest address without a type: mmap's, brk's, a futex word's.
struct GuestAddress {
  u64 value = 0;
};

template <typename T>
class GuestIn {
 public:
  GuestIn() = default;
  explicit GuestIn(u64 address) : address_(address) {}
  u64 address() const { return address_; }
  explicit operator bool() const { return address_ != 0; }
  Result<T> read() const { return at(0); }
  Result<T> at(size_t index) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    TRY(copy_from_guest(&value, address_ + index * sizeof(T), sizeof(T)));
    return value;
  }
  Result<void> read_all(std::span<T> into) const {
    return copy_from_guest(into.data(), address_, into.size_bytes());
  }

 protected:
  u64 address_ = 0;
};

template <typename T>
class GuestOut {
 public:
  GuestOut() = default;
  explicit GuestOut(u64 address) : address_(address) {}
  u64 address() const { return address_; }
  explicit operator bool() const { return address_ != 0; }
  Result<void> write(const T& value) const { return write_at(0, value); }
  Result<void> write_at(size_t index, const T& value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    return copy_to_guest(address_ + index * sizeof(T), &value, sizeof(T));
  }
  Result<void> write_all(std::span<const T> values) const {
    return copy_to_guest(address_, values.data(), values.size_bytes());
  }

 private:
  u64 address_ = 0;
};

template <typename T>
class GuestInOut : public GuestIn<T> {
 public:
  using GuestIn<T>::GuestIn;
  Result<void> write(const T& value) const { return out().write(value); }
  Result<void> write_at(size_t index, const T& value) const { return out().write_at(index, value); }
  GuestOut<T> out() const { return GuestOut<T>(this->address_); }
};

// A NUL-terminated string in guest memory.
class GuestString {
 public:
  GuestString() = default;
  explicit GuestString(u64 address) : address_(address) {}
  u64 address() const { return address_; }
  explicit operator bool() const { return address_ != 0; }
  // Copies it with its NUL; ENAMETOOLONG if that does not fit. The view is without the NUL.
  Result<std::string_view> read(std::span<char> into) const;

 private:
  u64 address_ = 0;
};

// A system-call descriptor argument; printing and checking know it from an int.
struct Fd {
  s32 value = -1;
};

// --- Where a read puts its bytes, and where a write gets them: guest memory in one or several pieces, or
// kernel memory. A cursor: each call advances it. The pieces array must outlive it.
class IoDest {
 public:
  IoDest(u64 guest_address, size_t size)
      : one_{guest_address, size}, pieces_(&one_), count_(1), remaining_(size) {}
  IoDest(const abi::IoVec* pieces, size_t count);  // guest memory
  explicit IoDest(std::span<std::byte> kernel_memory);
  IoDest(const IoDest&) = delete;
  IoDest& operator=(const IoDest&) = delete;

  size_t remaining() const { return remaining_; }
  size_t done() const { return done_; }
  // Copies up to `size` bytes (no more than remaining()); returns how many. EFAULT only if none could be.
  Result<size_t> put(const void* data, size_t size);
  Result<size_t> put_zeros(size_t size);
  // Passes over up to `size` bytes, which stay what they are.
  void skip(size_t size);

 private:
  template <typename Copy>
  Result<size_t> advance(size_t size, Copy copy);

  abi::IoVec one_{};
  const abi::IoVec* pieces_;
  size_t count_;
  size_t offset_ = 0;  // in the first piece
  size_t remaining_;
  size_t done_ = 0;
  bool kernel_ = false;
};

class IoSource {
 public:
  IoSource(u64 guest_address, size_t size)
      : one_{guest_address, size}, pieces_(&one_), count_(1), remaining_(size) {}
  IoSource(const abi::IoVec* pieces, size_t count);
  explicit IoSource(std::span<const std::byte> kernel_memory);
  IoSource(const IoSource&) = delete;
  IoSource& operator=(const IoSource&) = delete;

  size_t remaining() const { return remaining_; }
  size_t done() const { return done_; }
  Result<size_t> take(void* into, size_t size);
  // The same without advancing, for a writer that may have to be called again (EAGAIN).
  Result<size_t> peek(void* into, size_t size);

 private:
  abi::IoVec one_{};
  const abi::IoVec* pieces_;
  size_t count_;
  size_t offset_ = 0;
  size_t remaining_;
  size_t done_ = 0;
  bool kernel_ = false;
};

}  // namespace teacup

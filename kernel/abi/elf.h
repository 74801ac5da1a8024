// ELF-64 (elf(5), System V gABI and its x86-64 supplement), and the auxiliary vector (getauxval(3)).
#pragma once

#include "kernel/base/types.h"

namespace teacup::abi {

inline constexpr u32 kElfMagic = 0x464c457f;  // "\x7fELF", little endian
inline constexpr u8 kELFCLASS64 = 2;
inline constexpr u8 kELFDATA2LSB = 1;
inline constexpr u16 kET_EXEC = 2;
inline constexpr u16 kET_DYN = 3;
inline constexpr u16 kEM_X86_64 = 62;
inline constexpr u32 kPT_LOAD = 1;
inline constexpr u32 kPT_DYNAMIC = 2;
inline constexpr u32 kPT_INTERP = 3;
inline constexpr u32 kPT_PHDR = 6;
inline constexpr u32 kPT_GNU_STACK = 0x6474e551;
inline constexpr u32 kPF_X = 1;
inline constexpr u32 kPF_W = 2;
inline constexpr u32 kPF_R = 4;

struct ElfHeader {
  u32 magic;
  u8 elf_class;
  u8 data;
  u8 ident_version;
  u8 os_abi;
  u8 ident_pad[8];
  u16 type;
  u16 machine;
  u32 version;
  u64 entry;
  u64 phoff;
  u64 shoff;
  u32 flags;
  u16 ehsize;
  u16 phentsize;
  u16 phnum;
  u16 shentsize;
  u16 shnum;
  u16 shstrndx;
};
static_assert(sizeof(ElfHeader) == 64);

struct ElfProgramHeader {
  u32 type;
  u32 flags;
  u64 offset;
  u64 vaddr;
  u64 paddr;
  u64 filesz;
  u64 memsz;
  u64 align;
};
static_assert(sizeof(ElfProgramHeader) == 56);

inline constexpr u64 kAT_NULL = 0;
inline constexpr u64 kAT_PHDR = 3;
inline constexpr u64 kAT_PHENT = 4;
inline constexpr u64 kAT_PHNUM = 5;
inline constexpr u64 kAT_PAGESZ = 6;
inline constexpr u64 kAT_BASE = 7;
inline constexpr u64 kAT_FLAGS = 8;
inline constexpr u64 kAT_ENTRY = 9;
inline constexpr u64 kAT_UID = 11;
inline constexpr u64 kAT_EUID = 12;
inline constexpr u64 kAT_GID = 13;
inline constexpr u64 kAT_EGID = 14;
inline constexpr u64 kAT_PLATFORM = 15;
inline constexpr u64 kAT_HWCAP = 16;
inline constexpr u64 kAT_CLKTCK = 17;
inline constexpr u64 kAT_SECURE = 23;
inline constexpr u64 kAT_RANDOM = 25;
inline constexpr u64 kAT_HWCAP2 = 26;
inline constexpr u64 kAT_EXECFN = 31;
inline constexpr u64 kAT_SYSINFO_EHDR = 33;
inline constexpr u64 kAT_MINSIGSTKSZ = 51;

}  // namespace teacup::abi

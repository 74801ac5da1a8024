// A look at an ELF file's headers that is cheap enough for every mmap(2) of a file's first page.
#pragma once

#include "fs/file.h"

namespace teacup::mm {

// Whether a mapping of `length` bytes from the start of `file` is a dynamic linker's first step: the file is
// an x86-64 shared object with an executable segment, and the length is that of the memory that all its
// segments span. (Tools that read object files map the file's length.)
bool looks_like_object(fs::File& file, u64 length);

// Whether the file has an executable segment at all, and is worth the broker's attention.
bool has_text(fs::File& file);

// Reads exactly `size` bytes at `offset`; false at the end of the file and for errors.
bool read_exactly(fs::File& file, u64 offset, void* into, size_t size);

}  // namespace teacup::mm

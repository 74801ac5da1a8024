// libext2fs's way to a file: an io_manager over an open descriptor. It opens nothing and writes nothing.
#pragma once

struct struct_io_manager;

namespace teacup::importer {

// The "name" given to ext2fs_open2() is the descriptor's number, in decimal.
struct_io_manager* fd_io_manager();

}  // namespace teacup::importer

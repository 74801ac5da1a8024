// Trees out of tar archives and Debian packages, read through libarchive, in a process that can do nothing
// else (archive_process.h). Owners come from the archive's metadata.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "images/tree.h"

namespace teacup::images {

// kHere: in this process, for fuzzers of libarchive's use.
enum class ReadArchives : u8 { kApart, kHere };

// Adds what a tar archive holds (plain or compressed; pax and GNU extensions; sparse files keep their holes).
// An empty path is standard input.
void add_tar(Tree& tree, const std::string& path, const std::shared_ptr<Spool>& spool,
             ReadArchives where = ReadArchives::kApart);

// Lays a layer of an OCI image over the tree: a tar archive whose ".wh.NAME" removes NAME of the layers
// below, and whose ".wh..wh..opq" removes all that they have in its directory. `read` gives bytes of its
// `size`.
void add_layer(Tree& tree, u64 size, const std::function<void(u64 offset, std::span<std::byte>)>& read,
               const std::string& name, const std::shared_ptr<Spool>& spool,
               ReadArchives where = ReadArchives::kApart);

// Of a tree that is one layer of several: the files ".wh.NAME" become character devices 0:0 called NAME,
// unless there is one, and a directory with ".wh..wh..opq" gets the attribute trusted.overlay.opaque; as
// overlayfs has them.
void mark_whiteouts(Tree& tree);

// Adds the files of a Debian binary package (deb(5)): its data member. Maintainer scripts are not run.
void add_deb(Tree& tree, const std::string& path, const std::shared_ptr<Spool>& spool);

}  // namespace teacup::images

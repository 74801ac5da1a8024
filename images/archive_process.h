// Archives are read in a process that can do nothing else: whatever an archive does to libarchive and its
// codecs, it fails, or it is read as something else. Essay in archive_process.cc.
#pragma once

#include "images/archive_reader.h"

namespace teacup::images {

// As read_archive(); Error too if the process dies of the archive.
void read_archive_apart(ArchiveKind kind, const ArchiveInput& input, const std::string& name,
                        ArchiveEntries& entries);

}  // namespace teacup::images

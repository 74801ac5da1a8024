// The texts of /proc/PID (proc(5)). Each writes for a subject whose process exists, or gives ESRCH.
#pragma once

#include "kernel/pseudo/pseudo_inode.h"

namespace teacup::pseudo {

Result<void> show_stat(TextBuffer& out, const Subject& subject);
Result<void> show_statm(TextBuffer& out, const Subject& subject);
Result<void> show_status(TextBuffer& out, const Subject& subject);
Result<void> show_comm(TextBuffer& out, const Subject& subject);
Result<void> store_comm(std::string_view text, const Subject& subject);
Result<void> show_cmdline(TextBuffer& out, const Subject& subject);
Result<void> show_auxv(TextBuffer& out, const Subject& subject);
Result<void> show_environ(TextBuffer& out, const Subject& subject);
Result<void> show_maps(TextBuffer& out, const Subject& subject);
Result<void> show_smaps(TextBuffer& out, const Subject& subject);
Result<void> show_smaps_rollup(TextBuffer& out, const Subject& subject);
Result<void> show_limits(TextBuffer& out, const Subject& subject);
Result<void> show_mounts(TextBuffer& out, const Subject& subject);
Result<void> show_mountinfo(TextBuffer& out, const Subject& subject);
Result<void> show_io(TextBuffer& out, const Subject& subject);
Result<void> show_schedstat(TextBuffer& out, const Subject& subject);

// Links, and what they lead to.
Result<void> show_exe(TextBuffer& out, const Subject& subject);
Result<fs::Path> follow_exe(const Subject& subject);
Result<void> show_cwd(TextBuffer& out, const Subject& subject);
Result<fs::Path> follow_cwd(const Subject& subject);
Result<void> show_root(TextBuffer& out, const Subject& subject);
Result<fs::Path> follow_root(const Subject& subject);

// The name of what `file` was opened by, as the caller sees it; what it is, if it has none.
void show_file_name(TextBuffer& out, fs::File& file);

// Directories.
Result<Ref<fs::Inode>> make_fd_directory(fs::FileSystem& file_system, const Node& node,
                                         const Subject& subject);
Result<Ref<fs::Inode>> make_task_directory(fs::FileSystem& file_system, const Node& node,
                                           const Subject& subject);
// /proc/PID itself: ENOENT if there is no such process.
Result<Ref<fs::Inode>> make_process_directory(fs::FileSystem& file_system, s32 pid);

}  // namespace teacup::pseudo

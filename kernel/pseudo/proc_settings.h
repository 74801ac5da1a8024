// /proc/sys, and /proc/version.
#pragma once

#include "kernel/pseudo/pseudo_inode.h"

namespace teacup::pseudo {

extern const Node kSettings[];
Result<void> show_version(TextBuffer& out, const Subject& subject);

}  // namespace teacup::pseudo

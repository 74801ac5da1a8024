// The processors as /proc/cpuinfo shows them.
#pragma once

#include "kernel/pseudo/pseudo_inode.h"

namespace teacup::pseudo {

Result<void> show_cpuinfo(TextBuffer& out, const Subject& subject);

}  // namespace teacup::pseudo

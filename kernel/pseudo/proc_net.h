// /proc/net.
#pragma once

#include "kernel/pseudo/pseudo_inode.h"

namespace teacup::pseudo {

extern const Node kNetNodes[];

}  // namespace teacup::pseudo

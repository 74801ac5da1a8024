// /proc/net.
#pragma once

#include "kernel/pseudo/pseudo_inode.h"

namespace teacup::pseudo {

extern const Node kNetNodes[];

Result<void> show_sockstat(TextBuffer& out, const Subject& subject);
Result<void> show_sockstat6(TextBuffer& out, const Subject& subject);
Result<void> show_snmp(TextBuffer& out, const Subject& subject);

}  // namespace teacup::pseudo

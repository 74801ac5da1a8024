#pragma once

namespace teacup::fs {

void register_tmpfs();

}  // namespace teacup::fs

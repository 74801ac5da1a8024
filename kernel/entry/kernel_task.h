// The kernel task: a host process that never runs guest code. Timers, news from the broker (streams, signals,
// window size, dead host processes), and the dump of all tasks.
#pragma once

namespace teacup {

void spawn_kernel_task();

}  // namespace teacup

// What unit tests set up for the hosted gate (gate_hosted.cc).
#pragma once

namespace teacup::gate {

// The test's own descriptor that stands for a guest-side one: kArenaFd, kFirstImageFd + n.
void hosted_set_fd(int guest_side_fd, int fd);

}  // namespace teacup::gate

// sock_diag(7): the machine's sockets, for who asks by netlink (ss).
#pragma once

#include <span>

#include "net/netlink_message.h"

namespace teacup::net {

// A request for all sockets of a kind, or, of internet sockets, for one. `port`: the asker's.
// Differs from Linux: filters in the request (INET_DIAG_REQ_BYTECODE) are not looked at, as ss filters
// itself.
Result<void> answer_sock_diag(const abi::NlMsgHdr& header, std::span<const std::byte> body, u32 port,
                              AnswerSink& sink);

}  // namespace teacup::net

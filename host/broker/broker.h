// The broker: the host process outside the guest's filter. It owns the host's files, the terminal and the
// children, and answers the request ring. It trusts nothing it reads from the arena: requests are copied out,
// then checked; offsets are checked against the arena; it follows no pointer from there and takes no lock
// there.
//
// Threads: the main one waits for signals and dead children; one serves the ring; and, from when there is
// something for them to do, two per host stream carry bytes, and one plans patches. All are started after the
// template (which must be a child of the main thread, for PDEATHSIG).
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "host/broker/foreseen.h"
#include "host/broker/gateway.h"
#include "host/broker/host_files.h"
#include "host/broker/streams.h"
#include "host/broker/terminal.h"
#include "host/broker/text_store.h"
#include "host/broker/upper_file.h"
#include "host/broker/work_queue.h"
#include "host/debug/debugger.h"
#include "host/importer/importer.h"
#include "host/launch/image.h"
#include "host/launch/machine_options.h"
#include "kernel/abi/ring.h"

namespace teacup::host {

class Broker {
 public:
  // `importer` is null for images that need none.
  // `images` are the machine's images[]. `upper` is null without --upper.
  Broker(const MachineOptions& options, HostFiles& host_files, Gateway& gateway,
         const std::vector<Image>& images, TextStore* texts, Foreseen& foreseen, importer::Importer* importer,
         UpperFile* upper);

  // Before the template starts: blocks the signals that serve() waits for, opens the trace and statistics
  // files.
  void prepare(int arena_fd);
  // Serves the machine until it ends, then ends this process with its exit status. Not by returning: the
  // threads below would have to be woken and waited for one by one.
  [[noreturn]] void serve(pid_t machine);

 private:
  struct Request {
    abi::RingOp op;
    u64 args[6];
  };

  void ring_loop();
  bool serve_pending_slots();
  void handle(u32 slot, const Request& request);
  void answer(u32 slot, s64 result);
  void free_slot(u32 slot);
  s64 import(const u64 (&args)[6]);
  void land(u64 at, const std::function<s64()>& serve);
  static bool is_live_child(u64 pid);
  static bool is_guest_process(u64 pid);
  static s64 guest_memory(const u64 (&args)[6]);
  s64 keep(const u64 (&args)[6]);
  void kick(u64 pid, u64 tid);
  void message(u64 offset, u64 length, u64 kind);
  void make_debugger();
  s64 debug(u64 offset, u64 size);
  void print(int fd, std::string text) const;
  void reap();
  void on_signal(int signal);
  void stand_still();
  int drain_output();
  bool report_lost_output();
  [[noreturn]] void finish();
  int exit_status() const;
  bool export_results();
  void write_stats() const;

  const MachineOptions& options_;
  HostFiles& host_files_;
  Gateway& gateway_;
  const std::vector<Image>& images_;
  TextStore* texts_;  // null: there is none
  Foreseen& foreseen_;
  importer::Importer* importer_;
  UpperFile* upper_;
  pid_t machine_ = 0;
  int trace_fd_ = -1;
  int trace_files_fd_ = -1;
  int trace_files_error_ = 0;  // the first, of writing it
  int stats_fd_ = -1;
  int crash_fd_ = -1;
  u64 started_at_ = 0;
  std::atomic<bool> machine_gone_{false};
  Terminal terminal_;
  Streams streams_;
  std::unique_ptr<Debugger> debugger_;  // null: nothing is wanted of it. The workers' alone
  WorkQueue workers_;                   // requests that take long: planning patches
  WorkQueue importer_queue_;            // one process, which takes one request after another
  WorkQueue upper_queue_;               // which waits for the disk
  std::thread ring_thread_;
};

}  // namespace teacup::host

// From the command line's options to those a machine is started with.
#pragma once

#include "cli/run_options.h"
#include "host/launch/machine_options.h"
#include "images/oci.h"

namespace teacup::cli {

// `config`: how an OCI image wants to be run, where the command line does not say otherwise. `terminal`: a
// standard stream is a terminal; then TERM is passed on, as the guest's programs write to that terminal.
// PATH, HOME and HOSTNAME are the kernel's to add: HOME comes from the image's passwd.
host::MachineOptions machine_options(const RunOptions& options, const images::RunConfig& config,
                                     bool terminal, const EnvironmentLookup& caller);

}  // namespace teacup::cli

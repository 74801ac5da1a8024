// The machine's start, after the template is confined.
#pragma once

namespace teacup {

// Starts every subsystem and makes the first process. Refuses the machine (machine_refuse) with what was
// wrong.
void machine_start();
// The template's life: makes zygotes when they are wanted. The first one takes the first process.
[[noreturn]] void serve_as_template();

}  // namespace teacup

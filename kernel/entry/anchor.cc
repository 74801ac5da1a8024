// The runtime's only source of its own: pulls the entry code, and with it everything else, out of the
// libraries.
extern "C" {
void _start();
extern void (*const runtime_entry)();
void (*const runtime_entry)() = &_start;
}

// Included before everything in freestanding sources (scripts/cmake/teacup.cmake): declarations too are
// hidden, so that the address of a function is taken relative to rip and the runtime needs no GOT, which
// would be writable.
#pragma GCC visibility push(hidden)

#include "images/libarchive.h"

#include <dlfcn.h>

#include <string>

#include "images/error.h"

namespace teacup::images {

#define TEACUP_DEFINE(name) decltype(&::name) name = nullptr;
TEACUP_LIBARCHIVE(TEACUP_DEFINE)
#undef TEACUP_DEFINE

namespace {

template <typename Function>
void bind(void* library, const char* symbol, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, symbol));
  if (function == nullptr) throw Error(std::string("libarchive is too old: it has no ") + symbol);
}

bool load() {
  void* library = dlopen("libarchive.so.13", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw Error(std::string("archives are read by libarchive, which cannot be loaded: ") + dlerror() +
                "\n  Install it: apt install libarchive13");
  }
#define TEACUP_BIND(name) bind(library, #name, name);
  TEACUP_LIBARCHIVE(TEACUP_BIND)
#undef TEACUP_BIND
  return true;
}

}  // namespace

void load_libarchive() {
  [[maybe_unused]] static const bool loaded = load();
}

}  // namespace teacup::images

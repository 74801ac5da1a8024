#include "host/importer/libsquashfs.h"

#include <dlfcn.h>

namespace teacup::importer {

#define TEACUP_DEFINE(name) decltype(&::name) name = nullptr;
TEACUP_LIBSQUASHFS(TEACUP_DEFINE)
#undef TEACUP_DEFINE

namespace {

template <typename Function>
bool bind(void* library, const char* symbol, Function& function, std::string& error) {
  function = reinterpret_cast<Function>(dlsym(library, symbol));
  if (function != nullptr) return true;
  error = std::string("libsquashfs is too old: it has no ") + symbol;
  return false;
}

bool load(std::string& error) {
  void* library = dlopen("libsquashfs.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    error = std::string("squashfs is read and written by libsquashfs, which cannot be loaded: ") + dlerror() +
            "\n  Install it: apt install libsquashfs1";
    return false;
  }
#define TEACUP_BIND(name) \
  if (!bind(library, #name, name, error)) return false;
  TEACUP_LIBSQUASHFS(TEACUP_BIND)
#undef TEACUP_BIND
  return true;
}

}  // namespace

bool load_libsquashfs(std::string& error) {
  static std::string problem;
  static const bool loaded = load(problem);
  if (!loaded) error = problem;
  return loaded;
}

}  // namespace teacup::importer

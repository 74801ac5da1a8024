// `teacup diff`: what --upper's file has changed.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/error.h"
#include "cli/parse.h"
#include "images/error.h"
#include "images/upper_source.h"

namespace teacup::cli {

int diff_command(const Arguments& arguments) {
  std::vector<std::string> words;
  bool json = false;
  CommandLine line(
      "diff", "Lists what runs with --upper UPPER have changed.", "teacup diff [OPTIONS] [IMAGE...] UPPER",
      "A line for each path: A if it was added, C if it was changed, or anything in it, D if it was deleted. "
      "IMAGE...\nare those that UPPER was made over, the lowest first, if they no longer lie where they did. "
      "UPPER is only read.");
  line.arguments("UPPER", words, {.required = true});
  line.flag("--json", json, "print a list of objects with \"kind\" and \"path\"");
  if (const auto status = line.parse(arguments)) return *status;
  const std::string upper = words.back();
  words.pop_back();
  try {
    const auto source = images::UpperSource::open(upper, words);
    if (!source->dropped().empty()) std::fprintf(stderr, "teacup diff: %s\n", source->dropped().c_str());
    nlohmann::json list = nlohmann::json::array();
    for (const images::UpperChange& change : source->changes()) {
      if (json) {
        list.push_back({{"kind", std::string(1, change.kind)}, {"path", change.path}});
      } else {
        std::printf("%c %s\n", change.kind, change.path.c_str());
      }
    }
    // Names are bytes; what is no UTF-8 cannot be said in JSON.
    if (json) std::printf("%s\n", list.dump(1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return 0;
  } catch (const images::Error& error) {
    return fail("diff", {error.what()});
  }
}

}  // namespace teacup::cli

// `teacup commit`: an image of what --upper's file holds.
#include <algorithm>
#include <cstdio>

#include "cli/commands.h"
#include "cli/error.h"
#include "cli/parse.h"
#include "images/erofs_writer.h"
#include "images/error.h"
#include "images/progress.h"
#include "images/upper_source.h"

namespace teacup::cli {

int commit_command(const Arguments& arguments) {
  std::vector<std::string> words;
  std::string upper;
  std::string label;
  bool changes = false;
  bool quiet = false;
  CommandLine line(
      "commit", "Makes an EROFS image of what runs with --upper UPPER have left.",
      "teacup commit [OPTIONS] --upper UPPER [IMAGE...] OUT",
      "OUT has the images that UPPER was made over and its changes, as one; with --changes only these, as a "
      "layer "
      "for\n'teacup run --layer OUT'. IMAGE... are those images, the lowest first, if they no longer lie "
      "where they "
      "did.\nUPPER is only read. The same UPPER and images give the same bytes.");
  line.arguments("OUT", words, {.required = true});
  line.option("--upper", upper, "UPPER", "the file that --upper of 'teacup run' has made",
              {.required = true});
  line.flag("--changes", changes, "write a layer that has the changes alone");
  line.option("--label", label, "NAME", "the file system's name, at most 16 bytes");
  line.flag("-q,--quiet", quiet, "show no progress; it is shown on terminals only");
  if (const auto status = line.parse(arguments)) return *status;
  if (label.size() > 16)
    return fail("commit", {"--label '" + label + "' is longer than 16 bytes", "Give a shorter one."});
  const std::string output = words.back();
  words.pop_back();
  try {
    images::Progress progress(!quiet);
    const auto source = images::UpperSource::open(upper, words);
    if (!source->dropped().empty()) std::fprintf(stderr, "teacup commit: %s\n", source->dropped().c_str());
    auto spool = std::make_shared<images::Spool>();
    spool->on_append = [&progress](u64 bytes) { progress.update("reading", bytes); };
    images::Tree tree;
    if (changes) {
      source->add_changes(tree, spool);
    } else {
      source->add_all(tree, spool);
    }
    images::WriteOptions options;
    options.label = label;
    options.progress = [&progress](u64 done, u64 total) { progress.update("writing", done, total); };
    options.time = tree.root().mtime;
    tree.walk([&](const std::string&, const std::shared_ptr<images::Node>& node) {
      options.time = std::max(options.time, node->mtime);
    });
    images::write_erofs(tree, output, options);
    return 0;
  } catch (const images::Error& error) {
    return fail("commit", {error.what()});
  }
}

}  // namespace teacup::cli

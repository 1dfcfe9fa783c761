// What a run is made from that lies outside of it: the data set's source, initial weights, networks, references. By
// what they hold, not by where they lie.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/run/run_directory.h"

#include <map>
#include <string>

namespace couplet {

struct ExternalInputs {
  /// The hash of what decides the data set's images: of the bytes of its files, or what a source says that makes them.
  /// "" for files that are not there and never were.
  std::string source = {};
  /// Of the other files by path, as the configuration has it: the hash of the content, or "" likewise.
  std::map<std::string, std::string> hashes = {};
  /// The images of the data set are of two classes or more: a classifier can be trained on them. True while the data
  /// set cannot be read, which its stage will say, and where no classifier is asked for.
  bool has_classes = true;
};

/// Looks at the files that the configuration names: reads those that are new or have changed since
/// RUN/file-hashes.json, and keeps their hashes there. A file that is gone is taken as it was last. By one process.
ExternalInputs look_at_inputs(const Config& config, const RunDirectory& run);
/// The same, by rank 0 for all ranks. Collective.
ExternalInputs look_at_inputs(const Config& config, const RunDirectory& run, Communicator& communicator);

}  // namespace couplet

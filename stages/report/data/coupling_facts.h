// A coupling table as the report shows it: figures, how normal its noise is, its first rows.
#pragma once

#include "method/data/codec.h"
#include "stages/report/data/loss_curve.h"

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

struct CouplingFacts {
  std::string name;       ///< of the coupling: "nf"
  bool held_out = false;  ///< pairs of held-out images, not of training images
  nlohmann::ordered_json facts =
      nlohmann::ordered_json::array();  ///< of the manifest, and of the rows that were read: each a `kind` and its
                                        ///< figures, which have a `value` and a `text` (docs/report.md)
  Points noise;                         ///< (z, density): a histogram of all values of the rows that were read; z has
                                        ///< unit variance
  std::string picture;                  ///< PNG: image | noise of the first rows; empty if they cannot be drawn
  std::int64_t pictured_rows = 0;
};

/// Nothing where there is no finished table. Of a table of seeds, whose noise nobody has to look at, its manifest. Of a
/// large one the first rows are read: some 8 million values. Rows that cannot be read are a fact too, "unreadable",
/// with the reason. `codec` is the data set's: rows of latents are not drawn.
std::optional<CouplingFacts> read_coupling_facts(const std::filesystem::path& table, const Codec& codec);

}  // namespace couplet

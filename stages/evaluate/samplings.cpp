#include "stages/evaluate/samplings.h"

#include <cstddef>

namespace couplet {

std::vector<Sampling> samplings(const EvaluateConfig& config, const std::string& coupling) {
  std::vector<Sampling> all;
  for (const bool table : {false, true}) {
    if (table && coupling != "nf") continue;
    for (std::size_t i = 0; i < config.grids.size(); ++i) {
      const Grid grid = parse_grid(config.grids[i]);
      if (table && i > 0) continue;
      for (const std::int64_t nfe : config.euler_nfe) {
        if (nfe > 1 || i == 0) all.push_back({Solver::euler, grid, nfe, table});
      }
      for (const std::int64_t nfe : config.heun_nfe) {
        if (nfe > 1 && !table) all.push_back({Solver::heun, grid, nfe, table});
      }
    }
  }
  return all;
}

}  // namespace couplet

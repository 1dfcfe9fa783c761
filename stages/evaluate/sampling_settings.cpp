#include "stages/evaluate/sampling_settings.h"

#include "stages/trained/models.h"

#include <cstddef>
#include <utility>

namespace couplet {

namespace {

/// All that is asked for, of a student with a score; of one without, what adds no noise; of a one-step student its
/// step.
std::vector<Integration> integrations(const EvaluateConfig& config, const StudentConfig& student) {
  if (is_one_step(student)) return {fixed_integration(Solver::euler, parse_grid(config.grids.front()), 1)};
  const bool has_score = couplet::has_score(student);
  std::vector<Integration> all;
  for (std::size_t i = 0; i < config.grids.size(); ++i) {
    const Grid grid = parse_grid(config.grids[i]);
    // All grids are the same for one step.
    const auto add = [&](Solver solver, std::int64_t nfe) {
      if (i == 0 || solver_steps(solver, nfe) > 1) all.push_back(fixed_integration(solver, grid, nfe));
    };
    for (const std::int64_t nfe : config.euler_nfe) add(Solver::euler, nfe);
    for (const std::int64_t nfe : config.heun_nfe)
      if (nfe > 1) add(Solver::heun, nfe);
    for (const std::int64_t nfe : config.midpoint_nfe) add(Solver::midpoint, nfe);
    for (const std::int64_t nfe : config.rk4_nfe) add(Solver::rk4, nfe);
    for (const auto& [solver, counts] : {std::pair{StochasticSolver::ancestral, &config.ancestral_nfe},
                                         {StochasticSolver::sde, &config.sde_nfe},
                                         {StochasticSolver::corrector, &config.corrector_nfe}})
      for (const std::int64_t nfe : *counts)
        if (has_score && (i == 0 || stochastic_steps(solver, nfe) > 1))
          all.push_back(stochastic_integration(solver, grid, nfe));
  }
  if (!config.times.empty())
    for (const Solver solver : {Solver::euler, Solver::heun}) all.push_back(timed_integration(solver, config.times));
  if (config.dopri5) all.push_back(adaptive_integration({config.atol, config.rtol}));
  return all;
}

}  // namespace

std::vector<SamplingSetting> sampling_settings(const EvaluateConfig& config, const StudentConfig& student,
                                               const std::string& table, bool has_noise) {
  const std::vector<FieldSetting> fields = field_settings(config, student);
  const std::vector<Integration> asked = integrations(config, student);
  const std::vector<std::int64_t> from_table = is_one_step(student) ? std::vector<std::int64_t>{1} : config.euler_nfe;
  std::vector<SamplingSetting> all;
  for (const std::int64_t candidates : config.candidates) {
    if (candidates > 1 && !has_noise) continue;
    for (const FieldSetting& field : fields)
      for (const std::int64_t seed : config.sampling_seeds)
        for (const Integration& integration : asked)
          if (field.temperature == 1 || (!integration.stochastic && candidates == 1))
            all.push_back({field, integration, seed, "", candidates});
  }
  if (table.empty()) return all;
  for (FieldSetting field : fields) {
    if (field.temperature != fields.front().temperature) continue;
    field.temperature = 1;
    for (const std::int64_t nfe : from_table)
      all.push_back({field, fixed_integration(Solver::euler, parse_grid(config.grids[0]), nfe), 0, table});
  }
  return all;
}

}  // namespace couplet

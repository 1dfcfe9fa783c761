#include "stages/couple/noise_map.h"

#include "method/tables/coupling_table.h"
#include "pipeline/config/options.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "stages/data/seen_rows.h"
#include "stages/trained/models.h"
#include "storage/error.h"
#include "storage/files/file_lock.h"
#include "storage/filesystem.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <map>
#include <optional>
#include <string>

namespace couplet {
namespace {

constexpr double look_again_seconds = 5;

RowTable base_rows(const StageContext& context, const RunTable& table) {
  return RowTable(table_directory(context.config, context.run, table.base, "train"), coupling_format);
}

/// What a fitted map is of.
std::map<std::string, std::string> map_facts(const StageContext& context, const RunTable& table, const RowTable& base) {
  std::map<std::string, std::string> facts{{"map", table.map}, {"table", base.content_hash()}};
  facts["pipeline.seed"] = value_text(context.config, "pipeline.seed");
  const CoupleConfig couple = couple_config(context.config, table.name);
  for (const std::string& key : find_gaussian_map(table.map).keys) {
    const std::string name = "couple." + key;
    facts[name] = value_text(couple, name);
  }
  return facts;
}

bool is_map_of(const std::filesystem::path& path, const std::map<std::string, std::string>& facts) {
  if (!is_there(path)) return false;
  try {
    return Safetensors(path).metadata() == facts;
  } catch (const Error&) {
    return false;  // damaged: it is made anew
  }
}

/// Held by the job that fits a map, on which others that fill the same table wait.
FileLock lock_map(const StageContext& context) {
  const std::filesystem::path path = context.directory() / ".map-lock";
  while (true) {
    try {
      return {path, LockMode::exclusive, "the map of " + context.node.name, look_again_seconds};
    } catch (const Error&) {
      if (stop_requested())
        throw Interrupted(context.node.name + ": stopped while another job fits its map; the same command goes on");
      if (FileLock::holder(path).empty()) throw;
    }
  }
}

TrainingNoise standardised_rows(const RowTable& base, double sigma, Communicator& communicator) {
  return {base.rows(),
          [&base, sigma](std::int64_t first, std::int64_t count) {
            return LabelledNoise{read_rows(base, "noise", first, count).to(at::kDouble) / sigma,
                                 read_rows(base, "label", first, count).to(at::kLong)};
          },
          communicator};
}

}  // namespace

GaussianMapOptions noise_map_options(const Config& config, const RunTable& table, const DatasetShape& shape) {
  const CoupleConfig couple = couple_config(config, table.name);
  return {.shape = {shape.channels, shape.size, shape.size},
          .classes = shape.labels(),
          .affine_prior = couple.affine_prior,
          .affine_covariance = couple.affine_covariance == "pooled",
          .rotation_layers = couple.rotation_layers,
          .rotation_rows = couple.rotation_rows,
          .seed = static_cast<std::uint64_t>(config.pipeline.seed),
          .flow = gaussianiser_options(config.gaussianiser, shape),
          .section = config.couple_sections.contains(table.name) ? "couple." + table.name : "couple"};
}

double base_sigma(const StageContext& context, const RunTable& table) {
  return base_rows(context, table).summary().at("sigma_f").get<double>();
}

void require_finite_noise(const RowTable& table) {
  const auto rows = table.summary().value("nonfinite_rows", std::int64_t{0});
  if (rows > 0)
    fail("{}: {} of its rows are not finite (couple.allow-nonfinite): no map can be fitted to them",
         table.path().string(), rows);
}

std::filesystem::path learnt_map(const StageContext& context, Communicator& communicator) {
  const RunTable table = find_run_table(context.config, context.node.table);
  const GaussianMapKind& kind = find_gaussian_map(table.map);
  if (kind.fit == nullptr) return context.run.gaussianiser_weights(table.base);
  const std::filesystem::path path = context.directory() / "map.safetensors";
  const RowTable base = base_rows(context, table);
  const auto facts = map_facts(context, table, base);
  require_finite_noise(base);
  std::optional<FileLock> lock;
  std::int64_t is_known = 0;
  run_on_all(communicator, [&] {
    if (!communicator.is_root()) return;
    is_known = is_map_of(path, facts) ? 1 : 0;
    if (is_known == 1) return;
    const WorkingAlone alone("waiting for the map " + path.string());
    lock.emplace(lock_map(context));
    is_known = is_map_of(path, facts) ? 1 : 0;  // another job may have published it meanwhile
  });
  if (communicator.maximum(is_known) == 1) return path;
  const at::NoGradGuard no_grad;
  const DatasetShape shape = dataset_shape(RowTable(seen_rows(context.config, context.run, "train"), dataset_format));
  const double sigma = base.summary().at("sigma_f").get<double>();
  if (communicator.is_root()) say("fitting the map {} to {} rows of {}", table.map, base.rows(), base.path().string());
  const NamedTensors state =
      kind.fit(standardised_rows(base, sigma, communicator), noise_map_options(context.config, table, shape));
  run_on_all(communicator, [&] {
    if (communicator.is_root()) publish_tensors(path, state, facts);
  });
  return path;
}

}  // namespace couplet

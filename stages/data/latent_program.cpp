#include "stages/data/latent_program.h"

#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/row_chunks.h"
#include "stages/data/seen_rows.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"
#include "storage/filesystem.h"
#include "storage/json_text.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <system_error>

namespace couplet {
namespace {

constexpr std::int64_t measured_rows = 256, measured_at_once = 64;

void copy_script(const StageContext& context, const std::filesystem::path& kept) {
  const std::filesystem::path from = latent_script(context.config, context.run);
  if (from == kept) {
    const auto expected = context.node.keys.find("latents.file");
    if (expected != context.node.keys.end() && hash_file(kept) != expected->second)
      fail("latents.file = {}: is gone, and {} is no copy of it: put it back", context.config.latents.file,
           kept.string());
    return;
  }
  if (is_there(kept) && hash_file(kept) == hash_file(from)) return;
  std::filesystem::create_directories(kept.parent_path());
  Pending pending(kept);
  std::error_code error;
  if (!std::filesystem::copy_file(from, pending.path(), error))
    fail("{}: cannot be copied to {}: {}", from.string(), kept.string(), error.message());
  pending.commit();
}

/// 1 / the deviation of the means of some rows: the same bits for any number of threads.
double measure_scale(const MeasuredLatents& latents, const std::vector<double>& shift) {
  const at::Tensor off = at::tensor(shift, at::kDouble).view({-1, 1, 1});
  const std::int64_t rows = std::min(measured_rows, latents.rows);
  double sum = 0, squares = 0, values = 0;
  for (std::int64_t first = 0; first < rows; first += measured_at_once) {
    std::vector<std::int64_t> numbers;  // at even distances, as rows may be sorted
    for (std::int64_t i = first; i < std::min(first + measured_at_once, rows); ++i)
      numbers.push_back(i * latents.rows / rows);
    const at::Tensor both = latents.read(numbers).cpu();
    const OneThread one_thread;
    const at::Tensor means = both.narrow(1, 0, both.size(1) / 2).to(at::kDouble) - off;
    sum += means.sum().item<double>();
    squares += means.square().sum().item<double>();
    values += static_cast<double>(means.numel());
  }
  const double variance = squares / values - sum / values * sum / values;
  if (!(variance > 0))
    fail("{}: the latents of {} images have the variance {}: their program tells no images apart", latents.what, rows,
         variance);
  return 1 / std::sqrt(variance);
}

/// The scale that was measured of these latents before, or is measured now. On one rank.
double measured_scale(const std::filesystem::path& directory, const MeasuredLatents& latents, const LatentForm& form) {
  const std::filesystem::path kept = directory / "scale.json";
  const nlohmann::json of{
      {"script", form.script_hash}, {"range", form.pixel_range}, {"shift", form.shift}, {"images", latents.hash}};
  if (is_there(kept)) {
    const nlohmann::json found = parse_json(read_file(kept), kept.string());
    if (found.is_object() && found.value("of", nlohmann::json()) == of && found.contains("scale"))
      return found["scale"].get<double>();
  }
  const double scale = measure_scale(latents, form.shift);
  publish_file(kept, nlohmann::json{{"of", of}, {"scale", scale}}.dump(2) + "\n");
  return scale;
}

}  // namespace

std::filesystem::path keep_latent_script(const StageContext& context) {
  const std::filesystem::path kept = context.directory() / latent_script_name;
  run_on_all(context.communicator, [&] {
    if (!context.communicator.is_root()) return;
    const WorkingAlone alone("copying the program of the latents");
    copy_script(context, kept);
  });
  return kept;
}

LatentForm latent_form(const StageContext& context, const std::filesystem::path& script,
                       const std::vector<std::int64_t>& pixel_shape, const MeasuredLatents& measured) {
  const Config& config = context.config;
  Communicator& communicator = context.communicator;
  LatentForm form{.script_hash = hash_for_all(communicator, script),
                  .pixel_range = config.latents.range,
                  .scale = config.latents.scale,
                  .shift = config.latents.shift,
                  .is_drawn = config.latents.draw == "sample",
                  .seed = static_cast<std::uint64_t>(config.pipeline.seed),
                  .pixel_shape = pixel_shape};
  if (form.scale != std::vector<double>{0}) return form;
  nlohmann::json scale;
  run_on_all(communicator, [&] {
    if (!communicator.is_root()) return;
    const WorkingAlone alone("measuring the scale of the latents");
    scale = measured_scale(context.directory(), measured, form);
  });
  form.scale = {nlohmann::json::parse(communicator.broadcast_text(scale.dump(), 0)).get<double>()};
  say("latents.scale: measured as {:.6g}", form.scale.front());
  return form;
}

}  // namespace couplet

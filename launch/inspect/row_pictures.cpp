#include "launch/inspect/row_pictures.h"

#include "launch/local/ranks.h"

#include "method/data/dataset.h"
#include "method/data/images.h"
#include "method/sampling/teacher_sampler.h"
#include "method/tables/coupling_table.h"
#include "pipeline/config/options.h"
#include "pipeline/distributed/device.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/arithmetic.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "stages/data/seen_rows.h"
#include "stages/trained/models.h"
#include "storage/error.h"
#include "storage/files/hash.h"
#include "storage/filesystem.h"
#include "storage/formats/picture.h"
#include "storage/tables/filenames.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

namespace couplet {

namespace {

constexpr std::int64_t rows_a_line = 8;
constexpr std::int64_t reversed_at_once = 64;

at::Tensor read_tensor(const RowSource& source, const std::string& name, const RowSpan& rows) {
  const auto index = source.find(name);
  if (!index) refuse("{}: has no column '{}' to draw", source.path().string(), name);
  at::Tensor values = empty_rows(source.columns()[*index], rows.count());
  source.read(*index, rows.first, rows.count(), writable_bytes(values));
  return values;
}

/// The weights that made the rows' noise: the first average of the run's teacher, unless they name another.
std::filesystem::path teacher_of(const RowSource& source, const RunDirectory& run) {
  const auto ema = source.provenance().find("teacher_ema");
  if (ema == source.provenance().end()) return run.teacher_ema();
  const Config config = resolve_config(run.config(), {});
  return weights_file(run.stage("teacher"), config.teacher.training.ema, ema->get<double>());
}

/// Why the rows' images cannot be made again from their noise; empty if they can.
std::string why_not_regenerated(const RowSource& source, const std::optional<RunDirectory>& run) {
  if (!source.find("noise")) return "these rows hold no noise";
  if (!source.provenance().contains("teacher")) return "the provenance names no teacher: image and noise only";
  if (!run) return "no run directory of these rows was found (--run-dir): image and noise only";
  const std::filesystem::path weights = teacher_of(source, *run);
  if (!std::filesystem::exists(weights))
    return fmt::format("{} does not exist: image and noise only", weights.string());
  return {};
}

/// The images that the teacher makes of noise as stored: uint8 [N, C, H, W].
at::Tensor regenerate(const RowSource& source, const RunDirectory& run, const at::Tensor& noise,
                      const at::Tensor& labels) {
  const std::filesystem::path weights = teacher_of(source, run);
  const std::string found = hash_file(weights);
  const auto expected = source.provenance().at("teacher").get<std::string>();
  if (found != expected)
    refuse("{} was made with teacher {}, but {} is {}: give the run directory of that teacher (--run-dir)",
           source.path().string(), expected, weights.string(), found);
  const Config config = resolve_config(run.config(), {});
  if (resolve_device(config.pipeline.device) == "cuda")
    choose_gpu_arithmetic({config.pipeline.tf32, config.pipeline.reproducible});
  const auto communicator = make_single_communicator();
  at::set_num_threads(static_cast<int>(resolve_threads(config.pipeline, 1)));
  const c10::Device device = pick_device(config.pipeline.device, *communicator);
  const DatasetShape shape = dataset_shape(RowTable(seen_rows(config, run, "train"), dataset_format));
  TarFlow teacher = load_teacher(weights, config.teacher, shape, device, *communicator);
  // Gaussian noise stays on the images: these are what the noise was made of.
  const ImageNoise trained_on = teacher_noise(config.teacher);
  const TeacherSampling sampling{.noise = trained_on.uniform ? trained_on : ImageNoise{}};
  std::vector<at::Tensor> made;
  for (std::int64_t first = 0; first < noise.size(0); first += reversed_at_once) {
    const std::int64_t count = std::min(reversed_at_once, noise.size(0) - first);
    const Condition condition{labels.narrow(0, first, count), {}};
    made.push_back(
        shape.codec->decode(sample_teacher(teacher, noise.narrow(0, first, count), condition, sampling).images())
            .cpu());
  }
  return at::cat(made);
}

/// The codec of a data set's rows; of a table's images, that of the run that the table lies in.
std::shared_ptr<const Codec> codec_of_rows(const RowSource& source, const std::optional<RunDirectory>& run) {
  if (source.format() == dataset_format)
    return codec_of(source.provenance(), source.is_table() ? source.path() : source.path().parent_path());
  if (!run || !source.find("noise")) return pixel_codec();
  const std::filesystem::path images = seen_rows(resolve_config(run->config(), {}), *run, "train");
  return is_there(images / manifest_name) ? codec_of(RowTable(images, dataset_format)) : pixel_codec();
}

/// The pictures of rows, uint8 [N, 1 or 3, H, W].
at::Tensor picture_rows(const RowSource& source, const at::Tensor& stored, const Codec& codec) {
  const bool are_of_table = source.find("noise").has_value();
  // Beside noise, images may be as models see them; numbers of other data sets are no pictures.
  const bool is_known = stored.dim() == 4 && (stored.scalar_type() == at::kByte || codec.tables_hold_seen() ||
                                              (stored.is_floating_point() && are_of_table));
  const at::Tensor pixels = !is_known      ? at::Tensor()
                            : are_of_table ? image_pixels(stored, codec)
                                           : codec.pixels(stored);
  if (pixels.defined() && (pixels.size(1) == 1 || pixels.size(1) == 3)) return pixels;
  refuse("{}: images {} [{}] cannot be drawn; expected uint8 [1 or 3, height, width]", source.path().string(),
         element_name(source.columns()[*source.find("image")].type),
         fmt::join(source.columns()[*source.find("image")].shape, ", "));
}

double noise_scale(const RowSource& source, const at::Tensor& noise) {
  const auto sigma = source.sigma_f();
  return sigma ? *sigma : noise.to(at::kDouble).square().nanmean().sqrt().item<double>();
}

}  // namespace

std::optional<RunDirectory> run_of(const std::filesystem::path& path) {
  for (auto at = std::filesystem::weakly_canonical(path); at.has_relative_path(); at = at.parent_path()) {
    const RunDirectory run(at.parent_path());
    if (at == run.tables() && std::filesystem::exists(run.config())) return run;
  }
  return std::nullopt;
}

std::string draw_rows(const RowSource& source, const RowSpan& rows, const std::optional<RunDirectory>& run,
                      const std::filesystem::path& path) {
  const at::NoGradGuard no_grad;
  const at::Tensor stored = read_tensor(source, "image", rows);
  std::vector<at::Tensor> panels{picture_rows(source, stored, *codec_of_rows(source, run))};
  const std::string why = why_not_regenerated(source, run);
  if (source.find("noise")) {
    const at::Tensor noise = read_tensor(source, "noise", rows).to(at::kFloat);
    // That of latents is no picture.
    if (noise.sizes() == panels.front().sizes()) panels.push_back(noise_picture(noise / noise_scale(source, noise)));
    if (why.empty())
      panels.push_back(regenerate(source, *run, noise, read_tensor(source, "label", rows).to(at::kLong)));
  }
  const at::Tensor all = at::stack(panels, 1).flatten(0, 1).contiguous();
  const auto* pixels = all.data_ptr<std::uint8_t>();
  write_png(path, picture_grid({pixels, pixels + all.numel()}, all.size(0), all.size(1), all.size(2), all.size(3),
                               rows_a_line * static_cast<std::int64_t>(panels.size())));
  return why;
}

}  // namespace couplet

#include "stages/autoencoder.h"

#include "method/data/dataset.h"
#include "method/data/images.h"
#include "method/data/noise.h"
#include "method/metrics/image_similarity.h"
#include "method/models/codec_program.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/held_out.h"
#include "pipeline/loader/row_stream.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/tensor/random.h"
#include "pipeline/tensor/row_chunks.h"
#include "pipeline/training/trainer.h"
#include "stages/trained/models.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace couplet {
namespace {

/// {images on [-1, 1], and ε of their latents if these have a deviation} of the rows at these positions of the run.
Batch autoencoder_batch(RowStream& rows, const BatchRange& range, const AutoencoderOptions& options, const Codec& codec,
                        std::uint64_t seed) {
  const at::Tensor images = to_float(codec.pixels(rows.read(range.first, range.rows, range.batch)[0]));
  for (std::int64_t i = 0; i < range.rows; ++i)
    if (Draws(seed, Purpose::flip, static_cast<std::uint64_t>(range.first + i)).uniform() < 0.5)
      images[i].copy_(images[i].flip({2}));
  if (options.plain) return {images};
  return {images, normal_rows({options.latent_channels, options.latent_size(), options.latent_size()}, seed,
                              Purpose::autoencoder_noise, range.positions())};
}

/// Figures of one image each.
enum ReconstructionFigure : std::int64_t {
  squared_error,  ///< mean over its values, of values on [-1, 1]
  rounded_psnr,   ///< of 8 bits; 0 where the images are equal
  rounded_differs,
  latent_deviation,  ///< mean over the latent
  reconstruction_figures
};

/// How well images come back from their latents' means, and what these latents are like.
struct Reconstruction {
  double mse = 0;                                 ///< of values on [-1, 1]
  double psnr = 0;                                ///< dB: the mean over the images that do not come back equal
  std::vector<double> mean = {}, deviation = {};  ///< of each channel of latents as they are drawn
  double drawn_deviation = 0;                     ///< of a value that is drawn, about its mean
};

/// [n, reconstruction_figures + 2 C], float64: the figures, then the mean and the mean square of each channel of the
/// latent as it is drawn. `pixels`: uint8.
at::Tensor figures_of_images(const Autoencoder& model, const at::Tensor& pixels, at::Device device) {
  const at::Tensor images = to_float(pixels.to(device));
  const LatentMoments latents = model->encode(images);
  const at::Tensor deviation = latents.deviation(), back = model->decode(latents.mean);
  const at::Tensor ratio = psnr(to_uint8(back).cpu(), pixels.cpu()), differs = ratio.isfinite();
  const auto of_image = [](const at::Tensor& values) {
    return values.flatten(1).mean(1, /*keepdim=*/true).to(at::kCPU, at::kDouble);
  };
  const auto of_channels = [](const at::Tensor& values) { return values.mean({2, 3}).to(at::kCPU, at::kDouble); };
  return at::cat({of_image((back - images).square()), at::where(differs, ratio, at::zeros_like(ratio)).unsqueeze(1),
                  differs.to(at::kDouble).unsqueeze(1), of_image(deviation), of_channels(latents.mean),
                  of_channels(latents.mean.square() + deviation.square())},
                 1);
}

/// Over the held-out rows {image}. Collective.
Reconstruction reconstruct(const Autoencoder& model, const HeldOut& held_out, const Codec& codec,
                           Communicator& communicator, at::Device device) {
  const std::int64_t channels = model->options().latent_channels;
  const std::vector<double> means =
      held_out.mean(reconstruction_figures + 2 * channels, communicator, [&](const HeldOut::Rows& rows) {
        const at::Tensor pixels = codec.pixels(rows.columns[0]);
        return by_row_chunks(pixels.size(0), device, [&](std::int64_t first, std::int64_t count) {
          return figures_of_images(model, pixels.narrow(0, first, count), device);
        });
      });
  Reconstruction out;
  out.mse = means[squared_error];
  out.psnr = means[rounded_psnr] / means[rounded_differs];
  out.drawn_deviation = means[latent_deviation];
  for (std::int64_t channel = 0; channel < channels; ++channel) {
    const double mean = means[static_cast<std::size_t>(reconstruction_figures + channel)];
    const double square = means[static_cast<std::size_t>(reconstruction_figures + channels + channel)];
    out.mean.push_back(mean);
    out.deviation.push_back(std::sqrt(std::max(square - mean * mean, 0.0)));
  }
  return out;
}

nlohmann::json summary_of(const Reconstruction& held_out, const AutoencoderOptions& options) {
  return {{"psnr", held_out.psnr},
          {"mse", held_out.mse},
          {"parameters", parameter_count(options)},
          {"latent",
           {{"shape", {options.latent_channels, options.latent_size(), options.latent_size()}},
            {"mean", held_out.mean},
            {"std", held_out.deviation},
            {"deviation", held_out.drawn_deviation}}}};
}

Autoencoder new_autoencoder(const StageContext& context, const DatasetShape& shape) {
  const AutoencoderOptions options = autoencoder_options(context.config.autoencoder, shape);
  Autoencoder model = make_autoencoder(options, static_cast<std::uint64_t>(context.config.pipeline.seed));
  model->to(context.device);
  say("{} autoencoder: images of {}x{}x{}, latents of {}x{}x{}, {:.2f} M parameters",
      options.plain ? "plain" : "variational", options.in_channels, options.image_size, options.image_size,
      options.latent_channels, options.latent_size(), options.latent_size(),
      static_cast<double>(parameter_count(options)) / 1e6);
  return model;
}

}  // namespace

void autoencoder(StageContext& context) {
  const Config& config = context.config;
  const auto seed = static_cast<std::uint64_t>(config.pipeline.seed);
  const RowTable train_table =
      open_for_training(context.run.train_images(), dataset_format, training_reads(config.storage));
  const RowTable test_table(context.run.test_images(), dataset_format);
  const DatasetShape shape = dataset_shape(train_table);
  const Codec& codec = *shape.codec;
  Autoencoder model = new_autoencoder(context, shape);

  RowStream rows(train_table, {"image"}, config.prepare.window_blocks, seed);
  TrainingTask task;
  task.name = context.node.name;
  task.directory = context.directory();
  task.training = config.autoencoder.training;
  task.provenance = {{"stage", context.node.fingerprint}, {"dataset", train_table.content_hash()}};
  task.batch = [&](const BatchRange& range) { return autoencoder_batch(rows, range, model->options(), codec, seed); };
  task.loss = [&](const Batch& batch) {
    return model->loss(batch[0], batch.size() > 1 ? batch[1] : at::Tensor(), config.autoencoder.kl);
  };
  const HeldOut held_out(test_table, {"image"}, config.autoencoder.training.validate_rows);
  task.validate = [&] {
    const Reconstruction made = reconstruct(model, held_out, codec, context.communicator, context.device);
    return nlohmann::json{{"test_mse", made.mse}, {"test_psnr", made.psnr}};
  };
  task.validate_every = config.autoencoder.training.validate_every;
  task.best_of = "test_mse";
  task.flops_per_image = forward_passes_a_training_image * forward_flops(model->options());
  const TrainingResult result = train(task, *model, config.pipeline, context.communicator, context.device);

  load_tensors(*model, result.ema, "EMA weights");
  model->eval();
  const HeldOut all_held_out(test_table, {"image"}, 0);
  const Reconstruction made = reconstruct(model, all_held_out, codec, context.communicator, context.device);
  if (!std::isfinite(made.mse))
    fail("held-out images come back from their latents with a squared error of {} under the averaged weights",
         made.mse);
  if (!context.communicator.is_root()) return;
  const WorkingAlone alone("publishing the autoencoder");
  say("held-out images come back from their latents with a PSNR of {:.2f} dB and a squared error of {:.5f} (of values "
      "on [-1, 1])",
      made.psnr, made.mse);
  for (const AveragedWeights& averaged : result.emas)
    if (averaged.file != result.emas.front().file)
      publish_tensors(context.directory() / averaged.file, averaged.tensors);
  publish_tensors(context.directory() / "weights.safetensors", result.ema);
  nlohmann::json summary = summary_of(made, model->options());
  summary["test_images"] = test_table.rows();
  summary["images"] = result.steps * config.autoencoder.training.batch;
  summary["steps"] = result.steps;
  publish_file(context.directory() / "summary.json", summary.dump(2) + "\n");
  publish_codec(*model, context.run.autoencoder_codec());
}

}  // namespace couplet

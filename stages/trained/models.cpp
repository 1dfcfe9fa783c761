#include "stages/trained/models.h"

#include "pipeline/tensor/weights.h"

namespace couplet {

TarFlowOptions teacher_options(const TeacherConfig& config, const DatasetShape& shape) {
  TarFlowOptions options;
  options.in_channels = shape.channels;
  options.image_size = shape.size;
  options.patch = config.patch;
  options.channels = config.channels;
  options.blocks = config.blocks;
  options.layers = config.layers;
  options.head_size = config.head_size;
  options.num_classes = shape.classes;
  options.recompute = config.training.checkpoint_activations;
  options.nvp = config.variant == "nvp";
  check(options);
  return options;
}

ImageNoise teacher_noise(const TeacherConfig& config) {
  return {config.noise == "uniform", config.noise_std};
}

TarFlow load_teacher(const RunDirectory& run, const TeacherConfig& config, const DatasetShape& shape,
                     c10::Device device) {
  return with_weights(make_tarflow(teacher_options(config, shape), 0), run.teacher_ema(), device);
}

}  // namespace couplet

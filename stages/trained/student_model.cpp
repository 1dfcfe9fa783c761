#include "stages/trained/student_model.h"

#include "pipeline/tensor/weights.h"

namespace couplet {

SiTOptions student_options(const StudentConfig& config, const DatasetShape& shape) {
  SiTOptions options;
  options.in_channels = shape.channels;
  options.image_size = shape.size;
  options.patch = config.patch;
  options.channels = config.channels;
  options.depth = config.depth;
  options.heads = config.heads;
  options.num_classes = shape.classes;
  options.recompute = config.training.checkpoint_activations;
  check(options);
  return options;
}

std::uint64_t student_seed(std::int64_t run_seed, std::int64_t student_seed) {
  return static_cast<std::uint64_t>(run_seed) + (static_cast<std::uint64_t>(student_seed + 1) << 32);
}

SiT load_student(const RunDirectory& run, const StudentConfig& config, const std::string& coupling, std::int64_t seed,
                 const DatasetShape& shape, c10::Device device) {
  return with_weights(make_sit(student_options(config, shape), 0), run.student(coupling, seed) / "ema.safetensors",
                      device);
}

}  // namespace couplet

// The network that a student is: a function of a state x on the way from image to noise, its time, and a condition.
// Which ones there are stands in method/models/fields.
#pragma once

#include "method/data/condition.h"
#include "pipeline/tensor/weights.h"

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// What a field is made from: the data set's sizes and those of [student]. A field may leave some of the latter unused.
struct FieldOptions {
  std::int64_t image_channels = 1;
  std::int64_t image_size = 28;   ///< 0: not known yet, in `check`
  std::int64_t num_classes = 10;  ///< labels are 0 … num_classes - 1
  std::int64_t patch = 4;         ///< pixels
  std::int64_t channels = 96;
  std::int64_t depth = 4;
  std::int64_t heads = 4;
  // Of a U-Net (guided-diffusion's flags; method/models/fields/unet):
  std::vector<std::int64_t> multipliers = {1, 2, 2};  ///< channels of each level, in units of `channels`
  std::int64_t blocks = 2;                            ///< residual blocks a level
  std::vector<std::int64_t> attention = {2};          ///< downsampling factors at which there is attention
  std::int64_t head_channels = 0;                     ///< channels of an attention head; 0: channels / heads
  bool scale_shift = true;                            ///< the embedding scales and shifts, or is added
  bool residual_resampling = true;                    ///< levels change in residual blocks, or in convolutions
  bool new_attention_order = false;
  double dropout = 0;                   ///< probability that a residual block drops a value of a training row
  double time_scale = 1000;             ///< factor of the times that are embedded
  std::int64_t condition_channels = 0;  ///< channels of Condition::image, which follow those of x
  bool channels_last = false;           ///< convolutions have images laid out pixel by pixel
  bool recompute = false;               ///< layers are computed again in the backward pass instead of kept
  bool spans = false;                   ///< it sees Condition::span, as flow maps need
  std::string section = "student";      ///< what messages call the keys by
};

class Field : public torch::nn::Module {
public:
  /// The output, of x's shape and type, at x [N, C, H, W] and t [N] in [0, 1] (0: image, 1: noise). What it means is
  /// the objective's matter.
  virtual at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const Condition& condition) = 0;
  /// `forward`, which also appends to `layers` what each layer of tokens puts out, [N, T, channels], a token a patch in
  /// reading order. For kinds that have tokens.
  virtual at::Tensor forward_by_layers(const at::Tensor& x, const at::Tensor& t, const Condition& condition,
                                       std::vector<at::Tensor>& layers);
  /// The label of a row whose class is not said.
  virtual std::int64_t no_label() const = 0;
  /// Floating-point operations of the matrix products in one row's forward pass.
  virtual double forward_flops() const = 0;
  /// Numbers that are kept for the backward pass, a row: an estimate; training measures what it is.
  virtual std::int64_t activation_values() const = 0;
  /// What a reader of published weights has to know to build the network again: "depth" → "4".
  virtual std::map<std::string, std::string> sizes() const = 0;
};

/// Classifier-free guidance over all channels: f_unlabelled + scale (f_labelled - f_unlabelled), in one batch of twice
/// the rows; scale 1 costs no more than `forward`.
at::Tensor guided_output(Field& field, const at::Tensor& x, const at::Tensor& t, const Condition& condition,
                         double scale);

/// The image of a condition beside x, which a network of so many condition channels sees. Another number of channels,
/// another size than x's and none at all are errors.
at::Tensor condition_image(const at::Tensor& x, const Condition& condition, std::int64_t channels);
/// x with that image behind it along the channels; x alone where the network sees none, and then a condition with an
/// image is an error.
at::Tensor with_condition_image(const at::Tensor& x, const Condition& condition, std::int64_t channels);

/// A member of the registry of fields (method/models/fields/members.list).
struct FieldKind {
  std::string name;
  std::string help;  ///< one line
  /// Keys of [student] that only the fields that name them use: students of other fields do not depend on them.
  std::vector<std::string> keys = {};
  bool takes_images = false;  ///< of conditions: it knows condition_channels
  /// It knows `spans`. Before it is trained, such a field does not depend on the span, and is the one without `spans`.
  bool takes_spans = false;
  /// It is `depth` layers of tokens, of `channels` values, of patches of side `patch`: Field::forward_by_layers.
  bool has_tokens = false;
  /// Of the fastest wave of time and span that the network sees, radians a unit of time; absent: slow ones alone.
  double (*time_rate)(const FieldOptions& options) = nullptr;
  /// Refuses sizes that do not fit together, naming the configuration keys: when the configuration is read, and again
  /// when the size of the images is known.
  void (*check)(const FieldOptions& options) = nullptr;
  /// A field with its initial weights, a function of options and seed. May seed torch's global generator.
  std::shared_ptr<Field> (*make)(const FieldOptions& options, std::uint64_t seed) = nullptr;
  /// Trained numbers of such a field, without making one.
  std::int64_t (*parameter_count)(const FieldOptions& options) = nullptr;
  /// What Field::forward_flops says of such a field, without making one.
  double (*forward_flops)(const FieldOptions& options) = nullptr;
  /// Weights as the program that published the architecture writes them, as those of such a field of ours; absent: they
  /// are taken as they are.
  NamedTensors (*import_weights)(const NamedTensors& published, const FieldOptions& options) = nullptr;
};

const std::vector<FieldKind>& field_kinds();
/// An unknown name is refused with the nearest.
const FieldKind& find_field(const std::string& name);

}  // namespace couplet

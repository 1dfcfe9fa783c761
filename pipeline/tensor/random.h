// Counter-based randomness: every draw is a pure function of (seed, purpose, index), so it is the same on any number of
// ranks and there is no generator state to save. Philox4x32-10 (Salmon et al., SC 2011).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace couplet {

/// What a draw is for. It is part of the counter, so that no two uses share numbers. The values are part of the file
/// formats: they are never renumbered, and those that are missing here are not given again.
enum class Purpose : std::uint32_t {
  row_order = 1,  ///< index: epoch, or epoch and window
  initial_weights = 2,
  teacher_noise =
      3,           ///< index: position of the sample in the training run (step · batch + position in the global batch)
  flip = 4,        ///< index: as teacher_noise
  label_drop = 5,  ///< index: as teacher_noise
  coupling_noise = 6,    ///< ε' of a coupling-table row; index: global row
  student_noise = 7,     ///< z of the independent coupling; index: position in the training run
  time = 8,              ///< index: position in the training run
  evaluation_noise = 9,  ///< z of a sample; index: sample
  validation_noise = 11,
  validation_start = 14,  ///< z of the independent coupling in validation; index: row of the held-out table
  validation_time = 15,   ///< index: row of the held-out table
  likelihood_noise = 16,  ///< dequantisation of held-out images; index: row of the images, from the second draw of a
                          ///< row on + number of the draw · 2^40
  likelihood_probe = 17,  ///< probes of the trace of a field; index: row of the images · probes + number of the probe
  stored_order = 18,      ///< the order in which a split's images are stored; index: 0 for training, 1 for the held-out
  table_noise = 19,       ///< noise that a table knows by a number; index: that number, its id
  noise_slot = 20,        ///< which of a row's noises takes part in a step; index: position in the training run
  potential_noise = 21,   ///< noise that potentials are learnt and judged by; index: step · batch + position in the
                          ///< batch; from 2^62 on of the judging
  mixing_noise = 22,      ///< ε that is mixed into a coupling's noise; index: position, or row of held-out pairs
  fresh_choice = 23,      ///< whether a pair takes ε in place of its noise; index: as mixing_noise
  reflow_noise = 24,      ///< noise that a student's flow carries to an image; index: round, split and row of the table
  held_out_blocks = 25,   ///< the blocks of a table that are held out where it has no held-out rows; index: 0
  toy_point = 26,         ///< a point of a toy data set; index: row, held-out rows from 2^62 on
  solver_noise = 27,      ///< noise of a stochastic sampler; index: sample · 2^20 + number of the draw
  flow_probe = 28,        ///< probes of the trace of a field that is trained by likelihood; index: position
  flow_dequantisation = 29,  ///< of images that a student is trained on; index: position
  source_noise = 30,         ///< noise added to a source that is made from the condition; index: position or row
  dropout = 31,              ///< what a network drops; index: position · 1024 + number of the block
  latent_draw = 32,          ///< a latent within its deviation; index: hash of the row's bytes and the draw's number
  autoencoder_noise = 33,    ///< ε of the latents that an autoencoder is trained on; index: position
  candidate_noise = 160,   ///< further noises that a sample may start from; index: sample · 1024 + number of the noise
  candidate_choice = 161,  ///< which of its noises a sample starts from; index: sample
  classifier_noise = 162,  ///< noise that a classifier is trained to tell from a table's; index: position
  classifier_test = 163    ///< the same that it is judged by; index: row
};

/// Ten rounds of Philox4x32.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// The sequence of draws that belongs to one (seed, purpose, index).
class Draws {
public:
  Draws(std::uint64_t seed, Purpose purpose, std::uint64_t index);
  std::uint32_t bits();
  double uniform();                          ///< in the open interval (0, 1), 32 bits of resolution
  double normal();                           ///< standard normal (Box-Muller)
  std::uint64_t below(std::uint64_t bound);  ///< uniform in [0, bound), unbiased

private:
  std::uint64_t seed_, index_;
  std::uint32_t purpose_, position_ = 0;
  std::array<std::uint32_t, 4> block_{};
  std::uint32_t used_ = 4;
  double spare_ = 0;
  bool has_spare_ = false;
};

/// Standard normal values of one index; value k depends on (seed, purpose, index, k) only.
void fill_normal(std::span<float> values, std::uint64_t seed, Purpose purpose, std::uint64_t index);
/// Uniform values in [0, 1) of one index, likewise.
void fill_uniform(std::span<float> values, std::uint64_t seed, Purpose purpose, std::uint64_t index);
/// A random permutation of 0 … n-1.
std::vector<std::int64_t> permutation(std::int64_t n, std::uint64_t seed, Purpose purpose, std::uint64_t index);

}  // namespace couplet

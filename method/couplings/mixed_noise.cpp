#include "method/couplings/mixed_noise.h"

#include "method/data/noise.h"
#include "pipeline/tensor/random.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

namespace couplet {
namespace {

class MixedNoise : public Coupling {
public:
  MixedNoise(std::unique_ptr<Coupling> coupling, const Mixing& mixing)
      : coupling_(std::move(coupling)), mixing_(mixing) {}

  void agree(std::int64_t step) override { coupling_->agree(step); }
  Pairs draw(const BatchRange& range) override {
    return mixed(coupling_->draw(range), mixing_.seed, range.positions());
  }
  std::int64_t held_out_rows() const override { return coupling_->held_out_rows(); }
  Pairs held_out(const std::vector<std::int64_t>& rows) const override {
    return mixed(coupling_->held_out(rows), mixing_.held_out_seed, rows);
  }
  NamedTensors state() const override { return coupling_->state(); }
  void restore(const NamedTensors& state) override { coupling_->restore(state); }
  void publish(const std::filesystem::path& directory) const override { coupling_->publish(directory); }
  nlohmann::json provenance() const override {
    nlohmann::json all = coupling_->provenance();
    all["mix"] = mixing_.rho;
    all["fresh_share"] = mixing_.fresh_share;
    return all;
  }

private:
  /// Pair i with the fresh noise of index i, each row by itself: equal bits in batches of any size.
  Pairs mixed(Pairs pairs, std::uint64_t seed, const std::vector<std::int64_t>& indices) const {
    const at::Tensor fresh = normal_rows(pairs.noise.sizes().slice(1).vec(), seed, Purpose::mixing_noise, indices);
    pairs.noise = pairs.noise * std::sqrt(1 - mixing_.rho * mixing_.rho) + fresh * mixing_.rho;
    for (std::size_t i = 0; i < indices.size(); ++i) {
      Draws choice(seed, Purpose::fresh_choice, static_cast<std::uint64_t>(indices[i]));
      const auto row = static_cast<std::int64_t>(i);
      if (choice.uniform() < mixing_.fresh_share) pairs.noise[row].copy_(fresh[row]);
    }
    return pairs;
  }

  std::unique_ptr<Coupling> coupling_;
  Mixing mixing_;
};

}  // namespace

std::unique_ptr<Coupling> mix_noise(std::unique_ptr<Coupling> coupling, const Mixing& mixing) {
  return std::make_unique<MixedNoise>(std::move(coupling), mixing);
}

}  // namespace couplet

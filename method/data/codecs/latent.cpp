// Latents of images. Data sets hold mean and standard deviation of each row as its autoencoder gives them; what models
// see is drawn from them, shifted and scaled; pixels are what the autoencoder makes of that.
#include "method/data/latents.h"

#include "method/data/codec.h"
#include "method/data/latent_script.h"
#include "pipeline/tensor/random.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "storage/error.h"
#include "storage/files/hash.h"
#include "storage/filesystem.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <map>
#include <mutex>
#include <span>
#include <utility>

namespace couplet {
namespace {

class LatentCodec : public Codec {
public:
  LatentCodec(LatentForm form, std::filesystem::path script)
      : Codec("latent", ElementType::float16), form_(std::move(form)), script_path_(std::move(script)) {}

  at::Tensor encode(const at::Tensor& stored) const override { return drawn(stored, 0); }
  at::Tensor drawn(const at::Tensor& stored, std::uint64_t number) const override;
  at::Tensor decode(const at::Tensor& seen) const override {
    const at::Tensor x = seen.to(at::kFloat);
    return script_on(seen.device()).decode(x / along_channels(form_.scale, x) + along_channels(form_.shift, x));
  }
  at::Tensor pixels(const at::Tensor& stored) const override {
    return script_on(stored.device()).decode(stored.narrow(-3, 0, stored.size(-3) / 2).to(at::kFloat));
  }
  std::vector<std::int64_t> seen_shape(std::vector<std::int64_t> stored) const override {
    return {stored.at(0) / 2, stored.at(1), stored.at(2)};
  }
  std::vector<std::int64_t> pixel_shape(std::vector<std::int64_t>) const override { return form_.pixel_shape; }
  bool tables_hold_seen() const override { return true; }
  double levels() const override { return 0; }

private:
  static at::Tensor along_channels(const std::vector<double>& numbers, const at::Tensor& x) {
    return at::tensor(numbers, at::kFloat).view({-1, 1, 1}).to(x.device());
  }
  const LatentScript& script_on(c10::Device device) const;

  LatentForm form_;
  std::filesystem::path script_path_;
  mutable std::mutex opening_;
  mutable std::map<std::string, LatentScript> scripts_;  ///< opened when pixels are first asked for, by device
};

/// A row's noise is a function of its bytes and the number of the draw: wherever and in whatever company it is read,
/// the same.
void fill_row_noise(at::Tensor& noise, const at::Tensor& row, std::uint64_t seed, std::uint64_t number) {
  const std::uint64_t index = hash64(bytes_of(row), number);
  fill_normal({noise.data_ptr<float>(), static_cast<std::size_t>(noise.numel())}, seed, Purpose::latent_draw, index);
}

at::Tensor LatentCodec::drawn(const at::Tensor& stored, std::uint64_t number) const {
  const std::int64_t channels = stored.size(-3) / 2;
  at::Tensor x = stored.narrow(-3, 0, channels).to(at::kFloat, false, true);
  if (form_.is_drawn) {
    const at::Tensor rows = stored.cpu().contiguous().view({-1, 2 * channels, stored.size(-2), stored.size(-1)});
    at::Tensor noise = at::empty({rows.size(0), channels, rows.size(2), rows.size(3)}, at::kFloat);
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      at::Tensor row = noise[i];
      fill_row_noise(row, rows[i], form_.seed, number);
    }
    x.add_(noise.view(x.sizes()).to(x.device()) * stored.narrow(-3, channels, channels).to(at::kFloat));
  }
  x.sub_(along_channels(form_.shift, x)).mul_(along_channels(form_.scale, x));
  return x.to(at::kHalf).to(at::kFloat);  // as coupling tables store it
}

const LatentScript& LatentCodec::script_on(c10::Device device) const {
  const std::lock_guard lock(opening_);
  const std::string name = device.str();
  if (const auto found = scripts_.find(name); found != scripts_.end()) return found->second;
  if (!is_there(script_path_))
    refuse(
        "{}: is not there, and latents become pixels by it; put it back, a copy of latents.file or of "
        "RUN/autoencoder/codec.pt (hash {})",
        script_path_.string(), form_.script_hash);
  if (const std::string hash = hash_file(script_path_); hash != form_.script_hash)
    refuse(
        "{}: the latents were made by another codec: its hash is {}, theirs {}; put theirs back, a copy of "
        "latents.file "
        "or of RUN/autoencoder/codec.pt",
        script_path_.string(), hash, form_.script_hash);
  return scripts_.emplace(name, LatentScript(script_path_, form_.pixel_range, device)).first->second;
}

}  // namespace

CodecKind latent_codec() {
  return {
      .name = "latent",
      .help = "latents of an autoencoder",
      .is_of_source = false,
      .make = [](const nlohmann::json& provenance, const std::filesystem::path& table) -> std::shared_ptr<const Codec> {
        if (!provenance.contains("latent"))
          fail("{}: says that it holds latents, but not of which form", table.string());
        return std::make_shared<LatentCodec>(latent_form(provenance.at("latent")),
                                             table.parent_path() / latent_script_name);
      }};
}

}  // namespace couplet

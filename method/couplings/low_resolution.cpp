// Each image with its own low resolution and fresh noise on it: a source that depends on the data, whose paths to the
// images are short (Albergo et al., arXiv 2310.03725).
#include "method/couplings/dataset_coupling.h"
#include "method/data/dataset.h"
#include "method/data/noise.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <memory>
#include <utility>

namespace couplet {
namespace {

void check_low_resolution(const PairingOptions& options, const DatasetShape& shape, std::int64_t) {
  if (!shape.low_resolution.is_given())
    refuse(
        "{}.coupling = low-resolution starts from the low resolution of the images, and prepare.condition = none gives "
        "none: set prepare.condition = low-resolution",
        options.section);
}

/// z' = up(y) + σ z. The condition's image is up(y).
at::Tensor low_resolution_source(const at::Tensor& z, const Condition& condition, double noise) {
  if (!condition.image.defined())
    fail("the coupling low-resolution starts from the image of a condition, and there is none");
  return at::add(condition.image, z, noise);
}

class LowResolutionCoupling : public DatasetCoupling {
public:
  explicit LowResolutionCoupling(const CouplingSources& sources)
      : DatasetCoupling(sources),
        seed_(sources.seed),
        source_noise_(sources.pairing.source_noise),
        dataset_(dataset_shape(images())) {
    check_low_resolution(sources.pairing, dataset_, images().rows());
  }

  Pairs draw(const BatchRange& range) override {
    Pairs pairs = read(range);
    pairs.noise = normal_rows(shape(), seed_, Purpose::student_noise, range.positions());
    return moved(std::move(pairs));
  }

  Pairs held_out(const std::vector<std::int64_t>& rows) const override {
    return moved(DatasetCoupling::held_out(rows));
  }

private:
  Pairs moved(Pairs pairs) const {
    pairs.noise = low_resolution_source(pairs.noise, dataset_.condition(pairs.image, pairs.label), source_noise_);
    return pairs;
  }

  std::uint64_t seed_;
  double source_noise_;
  DatasetShape dataset_;
};

}  // namespace

CouplingKind low_resolution_coupling() {
  return {.name = "low-resolution",
          .help =
              "each image with its own low resolution, enlarged, and fresh noise on it (super-resolution; arXiv "
              "2310.03725)",
          .keys = {"student.source-noise"},
          .source = low_resolution_source,
          .check = check_low_resolution,
          .make = [](const CouplingSources& sources) -> std::unique_ptr<Coupling> {
            return std::make_unique<LowResolutionCoupling>(sources);
          }};
}

}  // namespace couplet

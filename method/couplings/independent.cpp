// Each image with fresh noise: flow matching without any coupling, the baseline.
#include "method/couplings/dataset_coupling.h"
#include "method/data/noise.h"

namespace couplet {
namespace {

class IndependentCoupling : public DatasetCoupling {
public:
  explicit IndependentCoupling(const CouplingSources& sources) : DatasetCoupling(sources), seed_(sources.seed) {}

  Pairs draw(const BatchRange& range) override {
    Pairs pairs = read(range);
    pairs.noise = normal_rows(shape(), seed_, Purpose::student_noise, range.positions());
    return pairs;
  }

private:
  std::uint64_t seed_;
};

}  // namespace

CouplingKind independent_coupling() {
  return {.name = "independent",
          .help = "each image with fresh noise, of the data set alone: the baseline",
          .is_baseline = true,
          .make = [](const CouplingSources& sources) -> std::unique_ptr<Coupling> {
            return std::make_unique<IndependentCoupling>(sources);
          }};
}

}  // namespace couplet

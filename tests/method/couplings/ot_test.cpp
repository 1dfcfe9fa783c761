// Minibatch optimal transport on any number of ranks: every rank works the whole batch out by itself, from the pairs of
// `independent`, and compares its own part.
#include "method/couplings/coupling.h"
#include "method/tables/coupling_table.h"
#include "method/transport/batch_assignment.h"
#include "storage/error.h"
#include "tests/method/couplings/written_table.h"
#include "tests/pipeline/pipeline_testing.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <numeric>

namespace couplet::testing {
namespace {

constexpr std::int64_t samples = 40, held_out_samples = 9, channels = 2, size = 3, classes = 3;
constexpr std::int64_t data_block = 8, table_block = 16, window = 2, rows_to_train_on = 2 * samples;
constexpr std::int64_t batch = 6, white_sample = 17;

/// Pixels, but that a white image has values that are not finite.
class BrokenWhite : public Codec {
public:
  BrokenWhite() : Codec("broken-white", ElementType::uint8) {}
  at::Tensor encode(const at::Tensor& stored) const override {
    const at::Tensor seen = pixel_codec()->encode(stored);
    return at::where(stored == 255, at::scalar_tensor(std::numeric_limits<float>::quiet_NaN()), seen);
  }
  at::Tensor decode(const at::Tensor& seen) const override { return pixel_codec()->decode(seen); }
  double levels() const override { return 0; }
};

/// A data set in a directory of all ranks. No image but that of `white_sample` has a pixel of 255.
struct DataSet {
  SharedDirectory folder;
  CouplingSources sources;

  DataSet() {
    sources = {.train_images = folder / "train",
               .test_images = folder / "test",
               .train_table = {},
               .test_table = {},
               .reads = {},
               .pairing = {.batch = batch, .loom = {}},
               .block_rows = table_block,
               .window_blocks = window,
               .seed = 11,
               .held_out_seed = 3,
               .codec = pixel_codec(),
               .communicator = &ranks()};
    if (ranks().is_root()) {
      write(sources.train_images, samples);
      write(sources.test_images, held_out_samples);
    }
    ranks().barrier();
  }

  CouplingSources with(const std::string& within, std::int64_t steps) const {
    CouplingSources changed = sources;
    changed.pairing.ot_within_class = within == "class";
    changed.pairing.ot_steps = steps;
    return changed;
  }

private:
  static void write(const std::filesystem::path& directory, std::int64_t rows) {
    const std::vector<Column> all = coupling_columns({channels, size, classes, {}}, ElementType::float32);
    at::Tensor images = at::randint(255, {rows, channels, size, size}, at::kByte);
    if (rows > white_sample) images[white_sample].fill_(255);
    const at::Tensor labels = at::arange(rows, at::kInt).remainder(classes);
    write_table(directory, dataset_format, {all[1], all[2]}, {images, labels}, data_block, nlohmann::json::object(),
                {{"class_counts", std::vector<std::int64_t>(classes, rows / classes)}});
  }
};

std::unique_ptr<Coupling> ot(const CouplingSources& sources) {
  return find_coupling("ot").make(sources);
}

/// This rank's part of a step.
BatchRange own_part(std::int64_t step) {
  const std::int64_t rows = batch / ranks().size();
  return {step, step * batch + ranks().rank() * rows, rows, batch};
}

/// The pairs of the independent coupling at positions of the run.
Pairs independent_pairs(const CouplingSources& sources, std::int64_t first, std::int64_t count) {
  return find_coupling("independent").make(sources)->draw({first / batch, first, count, batch});
}

/// The permutation of least cost within the rows of each pool, by trying all.
std::vector<std::int64_t> best_of_all(const Pairs& pairs, const at::Tensor& pools) {
  const at::Tensor x = pairs.image.flatten(1).to(at::kDouble), z = pairs.noise.flatten(1).to(at::kDouble);
  const at::Tensor cost = (x.unsqueeze(1) - z.unsqueeze(0)).square().sum(2);
  std::vector<std::int64_t> best(static_cast<std::size_t>(x.size(0)));
  for (std::int64_t pool = 0; pool < classes; ++pool) {
    std::vector<std::int64_t> rows;
    for (std::int64_t i = 0; i < x.size(0); ++i)
      if (pools[i].item<std::int64_t>() == pool) rows.push_back(i);
    std::vector<std::int64_t> columns = rows;
    double least = std::numeric_limits<double>::infinity();
    do {
      double sum = 0;
      for (std::size_t i = 0; i < rows.size(); ++i) sum += cost[rows[i]][columns[i]].item<double>();
      if (sum >= least) continue;
      least = sum;
      for (std::size_t i = 0; i < rows.size(); ++i) best[static_cast<std::size_t>(rows[i])] = columns[i];
    } while (std::next_permutation(columns.begin(), columns.end()));
  }
  return best;
}

/// `whole` is what `independent` has for the positions from `first` on, `noise_of` which noise each row of that takes.
void expect_part(const Pairs& part, const BatchRange& range, const Pairs& whole, std::int64_t first,
                 const at::Tensor& noise_of) {
  const std::int64_t at = range.first - first;
  EXPECT_TRUE(part.image.equal(whole.image.narrow(0, at, range.rows))) << range.step;
  EXPECT_TRUE(part.label.equal(whole.label.narrow(0, at, range.rows))) << range.step;
  const at::Tensor noises = noise_of.to(at::kLong).narrow(0, at, range.rows);
  EXPECT_TRUE(part.noise.equal(whole.noise.index_select(0, noises))) << range.step;
}

// More steps than an epoch has, so that a batch is of the end of one and of the beginning of the next.
constexpr std::int64_t steps = rows_to_train_on / batch + 4;

TEST(Ot, PairsAreThoseOfLeastCostInTheGlobalBatch) {
  const DataSet data;
  const auto coupling = ot(data.with("none", 1));
  int exchanged = 0;
  for (std::int64_t step = 0; step < steps; ++step) {
    coupling->agree(step);
    const Pairs whole = independent_pairs(data.sources, step * batch, batch);
    const std::vector<std::int64_t> best = best_of_all(whole, at::zeros({batch}, at::kLong));
    expect_part(coupling->draw(own_part(step)), own_part(step), whole, step * batch, at::tensor(best, at::kLong));
    exchanged += best[0] != 0;
  }
  EXPECT_GT(exchanged, 0);
  EXPECT_TRUE(coupling->state().empty());
}

TEST(Ot, WithinAClassNoiseStaysWithItsLabel) {
  const DataSet data;
  const auto coupling = ot(data.with("class", 1));
  int exchanged = 0;
  for (std::int64_t step = 0; step < steps; ++step) {
    coupling->agree(step);
    const Pairs whole = independent_pairs(data.sources, step * batch, batch);
    const std::vector<std::int64_t> best = best_of_all(whole, whole.label);
    expect_part(coupling->draw(own_part(step)), own_part(step), whole, step * batch, at::tensor(best, at::kLong));
    for (std::size_t i = 0; i < best.size(); ++i) exchanged += best[i] != static_cast<std::int64_t>(i);
  }
  EXPECT_GT(exchanged, 0);
}

TEST(Ot, StepsInOneProblemExchangeTheirNoise) {
  const DataSet data;
  constexpr std::int64_t together = 3;
  for (const std::string within : {"none", "class"}) {
    const auto coupling = ot(data.with(within, together));
    for (std::int64_t step = 0; step < steps; ++step) {
      coupling->agree(step);
      const std::int64_t first = step / together * together * batch;
      const Pairs whole = independent_pairs(data.sources, first, together * batch);
      const at::Tensor pools = within == "class" ? whole.label : at::Tensor();
      expect_part(coupling->draw(own_part(step)), own_part(step), whole, first,
                  transport_permutation(whole.image, whole.noise, pools));
    }
  }
}

// The ranks agree on some steps more than are drawn yet, as training does; and on the first step once before, to plan
// its memory.
TEST(Ot, AnyStepCanBeTheFirst) {
  const DataSet data;
  for (const std::int64_t together : {1, 3}) {
    const auto whole = ot(data.with("none", together));
    std::vector<Pairs> expected;
    for (std::int64_t step = 0; step < steps; ++step) {
      whole->agree(step);
      expected.push_back(whole->draw(own_part(step)));
    }
    const auto expect_from = [&](Coupling& coupling, std::int64_t start) {
      for (std::int64_t step = start; step < std::min(start + 3, steps); ++step) coupling.agree(step);
      for (std::int64_t step = start; step < steps; ++step) {
        if (step + 3 < steps) coupling.agree(step + 3);
        const Pairs pairs = coupling.draw(own_part(step));
        const Pairs& other = expected[static_cast<std::size_t>(step)];
        EXPECT_TRUE(pairs.noise.equal(other.noise) && pairs.image.equal(other.image)) << start << " " << step;
      }
    };
    for (std::int64_t start = 0; start < steps; start += 4) {
      const auto coupling = ot(data.with("none", together));
      coupling->agree(0);
      coupling->draw(own_part(0));
      expect_from(*coupling, start);
      coupling->restore({});
      expect_from(*coupling, start + 1);
    }
  }
}

TEST(Ot, AnErrorOfTheOwnerEndsAllRanks) {
  const DataSet data;
  CouplingSources sources = data.with("none", 1);
  sources.codec = std::make_shared<BrokenWhite>();
  const auto coupling = ot(sources);
  std::string error = "no error";
  std::int64_t step = 0;
  for (; step < steps && error == "no error"; ++step) error = error_of([&] { coupling->agree(step); });
  EXPECT_LT(step, steps) << "an epoch has every image";
  expect_contains(error, "image 17 has values that are not finite");
  expect_contains(error, "the coupling of steps " + std::to_string(step - 1) + " to " + std::to_string(step - 1));
  for (const std::string& other : ranks().gather_text(error)) EXPECT_EQ(other, error);
  EXPECT_EQ(error_of([&] { coupling->agree(step - 1); }), error) << "asked for once more";
}

TEST(Ot, EndsWhileProblemsAreBeingSolved) {
  const DataSet data;
  CouplingSources sources = data.with("none", rows_to_train_on / batch);
  for (int i = 0; i < 5; ++i) {
    const auto coupling = ot(sources);
    coupling->agree(i);
  }
}

TEST(Ot, AStepThatTheRanksHaveNotAgreedOnIsAnError) {
  const DataSet data;
  const auto coupling = ot(data.with("none", 1));
  coupling->agree(0);
  expect_contains(error_of([&] { coupling->draw(own_part(1)); }), "not agreed");
}

TEST(Ot, HeldOutPairsAreThoseOfIndependent) {
  const DataSet data;
  const auto coupling = ot(data.with("none", 1)), independent = find_coupling("independent").make(data.sources);
  EXPECT_EQ(coupling->held_out_rows(), held_out_samples);
  const Pairs ours = coupling->held_out({1, 4, 8}), theirs = independent->held_out({1, 4, 8});
  EXPECT_TRUE(ours.image.equal(theirs.image) && ours.noise.equal(theirs.noise) && ours.label.equal(theirs.label));
  EXPECT_EQ(coupling->provenance().at("dataset"), independent->provenance().at("dataset"));
  EXPECT_NE(coupling->provenance(), ot(data.with("none", 2))->provenance());
  EXPECT_NE(coupling->provenance(), ot(data.with("class", 1))->provenance());
}

TEST(Ot, RefusesProblemsThatMakeNoSense) {
  const DataSet data;
  const auto refusal = [](const CouplingSources& sources) {
    try {
      ot(sources);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), exit_usage);
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << "one line";
      return std::string(error.what());
    }
    return std::string("not refused");
  };
  CouplingSources few = data.with("class", 1);
  few.pairing.batch = 4;
  expect_contains(refusal(few), "student.ot-within = class: 4 rows of a problem");
  expect_contains(refusal(few), "student.ot-steps to 2 or more");
  few.pairing.ot_steps = 2;
  EXPECT_EQ(refusal(few), "not refused");
  expect_contains(refusal(data.with("none", 14)), "the data set has 80 rows to train on");
  expect_contains(refusal(data.with("none", 14)), "in a problem of 84");
  expect_contains(refusal(data.with("none", 10000)), "about 60000 rows would exchange their noise");
  EXPECT_EQ(find_coupling("ot").least_batch, 2);
}

}  // namespace
}  // namespace couplet::testing

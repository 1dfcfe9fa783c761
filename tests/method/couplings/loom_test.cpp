// The coupling loom on several ranks, against a computation of its table step after step by one alone.
#include "method/couplings/coupling.h"
#include "method/couplings/loom_schedule.h"
#include "method/data/dataset.h"
#include "method/tables/seeds_check.h"
#include "method/tables/seeds_table.h"
#include "method/transport/noise_slots.h"
#include "pipeline/distributed/shared_tensors.h"
#include "pipeline/loader/row_order.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/random.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/row_table.h"
#include "tests/method/couplings/written_table.h"
#include "tests/pipeline/pipeline_testing.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace couplet::testing {
namespace {

using Numbers = std::vector<std::int64_t>;

constexpr std::int64_t samples = 11, channels = 1, size = 4, block_rows = 4, window_blocks = 2, batch = 6;
constexpr std::int64_t steps = 26, steps_agreed_ahead = 2;
constexpr std::uint64_t seed = 11;

void write_images(const std::filesystem::path& directory, const at::Tensor& images, const at::Tensor& labels) {
  const std::vector<Column> columns{{"image", ElementType::uint8, {channels, size, size}, ""},
                                    {"label", ElementType::int32, {}, ""}};
  write_table(directory, dataset_format, columns, {images, labels}, 8, {{"toy", true}}, {{"class_counts", {4, 4, 3}}});
}

/// A small data set that all ranks share.
struct Data {
  SharedDirectory folder;
  at::Tensor images, labels;
  CouplingSources sources;

  Data() {
    at::manual_seed(4);
    images = at::randint(256, {samples, channels, size, size}, at::kByte);
    labels = at::arange(samples, at::kInt).remainder(3);
    sources.train_images = folder / "images";
    sources.test_images = folder / "held-out";
    if (ranks().is_root()) {
      write_images(sources.train_images, images, labels);
      write_images(sources.test_images, images.narrow(0, 0, 5), labels.narrow(0, 0, 5));
    }
    ranks().barrier();
    sources.block_rows = block_rows;
    sources.window_blocks = window_blocks;
    sources.seed = seed;
    sources.held_out_seed = 3;
    sources.codec = pixel_codec();
    sources.communicator = &ranks();
    sources.pairing.batch = batch;
  }

  CouplingSources with(const LoomOptions& loom) const {
    CouplingSources changed = sources;
    changed.pairing.loom = loom;
    return changed;
  }
};

std::string text_of(const LoomOptions& loom) {
  return fmt::format("k {}, resampled every {}, trained after {}, swaps {}, within class {}", loom.slots,
                     loom.resample_every, loom.train_after, loom.swaps, loom.within_class);
}

const std::vector<LoomOptions> many_options{{2, 0, 0, true}, {1, 0, 0, true},  {3, 2, 0, true}, {2, 3, 1, true},
                                            {2, 0, 2, true}, {2, 0, 0, false}, {1, 2, 0, false},
                                            {2, 0, 1, true, true}};

/// The pairs of a global batch, and the table after it.
struct Expected {
  at::Tensor image, noise, label;
  Numbers table;
};

/// The method itself: one exchange after the other.
class Sequential {
public:
  Sequential(const Data& data, const LoomOptions& loom)
      : data_(data),
        loom_(loom),
        schedule_{2 * samples, batch, loom.resample_every, loom.train_after},
        order_(2 * samples, block_rows, window_blocks, seed) {
    for (std::int64_t id = 0; id < 2 * samples * loom.slots; ++id) first_.push_back(id);
    table_ = first_;
  }

  Expected step(std::int64_t step) {
    while (next_ < schedule_.exchange_of(step)) exchange();
    return exchange();
  }
  std::int64_t swapped() const { return swapped_; }

private:
  Expected exchange() {
    const LoomExchange at = schedule_.exchange(next_);
    if (next_ == schedule_.first_exchange(at.generation)) table_ = first_;
    ++next_;
    const Numbers rows = order_.at(at.first_position, batch);
    const DrawnSlots drawn = draw_slots(rows, loom_.slots, seed, at.first_position);
    Expected batch_of{{}, {}, {}, {}};
    const at::Tensor mirrored = at::stack({data_.images, data_.images.flip({3})}, 1).flatten(0, 1);
    batch_of.image = pixel_codec()->encode(mirrored.index_select(0, at::tensor(rows)));
    batch_of.label = data_.labels.repeat_interleave(2).index_select(0, at::tensor(rows)).to(at::kLong);
    const at::Tensor before = noise(drawn.slot, at.generation);
    const at::Tensor pools = loom_.within_class ? batch_of.label : at::Tensor();
    if (loom_.swaps) {
      at::Tensor cost = at::cdist(batch_of.image.flatten(1).to(at::kDouble), before.flatten(1).to(at::kDouble));
      if (loom_.within_class) cost.masked_fill_(pools.unsqueeze(1).ne(pools), 1e9);
      swap(assign_noises(batch_of.image, before, drawn, pools), drawn, cost);
    }
    batch_of.noise = noise(drawn.slot, at.generation);
    batch_of.table = table_;
    return batch_of;
  }

  at::Tensor noise(const Numbers& slots, std::int64_t generation) const {
    std::vector<at::Tensor> rows;
    for (const std::int64_t slot : slots) {
      at::Tensor row = at::empty({channels, size, size});
      const std::int64_t id = table_[static_cast<std::size_t>(slot)] + generation * std::ssize(table_);
      fill_normal({row.data_ptr<float>(), static_cast<std::size_t>(row.numel())}, seed, Purpose::table_noise,
                  static_cast<std::uint64_t>(id));
      rows.push_back(row);
    }
    return at::stack(rows);
  }

  /// `taken` is an assignment that none is better than, found by trying all. A row that comes twice makes two of them
  /// equal.
  void swap(const Numbers& taken, const DrawnSlots& drawn, const at::Tensor& cost) {
    const auto values = cost.accessor<double, 2>();
    Numbers parts, ids;
    double sum = 0;
    for (std::int64_t row = 0; row < batch; ++row) {
      if (!drawn.takes_part(row)) continue;
      parts.push_back(row);
      ids.push_back(id_in(drawn, taken[static_cast<std::size_t>(row)]));
      sum += values[row][taken[static_cast<std::size_t>(row)]];
    }
    Numbers columns = parts;
    do {
      double other = 0;
      for (std::size_t i = 0; i < parts.size(); ++i) other += values[parts[i]][columns[i]];
      ASSERT_GT(other, sum - 1e-4);
    } while (std::ranges::next_permutation(columns).found);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      swapped_ += id_in(drawn, parts[i]) != ids[i];
      id_in(drawn, parts[i]) = ids[i];
    }
  }
  std::int64_t& id_in(const DrawnSlots& drawn, std::int64_t row) {
    return table_[static_cast<std::size_t>(drawn.slot[static_cast<std::size_t>(row)])];
  }

  const Data& data_;
  LoomOptions loom_;
  LoomSchedule schedule_;
  RowOrder order_;
  Numbers first_, table_;
  std::int64_t next_ = 0, swapped_ = 0;
};

std::vector<Expected> expected_steps(const Data& data, const LoomOptions& loom) {
  Sequential sequential(data, loom);
  std::vector<Expected> all;
  for (std::int64_t step = 0; step < steps; ++step) all.push_back(sequential.step(step));
  EXPECT_EQ(sequential.swapped() > steps, loom.swaps) << "something is exchanged";
  return all;
}

std::unique_ptr<Coupling> make_loom(const CouplingSources& sources) {
  return find_coupling("loom").make(sources);
}

BatchRange own_range(std::int64_t step) {
  const std::int64_t rows = batch / ranks().size();
  return {step, step * batch + ranks().rank() * rows, rows, batch};
}

/// Agrees and draws as training does: batches are made while later steps are agreed on.
class Training {
public:
  Training(Coupling& coupling, std::int64_t first) : coupling_(coupling), agreed_(first), drawn_(first) {}

  Pairs next() {
    while (agreed_ < std::min(drawn_ + 1 + steps_agreed_ahead, steps)) coupling_.agree(agreed_++);
    return coupling_.draw(own_range(drawn_++));
  }

private:
  Coupling& coupling_;
  std::int64_t agreed_, drawn_;
};

void expect_step(const Pairs& pairs, const Expected& expected) {
  const std::int64_t rows = batch / ranks().size(), first = ranks().rank() * rows;
  EXPECT_TRUE(pairs.image.equal(expected.image.narrow(0, first, rows)));
  EXPECT_TRUE(pairs.noise.equal(expected.noise.narrow(0, first, rows)));
  EXPECT_TRUE(pairs.label.equal(expected.label.narrow(0, first, rows)));
}

/// The ids that a state means, worked out from its parts.
Numbers table_in(const NamedTensors& state) {
  at::Tensor ids = state.at("ids").clone();
  const at::Tensor& changes = state.at("changes");
  for (std::int64_t i = 0; i < changes.size(0); ++i) ids[changes[i][0].item<std::int64_t>()] = changes[i][1];
  return {ids.const_data_ptr<std::int64_t>(), ids.const_data_ptr<std::int64_t>() + ids.numel()};
}

TEST(Loom, PairsAreThoseOfExchangesOneAfterTheOther) {
  const Data data;
  for (const LoomOptions& loom : many_options) {
    SCOPED_TRACE(text_of(loom));
    const std::vector<Expected> expected = expected_steps(data, loom);
    const auto coupling = make_loom(data.with(loom));
    Training training(*coupling, 0);
    for (std::int64_t step = 0; step < steps; ++step) {
      SCOPED_TRACE(step);
      expect_step(training.next(), expected[static_cast<std::size_t>(step)]);
      const Numbers table = table_in(coupling->state());
      EXPECT_EQ(table, expected[static_cast<std::size_t>(step)].table) << "of this step, not of those agreed on";
      EXPECT_NO_THROW(require_permutation(table));
    }
  }
}

TEST(Loom, NoiseStaysWithinItsClassWhereThatIsAskedFor) {
  const Data data;
  const auto among_classes = [&](const LoomOptions& loom) {
    const auto coupling = make_loom(data.with(loom));
    Training training(*coupling, 0);
    for (std::int64_t step = 0; step < steps; ++step) training.next();
    const Numbers table = table_in(coupling->state());
    const auto label_of = [&](std::int64_t slot) { return data.labels[slot / (2 * loom.slots)].item<std::int64_t>(); };
    std::int64_t others = 0;
    for (std::int64_t slot = 0; slot < std::ssize(table); ++slot)
      others += label_of(slot) != label_of(table[static_cast<std::size_t>(slot)]);  // id i began in slot i
    return others;
  };
  EXPECT_EQ(among_classes({2, 0, 1, true, true}), 0);
  EXPECT_GT(among_classes({2, 0, 1, true, false}), 0);
}

TEST(Loom, GoesOnFromTheStateOfAnyStep) {
  const Data data;
  for (const LoomOptions& loom : {LoomOptions{3, 2, 0, true}, {2, 3, 1, true}, {1, 2, 0, false}, {2, 2, 0, true, true}}) {
    SCOPED_TRACE(text_of(loom));
    const std::vector<Expected> expected = expected_steps(data, loom);
    const auto coupling = make_loom(data.with(loom)), other = make_loom(data.with(loom));
    std::vector<NamedTensors> states{coupling->state()};
    Training training(*coupling, 0);
    for (std::int64_t step = 0; step < steps; ++step) {
      training.next();
      states.push_back(coupling->state());
    }
    for (std::int64_t from = 0; from <= steps; ++from) {
      SCOPED_TRACE(from);
      // As a checkpoint comes back: rank 0 gives it to all.
      other->restore(broadcast_tensors(states[static_cast<std::size_t>(from)], ranks()));
      Training again(*other, from);
      for (std::int64_t step = from; step < std::min(from + 3, steps); ++step) {
        expect_step(again.next(), expected[static_cast<std::size_t>(step)]);
        EXPECT_EQ(tensors_hash(other->state()), tensors_hash(states[static_cast<std::size_t>(step + 1)]));
      }
    }
  }
}

TEST(Loom, ABatchThatWasTriedLeavesNothing) {
  const Data data;
  const LoomOptions loom{2, 0, 1, true};
  const std::vector<Expected> expected = expected_steps(data, loom);
  const auto coupling = make_loom(data.with(loom));
  const NamedTensors before = coupling->state();
  coupling->agree(0);
  BatchRange part = own_range(0);
  part.rows = 1;
  EXPECT_TRUE(coupling->draw(part).noise.equal(expected[0].noise.narrow(0, part.first, 1)));
  coupling->restore(before);
  Training training(*coupling, 0);
  for (std::int64_t step = 0; step < 5; ++step) expect_step(training.next(), expected[static_cast<std::size_t>(step)]);
}

TEST(Loom, StepsOutOfOrderAreErrors) {
  const Data data;
  const auto coupling = make_loom(data.with({}));
  expect_contains(error_of([&] { coupling->agree(1); }), "step 0 next");
  coupling->agree(0);
  expect_contains(error_of([&] { coupling->draw(own_range(1)); }), "step 1, on which the ranks have not agreed");
  NamedTensors state = coupling->state();
  state["ids"] = state["ids"].clone();
  state["ids"][3] = 5;
  expect_contains(error_of([&] { coupling->restore(state); }), "noise 5 is in two slots");
  const auto larger = make_loom(data.with({6, 0, 0, true}));
  expect_contains(error_of([&] { larger->restore(make_loom(data.with({}))->state()); }), "expected 132");
}

TEST(Loom, RefusesWhatCannotBeExchanged) {
  const Data data;
  const auto refusal = [&](const LoomOptions& loom, std::int64_t rows_of_a_batch) {
    CouplingSources sources = data.with(loom);
    sources.pairing.batch = rows_of_a_batch;
    return error_of([&] { make_loom(sources); });
  };
  expect_contains(refusal({0, 0, 0, true}, batch), "student.loom-slots = 0");
  expect_contains(refusal({}, 23), "the data set has 22");
  expect_contains(refusal({2, 0, 1, false}, batch), "student.loom-train-after = 1");
  expect_contains(refusal({2, 0, 0, true, true}, 5), "student.batch = 5 is fewer than 2 rows a class for 3 classes");
  EXPECT_EQ(find_coupling("loom").least_batch, 2);
}

TEST(Loom, HeldOutImagesHaveFreshNoiseByRow) {
  const Data data;
  const auto coupling = make_loom(data.with({})), independent = find_coupling("independent").make(data.sources);
  EXPECT_EQ(coupling->held_out_rows(), 5);
  const Pairs ours = coupling->held_out({1, 4}), theirs = independent->held_out({1, 4});
  EXPECT_TRUE(ours.noise.equal(theirs.noise));
  EXPECT_TRUE(ours.image.equal(theirs.image));
}

/// The columns of a published table.
SeedRows read_seeds(const std::filesystem::path& directory) {
  const RowTable table(directory, seeds_format);
  const auto column = [&]<class Value>(const char* name, Value) {
    const at::Tensor values = read_rows(table, name, 0, table.rows());
    return std::vector<Value>(values.const_data_ptr<Value>(), values.const_data_ptr<Value>() + values.numel());
  };
  return {column("noise_id", std::int64_t{}), column("label", std::int32_t{}), column("sample", std::int64_t{}),
          column("flip", std::uint8_t{})};
}

TEST(Loom, PublishesItsTableAndTheSameAgain) {
  const Data data;
  for (const LoomOptions& loom : {LoomOptions{2, 3, 1, true}, LoomOptions{1, 0, 0, true}}) {
    const std::vector<Expected> expected = expected_steps(data, loom);
    const std::int64_t ids = 2 * samples * loom.slots;
    const std::int64_t generation = loom.resample_every == 0 ? 0 : (steps - 1) * batch / (6 * samples);
    const auto coupling = make_loom(data.with(loom)), resumed = make_loom(data.with(loom));
    Training training(*coupling, 0);
    for (std::int64_t step = 0; step < steps; ++step) training.next();
    resumed->restore(coupling->state());
    if (!ranks().is_root()) continue;
    const std::filesystem::path student = data.sources.train_images.parent_path() / text_of(loom);
    std::filesystem::create_directories(student);
    coupling->publish(student);
    const SeedRows rows = read_seeds(student / "seeds");
    ASSERT_EQ(rows.rows(), ids);
    for (std::int64_t row = 0; row < 2 * samples; ++row) {
      std::set<std::int64_t> own;
      for (std::int64_t c = 0; c < loom.slots; ++c) {
        const auto at = static_cast<std::size_t>(row * loom.slots + c);
        own.insert(expected.back().table[at] + generation * ids);
        EXPECT_EQ(rows.sample[at], row / 2);
        EXPECT_EQ(rows.flip[at], row % 2);
        EXPECT_EQ(rows.label[at], row / 2 % 3);
      }
      const auto first = rows.noise_id.begin() + row * loom.slots;
      EXPECT_TRUE(std::equal(own.begin(), own.end(), first, first + loom.slots)) << "ascending";
    }
    const RowTable table(student / "seeds", seeds_format);
    EXPECT_EQ(table.provenance().at("kind"), "loom");
    EXPECT_EQ(table.provenance().at("seed"), seed);
    EXPECT_EQ(check_seeds_rows(*table.shard(0)), std::vector<std::string>{});
    EXPECT_EQ(check_seeds_table(student / "seeds"), std::vector<std::string>{});
    const std::string hash = table.content_hash(), manifest = read_file(student / "seeds" / manifest_name);
    resumed->publish(student);
    EXPECT_EQ(RowTable(student / "seeds", seeds_format).content_hash(), hash);
    EXPECT_EQ(read_file(student / "seeds" / manifest_name), manifest);
  }
  ranks().barrier();
}

/// The problems of a table whose rows were changed before it was written.
std::vector<std::string> problems_of(const SeedRows& rows, const nlohmann::json& provenance,
                                     const std::filesystem::path& directory) {
  std::filesystem::remove_all(directory);
  write_table(directory, seeds_format, seeds_columns(),
              {at::tensor(rows.noise_id, at::kLong), at::tensor(rows.label, at::kInt), at::tensor(rows.sample, at::kLong),
               at::tensor(rows.flip, at::kByte)},
              rows.rows(), provenance, nlohmann::json::object());
  std::vector<std::string> problems = check_seeds_rows(*RowTable(directory, seeds_format).shard(0));
  for (const std::string& problem : check_seeds_table(directory)) problems.push_back(problem);
  return problems;
}

TEST(SeedsCheck, FindsWhatNoTableOfSeedsIs) {
  const SharedDirectory folder;
  const std::filesystem::path directory = folder / "tables" / "seeds";
  if (!ranks().is_root()) return;
  SeedRows sound;
  for (std::int64_t row = 0; row < 8; ++row) sound.add(8 + (row * 3) % 8, 1, row / 4, row / 2 % 2 == 1);
  for (std::size_t first = 0; first < 8; first += 2)
    if (sound.noise_id[first] > sound.noise_id[first + 1]) std::swap(sound.noise_id[first], sound.noise_id[first + 1]);
  const nlohmann::json loom{{"kind", "loom"}, {"flips", true}, {"slots", 2}, {"generation", 1}},
      other{{"kind", "semidiscrete"}};
  const auto problem = [&](const nlohmann::json& provenance, const auto& change) {
    SeedRows rows = sound;
    change(rows);
    const std::vector<std::string> problems = problems_of(rows, provenance, directory);
    return problems.empty() ? "none" : fmt::format("{}", fmt::join(problems, "; "));
  };
  for (const nlohmann::json& kind : {loom, other}) {
    EXPECT_EQ(problem(kind, [](SeedRows&) {}), "none");
    expect_contains(problem(kind, [](SeedRows& rows) { rows.noise_id[4] = rows.noise_id[0]; }), "belongs to two rows");
    expect_contains(problem(kind, [](SeedRows& rows) { std::swap(rows.noise_id[2], rows.noise_id[3]); }), "row 3 is");
    expect_contains(problem(kind, [](SeedRows& rows) { std::swap(rows.sample[1], rows.sample[6]); }), "stands behind");
    expect_contains(problem(kind, [](SeedRows& rows) { rows.label[5] = -1; }), "row 5 has label -1");
    expect_contains(problem(kind, [](SeedRows& rows) { rows.flip[7] = 2; }), "flip is 0 or 1");
    expect_contains(problem(kind, [](SeedRows& rows) { rows.noise_id[0] = -1; }), "below 0");
  }
  const auto beyond = [](SeedRows& rows) { rows.noise_id[7] = 16; };
  expect_contains(problem(loom, beyond), "has 8 to 15");
  EXPECT_EQ(problem(other, beyond), "none");
  const auto other_image = [](SeedRows& rows) { rows.sample[6] = rows.sample[7] = 2; };
  expect_contains(problem(loom, other_image), "expected sample 1, flip 1");
  EXPECT_EQ(problem(other, other_image), "none");
}

}  // namespace
}  // namespace couplet::testing

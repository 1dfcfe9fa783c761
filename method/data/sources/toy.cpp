// Points of the plane, drawn as they are asked for, from distributions whose densities are known.
#include "method/data/image_source.h"
#include "method/data/toys.h"

#include <fmt/format.h>

#include <memory>
#include <string>

namespace couplet {
namespace {

/// A change to what a row is drawn as makes another data set.
constexpr int toy_version = 1;
constexpr std::int64_t default_train_rows = 20000, default_test_rows = 5000;

class ToyPoints : public SourceImages {
public:
  ToyPoints(const Toy& toy, bool held_out, std::int64_t rows)
      : SourceImages(fmt::format("{}, {}", toy.name, held_out ? "test" : "train"), {rows, 2, 1, 1}),
        toy_(toy),
        held_out_(held_out) {}

  at::Tensor read(std::int64_t first, std::int64_t count) override {
    return toy_points(toy_, held_out_, first, count).view({count, 2, 1, 1});
  }
  ElementType type() const override { return ElementType::float32; }
  std::int64_t label(std::int64_t) const override { return 0; }
  std::string content_hash() const override {
    return fmt::format("{}, version {}, {} rows", name(), toy_version, shape().images);
  }

private:
  const Toy& toy_;
  bool held_out_;
};

ImageSource open_toy(const SourceOptions& options) {
  const Toy& toy = find_toy(options.toy);
  const auto split = [&](bool held_out, std::int64_t rows, std::int64_t otherwise) {
    return std::make_unique<ToyPoints>(toy, held_out, rows > 0 ? rows : otherwise);
  };
  return {.classes = 0,
          .train = split(false, options.train_rows, default_train_rows),
          .test = split(true, options.test_rows, default_test_rows)};
}

PointDensity toy_density(const SourceOptions& options) {
  const Toy& toy = find_toy(options.toy);
  return {toy.entropy, toy.log_density};
}

}  // namespace

SourceKind toy_source() {
  return {.name = "toy",
          .help = "points of the plane, of the distribution prepare.toy; prepare.codec is float",
          .open = open_toy,
          .density = toy_density};
}

}  // namespace couplet

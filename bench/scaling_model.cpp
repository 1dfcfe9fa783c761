// scaling_model [CONFIG ROWS HELD_OUT CHANNELS SIZE CLASSES]: the model of docs/scaling.md for a data set that need not
// be there, on 1 to 4,096 GPUs, as JSON: {"strong": points, "weak": points}; without words configs/imagenet64.ini on
// ImageNet. What `couplet submit --dry-run --scaling` says of images that are there. scripts/scaling-curves draws it.
#include "pipeline/config/options.h"
#include "stages/graph.h"
#include "stages/kinds.h"
#include "stages/run_points.h"

#include <fmt/format.h>

#include <iterator>
#include <string>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t most_gpus = 4096;

void print_scaling(const std::string& preset, const DatasetSize& dataset) {
  offer_members();
  const Config config = resolve_config(preset, {});
  const StageGraph graph = stage_graph(config, {.has_classes = dataset.shape.has_classes()});
  const Machine machine;
  std::vector<StagePoint> strong, weak;
  for (std::int64_t gpus = 1; gpus <= most_gpus; gpus *= 2) {
    const auto points = run_points(
        config, dataset, graph,
        [gpus](const std::string&) {
          return StageRanks{gpus, true};
        },
        machine);
    strong.insert(strong.end(), points.begin(), points.end());
    const auto larger = grown_points(points, config.pipeline.overlap, machine);
    weak.insert(weak.end(), larger.begin(), larger.end());
  }
  fmt::print(
      "{}\n",
      nlohmann::json{{"machine", machine_text(machine)}, {"strong", points_json(strong)}, {"weak", points_json(weak)}}
          .dump(1));
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  using namespace couplet;
  const std::vector<std::string> given(words + 1, words + count);
  const auto number = [&](std::size_t i, std::int64_t usual) {
    return given.size() > i ? std::stoll(given[i]) : usual;
  };
  const std::int64_t rows = number(1, 1281167);
  print_scaling(given.empty() ? COUPLET_SOURCE_DIR "/configs/imagenet64.ini" : given[0],
                {rows, number(2, 50000), {number(3, 3), number(4, 64), number(5, 1000), {}}, rows});
}

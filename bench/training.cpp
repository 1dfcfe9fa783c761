// teacher_train, student_train, features_train, unet_train: images a second of the default preset's training
// (configs/fashion.ini, and its student with a U-Net), through `train`, against an ordinary PyTorch program around the
// unmodified reference (bench/training_peer.py: fused AdamW, set_to_none, SDPA), at the same threads. Each side in the
// better one of float32 and bfloat16 for it, tried first. Both train from rows in memory, whole rounds in turn.
// teacher_train_compiled and so on: the same, where PyTorch may compile its model, too (torch.compile).
#include "bench/peer.h"
#include "bench/training_round.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

namespace couplet {
namespace {

/// What torch.compile imports beside torch (scripts/setup bench).
const std::string compile_tools = COUPLET_PYTHON_TOOLS "/../torch-compile";

std::string peer_sizes(const TrainingBench& task, const Config& config) {
  const std::string& stage = task.stage;
  const TrainingConfig& training = training_of(stage, config);
  nlohmann::json all{{"batch", training.batch}, {"weight_decay", training.weight_decay}, {"clip", training.clip}};
  if (stage == "teacher") {
    const TeacherConfig& t = config.teacher;
    all["noise_std"] = t.noise_std;
    all["label_drop"] = t.label_drop;
    all["model"] = {{"in_channels", 1},       {"img_size", 28},         {"patch_size", t.patch},
                    {"channels", t.channels}, {"num_blocks", t.blocks}, {"layers_per_block", t.layers.front()}};
  } else if (stage == "features") {
    all["model"] = {{"channels", config.features.channels}, {"dimension", config.features.dimension}};
  } else if (task.name == "unet") {
    const StudentConfig& s = config.student;
    all["label_drop"] = s.label_drop;
    all["model"] = {{"image_size", 28},
                    {"in_channels", 1},
                    {"out_channels", 1},
                    {"model_channels", s.channels},
                    {"num_res_blocks", s.blocks},
                    {"channel_mult", s.multipliers},
                    {"attention_resolutions", s.attention},
                    {"num_heads", s.heads},
                    {"use_scale_shift_norm", s.scale_shift},
                    {"resblock_updown", s.residual_resampling}};
  } else {
    const StudentConfig& s = config.student;
    all["label_drop"] = s.label_drop;
    all["model"] = {{"in_channels", 1},          {"input_size", 28}, {"patch_size", s.patch},
                    {"hidden_size", s.channels}, {"depth", s.depth}, {"num_heads", s.heads}};
  }
  return all.dump();
}

/// Images a second of one side over so many steps in one of its ways: a precision, and the peer's mode.
using Side = std::function<double(const std::string& way, std::int64_t steps)>;

struct Choice {
  std::string way;
  double rate = 0;
};

/// The fastest way of a side, each tried for a few seconds after as many steps that warm up.
Choice best_way(const std::string& side, const std::vector<std::string>& ways, const Side& rate_of, double batch) {
  constexpr std::int64_t first_steps = 20;
  Choice best;
  std::string text;
  for (const std::string& way : ways) {
    rate_of(way, first_steps);
    const double rough = rate_of(way, first_steps);
    const double trial_seconds = 0.25 * bench_seconds();
    const double rate = rate_of(way, static_cast<std::int64_t>(std::ceil(trial_seconds * rough / batch)) + 1);
    text += fmt::format(" {} {:.4g} images/s", way, rate);
    if (rate > best.rate) best = {way, rate};
  }
  fmt::print("  {}:{}; takes {}\n", side, text, best.way);
  std::fflush(stdout);
  return best;
}

void compare(const TrainingBench& task, bool compiled) {
  const std::string& stage = task.stage;
  const auto peers = peers_folder();
  const BenchDirectory folder;
  const auto communicator = make_single_communicator();
  const SyntheticRows rows = synthetic_rows(bench_rows);
  const Config preset = bench_config(stage, 1, task.settings);
  const auto batch = static_cast<double>(training_of(stage, preset).batch);
  const Side ours = [&](const std::string& precision, std::int64_t steps) {
    std::vector<Setting> settings = task.settings;
    settings.push_back({stage + ".precision", precision, "bench"});
    const Config config = bench_config(stage, steps, settings);
    return training_rate(stage, config, rows, folder.path(), *communicator);
  };
  const std::string name = task.name + (compiled ? "_train_compiled" : "_train");
  const Choice our_choice = best_way("ours", {"float32", "bfloat16"}, ours, batch);
  const auto steps_of = [&](const Choice& choice) {
    return static_cast<std::int64_t>(std::ceil(1.1 * bench_seconds() * choice.rate / batch));
  };
  const bool has_tools = !compiled || fs::exists(compile_tools + "/sympy");
  if (!peers || !has_tools) {
    fmt::print("bench {} ours={:.4g} theirs=skipped ratio=skipped (images/s, {})\n", name,
               ours(our_choice.way, steps_of(our_choice)),
               peers ? compile_tools + " is missing: scripts/setup bench" : "COUPLET_PEERS is unset");
    return;
  }
  PeerProcess peer("training_peer.py",
                   {*peers, task.name, peer_sizes(task, preset), std::to_string(at::get_num_threads()), compile_tools});
  const Side theirs = [&](const std::string& way, std::int64_t steps) {
    return static_cast<double>(steps) * batch / peer.ask(fmt::format("{} {}", way, steps));
  };
  std::vector<std::string> their_ways{"float32 eager", "bfloat16 eager"};
  if (compiled) their_ways.insert(their_ways.end(), {"float32 compiled", "bfloat16 compiled"});
  const Choice their_choice = best_way("theirs", their_ways, theirs, batch);
  RatePairs rates;
  for (int round = 0; round < bench_rounds(); ++round) {
    const double our_rate = ours(our_choice.way, steps_of(our_choice));
    rates.add(our_rate, theirs(their_choice.way, steps_of(their_choice)));
    fmt::print("  round {}: ours {:.4g}, theirs {:.4g} images/s\n", round + 1, rates.ours.back(), rates.theirs.back());
    std::fflush(stdout);
  }
  rates.print(name, "images/s");
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  couplet::open_log({}, "bench", /*rank=*/1);  // says nothing
  const auto is_asked_for = [&](const std::string& name) { return count == 1 || words[1] == name; };
  for (const couplet::TrainingBench& task : couplet::training_benches()) {
    if (is_asked_for(task.name)) couplet::compare(task, /*compiled=*/false);
    if (task.name != "unet" && is_asked_for(task.name + "_compiled")) couplet::compare(task, /*compiled=*/true);
  }
}

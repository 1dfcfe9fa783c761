// teacher_train, student_train, unet_train: images a second of the default preset's training (configs/fashion.ini, and
// its student with a U-Net), through `train`, against an ordinary PyTorch program around the unmodified reference
// (bench/training_peer.py: fused AdamW, set_to_none, SDPA), at the same threads. Each side in the better one of float32
// and bfloat16 for it, tried first. Both train from rows in memory, whole rounds in turn.
#include "bench/peer.h"
#include "bench/training_round.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <functional>

namespace couplet {
namespace {

constexpr const char* precisions[] = {"float32", "bfloat16"};

std::string peer_sizes(const TrainingBench& task, const Config& config) {
  const std::string& stage = task.stage;
  const TrainingConfig& training = training_of(stage, config);
  nlohmann::json all{{"batch", training.batch}, {"weight_decay", training.weight_decay}, {"clip", training.clip}};
  if (stage == "teacher") {
    const TeacherConfig& t = config.teacher;
    all["noise_std"] = t.noise_std;
    all["label_drop"] = t.label_drop;
    all["model"] = {{"in_channels", 1},       {"img_size", 28},         {"patch_size", t.patch},
                    {"channels", t.channels}, {"num_blocks", t.blocks}, {"layers_per_block", t.layers}};
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

/// Images a second of one side over so many steps in a precision.
using Side = std::function<double(const std::string& precision, std::int64_t steps)>;

struct Choice {
  std::string precision;
  double rate = 0;
};

/// The faster precision of a side, each tried for a few seconds after as many steps that warm up.
Choice better_precision(const std::string& side, const Side& rate_of, double batch) {
  constexpr std::int64_t first_steps = 20;
  Choice best;
  std::string text;
  for (const char* precision : precisions) {
    const double rough = rate_of(precision, first_steps);
    const double trial_seconds = 0.25 * bench_seconds();
    const double rate = rate_of(precision, static_cast<std::int64_t>(std::ceil(trial_seconds * rough / batch)) + 1);
    text += fmt::format(" {} {:.4g} images/s", precision, rate);
    if (rate > best.rate) best = {precision, rate};
  }
  fmt::print("  {}:{}; takes {}\n", side, text, best.precision);
  std::fflush(stdout);
  return best;
}

void compare(const TrainingBench& task) {
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
  const Choice our_choice = better_precision("ours", ours, batch);
  const auto steps_of = [&](const Choice& choice) {
    return static_cast<std::int64_t>(std::ceil(1.1 * bench_seconds() * choice.rate / batch));
  };
  if (!peers) {
    fmt::print("bench {}_train ours={:.4g} theirs=skipped ratio=skipped (images/s, COUPLET_PEERS is unset)\n",
               task.name, ours(our_choice.precision, steps_of(our_choice)));
    return;
  }
  PeerProcess peer("training_peer.py",
                   {*peers, task.name, peer_sizes(task, preset), std::to_string(at::get_num_threads())});
  const Side theirs = [&](const std::string& precision, std::int64_t steps) {
    return static_cast<double>(steps) * batch / peer.ask(fmt::format("{} {}", precision, steps));
  };
  const Choice their_choice = better_precision("theirs", theirs, batch);
  RatePairs rates;
  for (int round = 0; round < bench_rounds(); ++round) {
    const double our_rate = ours(our_choice.precision, steps_of(our_choice));
    rates.add(our_rate, theirs(their_choice.precision, steps_of(their_choice)));
    fmt::print("  round {}: ours {:.4g}, theirs {:.4g} images/s\n", round + 1, rates.ours.back(), rates.theirs.back());
    std::fflush(stdout);
  }
  rates.print(task.name + "_train", "images/s");
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  couplet::open_log({}, "bench", /*rank=*/1);  // says nothing
  const auto is_asked_for = [&](const std::string& name) { return count == 1 || words[1] == name; };
  for (const couplet::TrainingBench& task : couplet::training_benches())
    if (is_asked_for(task.name)) couplet::compare(task);
}

// couplet export: a trained model's weights as the programs that published its architecture load them.
#include "launch/commands/commands.h"

#include "method/data/dataset.h"
#include "method/models/fields/sit.h"
#include "method/models/fields/unet.h"
#include "pipeline/config/options.h"
#include "pipeline/run/stage_record.h"
#include "pipeline/tensor/torch_file.h"
#include "stages/data/seen_rows.h"
#include "stages/opened_run.h"
#include "stages/trained/models.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/row_table.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

namespace couplet {

CommandSyntax export_syntax() {
  return {
      .name = "export",
      .arguments = "",
      .summary = "write a trained model's weights for the program that published its architecture",
      .flags = {{"run-dir", "DIR", "the run directory"},
                {"model", "MODEL", "teacher, or a student: nf-0, independent-0"},
                {"ema", "RATE", "the weights averaged at that rate; 0: the raw ones (the first rate of its training)"},
                {"output", "FILE", "file to write, .safetensors or .pt; it must not exist"}},
      .takes_keys = false,
      .notes =
          "A teacher is written for ml-tarflow's transformer_flow.Model; a student whose network is sit for\n"
          "SiT's models.SiT, which then runs from noise at t = 0 to data at t = 1: time and sign are folded into\n"
          "the weights; one whose network is unet for guided-diffusion's unet.UNetModel (SuperResModel where it\n"
          "has a condition), weights as they are. Others are refused: nobody else's program has them. A one-step\n"
          "student's file is for the network alone, whose image of noise the remarks tell how to get.\n"
          "torch.load reads a .pt file with weights_only = True; load_state_dict takes either strictly. The\n"
          "arguments that construct the model are printed; they also stand in a .safetensors file's metadata,\n"
          "and beside a .pt file in FILE.json.\n"};
}

namespace {

/// A model in its publishers' terms.
struct PeerModel {
  std::string repository, constructor;
  std::vector<std::pair<std::string, std::string>> arguments;  ///< in Python's notation
  NamedTensors tensors;
  std::map<std::string, std::string> remarks;  ///< what else a user of the weights has to know
};

std::string text(std::int64_t number) {
  return std::to_string(number);
}

PeerModel teacher_for_peer(const Config& config, const DatasetShape& shape, const std::filesystem::path& weights) {
  const TarFlowOptions o = teacher_options(config.teacher, shape);
  constexpr std::int64_t peer_head_size = 64;
  if (o.head_size != peer_head_size)
    refuse(
        "teacher.head-size = {}: ml-tarflow's Model has attention heads of {} channels and would compute another map",
        o.head_size, peer_head_size);
  if (std::ranges::min(o.layers) != o.most_layers())
    refuse("teacher.layers = {}: ml-tarflow's Model has the same number of layers in every block",
           fmt::join(o.layers, " "));
  if (o.clip_scale > 0 || o.clip_shift > 0)
    refuse(
        "teacher.clip-scale = {} and teacher.clip-shift = {}: ml-tarflow's Model bounds neither and would compute "
        "another map",
        o.clip_scale, o.clip_shift);
  const ImageNoise noise = teacher_noise(config.teacher);
  return {"apple/ml-tarflow",
          "transformer_flow.Model",
          {{"in_channels", text(o.in_channels)},
           {"img_size", text(o.image_size)},
           {"patch_size", text(o.patch)},
           {"channels", text(o.channels)},
           {"num_blocks", text(o.blocks)},
           {"layers_per_block", text(o.most_layers())},
           {"nvp", o.nvp ? "True" : "False"},
           {"num_classes", text(o.num_classes)}},
          export_tarflow(read_tensors(weights), o),
          {{"noise", noise.uniform ? "uniform, of one grey level"
                                   : fmt::format("Gaussian, of standard deviation {}", noise.standard_deviation)}}};
}

/// willisma/SiT integrates the network itself along straight paths: it has no way to say anything else.
void require_peer_student(const StudentConfig& student) {
  const auto require = [](const char* key, const std::string& found, const char* expected) {
    if (found != expected)
      refuse("{} = {}: willisma/SiT runs {} = {} only, and a file for it would sample something else", key, found, key,
             expected);
  };
  if (student.field != "sit")
    refuse(
        "student.network = {}: no other program is known to have it; sit is written for willisma/SiT, unet for "
        "openai/guided-diffusion",
        student.field);
  require("student.path", student.path, "linear");
  if (student.kind != "image") require("student.objective", student.objective, "velocity");
}

std::string python(bool value) {
  return value ? "True" : "False";
}

/// The network alone, which has a row of labels more than there are classes. guided-diffusion's own samplers know
/// another path than ours, in steps: what the network takes and puts out is said beside the weights.
PeerModel unet_for_peer(const StudentConfig& config, const DatasetShape& shape, const std::filesystem::path& weights) {
  const UNetOptions o = unet_options(student_options(config, shape));
  const bool conditional = o.condition_channels > 0;
  const bool scaled = student_objective(config)->path().state_scale(at::ones({1})).defined();
  if (conditional && o.condition_channels != o.in_channels)
    refuse("guided-diffusion's SuperResModel sees conditions of the images' own {} channels, and this network {}",
           o.in_channels, o.condition_channels);
  return {
      "openai/guided-diffusion",
      conditional ? "unet.SuperResModel" : "unet.UNetModel",
      {{"image_size", text(o.image_size)},
       {"in_channels", text(o.in_channels)},
       {"model_channels", text(o.channels)},
       {"out_channels", text(o.out_channels)},
       {"num_res_blocks", text(o.blocks)},
       {"attention_resolutions", fmt::format("[{}]", fmt::join(o.attention, ", "))},
       {"dropout", fmt::format("{}", o.dropout)},
       {"channel_mult", fmt::format("({},)", fmt::join(o.multipliers, ", "))},
       {"num_classes", text(o.num_classes + 1)},
       {"num_heads", text(o.heads)},
       {"num_head_channels", text(o.head_channels > 0 ? o.head_channels : -1)},
       {"use_scale_shift_norm", python(o.scale_shift)},
       {"resblock_updown", python(o.residual_resampling)},
       {"use_new_attention_order", python(o.new_attention_order)}},
      read_tensors(weights),
      {{"time", fmt::format("timesteps = {} t; t = 0 is data, t = 1 noise", o.time_scale)},
       {"label", fmt::format("{} means none", o.num_classes)},
       {"input", scaled ? "the state x_t divided by sqrt(sigma(t)^2 + 1/2); a velocity put out is in units of dsigma/dt"
                        : "the state x_t; zeros at t = 1 where the objective is regression"},
       {"output", fmt::format("student.path {}, student.objective {}: no sampler of guided-diffusion's integrates it",
                              config.path, objective_name(config))}}};
}

PeerModel student_for_peer(const StudentConfig& config, const DatasetShape& shape,
                           const std::filesystem::path& weights) {
  if (student_objective(config)->is_flow_map())
    refuse(
        "student.objective = {}: the network sees over which span of time it is asked for a mean velocity, and no "
        "other "
        "program's {} does",
        config.objective, config.field);
  if (config.field == "unet") return unet_for_peer(config, shape, weights);
  require_peer_student(config);
  if (shape.low_resolution.is_given())
    refuse(
        "prepare.condition = low-resolution: willisma/SiT is given no low resolution of an image, and a file for it "
        "could not be loaded");
  const SiTOptions o = sit_options(student_options(config, shape));
  return {"willisma/SiT",
          "models.SiT",
          {{"input_size", text(o.image_size)},
           {"patch_size", text(o.patch)},
           {"in_channels", text(o.in_channels)},
           {"hidden_size", text(o.channels)},
           {"depth", text(o.depth)},
           {"num_heads", text(o.heads)},
           {"num_classes", text(o.num_classes)},
           {"learn_sigma", "False"}},
          reverse_time(read_tensors(weights)),
          {{"time", "0 noise, 1 data; the field points to data"}}};
}

/// What a user of a one-step student's network has to know in place of what one of a flow's has.
void say_one_step(const StudentConfig& config, PeerModel& model) {
  model.remarks["kind"] = "image";
  model.remarks["time"] =
      config.field == "sit" ? "0, of the noise" : fmt::format("{}, of the noise", config.time_scale);
  model.remarks["output"] = fmt::format("the image of noise z is {}model(z, time, label), without any sampler",
                                        config.field == "sit" ? "-" : "");
}

std::string construction(const PeerModel& model) {
  std::vector<std::string> words;
  for (const auto& [name, value] : model.arguments) words.push_back(name + "=" + value);
  return fmt::format("{}({})", model.constructor, fmt::join(words, ", "));
}

std::map<std::string, std::string> metadata(const PeerModel& model, const StageRecord& record, double ema) {
  auto all = model.remarks;
  for (const auto& [name, value] : model.arguments) all[name] = value;
  all["peer"] = model.repository;
  all["construct"] = construction(model);
  all["program"] = fmt::format("couplet {}", COUPLET_VERSION);
  all["stage"] = record.stage;
  all["fingerprint"] = record.fingerprint;
  all["weights"] = ema == 0 ? "raw" : fmt::format("EMA of rate {}", ema);
  return all;
}

}  // namespace

int export_command(const std::vector<std::string>& words) {
  const CommandLine line(export_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(export_syntax()));
    return exit_ok;
  }
  const RunDirectory run(line.required("run-dir"));
  const std::string name = line.required("model");
  const std::filesystem::path output = new_output(line, {".safetensors", ".pt"});
  if (output.extension() == ".pt") require_absent(output.string() + ".json");
  const OpenedRun opened = open_run(run.root());
  const Config& config = opened.config;
  const StageNode node = trained_model(opened.view(), name);
  const RowTable images(seen_rows(config, run, "train"), dataset_format);
  const DatasetShape shape = dataset_shape(images);
  const bool is_teacher = node.kind == "teacher";
  const StudentConfig student = is_teacher ? StudentConfig{} : student_config(config, node.student);
  const std::vector<double>& rates = is_teacher ? config.teacher.training.ema : student.training.ema;
  const double ema = line.number("ema", rates.front());
  const auto weights = weights_file(run.stage(node.name), rates, ema);
  PeerModel model = is_teacher ? teacher_for_peer(config, shape, weights) : student_for_peer(student, shape, weights);
  if (!is_teacher && student.kind == "image") say_one_step(student, model);
  auto facts = metadata(model, read_record(run.stage(node.name)).value(), ema);
  // What its numbers mean: scale, shift and program of the latents.
  if (const auto latent = images.provenance().find("latent"); latent != images.provenance().end())
    facts["latent"] = latent->dump();
  if (output.extension() == ".pt") {
    publish_file(output.string() + ".json", nlohmann::json(facts).dump(2) + "\n");
    publish_torch_file(output, model.tensors);
  } else {
    publish_tensors(output, model.tensors, facts);
  }
  fmt::print("{}: {} ({} weights) for {}:\n{}\n", output.string(), name, facts.at("weights"), model.repository,
             construction(model));
  for (const auto& [what, remark] : model.remarks) fmt::print("{}: {}\n", what, remark);
  return exit_ok;
}

}  // namespace couplet

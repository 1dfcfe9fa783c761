#include "stages/trained/alignment.h"

#include "pipeline/config/options.h"
#include "pipeline/config/validation.h"
#include "pipeline/process/log.h"
#include "stages/data/run_tables.h"
#include "stages/trained/models.h"
#include "storage/error.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace couplet {
namespace {

/// The table that the teacher has filled with the student's pairs.
RunTable teacher_table(const Config& config, const std::string& student) {
  return unmapped_table(config, *table_of_student(config, student));
}

AlignmentOptions alignment_options(const Config& config, const std::string& name) {
  const StudentConfig student = student_config(config, name);
  return {.layers = student.depth,
          .channels = student.channels,
          .patch = student.patch,
          .teacher_precision = couple_config(config, teacher_table(config, name).name).precision};
}

}  // namespace

bool is_aligned(const StudentConfig& student) {
  return student.kind == "image" && student.align_weight > 0;
}

void require_alignment(const Config& config, const std::string& name) {
  const StudentConfig student = student_config(config, name);
  if (!is_aligned(student)) return;
  const std::string section = section_of_student(config, name);
  const std::string asked = fmt::format("{}.align-weight = {}", section, student.align_weight);
  const std::optional<RunTable> table = table_of_student(config, name);
  if (!table || !table->is_of_images())
    refuse(
        "{0}: it is from states of the teacher's on the way from image to noise, and {1}.coupling = {2} has other "
        "pairs; set it to 0, or the coupling to nf",
        asked, section, student.coupling);
  if (student.mix > 0 || student.fresh_share > 0)
    refuse(
        "{0}: {1}.mix = {2} and {1}.fresh-share = {3} give pairs noise that the teacher's states do not lead to: "
        "set it to 0, or both of them",
        asked, section, student.mix, student.fresh_share);
  if (!find_field(student.field).has_tokens)
    refuse(
        "{0}: {1}.network = {2} has no layers of tokens to compare with the teacher's states; set it to 0, or the "
        "network to sit",
        asked, section, student.field);
  if (std::min(config.teacher.blocks, student.depth) < 2)
    refuse(
        "{0}: {1}.depth = {2} and teacher.blocks = {3} leave no state between noise and image; both have to be 2 at "
        "least",
        asked, section, student.depth, config.teacher.blocks);
}

std::shared_ptr<Alignment> load_alignment(const StageContext& context, const DatasetShape& shape,
                                          const std::shared_ptr<Field>& network) {
  const Config& config = context.config;
  const std::string& name = context.node.student;
  if (!is_aligned(student_config(config, name))) return nullptr;
  const AlignmentOptions options = alignment_options(config, name);
  std::vector<std::int64_t> layers, blocks;
  for (const AlignedState& state : aligned_states(options.layers, config.teacher.blocks)) {
    layers.push_back(state.layer);
    blocks.push_back(state.block);
  }
  say("its layers {} are aligned with the teacher's states behind blocks {}", fmt::join(layers, " "),
      fmt::join(blocks, " "));
  return std::make_shared<Alignment>(
      network,
      load_teacher(inverting_weights(config, context.run, teacher_table(config, name).name), config.teacher, shape,
                   context.device, context.communicator),
      options);
}

AlignmentFlops alignment_flops(const Config& config, const std::string& name, const DatasetShape& shape) {
  if (!is_aligned(student_config(config, name))) return {};
  require_alignment(config, name);
  return forward_flops(teacher_options(config.teacher, shape), alignment_options(config, name));
}

}  // namespace couplet

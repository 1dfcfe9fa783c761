// The alignment of a one-step student with the teacher that made its pairs (student.align-weight).
#pragma once

#include "method/data/dataset.h"
#include "method/objectives/alignment.h"
#include "pipeline/config/config.h"
#include "pipeline/run/stage_context.h"

#include <memory>
#include <string>

namespace couplet {

bool is_aligned(const StudentConfig& student);
/// Refuses, by the names of their keys, an aligned student of that name whose pairs are not the teacher's own or come
/// with fresh noise, whose network has no tokens, or that has no state between noise and image.
void require_alignment(const Config& config, const std::string& student);

/// The student of the stage, aligned with the teacher; null where it is not. Collective.
std::shared_ptr<Alignment> load_alignment(const StageContext& context, const DatasetShape& shape,
                                          const std::shared_ptr<Field>& network);
/// Floating-point operations of the student's alignment, for an image; none where it is not aligned.
AlignmentFlops alignment_flops(const Config& config, const std::string& student, const DatasetShape& shape);

}  // namespace couplet

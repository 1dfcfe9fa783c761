// Likelihoods of held-out images as records.
#pragma once

#include "method/data/dataset.h"
#include "method/sampling/guided_field.h"
#include "pipeline/run/stage.h"
#include "stages/results/score_record.h"
#include "storage/tables/row_table.h"

namespace couplet {

// Both are collective, over evaluate.likelihood-rows of the held-out images, skip what is recorded, and give the same
// digits on any number of ranks. Records carry the `standard_error` of the mean over images.

/// "bits_per_dim" of a teacher trained with uniform noise of one grey level. With Gaussian noise:
/// "noised_bits_per_dim", of images with that noise on them, which is no bound for 8-bit images.
void measure_teacher_likelihood(const StageContext& context, Records& records, const RowTable& images,
                                const DatasetShape& shape);
/// "bits_per_dim" of a student without guidance, given the images' labels: its probability-flow ODE on images with
/// uniform noise of one grey level (`dequantised`); none where the data set's codec stores no levels.
void measure_student_likelihood(const StageContext& context, Records& records, const RowTable& images,
                                const StudentModel& student);

}  // namespace couplet

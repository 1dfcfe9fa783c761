// Likelihoods of held-out images as records.
#pragma once

#include "method/data/dataset.h"
#include "method/sampling/guided_field.h"
#include "pipeline/run/stage_graph.h"
#include "stages/evaluate/evaluation.h"
#include "stages/evaluate/score_requests.h"
#include "stages/results/score_record.h"
#include "storage/tables/row_table.h"

namespace couplet {

// Both are collective, over evaluate.likelihood-rows of the held-out images, and give the same digits on any number of
// ranks. Records carry the `standard_error` of the mean over images.

/// "bits_per_dim" of a teacher trained with uniform noise of one grey level. With Gaussian noise:
/// "noised_bits_per_dim", of images with that noise on them, which is no bound for 8-bit images.
void measure_teacher_likelihood(Evaluation& evaluation, const ScoreRequest& request);
/// "nats" of held-out points under the density that they are known to have: what the best model scores. Its `entropy`
/// stands beside it.
void measure_known_likelihood(Evaluation& evaluation, const ScoreRequest& request);
/// "bits_per_dim" of a student without guidance, given the images' labels: its probability-flow ODE on images with
/// uniform noise of one grey level (`dequantised`), averaged over evaluate.likelihood-samples draws of it. Of a codec
/// that stores no levels: "nats", the negative log-density of an image as the student sees it.
void measure_student_likelihood(Evaluation& evaluation, const ScoreRequest& request);

}  // namespace couplet

// The training loop that teacher, student and feature training share: a model, a loss over a batch, a source of
// batches.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/training/task.h"

namespace couplet {

/// Trains from the newest whole checkpoint in `task.directory` (or from the model's present weights) to the end.
/// * The global batch is computed in gradient groups and micro-batches; gradients are reduced while the backward pass
///   runs, and clipped by the norm of the global gradient.
/// * The learning rate warms up, then follows a cosine. Fused AdamW decays matrices only; the ranks share its state if
/// so
///   configured. Moving averages (EMA) of the weights are kept.
/// * A checkpoint is written in the background every `pipeline.checkpoint-every` steps, a line of metrics every step.
/// * The ranks agree on a request to stop at a step boundary, write a checkpoint, then throw Interrupted.
/// * A run that is resumed on the same number of ranks and threads, or with pipeline.reproducible on any number of
/// ranks,
///   is bit-equal to one that was never interrupted.
/// * A step whose loss or gradient is not finite changes nothing and is counted; more than `pipeline.max-skipped` of
/// them
///   are an error.
TrainingResult train(TrainingTask& task, torch::nn::Module& model, const PipelineConfig& pipeline,
                     Communicator& communicator, c10::Device device);

}  // namespace couplet

// The training loop that teacher, student and feature training share: a model, a loss over a batch, a source of
// batches.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/training/task.h"

#include <torch/nn/module.h>

namespace couplet {

/// Trains from the newest whole checkpoint in `task.directory` (or from the model's present weights) to the end.
/// Global batch (micro-batches, slices), gradients reduced while the backward pass runs, clipping over the global
/// gradient, warm-up then cosine, fused AdamW with weight decay on matrices only (its state shared among the ranks if
/// so configured), EMAs, checkpoints in the background every `pipeline.checkpoint-every` steps, metrics a step, stop
/// requests agreed on at step boundaries (checkpoint, then throws Interrupted). Bit-equal to an uninterrupted run
/// when resumed on the same number of ranks and threads; with pipeline.reproducible on any number of ranks. A step
/// whose loss or gradient is not finite changes nothing and is counted; more than `pipeline.max-skipped` are an
/// error.
TrainingResult train(TrainingTask& task, torch::nn::Module& model, const PipelineConfig& pipeline,
                     Communicator& communicator, torch::Device device);

}  // namespace couplet

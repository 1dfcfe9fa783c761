// Which models a run has trained, by the names that commands take.
#pragma once

#include "pipeline/run/stage_graph.h"

#include <string>

namespace couplet {

/// The stage that trained a model: "teacher", or a student by coupling and seed ("nf-0"). A name that is no model of
/// the run's configuration, or one whose stage is not complete, is refused with the models that can be had.
StageNode trained_model(const RunDirectory& run, const Config& config, const std::string& model);

}  // namespace couplet

// Which stages a run has: its students ask for what they need, and nothing else is made.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/run/stage_graph.h"
#include "stages/external_inputs.h"

namespace couplet {

/// The graph of a configuration:
///  - prepare, always;
///  - latents, where models see latents of the prepared images, behind the autoencoder that the run trains for them;
///  - features, where scores are by the built-in classifier: no evaluate.network is given, and the data set has
///  classes;
///  - latents, where models see these ([latents]), and behind it everything that models are; before it the autoencoder,
///  where the run trains its own;
///  - coupling/NAME for every table that a student's coupling reads, behind the teacher or the student that fills it,
///  or behind the table whose noise it maps;
///  - gaussianiser/NAME where the noise of the table NAME is mapped by a second flow;
///  - the teacher also where there are no students: then it is what the run is for;
///  - evaluate/real and, with a teacher, evaluate/teacher;
///  - student/NAME-SEED and evaluate/NAME-SEED for each seed and name in student.compare;
///  - report.
StageGraph stage_graph(const Config& config, const ExternalInputs& inputs);

}  // namespace couplet

// The map that carries the noise of one coupling table to that of another: where what it has learnt lies, and how it is
// learnt where no stage has trained it.
#pragma once

#include "method/data/dataset.h"
#include "method/gaussianisation/gaussian_map.h"
#include "pipeline/config/config.h"
#include "pipeline/run/stage_context.h"
#include "stages/data/run_tables.h"
#include "storage/tables/row_table.h"

#include <filesystem>

namespace couplet {

/// Options of the map that fills a table.
GaussianMapOptions noise_map_options(const Config& config, const RunTable& table, const DatasetShape& shape);

/// σ_f of the table whose noise is mapped: maps are of z = f / σ_f, as students of that table see it.
double base_sigma(const StageContext& context, const RunTable& table);

/// Refuses a table with rows that are not finite: no map can be learnt of them.
void require_finite_noise(const RowTable& table);

/// The file of what the map of the node's table has learnt: the weights of the stage gaussianiser, or
/// RUN/coupling/NAME/map.safetensors. The latter is fitted to the training rows of the table that it maps, by all
/// ranks, and published where it is not there yet or is of other rows or options: by one of several jobs, on which the
/// others wait. Collective.
std::filesystem::path learnt_map(const StageContext& context, Communicator& communicator);

}  // namespace couplet

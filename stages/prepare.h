// From the data set's own files to data-set shards.
#pragma once

#include "method/data/image_source.h"
#include "method/data/latents.h"
#include "pipeline/run/stage_context.h"

#include <optional>

namespace couplet {

/// Publishes RUN/prepare/train and RUN/prepare/test from the configured source: row tables of format "couplet-dataset"
/// with columns image (of the type that the codec stores, [C, H, W]) and label (int32). Rows stand in the source's
/// order, or with prepare.shuffle in one that is drawn: always the same for as many images, whatever the seed of the
/// run, and recorded in a third column, source_row (int64). Only then do the first rows and any window of rows hold all
/// classes of a source that is sorted by class. Latents that were made elsewhere are rows as well, and their program
/// lies beside them, RUN/prepare/codec.pt. Ranks take shards in turn and read the rows of these alone; whole
/// shards are kept on a rerun, and ranks that are asked to stop end after the shards that they have begun. A source of
/// files has files.tsv beside the shards, which names the file of each row. Truncated or mismatched files are errors
/// that name them. Classes without training images are warned of.
void prepare(StageContext& context);
/// The same from a source that is open. `latents`: the form of those that a source of latents gives, whose program lies
/// in RUN/prepare. Collective.
void publish_dataset(const ImageSource& source, const PrepareConfig& config, const RunDirectory& run,
                     Communicator& communicator, const std::optional<LatentForm>& latents = std::nullopt);

}  // namespace couplet

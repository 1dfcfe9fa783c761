// The table of options. `couplet config` prints it.
#include "pipeline/config/options_table.h"

#include "storage/error.h"

#include <algorithm>
#include <utility>

namespace couplet {
namespace option_sections {

void add_pipeline(std::vector<Option>& table) {
  table.insert(
      table.end(),
      {{"pipeline.seed", result, FIELD(pipeline.seed), "0", "", "seed of all randomness", 0, largest_seed},
       {"pipeline.ranks", execution, FIELD(pipeline.ranks), "0", "processes",
        "ranks of `couplet run`; 0: one a GPU; on a CPU two, or one where there is one core", 0, 4096},
       {"pipeline.threads", execution, FIELD(pipeline.threads), "0", "threads",
        "CPU threads a rank; 0: the host's cores divided by its ranks", 0, 1024},
       {"pipeline.device",
        execution,
        FIELD(pipeline.device),
        "auto",
        "",
        "where tensors live; auto: CUDA if there is a GPU, and an error in a job whose GPUs cannot be used",
        0,
        0,
        {"auto", "cpu", "cuda"}},
       {"pipeline.checkpoint-every", execution, FIELD(pipeline.checkpoint_every), "200", "steps",
        "interval of checkpoints", 1, no_limit},
       {"pipeline.keep-checkpoints", execution, FIELD(pipeline.keep_checkpoints), "2", "checkpoints",
        "newest checkpoints that are kept; an older one is used if the newest is damaged", 2, 1000},
       {"pipeline.max-skipped", execution, FIELD(pipeline.max_skipped), "10", "steps",
        "steps whose loss or gradient is not finite that are skipped before training stops", 0, no_limit},
       {"pipeline.overlap", execution, FIELD(pipeline.overlap), "true", "",
        "add up the ranks' gradients while the backward pass still runs; not on a CPU with several threads a rank"},
       {"pipeline.bucket-size", execution, FIELD(pipeline.bucket_size), "0", "MiB",
        "gradients that are added up together; 0: 4 on a CPU, 25 on a GPU", 0, 1e6},
       {"pipeline.shard-optimizer", execution, FIELD(pipeline.shard_optimizer), "false", "",
        "each rank holds and computes its share of the optimizer's state only (ZeRO-1)"},
       {"pipeline.reproducible", result, FIELD(pipeline.reproducible), "false", "",
        "weights of the same bits on 1, 2, 4, ... ranks: the batch is computed in pipeline.slices gradient groups; on "
        "a GPU, of the same bits each time: only algorithms that repeat them"},
       {"pipeline.tf32", result, FIELD(pipeline.tf32), "false", "",
        "on a GPU, products and convolutions in float32 round their factors to 10 bits (TF32): several times as fast"},
       {"pipeline.slices", result, FIELD(pipeline.slices), "4", "gradient groups",
        "gradient groups of the global batch if pipeline.reproducible: a power of two, the largest number of ranks", 1,
        4096},
       {"pipeline.log-every", execution, FIELD(pipeline.log_every), "5", "s", "interval of progress lines", 0, 86400},
       {"pipeline.stop-grace", execution, FIELD(pipeline.stop_grace), "60", "s",
        "time a stage has for its checkpoint after Ctrl-C or SIGTERM before it is killed", 0, 86400},
       {"pipeline.timeout", execution, FIELD(pipeline.timeout), "600", "s",
        "time that a rank waits for another in a collective before all end, naming the one that did not come", 1, 1e6},
       {"pipeline.time-limit", execution, FIELD(pipeline.time_limit), "0", "s",
        "time after which a run (or a stage on its own) stops as on request: checkpoint, status 75; 0: none", 0, 1e9}});
}

void add_storage(std::vector<Option>& table) {
  table.insert(table.end(),
               {{"storage.verify-reads", execution, FIELD(storage.verify_reads), "true", "",
                 "compare the checksums of the rows that training reads"},
                path({"storage.cache-dir", execution, FIELD(storage.cache_dir), "", "",
                      "local directory that shards are copied to before training reads them; empty: none"}),
                {"storage.cache-size", execution, FIELD(storage.cache_size), "64", "GiB",
                 "space that the copies may take; shards that do not fit are read where they lie", 0, 1e9}});
}

}  // namespace option_sections

namespace {

std::vector<Option> make_table() {
  using namespace option_sections;
  std::vector<Option> table;
  add_pipeline(table);
  add_storage(table);
  add_prepare(table);
  add_latents(table);
  add_features(table);
  add_autoencoder(table);
  add_teacher(table);
  add_couple(table);
  add_gaussianiser(table);
  add_student(table);
  add_noise_classifier(table);
  add_evaluate(table);
  return table;
}

std::vector<Option>& table() {
  static std::vector<Option> made = make_table();
  return made;
}

}  // namespace

const std::vector<Option>& options() {
  return table();
}

void offer_choices(const std::string& key, std::vector<Choice> choices) {
  const auto option = std::ranges::find(table(), key, &Option::key);
  if (option == table().end()) fail("choices are offered for {}, which is no option", key);
  option->allowed.clear();
  for (const Choice& choice : choices) option->allowed.push_back(choice.name);
  option->choices = std::move(choices);
}

}  // namespace couplet

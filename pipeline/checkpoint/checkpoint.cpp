#include "pipeline/checkpoint/checkpoint.h"

#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/process/log.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/file_handle.h"
#include "storage/files/hash.h"
#include "storage/json_difference.h"
#include "storage/json_text.h"
#include "storage/text.h"

#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

namespace couplet {
namespace {

constexpr char format_name[] = "couplet-checkpoint";
constexpr int format_version = 1;
constexpr char state_name[] = "state.json";
constexpr char latest_name[] = "latest";
constexpr char best_name[] = "best";
constexpr std::string_view name_prefix = "step-";
constexpr char aside_prefix[] = "damaged-";

std::uint64_t checkpoint_bytes(const Checkpoint& checkpoint) {
  std::uint64_t bytes = 0;
  for (const auto& [file, tensors] : checkpoint.files) {
    for (const auto& [name, tensor] : tensors) bytes += tensor.nbytes();
  }
  return bytes;
}

/// The hash of a state.json's content, which stands in it under "hash".
std::string state_hash(nlohmann::json state) {
  state.erase("hash");
  return hash_text(state.dump());
}

/// A checkpoint whose bytes are not those that were written. Everything else that goes wrong while one is read (the
/// file system's errors, memory, descriptors) may pass, and tells nothing of the checkpoint.
class Damaged : public Error {
public:
  explicit Damaged(const std::string& message) : Error(message, exit_failed) {}
};

template <class... Args>
[[noreturn]] void damaged(fmt::format_string<Args...> format, Args&&... args) {
  throw Damaged(fmt::format(format, std::forward<Args>(args)...));
}

/// Checks that a file of a checkpoint is there, as publishing left it.
void require_there(const fs::path& path) {
  if (!fs::exists(path)) damaged("{}: there is no such file", path.string());
}

nlohmann::json parse_state(const fs::path& path, const std::string& text) {
  try {
    return parse_json(text, path.string());
  } catch (const Error& error) {
    damaged("{}", error.what());
  }
}

/// Reads state.json, and checks that it is whole and ours.
nlohmann::json read_state(const fs::path& directory, std::int64_t step) {
  const auto path = directory / state_name;
  require_there(path);
  const nlohmann::json state = parse_state(path, read_file(path));
  if (!state.is_object()) damaged("{}: is no JSON object", path.string());
  if (state.value("format", "") != format_name) damaged("{}: format is not '{}'", path.string(), format_name);
  if (state.value("hash", "") != state_hash(state))
    damaged("{}: content hash differs: the file is damaged", path.string());
  if (const int version = state.value("format_version", 0); version > format_version) {
    fail("{}: format version {} is newer than this program's {} ({}); use the program that wrote it ({})",
         path.string(), version, format_version, COUPLET_VERSION, state.value("program_version", "unknown"));
  }
  if (state.at("step") != step)
    damaged("{}: is of step {}, the directory of {}", path.string(), state["step"].dump(), step);
  return state;
}

/// What state.json says of a checkpoint, without its files.
Checkpoint checkpoint_of(const nlohmann::json& state) {
  Checkpoint checkpoint;
  checkpoint.step = state.at("step");
  checkpoint.last = state.at("last");
  if (state.contains("best")) checkpoint.best = BestStep{state["best"].at("step"), state["best"].at("figure")};
  return checkpoint;
}

/// Reads a file of tensors. What it holds is looked at only once its bytes are known to be those that were written.
NamedTensors read_checked(const fs::path& path, const std::string& expected) {
  require_there(path);
  std::vector<std::byte> bytes = FileHandle::open_to_read(path).read_whole();
  ContentHash hash;
  hash.add(bytes);
  if (const std::string found = hash.text(); found != expected)
    damaged("{}: content hash is {}, {} was written: the file is damaged", path.string(), found, expected);
  return tensors_of(Safetensors(path, std::move(bytes)));
}

Checkpoint read_checkpoint(const fs::path& directory, const nlohmann::json& state) {
  Checkpoint checkpoint = checkpoint_of(state);
  for (const auto& [file, expected] : state.at("files").items())
    checkpoint.files[file] = read_checked(directory / file, expected.get<std::string>());
  return checkpoint;
}

/// A checkpoint as rank 0 has found it.
struct Found {
  nlohmann::json state;
  Checkpoint checkpoint;
  std::string damage;  ///< what is wrong with it; ""
};

Found read_found(const fs::path& directory, std::int64_t step) {
  const WorkingAlone alone("reading " + checkpoint_name(step));
  Found found;
  try {
    found.state = read_state(directory, step);
    found.checkpoint = read_checkpoint(directory, found.state);
  } catch (const Damaged& damage) {
    found.damage = damage.what();
  } catch (const nlohmann::json::exception& error) {
    found.damage = fmt::format("{}: is not as it was written ({})", (directory / state_name).string(), error.what());
  }
  return found;
}

/// Out of the way of those that come, but not deleted: people may want it.
void put_aside(const fs::path& directory) {
  const fs::path aside = directory.parent_path() / (aside_prefix + directory.filename().string());
  fs::remove_all(aside);
  fs::rename(directory, aside);
}

/// Tells all ranks what rank 0 has found, but for the tensors. Collective.
void share(Found& found, Communicator& communicator) {
  const nlohmann::json own = {{"damage", utf8_text(found.damage)}, {"state", found.state}};
  const auto told = nlohmann::json::parse(communicator.broadcast_text(communicator.is_root() ? own.dump() : "", 0));
  if (communicator.is_root()) return;
  found.damage = told.at("damage").get<std::string>();
  found.state = told.at("state");
  if (found.damage.empty()) found.checkpoint = checkpoint_of(found.state);
}

}  // namespace

std::string checkpoint_name(std::int64_t step) {
  return fmt::format("{}{:08}", name_prefix, step);
}

std::vector<std::int64_t> checkpoint_steps(const fs::path& directory) {
  std::vector<std::int64_t> steps;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    std::int64_t step = -1;
    if (!name.starts_with(name_prefix)) continue;
    std::from_chars(name.data() + name_prefix.size(), name.data() + name.size(), step);
    if (step >= 0 && name == checkpoint_name(step)) steps.push_back(step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

CheckpointStore::CheckpointStore(fs::path directory, std::int64_t keep, nlohmann::json provenance,
                                 Communicator& communicator)
    : directory_(std::move(directory)), keep_(keep), provenance_(std::move(provenance)), communicator_(communicator) {
  if (keep < 2)
    refuse("pipeline.keep-checkpoints = {}: at least 2 are kept, so that one damaged on disk loses little", keep);
  run_on_all(communicator_, [&] {
    if (!communicator_.is_root()) return;
    fs::create_directories(directory_);
    remove_leftovers(directory_);
  });
}

const NamedTensors& Checkpoint::file(const std::string& name) const {
  const auto found = files.find(name);
  if (found == files.end()) fail("checkpoint {} has no {}", checkpoint_name(step), name);
  return found->second;
}

void CheckpointStore::write(const Checkpoint& checkpoint) const {
  const std::string name = checkpoint_name(checkpoint.step);
  require_free_space(directory_, checkpoint_bytes(checkpoint) + (1 << 20), "checkpoint " + name);
  Pending pending(directory_ / name);
  fs::create_directory(pending.path());
  nlohmann::json state = {
      {"format", format_name},   {"format_version", format_version}, {"program_version", COUPLET_VERSION},
      {"step", checkpoint.step}, {"provenance", provenance_},        {"last", checkpoint.last}};
  if (checkpoint.best) state["best"] = {{"step", checkpoint.best->step}, {"figure", checkpoint.best->figure}};
  for (const auto& [file, tensors] : checkpoint.files) {
    write_tensors(pending.path() / file, tensors);
    state["files"][file] = hash_file(pending.path() / file);
  }
  state["hash"] = state_hash(state);
  publish_file(pending.path() / state_name, state.dump(2) + "\n");
  pending.commit(/*replace=*/true);
  publish_file(directory_ / latest_name, name + "\n");
  if (checkpoint.best) {
    publish_file(directory_ / best_name, checkpoint_name(checkpoint.best->step) + "\n");
  } else {
    fs::remove(directory_ / best_name);  // it named a later step, which training has not come to again
  }
  delete_old(checkpoint);
}

void CheckpointStore::delete_old(const Checkpoint& newest) const {
  std::int64_t kept = 0;
  for (const auto step : checkpoint_steps(directory_)) {
    if (step > newest.step || kept++ < keep_) continue;
    if (newest.best && step == newest.best->step) continue;
    // It is renamed first: a kill while its files are being deleted must not leave half a checkpoint under its name.
    const Pending trash(directory_ / checkpoint_name(step));
    fs::rename(directory_ / checkpoint_name(step), trash.path());
  }
}

void CheckpointStore::require_usable(const nlohmann::json& state) const {
  const fs::path directory = directory_ / checkpoint_name(state.at("step"));
  if (const auto difference =
          json_difference_text(state.at("provenance"), provenance_, "{} is {} in the checkpoint, {} now");
      !difference.empty()) {
    refuse("{}: was made with another configuration or from other inputs: {}. Set it back, or remove {} to train anew",
           directory.string(), difference, directory_.string());
  }
  if (const std::string version = state.at("program_version"); version != COUPLET_VERSION && communicator_.is_root()) {
    warn_line(fmt::format("checkpoint {} was written by version {}, this is {}: training may not go on bit for bit",
                          directory.filename().string(), version, COUPLET_VERSION));
  }
}

std::optional<Checkpoint> CheckpointStore::load_newest() {
  std::string list;
  if (communicator_.is_root()) list = fmt::format("{}", fmt::join(checkpoint_steps(directory_), " "));
  std::istringstream steps(communicator_.broadcast_text(list, 0));
  std::vector<std::string> damaged;
  for (std::int64_t step = 0; steps >> step;) {
    Found found;
    run_on_all(communicator_, [&] {
      if (communicator_.is_root()) found = read_found(directory_ / checkpoint_name(step), step);
    });
    share(found, communicator_);
    if (found.damage.empty()) {
      require_usable(found.state);
      run_on_all(communicator_, [&] {
        for (const std::string& name : damaged)
          if (communicator_.is_root()) put_aside(directory_ / name);
      });
      return std::move(found.checkpoint);
    }
    damaged.push_back(checkpoint_name(step));
    if (communicator_.is_root())
      warn_line(fmt::format("checkpoint {} is not used: {}; trying the one before", damaged.back(), found.damage));
  }
  if (!damaged.empty())
    fail("{}: none of the {} checkpoints is whole; remove the directory to train anew", directory_.string(),
         damaged.size());
  return std::nullopt;
}

void restore_tensors(const NamedTensors& into, const NamedTensors& from, const std::string& source) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : into) {
    const auto found = from.find(name);
    if (found == from.end()) fail("{}: holds no tensor {}", source, name);
    if (found->second.sizes() != tensor.sizes()) {
      fail("{}: {} has {} values in another shape, {} are expected", source, name, found->second.numel(),
           tensor.numel());
    }
    tensor.copy_(found->second);
  }
}

}  // namespace couplet

// Where a run keeps what more than one of its stages, or a command, reads. What a stage keeps for itself has its name
// where it is written.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>

namespace couplet {

/// "student/nf-0" → "student-nf-0": a stage's name in names of files and jobs.
inline std::string flat_name(std::string stage) {
  std::replace(stage.begin(), stage.end(), '/', '-');
  return stage;
}

/// A trained student's folder under student/ and evaluate/, and its name for commands: "nf-0".
inline std::string model_name(const std::string& student, std::int64_t seed) {
  return student + "-" + std::to_string(seed);
}

/// In the directory of a student whose coupling has no table.
inline constexpr const char* drawn_quality_name = "coupling.json";

class RunDirectory {
public:
  explicit RunDirectory(std::filesystem::path root) : root_(std::move(root)) {}
  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path stage(const std::string& name) const { return root_ / name; }
  std::filesystem::path config() const { return root_ / "config.ini"; }
  std::filesystem::path lock() const { return root_ / "lock"; }
  /// The content hashes of the files that the configuration names, by size and time of change.
  std::filesystem::path file_hashes() const { return root_ / "file-hashes.json"; }
  /// What a first pass over image files found in them.
  std::filesystem::path source_files() const { return root_ / "source-files"; }
  std::filesystem::path log() const { return root_ / "log"; }
  std::filesystem::path stage_lock(const std::string& name) const { return stage(name) / "lock"; }
  /// Shared among jobs that make parts of one stage, exclusive for one that makes all of it.
  std::filesystem::path parts_lock(const std::string& name) const { return stage(name) / ".parts-lock"; }
  /// The stage's lines over all attempts: log/student-nf-0.log.
  std::filesystem::path stage_log(const std::string& name) const { return log() / (flat_name(name) + ".log"); }
  /// Where the ranks of every job note what they do, and the failure that ended one is kept.
  std::filesystem::path heartbeats() const { return log() / "ranks"; }
  // What the stages publish:
  std::filesystem::path train_images() const { return root_ / "prepare" / "train"; }
  std::filesystem::path test_images() const { return root_ / "prepare" / "test"; }
  /// The latents of the training images ("train"), or of the held-out ones ("test"), where models see these.
  std::filesystem::path latents(const std::string& split) const { return root_ / "latents" / split; }
  std::filesystem::path classifier() const { return root_ / "features" / "weights.safetensors"; }
  /// The classifier whose features a student's loss compares.
  std::filesystem::path loss_classifier() const { return root_ / "loss-features" / "weights.safetensors"; }
  std::filesystem::path reference_statistics() const { return root_ / "features" / "statistics.safetensors"; }
  /// The codec of the run's own autoencoder: a TorchScript program (docs/latents.md).
  std::filesystem::path autoencoder_codec() const { return root_ / "autoencoder" / "codec.pt"; }
  std::filesystem::path teacher_weights() const { return root_ / "teacher" / "weights.safetensors"; }
  std::filesystem::path teacher_ema() const { return root_ / "teacher" / "ema.safetensors"; }
  /// Of the second flow, on the noise of the table of that name.
  std::filesystem::path gaussianiser_weights(const std::string& table) const {
    return root_ / "gaussianiser" / table / "weights.safetensors";
  }
  std::filesystem::path tables() const { return root_ / "coupling"; }
  /// The table of that name: rows of the training images ("train"), or of the held-out ones ("test").
  std::filesystem::path table(const std::string& name, const std::string& split) const {
    return tables() / name / split;
  }
  /// The network that tells the noise of a table from N(0, I).
  std::filesystem::path noise_classifier(const std::string& table) const {
    return root_ / "noise-classifier" / table / "weights.safetensors";
  }
  std::filesystem::path student(const std::string& name, std::int64_t seed) const {
    return root_ / "student" / model_name(name, seed);
  }
  /// What the coupling of a student's stage is like, by the pairs that it draws.
  std::filesystem::path drawn_quality(const std::string& stage_name) const {
    return stage(stage_name) / drawn_quality_name;
  }
  std::filesystem::path results() const { return root_ / "evaluate" / "results.json"; }
  /// The statistics of the training images by the network of `evaluate.network`; `hash` names both.
  std::filesystem::path network_statistics(const std::string& hash) const {
    return root_ / "evaluate" / ("reference-" + hash.substr(0, 12) + ".safetensors");
  }
  /// The features of training and held-out images, image by image; `hash` names network, images and how many.
  std::filesystem::path network_features(const std::string& hash) const {
    return root_ / "evaluate" / ("features-" + hash.substr(0, 12) + ".safetensors");
  }
  std::filesystem::path pictures() const { return root_ / "evaluate" / "pictures"; }
  std::filesystem::path report() const { return root_ / "report" / "report.html"; }
  std::filesystem::path report_data() const { return root_ / "report" / "report.json"; }

private:
  std::filesystem::path root_;
};

}  // namespace couplet

// What the files share that write the table of options: one file a few sections.
#pragma once

#include "pipeline/config/options.h"

#include <string>
#include <vector>

/// For these files alone.
namespace couplet::option_sections {

inline constexpr auto result = OptionKind::result;
inline constexpr auto execution = OptionKind::execution;
inline constexpr double no_limit = 1e15;                    ///< no meaningful limit for counts
inline constexpr double largest_seed = 9007199254740992.0;  ///< 2^53: exact in every reader's JSON

/// An option that came after runs had been made without it: at its default it enters no fingerprint, so that they
/// stay what they are.
inline Option later(Option option) {
  option.came_later = true;
  return option;
}

/// An option that had another name when runs were made: in their records and fingerprints it keeps that one.
inline Option recorded_as(const char* name, Option option) {
  option.record_name = name;
  return option;
}

/// A text that names a file or a folder.
inline Option path(Option option) {
  option.is_path = true;
  return option;
}

void add_pipeline(std::vector<Option>& table);
void add_storage(std::vector<Option>& table);
void add_prepare(std::vector<Option>& table);
void add_latents(std::vector<Option>& table);
void add_features(std::vector<Option>& table);
void add_autoencoder(std::vector<Option>& table);
void add_teacher(std::vector<Option>& table);
void add_couple(std::vector<Option>& table);
void add_gaussianiser(std::vector<Option>& table);
void add_student(std::vector<Option>& table);
void add_noise_classifier(std::vector<Option>& table);
void add_evaluate(std::vector<Option>& table);

/// The keys that every trained model has, of its section.
void add_training(std::vector<Option>& table, const std::string& section, TrainingConfig& (*training)(Config&),
                  const TrainingConfig& defaults);
void add_preview(std::vector<Option>& table, const std::string& section, PreviewConfig& (*preview)(Config&));

/// The member of the configuration that an option sets.
#define FIELD(name) [](Config& config) -> ConfigField { return &config.name; }

}  // namespace couplet::option_sections

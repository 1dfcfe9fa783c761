// The coupling tables of a run: which its students ask for, who makes them, where they lie.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/run/run_directory.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

struct RunTable {
  std::string name;           ///< "nf": its folder is RUN/coupling/nf
  std::string made_by;        ///< a member of stages/couple/table_makers: "inversion"
  std::string student = {};   ///< whose flow makes it, by the weights of its first seed; "": none's
  std::int64_t round = 0;     ///< how many tables of students' flows stand behind each other up to this one
  bool has_noise = true;      ///< it holds noise and images; false: numbers of noise (method/tables/seeds_table.h)
  std::string base = {};      ///< the table whose noise a map carries to this one's; "": none
  std::string map = {};       ///< that map: a member of method/gaussianisation
  std::string pairs_by = {};  ///< who made the pairs of such a table: `made_by` of the table that no map has filled

  /// Its rows are the data set's own images in their order: a student's samples from its noise have counterparts.
  bool is_of_images() const { return (base.empty() ? made_by : pairs_by) == "inversion"; }
};

/// A student's table holds what the teacher makes of every image: the teacher itself makes an image of its noise. That
/// of mapped noise would be of something else.
bool has_noise_of_teacher(const StudentConfig& student);

/// The table that a student's coupling reads; nothing: it reads the data set. A student that names itself, or one that
/// the run does not have, as the one whose flow makes its table is refused.
std::optional<RunTable> table_of_student(const Config& config, const std::string& student);
/// All of them, each once, in the order of student.compare, behind the tables whose noise is mapped to theirs. Of two
/// that have one name and differ otherwise the name is refused.
std::vector<RunTable> run_tables(const Config& config);
/// The one of that name, which is there.
RunTable find_run_table(const Config& config, const std::string& name);

/// The table that its maps, one behind the other, began with: itself where it has none.
RunTable unmapped_table(const Config& config, const RunTable& table);

/// Where a split of a table lies: in the run, or where couple.NAME.source says. "" for held-out rows that a table from
/// elsewhere does not have, nor one of its mapped noise: some of its rows are held out then.
std::filesystem::path table_directory(const Config& config, const RunDirectory& run, const std::string& table,
                                      const std::string& split);
/// Whether samples are asked for that start from one of several noises, which noise classifiers choose.
bool wants_candidates(const EvaluateConfig& config);
/// Whether a student can be sampled from held-out noise of the table.
bool has_held_out_noise(const Config& config, const RunDirectory& run, const RunTable& table);

}  // namespace couplet

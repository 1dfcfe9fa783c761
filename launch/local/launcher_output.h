// What comes on a launcher's stderr: what its ranks say, and what it says itself.
#pragma once

#include <string>
#include <string_view>

namespace couplet {

/// Parts the two. Open MPI puts its own words between two lines of dashes, or behind its name ("mpirun: ..."), MPICH's
/// Hydra between two of equal signs, or behind its own ("[mpiexec@node] ..."); they tell in them why they started no
/// rank, and also, at length, that a rank ended which has told why itself.
class LauncherOutput {
public:
  /// `launcher` is the program's name.
  explicit LauncherOutput(std::string_view launcher)
      : own_mark_(std::string(launcher) + ": "), rule_(launcher == "mpirun" ? '-' : '=') {}

  /// Takes what came next and returns the whole lines of the ranks in it.
  std::string take(std::string_view bytes);
  /// Returns what stands behind the last line break, once nothing more comes.
  std::string take_rest();

  /// True if a rank of ours has told why it failed ("couplet: rank 1: ...").
  bool rank_has_told() const { return rank_has_told_; }
  /// What the launcher said itself, on one line; "" if nothing.
  const std::string& own_words() const { return own_words_; }

private:
  bool is_of_a_rank(std::string_view line);
  void keep(std::string_view words);

  std::string own_mark_;
  char rule_;  ///< what its lines before and behind its own words are made of
  std::string unfinished_, own_words_;
  bool in_own_words_ = false;  ///< between two rules
  bool rank_has_told_ = false;
};

}  // namespace couplet

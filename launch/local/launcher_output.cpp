#include "launch/local/launcher_output.h"

#include <sstream>
#include <utility>

namespace couplet {

namespace {

constexpr std::size_t shortest_rule = 40;  // Open MPI prints 74 dashes, Hydra 83 equal signs

bool is_rule(std::string_view line, char of) {
  return line.size() >= shortest_rule && line.find_first_not_of(of) == line.npos;
}

/// Lines by which Open MPI tells that it has left out others, or that it does what it was asked to.
bool is_idle(std::string_view line) {
  return line.find("sent help message help-") != line.npos || line.find("orte_base_help_aggregate") != line.npos ||
         line.find(": Forwarding signal ") != line.npos;
}

/// Lines of Hydra's ("[mpiexec@node1] ...") that stand between no rules, and of MPICH in a rank that ends all others.
bool is_of_mpich(std::string_view line) {
  for (const char* start : {"[mpiexec@", "[proxy:", "YOUR APPLICATION TERMINATED WITH",
                            "This typically refers to a problem", "Please see the FAQ page for debugging"})
    if (line.starts_with(start)) return true;
  return line.starts_with("Abort(") && line.find("application called MPI_Abort(") != line.npos;
}

}  // namespace

std::string LauncherOutput::take(std::string_view bytes) {
  std::string of_ranks;
  for (std::size_t end; (end = bytes.find('\n')) != bytes.npos; bytes.remove_prefix(end + 1)) {
    unfinished_ += bytes.substr(0, end);
    const std::string line = std::exchange(unfinished_, "");
    if (is_of_a_rank(line)) of_ranks += line + "\n";
  }
  unfinished_ += bytes;
  return of_ranks;
}

std::string LauncherOutput::take_rest() {
  const std::string line = std::exchange(unfinished_, "");
  return !line.empty() && is_of_a_rank(line) ? line + "\n" : "";
}

bool LauncherOutput::is_of_a_rank(std::string_view line) {
  const bool rule = is_rule(line, rule_);
  if (rule) in_own_words_ = !in_own_words_;
  if (rule || is_idle(line)) return false;
  if (in_own_words_ || line.starts_with(own_mark_) || is_of_mpich(line)) {
    keep(line);
    return false;
  }
  rank_has_told_ = rank_has_told_ || line.starts_with("couplet: ");
  return true;
}

void LauncherOutput::keep(std::string_view words) {
  std::istringstream stream{std::string(words)};
  for (std::string word; stream >> word;) own_words_ += (own_words_.empty() ? "" : " ") + word;
}

}  // namespace couplet

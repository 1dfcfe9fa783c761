// The graph of a run: its stages, what each is made from, and what its result depends on.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace couplet {

/// One node of the graph: a stage instance. "student/nf-0" trains the student nf of seed 0.
struct StageNode {
  std::string name = {};     ///< also its directory under the run: prepare, features, teacher, coupling/nf,
                             ///< gaussianiser/nf, student/nf-0, evaluate/nf-0, report
  std::string kind = {};     ///< prepare, features, autoencoder, teacher, couple, gaussianiser, student, evaluate,
                             ///< report
  std::string student = {};  ///< name of the student that it trains or scores
  std::int64_t seed = 0;
  std::string table = {};  ///< name of the coupling table that it fills
  std::string base = {};   ///< name of the coupling table on whose noise it trains a second flow
  /// Names of the nodes whose results it is made from: it runs after them, and their fingerprints enter its own.
  std::vector<std::string> inputs = {};
  /// Names of nodes that it runs after besides. What their results mean for its own is its own matter: a score records
  /// the fingerprints of what it was made with.
  std::vector<std::string> after = {};
  /// The keys that its result depends on itself: "teacher.channels" → "128". Of a path the hash of what lies there.
  std::map<std::string, std::string> keys = {};
  std::set<std::string> files = {};  ///< those of its keys that hold such a hash
  /// What parts of its result depend on besides, each recording the values it was made with: a part made with others is
  /// made anew, and the rest stays.
  std::map<std::string, std::string> settings = {};
  std::string fingerprint = {};  ///< hash of kind, keys and the inputs' fingerprints

  bool runs_after(const std::string& other) const;
};

/// In an order in which the stages can run.
using StageGraph = std::vector<StageNode>;

/// Sets the fingerprint of every node from its kind, keys and inputs, which stand before it.
void set_fingerprints(StageGraph& graph);

/// The node of that name; none: a null pointer.
const StageNode* look_for_node(const StageGraph& graph, const std::string& name);
const StageNode& find_node(const StageGraph& graph, const std::string& name);

/// The nodes that a name selects: one node, or all of a kind ("student"). An unknown name is refused with the nearest.
std::vector<StageNode> select_nodes(const std::string& name, const StageGraph& graph);
/// The selected nodes and all that are made from them, in the graph's order.
std::vector<StageNode> with_dependants(const std::vector<StageNode>& selected, const StageGraph& graph);

}  // namespace couplet

// State dicts of PyTorch: tensors by name, as torch.save writes them since version 1.6. Such a file is a zip archive of
// a pickle (NAME/data.pkl), which says what there is, and of the bytes of each storage (NAME/data/0, ...).
#pragma once

#include "storage/formats/tensor_view.h"

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace couplet {

/// What a file's first bytes and the members of its archive say that it is, whatever its name: tensors of torch.save,
/// of any version; another zip archive, as a TorchScript program is; or neither.
enum class TorchFile { none, tensors, other_archive };
TorchFile torch_file(const std::filesystem::path& path);

/// Refuses a file that is no state dict, as the constructor of `StateDict` does; its tensors are not read.
void require_state_dict(const std::filesystem::path& path);

/// The tensors of a state dict (a dict or an OrderedDict), by their names. Tensors may share a storage, and lie in it
/// in any order: those that are not row-major are copied. Nothing that the pickle names is run.
///
/// Refused, with what to do instead: files from before PyTorch 1.6 and from big-endian machines, TorchScript programs,
/// anything that is no plain tensor (quantised, sparse, of a class of its own), tensors of types that we do not read,
/// and a dict of dicts, whose keys are listed. Damaged files are errors.
class StateDict {
public:
  explicit StateDict(const std::filesystem::path& path);
  // The views point into storages_ and copies_: moving keeps them, a copy would not.
  StateDict(StateDict&&) noexcept = default;
  StateDict& operator=(StateDict&&) noexcept = default;

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }

private:
  std::map<std::string, std::vector<std::byte>> storages_;  ///< by the keys that the pickle gives them
  std::vector<std::vector<std::byte>> copies_;
  std::map<std::string, TensorView> tensors_;
};

}  // namespace couplet

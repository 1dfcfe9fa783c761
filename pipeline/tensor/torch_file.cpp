#include "pipeline/tensor/torch_file.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <ATen/core/Dict.h>
#include <ATen/core/ivalue.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/pickler.h>

#include <fstream>
#include <ios>
#include <vector>

namespace couplet {

// torch::pickle_save would do, but marks its dict with a TorchScript type, which weights_only refuses.
void publish_torch_file(const std::filesystem::path& path, const NamedTensors& tensors) {
  c10::Dict<std::string, at::Tensor> named;
  for (const auto& [name, tensor] : tensors) named.insert(name, tensor.detach().to(at::kCPU).contiguous());
  std::string program;
  torch::jit::Pickler pickler([&](const char* bytes, std::size_t size) { program.append(bytes, size); }, nullptr,
                              nullptr, nullptr, nullptr, /*tag_aggregates=*/false);
  pickler.protocol();
  pickler.pushIValue(named);
  pickler.stop();

  Pending pending(path);
  std::ofstream file(pending.path(), std::ios::binary);
  caffe2::serialize::PyTorchStreamWriter writer([&](const void* bytes, std::size_t size) {
    file.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size));
    return file ? size : 0;
  });
  writer.writeRecord("data.pkl", program.data(), program.size());
  std::size_t index = 0;
  // The pickle says where in its storage a tensor lies.
  for (const auto& tensor : pickler.tensorData())
    writer.writeRecord("data/" + std::to_string(index++), tensor.storage().data(), tensor.storage().nbytes());
  writer.writeEndOfFile();
  file.close();
  if (!file) fail("{}: cannot be written", pending.path().string());
  pending.commit();
}

}  // namespace couplet

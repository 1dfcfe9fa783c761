#include "pipeline/tensor/torch_script.h"

#include "storage/error.h"

#include <c10/util/Exception.h>
#include <torch/csrc/jit/serialization/import.h>

namespace couplet {

torch::jit::Module load_script(const std::filesystem::path& path, const std::vector<std::string>& methods,
                               c10::Device device) {
  try {
    torch::jit::Module program = torch::jit::load(path.string(), device);
    for (const std::string& method : methods)
      if (!program.find_method(method)) refuse("{}: its TorchScript module has no method {}", path.string(), method);
    program.eval();
    return program;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    refuse("{}: is no TorchScript program that can be read (save one with torch.jit.save): {}", path.string(),
           script_error(error));
  }
}

std::vector<at::Tensor> script_weights(const torch::jit::Module& program) {
  std::vector<at::Tensor> all;
  for (const at::Tensor& weight : program.parameters()) all.push_back(weight);
  for (const at::Tensor& buffer : program.buffers()) all.push_back(buffer);
  return all;
}

std::string script_error(const std::exception& error) {
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
  const std::string text = of_torch ? of_torch->what_without_backtrace() : error.what();
  const std::size_t found = text.rfind("Error: ");
  const std::size_t begin = found == std::string::npos ? 0 : text.rfind('\n', found) + 1;
  return text.substr(begin, text.find('\n', begin) - begin);
}

}  // namespace couplet

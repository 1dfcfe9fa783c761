// dopri5_evaluations DIRECTORY: solves the fields field-N.pt (TorchScript: (x, t [rows]) → dx/dt, with the buffer
// `noise`) from their noise, t = 1 to 0, at the tolerances 1e-3 to 1e-6. Prints a line a field: its number and the
// evaluations that each tolerance took.
#include "method/solvers/dopri5.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

#include <filesystem>
#include <string>

namespace couplet {
namespace {

void solve_field(const std::filesystem::path& directory, int number) {
  torch::jit::Module module = torch::jit::load((directory / fmt::format("field-{}.pt", number)).string());
  module.eval();
  const at::Tensor noise = module.attr("noise").toTensor();
  const VelocityField field = [&](const at::Tensor& x, double t) {
    return module.forward({x, at::full({x.size(0)}, t, x.options())}).toTensor();
  };
  std::string line = std::to_string(number);
  for (const double tolerance : {1e-3, 1e-4, 1e-5, 1e-6})
    line += fmt::format(" {}", solve_adaptively(field, noise, 1, 0, {tolerance, tolerance}).nfe);
  fmt::print("{}\n", line);
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  using namespace couplet;
  if (count != 2) return exit_usage;
  try {
    torch::jit::getProfilingMode() = false;
    at::set_num_threads(1);
    const std::filesystem::path directory = words[1];
    for (int number = 0; std::filesystem::exists(directory / fmt::format("field-{}.pt", number)); ++number)
      solve_field(directory, number);
    return exit_ok;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return exit_failed;
  }
}

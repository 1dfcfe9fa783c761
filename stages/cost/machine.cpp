#include "stages/cost/machine.h"

#include "storage/error.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <sstream>
#include <string_view>

namespace couplet {
namespace {

struct MachineFigure {
  std::string_view name;
  double Machine::*value;
};

constexpr std::array machine_figures{MachineFigure{"bfloat16", &Machine::bfloat16},
                                     MachineFigure{"float32", &Machine::float32},
                                     MachineFigure{"utilisation", &Machine::utilisation},
                                     MachineFigure{"memory-bandwidth", &Machine::memory_bandwidth},
                                     MachineFigure{"kernel", &Machine::kernel},
                                     MachineFigure{"gpus", &Machine::gpus},
                                     MachineFigure{"node-bandwidth", &Machine::node_bandwidth},
                                     MachineFigure{"network-bandwidth", &Machine::network_bandwidth},
                                     MachineFigure{"latency", &Machine::latency},
                                     MachineFigure{"host-latency", &Machine::host_latency},
                                     MachineFigure{"filesystem", &Machine::filesystem},
                                     MachineFigure{"client", &Machine::client},
                                     MachineFigure{"writer", &Machine::writer},
                                     MachineFigure{"opens", &Machine::opens},
                                     MachineFigure{"open-latency", &Machine::open_latency},
                                     MachineFigure{"host-copy", &Machine::host_copy},
                                     MachineFigure{"start", &Machine::start}};

}  // namespace

Machine parse_machine(const std::string& words) {
  Machine machine;
  std::istringstream stream(words);
  for (std::string word; stream >> word;) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals), text = equals == word.npos ? "" : word.substr(equals + 1);
    const MachineFigure* found = nullptr;
    for (const MachineFigure& figure : machine_figures)
      if (figure.name == name) found = &figure;
    if (found == nullptr)
      refuse("--machine '{}': there is no figure '{}'; there are {}", word, name, machine_text(machine));
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) || value <= 0)
      refuse("--machine '{}': {} is a number above 0, such as {}={:g}", word, name, name, machine.*found->value);
    if (found->value == &Machine::utilisation && value > 1)
      refuse("--machine '{}': {} is a share of the peak, at most 1", word, name);
    if (found->value == &Machine::gpus && value != std::floor(value))
      refuse("--machine '{}': {} is a whole number, such as {}={:g}", word, name, name, machine.gpus);
    machine.*found->value = value;
  }
  return machine;
}

std::string machine_text(const Machine& machine) {
  std::string text;
  for (const MachineFigure& figure : machine_figures)
    text += fmt::format("{}{}={:g}", text.empty() ? "" : " ", figure.name, machine.*figure.value);
  return text;
}

}  // namespace couplet

// The metrics of docs/metrics.md: what people call them, in which order they are shown, which way is better.
#pragma once

#include <string>
#include <vector>

namespace couplet {

enum class Better { lower, higher, neither };

struct MetricName {
  std::string metric;  ///< as records have it
  std::string title;   ///< "kernel distance"
  Better better = Better::neither;
};

/// Metrics of samples, scored beside the Fréchet distance in the same setting, in the order in which they are shown.
const std::vector<MetricName>& sample_metrics();
/// Metrics of models along their paths and pairs, scored once a model.
const std::vector<MetricName>& model_metrics();
/// Metrics of restored images (super-resolution), which stand in a table of their own.
const std::vector<MetricName>& restoration_metrics();
/// Metrics of a table's noise, before any student is trained on it.
const std::vector<MetricName>& noise_metrics();
/// One of any kind; a metric unknown here is called by its own name.
MetricName metric_name(const std::string& metric);

}  // namespace couplet

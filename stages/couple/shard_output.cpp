#include "stages/couple/shard_output.h"

#include "pipeline/tensor/row_chunks.h"
#include "pipeline/tensor/tensor_bytes.h"

#include <ATen/core/TensorBody.h>

namespace couplet {

ShardOutput::ShardOutput(const std::filesystem::path& path, const ShardHeader& header,
                         const std::vector<Column>& columns)
    : pending_(path), writer_(pending_.path(), header, columns) {}

ShardOutput::~ShardOutput() {
  if (work_.valid()) work_.wait();
}

void ShardOutput::wait() {
  if (work_.valid()) work_.get();
}

template <class Work>
void ShardOutput::start(Work work) {
  wait();
  work_ = std::async(std::launch::async, [work = std::move(work)] {
    const OneThread one_thread;
    work();
  });
}

void ShardOutput::write(std::int64_t first, std::vector<std::pair<std::size_t, at::Tensor>> rows) {
  start([this, first, rows = std::move(rows)] {
    for (const auto& [column, values] : rows) writer_.write(column, first, bytes_of(values));
  });
}

void ShardOutput::publish(const nlohmann::json& summary) {
  start([this, summary] {
    writer_.finish(summary);
    pending_.commit();
  });
}

}  // namespace couplet

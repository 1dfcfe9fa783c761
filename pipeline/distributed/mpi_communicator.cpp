#include "pipeline/distributed/mpi_communicator.h"

#include "pipeline/distributed/mpi.h"
#include "pipeline/liveness/collective_counts.h"
#include "storage/error.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace couplet {
namespace {

/// A larger tensor goes in several messages: MPI counts in int, and its buffers grow with the message.
constexpr std::int64_t message_bytes = std::int64_t{64} << 20;

/// The tag of messages between two ranks, which arrive in the order in which both ranks start their collectives.
constexpr int part_tag = 1;

MPI_Datatype mpi_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kLong:
      return MPI_INT64_T;
    default:
      fail("MPI has no type for sums of {}", c10::toString(type));
  }
}

/// Calls `send(pointer, count)` for pieces of at most `message_bytes`; `count` is in elements.
template <class Send>
void in_messages(const at::Tensor& tensor, Send send) {
  auto* const bytes = static_cast<std::byte*>(tensor.data_ptr());
  const auto element = static_cast<std::int64_t>(tensor.element_size());
  const std::int64_t most = message_bytes / element;
  for (std::int64_t done = 0; done < tensor.numel(); done += most) {
    send(bytes + done * element, static_cast<int>(std::min(most, tensor.numel() - done)));
  }
}

/// An uninitialised CPU tensor. It is pinned if `like` is on a GPU, so that copies run at full speed.
at::Tensor host_tensor(at::IntArrayRef sizes, const at::Tensor& like) {
  return at::empty(sizes, at::TensorOptions().dtype(like.scalar_type()).pinned_memory(like.is_cuda()));
}

/// The tensor itself if MPI can read and write it where it is, else a contiguous copy in host memory.
at::Tensor reachable(const at::Tensor& tensor) {
  if (tensor.is_cpu() && tensor.is_contiguous()) return tensor;
  at::Tensor copy = host_tensor(tensor.sizes(), tensor);
  copy.copy_(tensor);
  return copy;
}

/// A tensor [size, shape...] in host memory, of which the row `rank` is this tensor and the others are undefined.
at::Tensor own_row(const at::Tensor& tensor, int rank, int size) {
  std::vector<std::int64_t> sizes = tensor.sizes().vec();
  sizes.insert(sizes.begin(), size);
  at::Tensor rows = host_tensor(sizes, tensor);
  rows.select(0, rank).copy_(tensor);
  return rows;
}

/// Brings a tensor from host memory to the device of `like`.
at::Tensor beside(const at::Tensor& like, const at::Tensor& host) {
  return like.is_cuda() ? host.to(like.device(), /*non_blocking=*/true) : host;
}

/// The tensor's parts as a view, [size, numel / size].
at::Tensor parts_of(const at::Tensor& tensor, int size) {
  return tensor.detach().view({size, tensor.numel() / size});
}

}  // namespace

MpiCommunicator::MpiCommunicator() {
  start_mpi();
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank", 0);
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size", rank_);
  MPI_Comm host = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host), "MPI_Comm_split_type",
            rank_);
  const int code = MPI_Comm_rank(host, &local_rank_);
  check_mpi(MPI_Comm_free(&host), "MPI_Comm_free", rank_);
  check_mpi(code, "MPI_Comm_rank", rank_);
}

void MpiCommunicator::all_reduce(at::Tensor& tensor) {
  check_reducible(tensor, false, "all_reduce", rank_);
  const CollectiveCall call = enter_collective("all_reduce", &tensor);
  const Waiting waiting(call);
  agree_on_repeated(call);
  if (size_ == 1 || tensor.numel() == 0) return;
  const at::NoGradGuard no_grad;
  const at::Tensor host = reachable(tensor);
  const MPI_Datatype type = mpi_type(host.scalar_type());
  in_messages(host, [&](void* values, int count) {
    check_mpi(MPI_Allreduce(MPI_IN_PLACE, values, count, type, MPI_SUM, MPI_COMM_WORLD), "all_reduce", rank_);
  });
  if (!host.is_same(tensor)) tensor.copy_(host, /*non_blocking=*/true);
}

std::unique_ptr<PendingCollective> MpiCommunicator::start_all_reduce(at::Tensor tensor) {
  constexpr const char* operation = "start_all_reduce";
  check_reducible(tensor, false, operation, rank_);
  const CollectiveCall call = enter_collective(operation, &tensor);
  const Waiting waiting(call);
  agree_on_repeated(call);
  const at::NoGradGuard no_grad;
  const at::Tensor host = size_ == 1 ? tensor : reachable(tensor);
  const auto finish = [tensor, host] {
    if (!host.is_same(tensor)) tensor.copy_(host, /*non_blocking=*/true);
  };
  auto transfer = std::make_unique<MpiTransfer>(call, std::vector{host}, finish, rank_);
  if (size_ == 1) return transfer;
  const MPI_Datatype type = mpi_type(host.scalar_type());
  in_messages(host, [&](void* values, int count) {
    check_mpi(MPI_Iallreduce(MPI_IN_PLACE, values, count, type, MPI_SUM, MPI_COMM_WORLD, transfer->add_request()),
              operation, rank_);
  });
  return transfer;
}

// Every rank sends the others their parts and adds up, in rank order, what comes for its own: Open MPI 4.1's
// MPI_Ireduce takes seconds for 8 MB between two ranks, its MPI_Ireduce_scatter_block up to twice as long as this.
std::unique_ptr<PendingCollective> MpiCommunicator::start_reduce_scatter(at::Tensor tensor) {
  constexpr const char* operation = "start_reduce_scatter";
  check_reducible(tensor, false, operation, rank_);
  check_parts(tensor, size_, operation, rank_);
  const CollectiveCall call = enter_collective(operation, &tensor);
  const Waiting waiting(call);
  agree_on_repeated(call);
  const at::NoGradGuard no_grad;
  const at::Tensor host = size_ == 1 ? tensor : reachable(tensor);
  const at::Tensor mine = parts_of(host, size_);
  const at::Tensor theirs = host_tensor(mine.sizes(), tensor);  // all ranks' values of this part, [from, numel / size]
  const auto finish = [theirs, result = parts_of(tensor, size_).select(0, rank_)] {
    at::Tensor sum = theirs.select(0, 0);
    for (std::int64_t from = 1; from < theirs.size(0); ++from) sum.add_(theirs.select(0, from));
    result.copy_(sum, /*non_blocking=*/true);
  };
  theirs.select(0, rank_).copy_(mine.select(0, rank_));
  auto transfer = std::make_unique<MpiTransfer>(call, std::vector{host, theirs}, finish, rank_);
  const MPI_Datatype type = mpi_type(host.scalar_type());
  for (int step = 1; step < size_; ++step) {
    const int to = (rank_ + step) % size_, from = (rank_ + size_ - step) % size_;
    in_messages(theirs.select(0, from), [&](void* values, int count) {
      check_mpi(MPI_Irecv(values, count, type, from, part_tag, MPI_COMM_WORLD, transfer->add_request()), operation,
                rank_);
    });
    in_messages(mine.select(0, to), [&](const void* values, int count) {
      check_mpi(MPI_Isend(values, count, type, to, part_tag, MPI_COMM_WORLD, transfer->add_request()), operation,
                rank_);
    });
  }
  return transfer;
}

void MpiCommunicator::all_gather_parts(at::Tensor& tensor) {
  check_parts(tensor, size_, "all_gather_parts", rank_);
  const CollectiveCall call = enter_collective("all_gather_parts", &tensor);
  const Waiting waiting(call);
  agree_on_repeated(call);
  if (size_ == 1 || tensor.numel() == 0) return;
  const at::NoGradGuard no_grad;
  const at::Tensor host = reachable(tensor);
  gather_rows(parts_of(host, size_), "all_gather_parts");
  if (!host.is_same(tensor)) tensor.copy_(host, /*non_blocking=*/true);
}

void MpiCommunicator::broadcast(at::Tensor& tensor, int root) {
  check_dense(tensor, "broadcast", rank_);
  check_root(root, size_, "broadcast", rank_);
  const CollectiveCall call = enter_collective("broadcast", &tensor, root);
  const Waiting waiting(call);
  agree(call);
  if (size_ == 1 || tensor.numel() == 0) return;
  const at::NoGradGuard no_grad;
  const at::Tensor host = reachable(tensor);
  const auto element = static_cast<int>(host.element_size());
  in_messages(host, [&](void* values, int count) {
    check_mpi(MPI_Bcast(values, count * element, MPI_BYTE, root, MPI_COMM_WORLD), "broadcast", rank_);
  });
  if (!host.is_same(tensor)) tensor.copy_(host, /*non_blocking=*/true);
}

at::Tensor MpiCommunicator::all_gather(const at::Tensor& tensor) {
  check_dense(tensor, "all_gather", rank_);
  const CollectiveCall call = enter_collective("all_gather", &tensor);
  const Waiting waiting(call);
  agree(call);
  const at::NoGradGuard no_grad;
  const at::Tensor gathered = own_row(tensor, rank_, size_);
  gather_rows(gathered, "all_gather");
  return beside(tensor, gathered);
}

// Before each call the ranks meet: otherwise those that only send would run ahead of rank 0, which would have to keep
// what comes meanwhile.
at::Tensor MpiCommunicator::gather_at_root(const at::Tensor& tensor) {
  constexpr const char* operation = "gather_at_root";
  check_dense(tensor, operation, rank_);
  const CollectiveCall call = enter_collective(operation, &tensor);
  const Waiting waiting(call);
  agree(call);
  const at::NoGradGuard no_grad;
  if (!is_root()) {
    send_row(reachable(tensor), operation);
    return {};
  }
  const at::Tensor gathered = own_row(tensor, rank_, size_);
  receive_rows(gathered, operation);
  return beside(tensor, gathered);
}

void MpiCommunicator::gather_rows(const at::Tensor& host, const char* operation) {
  if (size_ == 1 || host.numel() == 0) return;
  const auto bytes = static_cast<std::int64_t>(host.nbytes());
  if (bytes <= message_bytes) {
    check_mpi(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, host.data_ptr(), static_cast<int>(bytes / size_),
                            MPI_BYTE, MPI_COMM_WORLD),
              operation, rank_);
    return;
  }
  const auto element = static_cast<int>(host.element_size());
  for (int root = 0; root < size_; ++root) {
    in_messages(host.select(0, root), [&](void* values, int count) {
      check_mpi(MPI_Bcast(values, count * element, MPI_BYTE, root, MPI_COMM_WORLD), operation, rank_);
    });
  }
}

void MpiCommunicator::send_row(const at::Tensor& host, const char* operation) {
  const auto bytes = static_cast<std::int64_t>(host.nbytes());
  if (bytes * size_ <= message_bytes) {
    check_mpi(MPI_Gather(host.data_ptr(), static_cast<int>(bytes), MPI_BYTE, nullptr, 0, MPI_BYTE, 0, MPI_COMM_WORLD),
              operation, rank_);
    return;
  }
  const auto element = static_cast<int>(host.element_size());
  in_messages(host, [&](const void* values, int count) {
    check_mpi(MPI_Send(values, count * element, MPI_BYTE, 0, part_tag, MPI_COMM_WORLD), operation, rank_);
  });
}

void MpiCommunicator::receive_rows(const at::Tensor& host, const char* operation) {
  const auto bytes = static_cast<std::int64_t>(host.nbytes());
  if (bytes <= message_bytes) {
    check_mpi(MPI_Gather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, host.data_ptr(), static_cast<int>(bytes / size_), MPI_BYTE,
                         0, MPI_COMM_WORLD),
              operation, rank_);
    return;
  }
  const auto element = static_cast<int>(host.element_size());
  for (int from = 1; from < size_; ++from) {
    in_messages(host.select(0, from), [&](void* values, int count) {
      check_mpi(MPI_Recv(values, count * element, MPI_BYTE, from, part_tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE),
                operation, rank_);
    });
  }
}

void MpiCommunicator::barrier() {
  const CollectiveCall call = enter_collective("barrier");
  const Waiting waiting(call);
  agree(call);
}

void MpiCommunicator::mix(std::int64_t value) {
  history_ = (history_ ^ static_cast<std::uint64_t>(value)) * 0x9E3779B97F4A7C15;
  history_ ^= history_ >> 32;
}

void MpiCommunicator::mix(const CollectiveCall& call) {
  for (const char* letter = call.operation; *letter; ++letter) mix(static_cast<unsigned char>(*letter));
  mix(call.root);
  if (!call.has_tensor) return;
  mix(static_cast<std::int64_t>(call.type));
  mix(std::ssize(call.sizes));
  for (const std::int64_t length : call.sizes) mix(length);
}

void MpiCommunicator::agree_on_repeated(const CollectiveCall& call) {
  if (size_ == 1) return;
  if (repeats_++ < checked_repeats) return agree(call);
  mix(call);
  ++unchecked_;
}

void MpiCommunicator::agree(const CollectiveCall& call) {
  if (size_ == 1) return;
  mix(call);
  const auto mark = static_cast<std::int64_t>(history_ >> 2);
  std::int64_t extremes[2] = {mark, -mark};
  count_collective("check", sizeof extremes);
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, extremes, 2, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD), call.operation, rank_);
  if (extremes[0] != -extremes[1])
    report_difference(call.text() + (unchecked_ > 0 ? fmt::format(" after {} unchecked calls", unchecked_) : ""));
  unchecked_ = 0;
}

void MpiCommunicator::report_difference(const std::string& call) {
  constexpr std::size_t length = 256;
  std::vector<char> mine(length, '\0');
  std::copy_n(call.begin(), std::min(call.size(), length - 1), mine.begin());
  std::vector<char> all(length * static_cast<std::size_t>(size_));
  constexpr int count = static_cast<int>(length);
  check_mpi(MPI_Allgather(mine.data(), count, MPI_CHAR, all.data(), count, MPI_CHAR, MPI_COMM_WORLD), call.c_str(),
            rank_);
  for (int other = 0; other < size_; ++other) {
    const std::string theirs = all.data() + static_cast<std::size_t>(other) * length;
    if (theirs != call) fail("the ranks' calls differ: rank {}: {}; rank {}: {}", rank_, call, other, theirs);
  }
  fail(
      "the ranks' calls differ: an earlier reduction had another shape or type, or was not made, on another rank; rank "
      "{}: {}",
      rank_, call);
}

std::unique_ptr<Communicator> make_mpi_communicator() {
  return std::make_unique<MpiCommunicator>();
}

}  // namespace couplet

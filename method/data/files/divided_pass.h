// A pass over many things whose results are texts: by this process, or by all ranks, each over a part; and kept, so
// that it is made once.
#pragma once

#include "pipeline/distributed/communicator.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace couplet {

/// What is made of things [first, first + count).
using PassPart = std::function<std::string(std::int64_t first, std::int64_t count)>;

/// Tells, at some cost, whether the things are those of an earlier pass: equal stamps promise equal results.
using PassStamp = std::function<std::string()>;

/// Has the things [0, count) looked at in parts, and returns what was made of the parts in their order, which together
/// are all.
using DividedPass =
    std::function<std::vector<std::string>(const PassStamp& stamp, std::int64_t count, const PassPart& part)>;

/// This process looks at all.
DividedPass undivided_pass();
/// The same, once: later passes of this process with the same stamp have what the first one found.
DividedPass remembered_pass();
/// The same, but results are kept in a file, and found there by their stamp. Where the file is damaged, or the folder
/// cannot be written, the pass is made as `otherwise` makes it.
DividedPass kept_pass(std::filesystem::path file, DividedPass otherwise = undivided_pass());
/// Every rank looks at a part of about the same number, and each has all results. Rank 0 keeps them in the file, which
/// serves kept_pass, too, and asks for the stamp; "": nowhere. All ranks make the pass at the same time.
DividedPass pass_of_ranks(Communicator& communicator, std::filesystem::path file);

}  // namespace couplet

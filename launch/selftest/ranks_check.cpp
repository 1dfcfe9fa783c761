#include "launch/selftest/checks.h"

#include "pipeline/distributed/agreement.h"
#include "storage/error.h"

#include <ATen/Parallel.h>

#include <elf.h>
#include <fmt/ranges.h>
#include <link.h>

#include <cstring>
#include <map>

namespace couplet {
namespace {

/// Of the program itself, which comes first. Returns 1, which ends the walk.
int take_build_id(dl_phdr_info* info, std::size_t, void* into) {
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const auto* at = reinterpret_cast<const char*>(info->dlpi_addr + segment.p_vaddr);
    const char* const end = at + segment.p_memsz;
    const auto padded = [](std::size_t bytes) { return (bytes + 3) / 4 * 4; };
    while (at + sizeof(ElfW(Nhdr)) <= end) {
      ElfW(Nhdr) note;
      std::memcpy(&note, at, sizeof note);
      const char* const content = at + sizeof note + padded(note.n_namesz);
      if (note.n_type == NT_GNU_BUILD_ID) {
        for (std::size_t byte = 0; byte < note.n_descsz; ++byte)
          static_cast<std::string*>(into)->append(fmt::format("{:02x}", static_cast<unsigned char>(content[byte])));
        return 1;
      }
      at = content + padded(note.n_descsz);
    }
  }
  return 1;
}

}  // namespace

std::string build_id() {
  std::string id;
  dl_iterate_phdr(take_build_id, &id);
  return id;
}

Outcome check_ranks(Communicator& communicator, const std::vector<std::string>& hosts) {
  try {
    require_agreement(communicator, "which program they are", {{"version", COUPLET_VERSION}, {"build id", build_id()}});
  } catch (const Error& error) {
    return failed("{}", error.what());
  }
  std::map<std::string, int> ranks_on;
  for (const std::string& host : hosts) ++ranks_on[host];
  std::vector<std::string> texts;
  for (const auto& [host, count] : ranks_on)
    if (texts.size() < 8) texts.push_back(fmt::format("{} on {}", count, host));
  if (texts.size() < ranks_on.size()) texts.push_back(fmt::format("and {} hosts more", ranks_on.size() - texts.size()));
  return passed("{} of one build ({}); {} {} each",
                hosts.size() == 1 ? "1 rank" : fmt::format("{} ranks", hosts.size()), fmt::join(texts, ", "),
                at::get_num_threads(), at::get_num_threads() == 1 ? "thread" : "threads");
}

}  // namespace couplet

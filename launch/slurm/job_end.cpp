#include "launch/slurm/job_end.h"

#include "storage/files/text_tail.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace couplet {

// Not in the unnamed namespace: the JSON library looks for it beside the type. The first also stands for other texts.
NLOHMANN_JSON_SERIALIZE_ENUM(JobEndState, {{JobEndState::failed, "failed"},
                                           {JobEndState::requeued, "requeued"},
                                           {JobEndState::retried, "retried"},
                                           {JobEndState::cancelled, "cancelled"},
                                           {JobEndState::refused, "refused"},
                                           {JobEndState::stopped, "stopped"}})

namespace {

/// Bytes that are no UTF-8 become replacement characters: a script hands on what a launcher printed.
std::string as_utf8(const std::string& text) {
  return nlohmann::json::parse(nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

std::optional<JobEnd> read_job_end(const std::filesystem::path& path) {
  const std::string line = as_utf8(first_line(path));
  if (line.empty()) return std::nullopt;
  const auto json = nlohmann::json::parse(line, nullptr, false);
  JobEnd end;
  try {
    end = {json.at("time"), json.at("stage"), json.at("state").get<JobEndState>(), json.at("reason"),
           json.at("log").get<std::string>()};
  } catch (const nlohmann::json::exception&) {
    end.reason = line;
  }
  std::ranges::replace(end.reason, '\n', ' ');
  return end;
}

}  // namespace couplet

#include "storage/files/file_hashes.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"
#include "storage/text.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace couplet {

namespace {

std::filesystem::path whole_path(const std::filesystem::path& path) {
  return std::filesystem::absolute(path).lexically_normal();
}
std::string key_of(const std::filesystem::path& path) {
  return utf8_text(whole_path(path).string());
}

}  // namespace

FileHashes::FileHashes(std::filesystem::path cache) : cache_(std::move(cache)), known_(read(cache_)) {}

FileHashes::Hashes FileHashes::read(const std::filesystem::path& cache) {
  if (!std::filesystem::exists(cache)) return {};
  try {
    Hashes hashes;
    const auto json = nlohmann::json::parse(read_file(cache));
    for (const auto& [path, entry] : json.at("files").items())
      hashes[path] = {entry.at("size").get<std::uint64_t>(), entry.at("changed").get<std::int64_t>(),
                      entry.at("hash").get<std::string>()};
    return hashes;
  } catch (const std::exception&) {
    return {};  // of files that are there it only saves time
  }
}

std::string FileHashes::of(const std::filesystem::path& file) {
  const std::filesystem::path path = whole_path(file);
  const std::string name = key_of(path);
  const auto found = known_.find(name);
  std::error_code error;
  const auto changed = std::filesystem::last_write_time(path, error);
  if (error) return found == known_.end() ? "" : found->second.hash;
  const std::uint64_t size = std::filesystem::file_size(path);
  const std::int64_t time = changed.time_since_epoch().count();
  if (found != known_.end() && found->second.size == size && found->second.changed == time) return found->second.hash;
  const Known now{size, time, hash_file(path)};
  known_[name] = now;
  learnt_[name] = now;
  return now.hash;
}

std::string FileHashes::of(const std::vector<std::filesystem::path>& files) {
  std::string hashes;
  for (const auto& file : files) {
    const std::string hash = of(file);
    if (hash.empty()) return "";
    hashes += hash + "\n";
  }
  return hash_text(hashes);
}

std::string FileHashes::noted(const std::filesystem::path& path) const {
  const auto found = known_.find(key_of(path));
  return found == known_.end() ? "" : found->second.hash;
}

void FileHashes::note(const std::filesystem::path& path, const std::string& hash) {
  if (noted(path) != hash) known_[key_of(path)] = learnt_[key_of(path)] = {0, 0, hash};
}

void FileHashes::keep() const {
  if (learnt_.empty()) return;
  Hashes all = learnt_;
  all.merge(read(cache_));  // keeps what was learnt here
  nlohmann::json files = nlohmann::json::object();
  for (const auto& [path, known] : all)
    files[path] = {{"size", known.size}, {"changed", known.changed}, {"hash", known.hash}};
  try {
    publish_file(cache_, nlohmann::json{{"files", files}}.dump(1) + "\n");
  } catch (const Error&) {
    return;  // read again next time
  }
}

}  // namespace couplet

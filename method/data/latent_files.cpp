#include "method/data/latent_files.h"

#include "method/data/array_images.h"
#include "method/data/file_splits.h"
#include "method/data/latents.h"
#include "method/registry.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "storage/error.h"
#include "storage/files/hash.h"
#include "storage/formats/npy.h"
#include "storage/json_text.h"
#include "storage/text.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <span>
#include <utility>

namespace couplet {
namespace {

constexpr std::string_view npy_name = ".npy";
constexpr std::size_t most_unfit_told = 1000;
constexpr const char* expected_latent =
    "a latent is an .npy file of floats [2 C, h, w]: the means of its C channels, then their standard deviations "
    "(zeros "
    "where there are none)";

/// The bytes of an .npy file that is held in memory.
class HeldNpyBytes : public NpyBytes {
public:
  HeldNpyBytes(std::string what, std::span<const std::byte> bytes) : NpyBytes(std::move(what)), left_(bytes) {}
  std::uint64_t left() const override { return left_.size(); }
  void read(std::span<std::byte> out) override {
    if (out.size() > left_.size()) fail("{}: is truncated: {} bytes are missing", what(), out.size() - left_.size());
    std::ranges::copy(left_.first(out.size()), out.begin());
    left_ = left_.subspan(out.size());
  }

private:
  std::span<const std::byte> left_;
};

/// The array that a file's bytes are: float16 [1, 2 C, h, w]. Other arrays are errors; values are not looked at.
at::Tensor parsed_latent(const std::string& what, std::span<const std::byte> bytes) {
  const auto array = open_npy(std::make_unique<HeldNpyBytes>(what, bytes));
  const std::vector<std::int64_t>& shape = array->shape();
  if (array->type().kind != 'f' || shape.size() != 3 || shape[0] % 2 != 0 || array->row_bytes() == 0 || shape[0] == 0)
    fail("{}: is {}; {}", what, array->description(), expected_latent);
  at::Tensor values = at::empty(shape, tensor_type(array->type()));
  array->read_next(array->rows(), writable_bytes(values));
  return values.to(at::kHalf).unsqueeze(0);
}

/// What the first pass finds of rows [first, first + count): the hash of each file's bytes, and what is wrong with
/// some.
struct LatentPass {
  std::vector<std::uint64_t> hashes;
  std::map<std::int64_t, std::string> unfit;

  std::string packed() const {
    nlohmann::json head{{"rows", hashes.size()}, {"unfit", nlohmann::json::array()}};
    for (const auto& [row, why] : unfit) head["unfit"].push_back({row, utf8_text(why)});
    std::string text = head.dump() + "\n";
    return text.append(reinterpret_cast<const char*>(hashes.data()), hashes.size() * sizeof(std::uint64_t));
  }
  void append_packed(std::string_view text, const std::string& what) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const nlohmann::json head = parse_json(text.substr(0, end), what);
    const std::string_view records = text.substr(std::min(end + 1, text.size()));
    const auto rows = json_member<std::uint64_t>(head, "rows", what);
    if (records.size() % sizeof(std::uint64_t) != 0 || records.size() / sizeof(std::uint64_t) != rows)
      fail("{}: holds {} bytes about {} latents", what, records.size(), rows);
    const std::size_t before = hashes.size();
    hashes.resize(before + static_cast<std::size_t>(rows));
    if (rows > 0) std::memcpy(hashes.data() + before, records.data(), records.size());
    try {
      for (const auto& one : head.at("unfit"))
        unfit.emplace(one.at(0).get<std::int64_t>(), one.at(1).get<std::string>());
    } catch (const nlohmann::json::exception&) {
      fail("{}: is no result of a pass over latents", what);
    }
  }
};

/// What both splits share. Rows are the .npy files of the set, in its order.
struct LatentFiles {
  std::unique_ptr<FileSet> files;
  std::vector<std::int64_t> rows = {};     ///< the file of each, ascending
  std::vector<std::uint64_t> hashes = {};  ///< of each row's file
  std::vector<std::int64_t> shape = {};    ///< [2 C, h, w]
  std::int64_t example = 0;                ///< the file whose shape it is
  std::vector<std::string> class_names = {};

  std::string what() const { return utf8_text(files->path().string()); }
  std::string shape_text() const { return fmt::format("{}", fmt::join(shape, " x ")); }
  std::uint64_t hash_of(std::int64_t file) const {
    return hashes[static_cast<std::size_t>(std::ranges::lower_bound(rows, file) - rows.begin())];
  }
  void find_shape();
  at::Tensor latent(std::int64_t file) const;
  std::string why_unfit(const std::string& shown, std::span<const std::byte> bytes) const;
  void look_at(std::int64_t row, std::uint64_t& hash, std::string& why) const;
  std::string looked_at(std::int64_t first, std::int64_t count) const;
};

/// That of the first row that is a latent. Refuses a set that has none, by what its first file is.
void LatentFiles::find_shape() {
  std::string why;
  for (const std::int64_t file : rows) {
    try {
      shape = parsed_latent(files->shown(file), files->read(file)).sizes().slice(1).vec();
      example = file;
      return;
    } catch (const Error& error) {
      if (why.empty()) why = error.what();
    }
  }
  refuse("{}", why);
}

/// One row: float16 [1, 2 C, h, w].
at::Tensor LatentFiles::latent(std::int64_t file) const {
  const std::vector<std::byte> bytes = files->read(file);
  if (hash64(bytes) != hash_of(file)) fail("{}: changed while it was in use; begin again", files->shown(file));
  return parsed_latent(files->shown(file), bytes);
}

/// What is wrong with a file; "": nothing.
std::string LatentFiles::why_unfit(const std::string& shown, std::span<const std::byte> bytes) const {
  const at::Tensor latent = parsed_latent(shown, bytes);
  if (latent.sizes().slice(1) != at::IntArrayRef(shape))
    return fmt::format("is of {}, but {} of {}", fmt::join(latent.sizes().slice(1), " x "),
                       shown_name(files->name(example)), shape_text());
  if (const auto unfit = unfit_latent(latent)) return unfit->what;
  return "";
}

void LatentFiles::look_at(std::int64_t row, std::uint64_t& hash, std::string& why) const {
  const std::int64_t file = rows[static_cast<std::size_t>(row)];
  const std::string shown = files->shown(file);
  try {
    const std::vector<std::byte> bytes = files->read(file);
    hash = hash64(bytes);
    why = why_unfit(shown, bytes);
  } catch (const Error& error) {
    const std::string said = error.what(), who = shown + ": ";
    why = said.starts_with(who) ? said.substr(who.size()) : said;
  }
}

/// The part of the first pass that this process makes, on all threads.
std::string LatentFiles::looked_at(std::int64_t first, std::int64_t count) const {
  constexpr std::int64_t rows_of_a_piece = 64;
  LatentPass found{.hashes = std::vector<std::uint64_t>(static_cast<std::size_t>(count)), .unfit = {}};
  std::mutex mutex;
  at::parallel_for(0, count, rows_of_a_piece, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::string why;
      look_at(first + i, found.hashes[static_cast<std::size_t>(i)], why);
      if (why.empty()) continue;
      const std::lock_guard lock(mutex);
      found.unfit.emplace(first + i, std::move(why));
    }
  });
  return found.packed();
}

class FileLatents : public SourceImages {
public:
  /// The latents of these files, and their classes if they have any.
  FileLatents(std::shared_ptr<const LatentFiles> all, const std::string& part, std::vector<std::int64_t> files,
              std::vector<std::int32_t> labels)
      : SourceImages(part.empty() ? all->what() : fmt::format("{} ({})", all->what(), part),
                     {std::ssize(files), all->shape[0], all->shape[1], all->shape[2]}),
        all_(std::move(all)),
        files_(std::move(files)),
        labels_(std::move(labels)) {}

  ElementType type() const override { return ElementType::float16; }
  at::Tensor read(std::int64_t first, std::int64_t count) override {
    return latents_of(count, [&](std::int64_t i) { return file_of(first + i); });
  }
  at::Tensor read_images(const std::vector<std::int64_t>& images) override {
    return latents_of(std::ssize(images), [&](std::int64_t i) { return file_of(images[static_cast<std::size_t>(i)]); });
  }
  std::int64_t label(std::int64_t image) const override {
    return labels_.empty() ? 0 : labels_[static_cast<std::size_t>(image)];
  }
  std::string image_name(std::int64_t image) const override { return all_->files->shown(file_of(image)); }
  /// Of the files' bytes in order, and their classes with their names: the same for a folder and its archive.
  std::string content_hash() const override {
    ContentHash hash;
    const std::string meaning = fmt::format("latents\n{}\n", fmt::join(all_->class_names, "\n"));
    hash.add(std::as_bytes(std::span(meaning)));
    for (std::int64_t i = 0; i < shape().images; ++i) {
      const std::uint64_t of_image[] = {all_->hash_of(file_of(i)), static_cast<std::uint64_t>(label(i))};
      hash.add(std::as_bytes(std::span(of_image)));
    }
    return hash.text();
  }
  std::string file_line(std::int64_t image) const override {
    return fmt::format("{}\t{}\t{}\tNPY\t", shown_name(all_->files->name(file_of(image))), shape().width,
                       shape().height);
  }

private:
  std::int64_t file_of(std::int64_t image) const { return files_[static_cast<std::size_t>(image)]; }

  template <class FileOf>
  at::Tensor latents_of(std::int64_t count, FileOf file_at) const {
    at::Tensor rows = at::empty({count, shape().channels, shape().height, shape().width}, at::kHalf);
    at::parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) rows.narrow(0, i, 1).copy_(all_->latent(file_at(i)));
    });
    return rows;
  }

  std::shared_ptr<const LatentFiles> all_;
  std::vector<std::int64_t> files_;
  std::vector<std::int32_t> labels_;
};

/// The pass over all rows.
LatentPass pass_over(const LatentFiles& all, const DividedPass& pass) {
  const auto rows = std::ssize(all.rows);
  const auto stamp = [&] {
    return hash_text(fmt::format("latents\n{}\n{}\n{}", all.files->stamp(), rows, COUPLET_VERSION));
  };
  LatentPass whole;
  for (const std::string& part :
       pass(stamp, rows, [&](std::int64_t first, std::int64_t count) { return all.looked_at(first, count); }))
    whole.append_packed(part, "the pass over " + all.what());
  if (std::ssize(whole.hashes) != rows)
    fail("{}: the pass over its latents looked at {} of {}", all.what(), whole.hashes.size(), rows);
  return whole;
}

std::string unfit_text(const LatentFiles& all, const LatentPass& found) {
  std::string text;
  std::size_t told = 0;
  for (const auto& [row, why] : found.unfit) {
    if (told == most_unfit_told) return text + fmt::format("\n  and {} more", found.unfit.size() - told);
    text += fmt::format("{}  {}: {}", told++ == 0 ? "" : "\n",
                        shown_name(all.files->name(all.rows[static_cast<std::size_t>(row)])), why);
  }
  return text;
}

/// The files that are used.
std::vector<std::int64_t> sound_latents(const LatentFiles& all, const LatentPass& found, bool skip_broken) {
  std::vector<std::int64_t> sound;
  for (std::int64_t row = 0; row < std::ssize(all.rows); ++row)
    if (!found.unfit.contains(row)) sound.push_back(all.rows[static_cast<std::size_t>(row)]);
  if (!found.unfit.empty() && (!skip_broken || sound.empty()))
    refuse("{}: {} of {} files are no latents that can be used; {}{}:\n{}", all.what(), found.unfit.size(),
           all.rows.size(), expected_latent,
           sound.empty() ? "" : ". Mend or remove them, or leave them out (prepare.skip-broken)",
           unfit_text(all, found));
  return sound;
}

}  // namespace

ImageSource open_latent_files(const SourceOptions& options) {
  find_kind(label_rules(), options.files.labels, "rule of labels");
  const auto all = std::make_shared<LatentFiles>(LatentFiles{.files = open_file_set(options.folder)});
  for (std::int64_t file = 0; file < all->files->count(); ++file)
    if (all->files->name(file).ends_with(npy_name)) all->rows.push_back(file);
  if (all->rows.empty())
    refuse("{}: holds no latents among its {} files; {}", all->what(), all->files->count(), expected_latent);
  all->find_shape();
  LatentPass found = pass_over(*all, options.files.pass);
  all->hashes = std::move(found.hashes);
  const std::vector<std::int64_t> sound = sound_latents(*all, found, options.files.skip_broken);
  FileSplits splits = find_file_splits(*all->files, sound, options.files.folders);
  FileLabels labels = read_labels(*all->files, splits.splits, options.files.labels);
  all->class_names = labels.class_names;

  ImageSource source;
  source.notes = {fmt::format("{}: {} latents of {} x {} x {}, means and standard deviations", all->what(),
                              splits.files().size(), all->shape[0] / 2, all->shape[1], all->shape[2]),
                  labels.text()};
  if (!found.unfit.empty())
    source.notes.push_back(fmt::format("{} latents are left out:\n{}", found.unfit.size(), unfit_text(*all, found)));
  source.provenance = {{"labels", labels.rule}, {"broken", found.unfit.size()}};
  set_splits(source, *all->files, std::move(splits), std::move(labels), options.held_out,
             [&](const std::string& part, std::vector<std::int64_t> files, std::vector<std::int32_t> classes) {
               return std::make_unique<FileLatents>(all, part, std::move(files), std::move(classes));
             });
  return source;
}

}  // namespace couplet

// What the shards of a data set hold, what models see of it, and pixels: the ways between the three. Nobody but codecs
// knows how they differ. A new kind is one file in method/data/codecs and one line in its members.list.
#pragma once

#include "storage/formats/element_type.h"
#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace couplet {

/// The codec of one data set. Rows have the shape [C, H, W] as they are stored and as they are seen. May be used by
/// several threads at once.
class Codec {
public:
  virtual ~Codec() = default;
  Codec(const Codec&) = delete;
  Codec& operator=(const Codec&) = delete;

  /// The name by which a data set's provenance knows it.
  const std::string& name() const { return name_; }
  /// The type of the column `image` of data sets and coupling tables.
  ElementType stored_type() const { return stored_type_; }

  /// What models are trained on, float32 [..., C, H, W], of stored rows [..., C, H, W], on their device. What it
  /// returns is the caller's own.
  virtual at::Tensor encode(const at::Tensor& stored) const = 0;
  /// The same where what is seen of a row is drawn: by the draw of this number, which is `encode`'s for 0. Else
  /// `encode`.
  virtual at::Tensor drawn(const at::Tensor& stored, std::uint64_t /*number*/) const { return encode(stored); }
  /// Pixels, uint8 [N, ...], of what models make, float [N, C, H, W], on its device. NaN becomes black: count it
  /// before.
  virtual at::Tensor decode(const at::Tensor& seen) const = 0;
  /// Pixels of stored rows.
  virtual at::Tensor pixels(const at::Tensor& stored) const { return decode(encode(stored)); }
  /// The shape [C, H, W] of what models see of stored rows of this shape.
  virtual std::vector<std::int64_t> seen_shape(std::vector<std::int64_t> stored) const { return stored; }
  /// Coupling tables hold images as models saw them, in the stored type: a draw of them is part of the pair.
  virtual bool tables_hold_seen() const { return false; }
  /// The shape [C, H, W] of the pixels of what models see in this shape.
  virtual std::vector<std::int64_t> pixel_shape(std::vector<std::int64_t> row) const { return row; }

  /// How many steps of a stored value are one unit of what models see: densities of what is stored in discrete levels
  /// become bits by it, and `encode` takes values between levels too (as float). 0: stored values are continuous, and
  /// there are no such bits.
  virtual double levels() const = 0;

protected:
  Codec(std::string name, ElementType stored_type) : name_(std::move(name)), stored_type_(stored_type) {}

private:
  std::string name_;
  ElementType stored_type_;
};

/// A kind of codec.
struct CodecKind {
  std::string name, help;
  bool is_of_source = true;  ///< a value of prepare.codec; false: a stage makes its rows, or a source has no others
  /// The codec of a data set of this provenance, which lies in `table`: what a codec keeps in files of its own lies
  /// beside that folder.
  std::shared_ptr<const Codec> (*make)(const nlohmann::json& provenance, const std::filesystem::path& table) = nullptr;
};

/// All kinds: those that members.list names. Member `uint8` is defined by `CodecKind uint8_codec()`.
const std::vector<CodecKind>& codec_kinds();
/// An unknown name is refused with the nearest.
const CodecKind& find_codec(const std::string& name);

/// The codec that the provenance of a data set in this folder names as "codec"; uint8 where it names none.
std::shared_ptr<const Codec> codec_of(const nlohmann::json& provenance, const std::filesystem::path& table);
std::shared_ptr<const Codec> codec_of(const RowTable& table);
/// The codec of 8-bit pixels.
std::shared_ptr<const Codec> pixel_codec();

}  // namespace couplet

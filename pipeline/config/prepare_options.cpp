// The keys of [prepare].
#include "pipeline/config/options_table.h"

namespace couplet::option_sections {

namespace {

void add_held_out(std::vector<Option>& table) {
  table.insert(table.end(), {later({"prepare.held-out", result, FIELD(prepare.held_out), "0.1", "",
                                    "share of each class that is held out, where the source is one split", 1e-9, 1}),
                             later({"prepare.held-out-seed", result, FIELD(prepare.held_out_seed), "0", "",
                                    "seed of the draw of held-out rows", 0, largest_seed})});
}

void add_image_files(std::vector<Option>& table) {
  table.insert(
      table.end(),
      {later({"prepare.labels",
              result,
              FIELD(prepare.labels),
              "auto",
              "",
              "image files: what their classes are taken from",
              0,
              0,
              {"auto"}}),
       later({"prepare.train-folder", result, FIELD(prepare.train_folder), "", "",
              "image files: the folder, inside prepare.source, of the training images; empty: train, if it is there; "
              "none: all images are one split"}),
       later({"prepare.test-folder", result, FIELD(prepare.test_folder), "", "",
              "image files: the folder of the held-out images; empty: test, val or validation, if it is there"}),
       later({"prepare.channels", result, FIELD(prepare.channels), "0", "",
              "image files: channels that all of them must have, 1 or 3; 0: grey if all are, else RGB", 0, 3}),
       later({"prepare.size", result, FIELD(prepare.size), "0", "pixels",
              "image files: of a side that prepare.crop gives them; 0: the size that they have", 0, 8192}),
       later({"prepare.crop",
              result,
              FIELD(prepare.crop),
              "adm",
              "",
              "image files: how they become square",
              0,
              0,
              {"adm"}}),
       later({"prepare.filter",
              result,
              FIELD(prepare.filter),
              "box",
              "",
              "image files: the resampling of the crop squeeze",
              0,
              0,
              {"box"}}),
       later({"prepare.skip-broken", result, FIELD(prepare.skip_broken), "false", "",
              "image files: leave broken ones out, which are counted, instead of refusing them"})});
}

void add_arrays(std::vector<Option>& table) {
  const auto name = [](const char* key, ConfigField (*field)(Config&), const char* what) {
    return later({key, result, field, "", "", std::string("arrays: the one of ") + what + "; empty: by usual names"});
  };
  table.insert(
      table.end(),
      {name("prepare.array-train-images", FIELD(prepare.array_train_images), "training images"),
       name("prepare.array-train-labels", FIELD(prepare.array_train_labels), "training labels; none: without"),
       name("prepare.array-test-images", FIELD(prepare.array_test_images), "held-out images"),
       name("prepare.array-test-labels", FIELD(prepare.array_test_labels), "held-out labels; none: without"),
       later({"prepare.array-layout",
              result,
              FIELD(prepare.array_layout),
              "auto",
              "",
              "arrays: the order of an image's axes",
              0,
              0,
              {"auto", "NHW", "NHWC", "NCHW"}}),
       later({"prepare.array-range",
              result,
              FIELD(prepare.array_range),
              "bytes",
              "",
              "arrays: their values, 0 to 255, [0, 1] (unit) or [-1, 1] (signed-unit)",
              0,
              0,
              {"bytes", "unit", "signed-unit"}}),
       later({"prepare.label-order",
              result,
              FIELD(prepare.label_order),
              "devkit",
              "",
              "ImageNet's batches: the order of the classes: as in the files, or that of the folders' names (wnid)",
              0,
              0,
              {"devkit", "wnid"}})});
}

}  // namespace

void add_prepare(std::vector<Option>& table) {
  table.insert(
      table.end(),
      {{"prepare.format",
        result,
        FIELD(prepare.format),
        "idx",
        "",
        "where images come from: the format of prepare.source, auto: found out by looking at it; or points that are "
        "drawn",
        0,
        0,
        {"idx"}},
       {"prepare.codec",
        result,
        FIELD(prepare.codec),
        "uint8",
        "",
        "what shards hold of an image, and models see of it",
        0,
        0,
        {"uint8"}},
       later({"prepare.toy",
              result,
              FIELD(prepare.toy),
              "8gaussians",
              "",
              "the distribution over the plane that the format toy draws points of",
              0,
              0,
              {"8gaussians"}}),
       {"prepare.name", result, FIELD(prepare.name), "", "",
        "name of the data set, as it stands in reports; empty: that of the source's folder, or prepare.toy"},
       path({"prepare.source", result, FIELD(prepare.source), "/usr/share/datasets/fashion-mnist", "",
             "directory of the source files, or the file that holds the data set"}),
       {"prepare.train-images", execution, FIELD(prepare.train_images), "train-images-idx3-ubyte.gz", "",
        "file of the training images, gzipped or not"},
       {"prepare.train-labels", execution, FIELD(prepare.train_labels), "train-labels-idx1-ubyte.gz", "",
        "file of the training labels; empty: the images have none"},
       {"prepare.test-images", execution, FIELD(prepare.test_images), "t10k-images-idx3-ubyte.gz", "",
        "file of the held-out images"},
       {"prepare.test-labels", execution, FIELD(prepare.test_labels), "t10k-labels-idx1-ubyte.gz", "",
        "file of the held-out labels; empty: the images have none"},
       {"prepare.train-rows", result, FIELD(prepare.train_rows), "0", "rows",
        "first rows that are used, in the order in which they are stored; 0: all (20000 points of a toy)", 0, no_limit},
       {"prepare.test-rows", result, FIELD(prepare.test_rows), "0", "rows",
        "first held-out rows that are used; 0: all (5000 points of a toy)", 0, no_limit},
       {"prepare.shuffle", result, FIELD(prepare.shuffle), "true", "",
        "store rows in an order that is drawn, always the same; false: in the source's, which may be by class"},
       {"prepare.shard-rows", result, FIELD(prepare.shard_rows), "10000", "rows",
        "rows a data-set shard; a multiple of prepare.block-rows", 1, no_limit},
       {"prepare.block-rows", result, FIELD(prepare.block_rows), "250", "rows",
        "rows that one checksum covers, the unit of reading", 1, 1e6},
       {"prepare.window-blocks", result, FIELD(prepare.window_blocks), "16", "blocks",
        "blocks within which rows are shuffled when training reads images", 1, 1e6},
       later({"prepare.condition",
              result,
              FIELD(prepare.condition),
              "none",
              "",
              "what students are given of an image besides its label; low-resolution: super-resolution, for which "
              "prepare.factor and prepare.degradation say how it was lost",
              0,
              0,
              {"none", "low-resolution"}}),
       later({"prepare.factor", result, FIELD(prepare.factor), "4", "",
              "low resolution: sides of an image are that many times those of it; 2, 4 or 8", 2, 8}),
       later({"prepare.degradation",
              result,
              FIELD(prepare.degradation),
              "area",
              "",
              "low resolution: area, means of blocks of pixels, or bicubic, with anti-aliasing; rounded to 8 bits",
              0,
              0,
              {"area", "bicubic"}})});
  add_held_out(table);
  add_image_files(table);
  add_arrays(table);
}

}  // namespace couplet::option_sections

// The keys of [latents].
#include "pipeline/config/options_table.h"

namespace couplet::option_sections {

void add_latents(std::vector<Option>& table) {
  table.insert(
      table.end(),
      {{"latents.codec",
        result,
        FIELD(latents.codec),
        "none",
        "",
        "what makes latents of images, which models then see: none, models see pixels; autoencoder, one that the run "
        "trains ([autoencoder]); script, the TorchScript program latents.file",
        0,
        0,
        {"none", "autoencoder", "script"}},
       path({"latents.file", result, FIELD(latents.file), "", "",
             "TorchScript file with the methods encode and decode (docs/latents.md)"}),
       {"latents.range",
        result,
        FIELD(latents.range),
        "signed",
        "",
        "pixels that the program takes and gives: signed, from -1 to 1; unit, from 0 to 1",
        0,
        0,
        {"signed", "unit"}},
       {"latents.scale", result, FIELD(latents.scale), "0", "",
        "factor of latents as models see them, one number or one a channel; 0: 1 / their deviation over training "
        "images",
        0, 1e6},
       {"latents.shift", result, FIELD(latents.shift), "0", "",
        "what is taken off latents before they are scaled, one number or one a channel", -1e6, 1e6},
       {"latents.draw",
        result,
        FIELD(latents.draw),
        "sample",
        "",
        "what models see of mean and deviation: a sample, or the mean",
        0,
        0,
        {"sample", "mean"}},
       {"latents.flips", result, FIELD(latents.flips), "true", "",
        "encode each training image and its mirror image, as latents cannot be mirrored"}});
}

}  // namespace couplet::option_sections

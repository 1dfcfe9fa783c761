// An autoencoder as a codec file: a TorchScript program, which any program with LibTorch or PyTorch can run.
#pragma once

#include "method/models/autoencoder.h"

#include <filesystem>

namespace couplet {

/// Publishes a program with the two methods of a codec (docs/latents.md), which compute what `model` does:
///   encode(images float32 [B, in_channels, H, W] on [-1, 1]) → [B, 2 · latent_channels, h, w], mean and standard
///   deviation joined along the channels; that of a plain autoencoder is 0
///   decode(latents [B, latent_channels, h, w]) → [B, in_channels, H, W]
/// Its parameters have the names of the model's, with _ for the dot, and ask for no gradients. Equal models give equal
/// bytes.
void publish_codec(const AutoencoderImpl& model, const std::filesystem::path& path);

}  // namespace couplet

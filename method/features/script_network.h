// Feature networks as TorchScript programs.
#pragma once

#include "method/features/feature_network.h"

#include <memory>

namespace couplet {

/// A TorchScript program from uint8 [n, C, H, W] images, and the arguments given, to features. Its `forward` returns
/// * a tensor: the features, [n, dimension] or [n, dimension, 1, 1];
/// * a tuple or a list: its first tensor, the others unused;
/// * a dict: "features" (or DINOv2's "x_norm_clstoken"); "logits" and "spatial" too where they are there.
/// Put into evaluation mode. Grey images are given as RGB where it does not take one channel. Refused with a line that
/// names the file: what is no TorchScript; arguments it does not have; images it does not take; an output of another
/// form; probabilities; features that depend on the other images of the batch.
std::unique_ptr<FeatureNetwork> make_script_network(const NetworkFile& file, c10::Device device);

}  // namespace couplet

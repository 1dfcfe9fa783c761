// TarFlow's inverse: x_{i+1} = z_{i+1} exp(a(x_<=i)) + b(x_<=i), one token after the other (arXiv 2412.06329 §3.2;
// guidance: §3.3). The reference concatenates its cache at every token, which costs a copy of it each time; here it is
// written in place.
#include "method/models/patches.h"
#include "method/models/tarflow.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/tensor/fitting_rows.h"
#include "pipeline/tensor/transformer_ops.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>
#include <vector>

namespace couplet {
namespace {

/// A linear layer in the type that products run in.
struct Product {
  at::Tensor weight, bias;

  Product(const torch::nn::Linear& layer, at::ScalarType type)
      : weight(layer->weight.detach().to(type)), bias(layer->bias.detach().to(type)) {}
  at::Tensor operator()(const at::Tensor& x) const { return linear(x, weight, bias); }
};

struct Normalisation {
  at::Tensor weight, bias;
  double eps;

  explicit Normalisation(const torch::nn::LayerNorm& norm)
      : weight(norm->weight.detach()), bias(norm->bias.detach()), eps(norm->options.eps()) {}
  at::Tensor operator()(const at::Tensor& x, at::ScalarType type) const {
    return at::layer_norm(x, weight.sizes(), weight, bias, eps).to(type);
  }
};

struct Layer {
  Normalisation attention_norm, mlp_norm;
  Product qkv, proj, mlp_in, mlp_out;

  Layer(const TarFlowLayer& layer, at::ScalarType type)
      : attention_norm(layer->attention_norm),
        mlp_norm(layer->mlp_norm),
        qkv(layer->qkv, type),
        proj(layer->proj, type),
        mlp_in(layer->mlp_in, type),
        mlp_out(layer->mlp_out, type) {}
};

/// Keys and values of the tokens so far; every block uses the same memory, as only one runs at a time.
struct Cache {
  std::vector<at::Tensor> keys, values;  ///< one a layer: [rows, heads, T - 1, head size]

  Cache(const TarFlowOptions& o, std::int64_t rows, const at::TensorOptions& options) {
    for (std::int64_t layer = 0; layer < o.most_layers(); ++layer) {
      for (auto* part : {&keys, &values}) {
        part->push_back(at::empty({rows, o.channels / o.head_size, o.tokens() - 1, o.head_size}, options));
      }
    }
  }
};

/// One block of the inverse over a fixed set of rows: the N samples, followed by N more without label if guided.
class Inversion {
public:
  Inversion(TarFlowBlock& block, const TarFlowSampling& sampling, Cache& cache, const at::Tensor& y, bool guided,
            at::ScalarType type)
      : block_(block),
        sampling_(sampling),
        cache_(cache),
        type_(type),
        guided_(guided),
        proj_in_(block->proj_in, type),
        proj_out_(block->proj_out, type),
        labels_(block->label_rows(y)) {
    for (const auto& layer : block->layers) layers_.emplace_back(layer, type);
    if (labels_.defined() && guided_) unlabelled_ = block->label_rows({});
  }

  /// Turns z into x, in place: tokens [T, N, D], place in the image first.
  void run(const at::Tensor& tokens) {
    const auto count = tokens.size(0);
    const auto place = [&](std::int64_t i) { return block_->backwards ? count - 1 - i : i; };
    const auto entering = (block_->pos_embed.detach() + block_->proj_in->bias.detach()).to(type_);
    for (std::int64_t i = 0; i + 1 < count; ++i) {
      note_progress();
      const auto affine = step(tokens.select(0, place(i)), entering.select(0, place(i)), i, count);
      auto next = tokens.select(0, place(i + 1));
      const auto size = next.size(1);
      if (block_->nvp) next.mul_(affine.narrow(1, 0, size).exp());
      next.add_(affine.narrow(1, affine.size(1) - size, size));
    }
  }

private:
  /// (a, b) of token i + 1 given token i, whose predecessors are in the cache: [N, D] or [N, 2D] float.
  at::Tensor step(const at::Tensor& token, const at::Tensor& entering, std::int64_t i, std::int64_t count) {
    auto x = entered(linear(token.to(type_), proj_in_.weight, entering).to(token.scalar_type()));
    for (std::size_t l = 0; l < layers_.size(); ++l) advance(x, l, i);
    const auto affine = block_->bounded(proj_out_(x.to(type_)).to(token.scalar_type()));
    if (!guided_) return affine;
    const auto progress = static_cast<double>(i + 1) / static_cast<double>(count - 1);
    const auto guidance = sampling_.guidance * (sampling_.annealed ? progress : 1.0);
    const auto n = token.size(0);
    return affine.narrow(0, 0, n).mul_(1 + guidance).sub_(affine.narrow(0, n, n), guidance);
  }

  /// The tokens with the labels' embedding; if guided, the same tokens with the unlabelled one follow. [rows, channels]
  at::Tensor entered(const at::Tensor& x) const {
    const auto labelled = labels_.defined() ? x + labels_ : x;
    if (!guided_) return labelled;
    return at::cat({labelled, unlabelled_.defined() ? x + unlabelled_ : x});
  }

  /// Layer l of token i, on the residual stream x [rows, channels] in place.
  void advance(at::Tensor& x, std::size_t l, std::int64_t i) {
    const auto& layer = layers_[l];
    auto &keys = cache_.keys[l], &values = cache_.values[l];
    const auto rows = keys.size(0), heads = keys.size(1), size = keys.size(3);
    const auto parts = layer.qkv(layer.attention_norm(x, type_)).view({rows, 3, heads, size});
    keys.select(2, i).copy_(parts.select(1, 1));
    values.select(2, i).copy_(parts.select(1, 2));
    auto query = parts.select(1, 0);
    // The temperature divides the scores of the unconditional rows, that is, their queries.
    if (guided_ && sampling_.attention_temperature != 1) {
      query.narrow(0, rows / 2, rows / 2).div_(sampling_.attention_temperature);
    }
    const auto mixed =
        at::scaled_dot_product_attention(query.unsqueeze(2), keys.narrow(2, 0, i + 1), values.narrow(2, 0, i + 1));
    x.add_(layer.proj(mixed.reshape({rows, heads * size})));
    auto hidden = layer.mlp_in(layer.mlp_norm(x, type_));
    x.add_(layer.mlp_out(at::gelu_(hidden)));
  }

  TarFlowBlock& block_;
  const TarFlowSampling& sampling_;
  Cache& cache_;
  at::ScalarType type_;
  bool guided_;
  Product proj_in_, proj_out_;
  at::Tensor labels_, unlabelled_;
  std::vector<Layer> layers_;
};

/// The type of matrix products: autocast's, where it is on for this device.
at::ScalarType product_type(const at::Tensor& z) {
  const auto device = z.device().type();
  return at::autocast::is_autocast_enabled(device) ? at::autocast::get_autocast_dtype(device) : z.scalar_type();
}

/// Rows for one thread to sample together: as many as keep the cache of keys and values in the processor's own, and few
/// enough for many threads to share a batch.
std::int64_t rows_at_once(const TarFlowOptions& o, at::ScalarType type) {
  constexpr std::int64_t cache_bytes = 12 << 20, fewest = 16, most = 32;
  const auto element = static_cast<std::int64_t>(at::elementSize(type));
  return std::clamp(cache_bytes / (2 * o.most_layers() * o.channels * (o.tokens() - 1) * element), fewest, most);
}

}  // namespace

at::Tensor TarFlowImpl::reverse(const at::Tensor& z, const at::Tensor& y, const TarFlowSampling& sampling) {
  const at::NoGradGuard no_grad;
  const auto type = product_type(z);
  const c10::impl::ExcludeDispatchKeyGuard types_are_chosen_here(c10::autocast_dispatch_keyset);
  const bool guided = sampling.guidance > 0;
  const auto some = [&](std::int64_t first, std::int64_t rows) {
    const auto labels = y.defined() ? y.narrow(0, first, rows) : y;
    const auto tokens = (z.narrow(0, first, rows) * var_.sqrt()).transpose(0, 1).contiguous();
    Cache cache(options_, guided ? 2 * rows : rows, z.options().dtype(type));
    for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) {
      Inversion(*block, sampling, cache, labels, guided, type).run(tokens);
    }
    return unpatchify(tokens.transpose(0, 1), options_.in_channels, options_.image_size, options_.patch);
  };
  return by_fitting_rows(z.size(0), z.device(), some, rows_at_once(options_, type));
}

}  // namespace couplet

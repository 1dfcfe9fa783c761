#include "method/sampling/sample_stream.h"

#include "pipeline/distributed/agreement.h"
#include "pipeline/process/interruption.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace couplet {
namespace {

/// What ranks tell each other of a slice. `broken_first` counts from the slice's first row.
enum Fact : std::int64_t { evaluations, broken, broken_first, facts };

}  // namespace

SampleStream::SampleStream(std::int64_t samples, std::int64_t slice_rows, std::vector<std::int64_t> image_shape,
                           Maker make, std::shared_ptr<const Codec> codec, Communicator& communicator)
    : samples_(samples),
      slice_rows_(slice_rows),
      image_shape_(std::move(image_shape)),
      make_(std::move(make)),
      codec_(std::move(codec)),
      communicator_(communicator),
      progress_(0, samples) {}

at::Tensor SampleStream::next() {
  if (done()) fail("all {} samples were taken already", samples_);
  if (turn_ == 0) make_round();
  std::vector<std::int64_t> sizes{std::min(slice_rows_, samples_ - tally_.samples)};
  sizes.insert(sizes.end(), image_shape_.begin(), image_shape_.end());
  at::Tensor images = turn_ == communicator_.rank() ? mine_ : at::empty(sizes, at::kByte);
  communicator_.broadcast(images, turn_);
  count(facts_[turn_], sizes[0]);
  turn_ = done() ? 0 : (turn_ + 1) % communicator_.size();
  if (!done() && progress_.due(tally_.samples))
    say("{} of {} samples, {:.1f}/s, {} left", tally_.samples, samples_, progress_.rate(tally_.samples),
        progress_.remaining(tally_.samples));
  return images;
}

/// Every rank makes its slice, where there is one for it.
void SampleStream::make_round() {
  if (agree_to_stop(communicator_))
    fail("stopped on request after {} of {} samples; nothing was written", tally_.samples, samples_);
  const std::int64_t first = tally_.samples + slice_rows_ * communicator_.rank();
  at::Tensor known = at::zeros({facts}, at::kLong);
  if (first < samples_) {
    const Integrated made = make_(first, slice_rows_);
    const at::Tensor images = made.x.narrow(0, 0, std::min(slice_rows_, samples_ - first));
    const at::Tensor unusable = images.flatten(1).isfinite().all(1).logical_not().cpu();
    known[evaluations] = made.nfe;
    known[broken] = unusable.sum();
    known[broken_first] = unusable.to(at::kByte).argmax();
    mine_ = codec_->decode(images).cpu().contiguous();
  }
  facts_ = communicator_.all_gather(known);
}

void SampleStream::count(const at::Tensor& known, std::int64_t rows) {
  const auto nfe = known[evaluations].item<std::int64_t>(), unusable = known[broken].item<std::int64_t>();
  if (unusable > 0 && tally_.nonfinite == 0)
    tally_.first_nonfinite = tally_.samples + known[broken_first].item<std::int64_t>();
  tally_.nonfinite += unusable;
  tally_.evaluations += nfe * rows;
  tally_.nfe_least = tally_.samples == 0 ? nfe : std::min(tally_.nfe_least, nfe);
  tally_.nfe_most = std::max(tally_.nfe_most, nfe);
  tally_.samples += rows;
}

}  // namespace couplet

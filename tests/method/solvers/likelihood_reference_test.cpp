// Likelihoods and evaluations of flow_matching with torchdiffeq (reference/README.md, nll).
#include "method/solvers/likelihood.h"
#include "tests/method/reference.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace couplet::testing {
namespace {

struct Wanted {
  const char* name;
  double tolerance;
  bool exact;
};

TEST(LikelihoodReference, OfASmallField) {
  const ReferenceFile nll("nll");
  // v(x, t) = W2 tanh(W1 [x; t] + b1) + b2
  const VelocityField field = [&](const at::Tensor& x, double t) {
    const at::Tensor inputs = at::cat({x, at::full({x.size(0), 1}, t, x.options())}, 1);
    return (inputs.mm(nll["W1"].t()) + nll["b1"]).tanh().mm(nll["W2"].t()) + nll["b2"];
  };
  for (const Wanted& wanted :
       {Wanted{"exact_1e-5", 1e-5, true}, {"exact_1e-10", 1e-10, true}, {"hutch_1e-10", 1e-10, false}}) {
    const std::string name = wanted.name;
    const at::Tensor probes = wanted.exact ? at::Tensor() : nll["probe"].unsqueeze(0);
    const FlowLikelihood found = flow_likelihood(field, nll["x"], {wanted.tolerance, wanted.tolerance}, probes);
    const std::int64_t theirs = nll[name + ".nfe"].item<std::int64_t>();
    // Where torchdiffeq's last step goes beyond the end and is rejected, ours, which does not, may be accepted.
    EXPECT_LE(std::abs(found.nfe - theirs), std::getenv("COUPLET_REFERENCE") == nullptr ? 0 : 6) << name;
    EXPECT_LE(difference(found.nats, nll[name + ".logp"]), wanted.tolerance > 1e-8 ? 1e-3 : 1e-8) << name;
  }
  const FlowLikelihood fine = flow_likelihood(field, nll["x"], {1e-10, 1e-10});
  EXPECT_GT(difference(fine.nats, nll["hutch_1e-10.logp"]), 1e-4) << "the reference tells the traces apart";
}

}  // namespace
}  // namespace couplet::testing

#include "method/data/resample_filter.h"

#include "method/registry.h"

#include <cmath>
#include <numbers>

namespace couplet {
namespace {

double box_weight(double x) {
  return x > -0.5 && x <= 0.5 ? 1 : 0;
}

double bilinear_weight(double x) {
  return std::abs(x) < 1 ? 1 - std::abs(x) : 0;
}

/// Keys' cubic with a = -1/2.
double bicubic_weight(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

double sinc(double x) {
  if (x == 0) return 1;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double lanczos_weight(double x) {
  return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

}  // namespace

const std::vector<ResampleFilter>& resample_filters() {
  static const std::vector<ResampleFilter> all{
      {"box", "the mean of the pixels that become one", 0.5, box_weight},
      {"bilinear", "a triangle, as wide as two pixels of the coarser grid", 1, bilinear_weight},
      {"bicubic", "Keys' cubic with a = -1/2, four pixels wide", 2, bicubic_weight},
      {"lanczos", "a windowed sinc, six pixels wide", 3, lanczos_weight},
  };
  return all;
}

const ResampleFilter& find_resample_filter(const std::string& name) {
  return find_kind(resample_filters(), name, "filter");
}

}  // namespace couplet

#include "storage/memory.h"

#include <malloc.h>

namespace couplet {

void keep_freed_memory() {
#ifdef __GLIBC__
  constexpr int mib = 1 << 20;
  ::mallopt(M_MMAP_THRESHOLD, 16 * mib);
  ::mallopt(M_TRIM_THRESHOLD, 32 * mib);
#endif
}

}  // namespace couplet

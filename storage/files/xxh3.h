// xxHash's XXH3; where the library offers it, in the variant for the processor it runs on (about four times as fast).
#pragma once

#include <xxhash.h>
#ifdef COUPLET_XXHASH_DISPATCH
#include <xxh_x86dispatch.h>
#endif

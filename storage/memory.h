// Memory of programs that take and give back pieces of some hundred kilobytes all the time, as images are.
#pragma once

namespace couplet {

/// From here on the process keeps some tens of megabytes of what it gives back, for the next piece. Else each is mapped
/// anew, page by page, which takes a third of the time in which an image is decoded.
void keep_freed_memory();

}  // namespace couplet

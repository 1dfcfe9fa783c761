// A file that the HDF5 library crashes on. It trusts much of what a file says of itself: versions 1.8 to 1.14 crash, or
// go on for ever, on files that are damaged or were crafted to do harm.
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

namespace couplet {

/// Runs `work`, which may call the library, in a child process, and throws away what comes of it, errors too. A file
/// that the child crashes on is refused, and one that takes it more than 2 seconds of the processor and 5 for each MB
/// of the file: "FILE: is damaged, or was made to do harm: cannot `doing`, as the HDF5 library crashes (signal 11)". To
/// be called before the same work is done here, while no other thread works with the library.
void rehearse(const std::filesystem::path& file, std::string_view doing, const std::function<void()>& work);

}  // namespace couplet

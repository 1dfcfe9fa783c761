// Models whose shapes alone are wanted.
#pragma once

#include <c10/core/impl/LocalDispatchKeySet.h>

namespace couplet {

/// Tensors that are made while it lives have shapes and no memory. LibTorch has no default device in C++: factories ask
/// for a device by the key BackendSelect, which is left out here.
struct WithoutMemory {
  c10::impl::ForceDispatchKeyGuard before;  // the other two leave a backend's key behind
  c10::impl::ExcludeDispatchKeyGuard no_choice{c10::DispatchKey::BackendSelect};
  c10::impl::IncludeDispatchKeyGuard meta{c10::DispatchKey::Meta};
};

}  // namespace couplet

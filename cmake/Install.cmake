# What `cmake --install` puts where: docs/install.md. Included before the targets, whose RPATH it sets.
#   COUPLET_BUNDLE_TORCH ON   LibTorch's libraries are copied into PREFIX/lib/couplet, and found there relative to the program
#                        OFF  they are used where they are, which must be as lasting and as readable as the program
# The default copies from the cache of scripts/setup, which is a user's, and leaves alone what COUPLET_TORCH names, which is a
# site's.
if(COUPLET_TORCH)
  set(_bundle OFF)
else()
  set(_bundle ON)
endif()
option(COUPLET_BUNDLE_TORCH "Copy LibTorch's libraries into PREFIX/lib/couplet, so that the program needs no other directory" ${_bundle})

# Beside LibTorch: libraries that were found outside of the system's directories (modules, Spack).
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
if(COUPLET_BUNDLE_TORCH)
  # For bin/couplet and lib/libcouplet_cuda.so.
  list(PREPEND CMAKE_INSTALL_RPATH $ORIGIN/../lib/couplet/torch/lib)
else()
  list(PREPEND CMAKE_INSTALL_RPATH ${COUPLET_TORCH_WHEEL}/torch/lib)
endif()

# In the wheel's own layout: its libraries find each other by paths relative to themselves.
function(couplet_install_torch)
  set(cpu libtorch_cpu libc10 libgomp)
  # The last two are opened while LibTorch works. Nothing of CUDA's is copied where the wheel came without (scripts/setup).
  set(cuda libtorch_cuda libc10_cuda libtorch_nvshmem libtorch_cuda_linalg libcaffe2_nvrtc)
  list(TRANSFORM cpu REPLACE "(.+)" "${COUPLET_TORCH_WHEEL}/torch/lib/\\1.so*")
  list(TRANSFORM cuda REPLACE "(.+)" "${COUPLET_TORCH_WHEEL}/torch/lib/\\1.so*")
  # libtorch_cpu is linked to these two, on a machine without a GPU too.
  file(GLOB cpu RELATIVE ${COUPLET_TORCH_WHEEL} ${cpu} ${COUPLET_TORCH_WHEEL}/nvidia/*/lib/libcudart.so* ${COUPLET_TORCH_WHEEL}/nvidia/*/lib/libcupti.so*)
  file(GLOB cuda RELATIVE ${COUPLET_TORCH_WHEEL} ${cuda} ${COUPLET_TORCH_WHEEL}/nvidia/*/lib/*.so*)
  list(REMOVE_ITEM cuda ${cpu})
  if(NOT TARGET torch_cuda OR NOT cuda MATCHES "libnccl")
    set(cuda)
  endif()
  set(component_cuda COMPONENT cuda)
  foreach(part cpu cuda)
    foreach(file IN LISTS ${part})
      cmake_path(GET file PARENT_PATH directory)
      install(PROGRAMS ${COUPLET_TORCH_WHEEL}/${file} DESTINATION lib/couplet/${directory} ${component_${part}})
    endforeach()
  endforeach()
  # Their licences come with them.
  file(GLOB licenses ${COUPLET_TORCH_WHEEL}/torch-*.dist-info/licenses)
  if(licenses)
    install(DIRECTORY ${licenses}/ DESTINATION lib/couplet/licenses)
  endif()
endfunction()
if(COUPLET_BUNDLE_TORCH)
  couplet_install_torch()
endif()

# For Lmod, and for Environment Modules; both find the prefix by where they lie.
foreach(suffix .lua "")
  configure_file(${PROJECT_SOURCE_DIR}/packaging/modulefiles/couplet${suffix}.in ${PROJECT_BINARY_DIR}/modulefiles/${PROJECT_VERSION}${suffix} @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/modulefiles/${PROJECT_VERSION}${suffix} DESTINATION share/couplet/modulefiles/couplet)
endforeach()
install(DIRECTORY configs docs slurm DESTINATION share/couplet USE_SOURCE_PERMISSIONS PATTERN __pycache__ EXCLUDE)
install(PROGRAMS scripts/emoji DESTINATION share/couplet/scripts)
install(FILES README.md LICENSE NOTICE CHANGELOG.md CITATION.cff DESTINATION share/couplet)

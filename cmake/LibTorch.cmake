# LibTorch from the `torch` wheel, or from a Python installation that has it (Spack's py-torch, conda), as imported targets
# of our own: find_package(Torch) would insist on a CUDA toolkit.
#   torch_cpu   what every machine needs
#   torch_cuda  exists where CUDA's and NCCL's headers were found, unless COUPLET_CUDA is OFF; only libcouplet_cuda.so links it
# COUPLET_TORCH_WHEEL is the directory that holds torch/.
set(COUPLET_CUDA AUTO CACHE STRING "Build libcouplet_cuda.so: ON (an error where its headers are missing), OFF, or AUTO (where they are found)")
set_property(CACHE COUPLET_CUDA PROPERTY STRINGS AUTO ON OFF)
set(COUPLET_TORCH "" CACHE PATH "Directory that holds torch/ (site-packages of an installed torch); empty: the cache that scripts/setup fills")
set(COUPLET_TORCH_VERSION 2.11.0)
# Where scripts/setup puts things.
if(DEFINED ENV{COUPLET_CACHE})
  set(COUPLET_CACHE $ENV{COUPLET_CACHE})
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(COUPLET_CACHE $ENV{XDG_CACHE_HOME}/couplet)
else()
  set(COUPLET_CACHE $ENV{HOME}/.cache/couplet)
endif()
if(COUPLET_TORCH)
  set(_wheel ${COUPLET_TORCH})
else()
  set(_wheel ${COUPLET_CACHE}/torch-${COUPLET_TORCH_VERSION})
endif()
foreach(_file torch/lib/libtorch_cpu.so torch/include/torch/headeronly/version.h)
  if(NOT EXISTS ${_wheel}/${_file})
    message(FATAL_ERROR "no LibTorch ${COUPLET_TORCH_VERSION} in ${_wheel}, which has no ${_file}: run scripts/setup, or set "
      "-DCOUPLET_TORCH=<the site-packages that hold torch/>")
  endif()
endforeach()
file(STRINGS ${_wheel}/torch/include/torch/headeronly/version.h _numbers REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX MATCHALL "[0-9]+" _numbers "${_numbers}")
list(JOIN _numbers . COUPLET_TORCH_FOUND)
if(COUPLET_TORCH_FOUND VERSION_LESS COUPLET_TORCH_VERSION)
  message(FATAL_ERROR "LibTorch ${COUPLET_TORCH_FOUND} in ${_wheel}: ${COUPLET_TORCH_VERSION} or newer is needed "
    "(scripts/setup installs it, or set -DCOUPLET_TORCH)")
elseif(NOT COUPLET_TORCH_FOUND VERSION_EQUAL COUPLET_TORCH_VERSION)
  message(WARNING "LibTorch ${COUPLET_TORCH_FOUND} in ${_wheel}: this program is tried with ${COUPLET_TORCH_VERSION}")
endif()
set(COUPLET_TORCH_WHEEL ${_wheel})
message(STATUS "LibTorch ${COUPLET_TORCH_FOUND}: ${_wheel}")

# The wheel brings the OpenMP library that libtorch_cpu uses; elsewhere both use the compiler's. Two of them in one program
# would have two pools of threads.
if(EXISTS ${_wheel}/torch/lib/libgomp.so.1)
  set(_openmp -l:libgomp.so.1)
else()
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  set(_openmp ${OpenMP_CXX_LIBRARIES})
  message(STATUS "OpenMP ${OpenMP_CXX_VERSION}: ${_openmp}")
endif()

add_library(torch_cpu INTERFACE)
# After the system's directories: the wheel also brings headers of fmt and others, in versions whose libraries it does not bring.
target_compile_options(torch_cpu INTERFACE
  "SHELL:-idirafter ${_wheel}/torch/include" "SHELL:-idirafter ${_wheel}/torch/include/torch/csrc/api/include")
# libtorch_cpu's own dependencies are found through its RPATH at run time, not through ours at link time. And a directory
# that CMake knows of would be in the RPATH of an installed program, which finds its own (cmake/Install.cmake).
target_link_options(torch_cpu INTERFACE -Wl,--allow-shlib-undefined -L${_wheel}/torch/lib)
target_link_libraries(torch_cpu INTERFACE -ltorch_cpu -lc10 ${_openmp})
list(APPEND CMAKE_BUILD_RPATH ${_wheel}/torch/lib)

find_path(COUPLET_CUDA_INCLUDE cuda_runtime_api.h
  HINTS ${_wheel}/nvidia/cu13/include /usr/local/cuda/include ENV CUDA_HOME PATH_SUFFIXES include)
find_path(COUPLET_NCCL_INCLUDE nccl.h
  HINTS ${_wheel}/nvidia/nccl/include ${_wheel}/nvidia/cu13/include /usr/local/cuda/include ENV NCCL_HOME PATH_SUFFIXES include)
set(_missing)
foreach(_file ${COUPLET_CUDA_INCLUDE}/cuda_runtime_api.h ${COUPLET_NCCL_INCLUDE}/nccl.h ${_wheel}/torch/lib/libtorch_cuda.so)
  if(NOT EXISTS ${_file})
    list(APPEND _missing ${_file})
  endif()
endforeach()
list(JOIN _missing ", " _missing)
if(COUPLET_CUDA AND NOT COUPLET_CUDA STREQUAL "AUTO" AND _missing)
  message(FATAL_ERROR "COUPLET_CUDA = ${COUPLET_CUDA}, but there is no ${_missing}: run scripts/setup gpu, or set "
    "COUPLET_CUDA_INCLUDE and COUPLET_NCCL_INCLUDE to the directories of cuda_runtime_api.h and nccl.h (docs/gpu.md)")
endif()
if(COUPLET_CUDA AND NOT _missing)
  add_library(torch_cuda INTERFACE)
  target_include_directories(torch_cuda SYSTEM INTERFACE ${COUPLET_CUDA_INCLUDE} ${COUPLET_NCCL_INCLUDE})
  target_link_libraries(torch_cuda INTERFACE torch_cpu -ltorch_cuda -lc10_cuda)
  message(STATUS "CUDA and NCCL headers found: building libcouplet_cuda.so")
elseif(COUPLET_CUDA)
  message(STATUS "CPU only: there is no ${_missing} (docs/gpu.md)")
else()
  message(STATUS "CPU only: COUPLET_CUDA = ${COUPLET_CUDA}")
endif()

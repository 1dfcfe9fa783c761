# Precompiled headers, each with what takes long to parse, and more of it than the one before. A file that does next to
# nothing takes 1, 2, 4 or 8 s with them, for the compiler instantiates again what a header holds; and half a minute more
# without the one that it needs. So each file is given the smallest that holds what it and our headers in it include.
#   text       fmt and JSON
#   tensor     at::Tensor, without its operators
#   operators  ATen/ATen.h
#   modules    torch/nn/module.h
set(COUPLET_HEADERS text tensor operators modules)
set(text)
set(tensor <ATen/core/Tensor.h>)
set(operators <ATen/ATen.h>)
set(modules <torch/nn/module.h> <torch/utils.h>)

file(WRITE ${PROJECT_BINARY_DIR}/headers.cpp "")
foreach(name IN LISTS COUPLET_HEADERS)
  add_library(couplet_headers_${name} OBJECT ${PROJECT_BINARY_DIR}/headers.cpp)
  target_link_libraries(couplet_headers_${name} PRIVATE fmt::fmt nlohmann_json::nlohmann_json)
  if(NOT name STREQUAL text)
    target_link_libraries(couplet_headers_${name} PRIVATE torch_cpu)
  endif()
  target_precompile_headers(couplet_headers_${name} PRIVATE <fmt/format.h> <nlohmann/json.hpp> ${${name}})
endforeach()

# Sets RESULT to the number in COUPLET_HEADERS of the header that FILE needs. When an #include is added later, the file may
# keep a smaller one until CMake runs again: it takes longer then, and compiles.
function(couplet_needed_header FILE RESULT)
  get_property(needed GLOBAL PROPERTY "couplet header of ${FILE}")
  if("${needed}" STREQUAL "")
    set(needed 0)
    file(STRINGS ${FILE} includes REGEX "^#include")
    foreach(include IN LISTS includes)
      set(one 0)
      if(include MATCHES "<torch/" AND NOT include MATCHES "<torch/version.h>")
        set(one 3)
      elseif(include MATCHES "<ATen/ATen.h>")
        set(one 2)
      elseif(include MATCHES "<(ATen|c10)/")
        set(one 1)
      elseif(include MATCHES "\"(.*\\.(h|cpp))\"" AND EXISTS ${PROJECT_SOURCE_DIR}/${CMAKE_MATCH_1})
        couplet_needed_header(${PROJECT_SOURCE_DIR}/${CMAKE_MATCH_1} one)
      endif()
      if(one GREATER needed)
        set(needed ${one})
      endif()
    endforeach()
    set_property(GLOBAL PROPERTY "couplet header of ${FILE}" ${needed})
  endif()
  set(${RESULT} ${needed} PARENT_SCOPE)
endfunction()

# couplet_precompile(TARGET): its sources are compiled with the header that each needs, but those that say
# SKIP_PRECOMPILE_HEADERS, as other compiler options need.
function(couplet_precompile TARGET)
  list(TRANSFORM COUPLET_HEADERS PREPEND couplet_headers_ OUTPUT_VARIABLE headers)
  add_dependencies(${TARGET} ${headers})
  get_target_property(sources ${TARGET} SOURCES)
  foreach(source IN LISTS sources)
    cmake_path(ABSOLUTE_PATH source)
    get_source_file_property(skipped ${source} SKIP_PRECOMPILE_HEADERS)
    if(NOT skipped)
      couplet_needed_header(${source} number)
      list(GET COUPLET_HEADERS ${number} name)
      set(header ${PROJECT_BINARY_DIR}/CMakeFiles/couplet_headers_${name}.dir/cmake_pch.hxx)
      set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS -Winvalid-pch -include ${header})
      set_property(SOURCE ${source} APPEND PROPERTY OBJECT_DEPENDS ${header}.gch)
    endif()
  endforeach()
endfunction()

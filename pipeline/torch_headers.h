// Precompiled: what takes long to parse. Files still include what they use.
#pragma once
#include <fmt/format.h>
#include <torch/nn/module.h>
#include <torch/utils.h>

#include <nlohmann/json.hpp>

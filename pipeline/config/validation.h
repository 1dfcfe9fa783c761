// What keys must fulfil together.
#pragma once

#include "pipeline/config/config.h"

#include <cstdint>
#include <functional>
#include <string>

namespace couplet {

/// What keys must fulfil together; refused naming the keys and the nearest valid values.
void validate(const Config& config);
/// What the sizes of a student must fulfil, which only its field knows; `section` is what messages call its keys by.
using StudentCheck = std::function<void(const StudentConfig& student, const std::string& section)>;
/// Makes `validate` ask that, too. Called once, before any configuration is read.
void offer_student_check(StudentCheck check);
/// What a student's keys are called by in messages: its own section where it has one.
std::string section_of_student(const Config& config, const std::string& student);
/// The global batch of a stage that trains must divide by the number of ranks. `kind`: of the stage, "teacher";
/// `student`: the name of the one that it trains.
void validate_ranks(const Config& config, std::int64_t ranks, const std::string& kind, const std::string& student = "");
/// With pipeline.reproducible: refuses a number of slices that is no power of two, and a number of ranks that does not
/// divide it, naming those that do.
void require_slices(const PipelineConfig& pipeline, std::int64_t ranks);
/// Refuses a global batch that the ranks cannot share equally, naming batches and numbers of ranks that go. `section`:
/// "teacher".
void require_divisible(const std::string& section, std::int64_t batch, std::int64_t ranks);
/// With pipeline.reproducible: refuses a global batch that does not divide by the slices. `section`: "teacher".
void require_sliceable(const PipelineConfig& pipeline, const std::string& section, std::int64_t batch);

}  // namespace couplet

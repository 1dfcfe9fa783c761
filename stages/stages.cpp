#include "stages/stages.h"

#include "stages/couple/couple.h"
#include "stages/evaluate/evaluate.h"
#include "stages/features.h"
#include "stages/prepare.h"
#include "stages/report/report.h"
#include "stages/student.h"
#include "stages/teacher.h"
#include "storage/error.h"

namespace couplet {

void run_stage(StageContext& context) {
  const std::string& kind = context.node.kind;
  if (kind == "prepare") return prepare(context);
  if (kind == "features") return features(context);
  if (kind == "teacher") return teacher(context);
  if (kind == "couple") return couple(context);
  if (kind == "student") return student(context);
  if (kind == "evaluate") return evaluate(context);
  if (kind == "report") return report(context);
  fail("there is no stage of kind '{}'", kind);
}

}  // namespace couplet

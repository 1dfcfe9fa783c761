#include "stages/results/field_setting.h"

#include "stages/results/scores.h"
#include "stages/trained/models.h"

#include <fmt/format.h>

namespace couplet {

std::vector<FieldSetting> field_settings(const EvaluateConfig& config, const StudentConfig& student) {
  std::vector<double> rates = config.ema;
  if (rates.empty()) rates.push_back(student.training.ema.front());
  // What starts from no noise has none to scale.
  const bool has_noise = student_objective(student)->path().prior_scale() != 0;
  const std::vector<double> temperatures = has_noise ? config.temperature : std::vector<double>{1};
  std::vector<FieldSetting> all;
  for (const double rate : rates)
    for (const double scale : config.guidance)
      for (const double temperature : temperatures)
        all.push_back(
            {rate, scale == 1 ? Guidance{} : Guidance{scale, config.guidance_from, config.guidance_to}, temperature});
  return all;
}

std::string field_text(const FieldSetting& field, const StudentConfig& student) {
  std::string text;
  if (field.guidance.scale != 1) text += fmt::format(", guidance {}", field.guidance.scale);
  if (field.temperature != 1) text += fmt::format(", temperature {}", field.temperature);
  if (field.ema != student.training.ema.front()) text += ema_text(field.ema);
  return text;
}

std::string sheet_name(const std::string& model, const std::string& noise, const Integration& integration,
                       const FieldSetting& field, const StudentConfig& student, std::int64_t candidates) {
  std::string name = model + "-" + noise + "-" + integration.name();
  if (!integration.adaptive()) {
    const std::string grid = integration.grid.find(' ') == std::string::npos ? integration.grid : "times";
    name += fmt::format("-{}-nfe-{:02d}", grid, integration.nfe());
  }
  if (field.guidance.scale != 1) name += fmt::format("-guidance-{}", field.guidance.scale);
  if (field.temperature != 1) name += fmt::format("-temperature-{}", field.temperature);
  if (field.ema != student.training.ema.front()) name += fmt::format("-ema-{}", field.ema);
  if (candidates > 1) name += fmt::format("-candidates-{}", candidates);
  return name + ".png";
}

}  // namespace couplet

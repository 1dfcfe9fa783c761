// Whole reports of runs that were made up.
#pragma once

#include "tests/stages/report/report_testing.h"

#include "stages/report/sections/page.h"
#include "storage/formats/picture.h"

#include <cmath>
#include <filesystem>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

namespace couplet {

/// A sheet as the evaluate stage draws it: `across` square grey images a row.
inline void draw_grid(const std::filesystem::path& path, std::int64_t across, std::int64_t rows, std::int64_t shade) {
  std::vector<std::uint8_t> images(static_cast<std::size_t>(across * rows * 28 * 28));
  for (std::size_t i = 0; i < images.size(); ++i) {
    const auto x = static_cast<std::int64_t>(i % 28), y = static_cast<std::int64_t>(i / 28 % 28);
    const auto image = static_cast<std::int64_t>(i / 784);
    images[i] =
        static_cast<std::uint8_t>((x - 14) * (x - 14) + (y - 14) * (y - 14) < 60 + 7 * (image % 10) ? 40 + shade : 0);
  }
  write_png(path, picture_grid(images, across * rows, 1, 28, 28, across));
}

/// Other metrics beside every student's score, curvature along time, likelihoods; of two more training seeds and of two
/// sampling seeds of each.
inline nlohmann::json with_other_metrics(const nlohmann::json& results) {
  nlohmann::json all = nlohmann::json::array();
  for (const nlohmann::json& found : results.at("records")) {
    if (found.at("model") != "student") {
      all.push_back(found);
      continue;
    }
    for (const int seed : {0, 1, 2}) {
      for (const int sampling : {0, 1}) {
        const double factor = 1 + 0.03 * (seed - 1) + 0.01 * sampling;
        nlohmann::json again = other(found, {{"seed", seed},
                                             {"sampling_seed", sampling},
                                             {"network_hash", "0123abcd"},
                                             {"resize", "none"},
                                             {"value", found.at("value").get<double>() * factor}});
        if (again.at("metric") == "curvature") {
          for (int i = 0; i < 128; ++i) {
            again["times"].push_back(1 - i / 128.0);
            again["deviation"].push_back(again.at("value").get<double>() * (1 + std::cos(std::numbers::pi * i / 64)) +
                                         0.001);
          }
        }
        all.push_back(again);
        if (again.at("metric") != "frechet_distance") continue;
        all.push_back(other(again, {{"metric", "kernel_distance"}, {"value", 0.01 * factor}, {"subset_sd", 0.002}}));
        all.push_back(other(again, {{"metric", "coverage"}, {"value", 0.8 * factor}}));
        all.push_back(other(again, {{"metric", "novel_metric"}, {"value", 1.5}}));
      }
    }
  }
  const nlohmann::json bits = other(record("nf", 74, 3.25), {{"metric", "bits_per_dim"},
                                                             {"noise", ""},
                                                             {"solver", "dopri5"},
                                                             {"grid", ""},
                                                             {"atol", 1e-5},
                                                             {"rtol", 1e-5},
                                                             {"standard_error", 0.015},
                                                             {"trace", "exact"}});
  all.push_back(bits);
  all.push_back(other(bits, {{"model", "teacher"}, {"coupling", ""}, {"value", 2.5}, {"trace", nullptr}}));
  return {{"records", all}};
}

inline LossCurve falling_loss(const std::string& stage) {
  LossCurve curve;
  curve.stage = stage;
  for (int i = 0; i < 2000; ++i) curve.points.emplace_back(32 * (i + 1), 0.3 + 1.0 / (1 + i) + 0.01 * (i % 3));
  for (int i = 200; i <= 2000; i += 200) curve.test.emplace_back(32 * i, 0.3 + 1.0 / (1 + i));
  return curve;
}

inline CouplingFacts made_table(const std::filesystem::path& picture) {
  CouplingFacts table;
  table.name = "nf";
  table.facts = {{{"kind", "rows"}, {"rows", 60000}, {"shards", 8}, {"one_shard", false}},
                 {{"kind", "sigma_f"}, {"figure", {{"value", 0.996}, {"text", "0.996"}}}}};
  for (int i = -30; i < 30; ++i)
    table.noise.emplace_back(i / 7.5, std::exp(-i * i / 112.5) / std::sqrt(2 * std::numbers::pi));
  table.picture = encode_png(read_png(picture));
  table.pictured_rows = 32;
  return table;
}

/// A table that took its time, and a coupling without one that has no crossing.
inline std::vector<JudgedCoupling> made_couplings() {
  const nlohmann::ordered_json quality{
      {"rows", 4096},
      {"transport_cost", {{"squared", 1234.5}, {"ratio", 0.912}}},
      {"normality",
       {{"variance", 1.01}, {"excess_kurtosis", 0.125}, {"statistic", 0.0123}, {"worst_class_statistic", 0.0456}}},
      {"label", {{"dependence", 0.00789}}},
      {"crossing", {{"share", 0.678}}}};
  JudgedCoupling table{.coupling = "nf", .student = "", .quality = quality};
  table.seconds = 75;
  table.rate = 1600;
  table.teacher_seconds = 3720;
  JudgedCoupling drawn{.coupling = "independent", .student = "plain", .quality = quality};
  drawn.quality["crossing"]["share"] = nullptr;
  drawn.quality["transport_cost"]["ratio"] = 1.003;
  return {table, drawn};
}

/// A finished run with everything that a report can show; its pictures lie in `folder`.
inline RunReport finished_report(const std::filesystem::path& folder, const std::string& name,
                                 const std::vector<double>& nf) {
  std::filesystem::create_directories(folder);
  RunReport run;
  run.name = name;
  run.results = finished_run(nf);
  run.image_height = 28;
  for (const char* stage : {"teacher", "student/independent-0", "student/nf-0"}) {
    run.curves.push_back(falling_loss(stage));
    run.stages.push_back({{"stage", stage},
                          {"state", "complete"},
                          {"seconds", 190},
                          {"ranks", 2},
                          {"attempts", 1},
                          {"rate", {{"value", 2100}, {"unit", "images/s"}}}});
  }
  std::int64_t shade = 40;
  for (const char* coupling : {"independent", "nf"}) {
    for (const std::int64_t nfe : {1, 2, 4, 8}) {
      const std::filesystem::path path = folder / (std::string(coupling) + "-" + std::to_string(nfe) + ".png");
      draw_grid(path, 10, 8, shade += 20);
      run.pictures.push_back({PictureKind::grid, coupling, path, nfe, "Euler", "uniform"});
    }
    const std::filesystem::path path = folder / (std::string(coupling) + "-path.png");
    draw_grid(path, 9, 6, shade);
    run.pictures.push_back({PictureKind::trajectory, coupling, path});
  }
  draw_grid(folder / "teacher.png", 10, 8, 120);
  run.pictures.push_back({PictureKind::teacher, "", folder / "teacher.png"});
  run.tables.push_back(made_table(folder / "teacher.png"));
  run.couplings = made_couplings();
  run.provenance = {{"feature network", scored_network + ", hash 0123abcd, resize: none"}};
  run.config = "[teacher]\nchannels = 128\n";
  run.command = "couplet run --config " + name + ".ini --run-dir runs/" + name + "-again --ranks 2";
  return run;
}

/// A run on 1000 classes of colour images of 64 pixels, whose sheets are ten images wide as any.
inline RunReport run_of_many_classes(const std::filesystem::path& folder) {
  RunReport run = finished_report(folder, "imagenet64", {8.8, 3.8, 3.3, 3.2});
  run.image_height = 64;
  std::vector<std::uint8_t> images(static_cast<std::size_t>(80 * 3 * 64 * 64));
  for (std::size_t i = 0; i < images.size(); ++i) {
    const std::size_t image = i / (3 * 64 * 64), channel = i / (64 * 64) % 3, y = i / 64 % 64, x = i % 64;
    images[i] = static_cast<std::uint8_t>((image * 37 + channel * 85 + 2 * x + y) % 256);
  }
  for (const SamplePicture& picture : run.pictures)
    if (picture.kind != PictureKind::trajectory) write_png(picture.path, picture_grid(images, 80, 3, 64, 64, 10));
  return run;
}

}  // namespace couplet

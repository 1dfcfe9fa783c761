// Writes reports of made-up runs for a browser to show: write_reports DIRECTORY
#include "tests/stages/report/report_pages.h"

#include "storage/files/atomic_file.h"

#include <filesystem>
#include <fstream>

namespace couplet {
namespace {

void write_page(const std::filesystem::path& path, const ReportData& data) {
  std::ofstream(path, std::ios::binary) << report_html(report_page(data));
}

void write_pages(const std::filesystem::path& folder) {
  RunReport finished = finished_report(folder / "pictures", "fashion", {8.8, 3.8, 3.3, 3.2});
  finished.results = with_other_metrics(finished.results);
  write_page(folder / "finished.html", {"fashion", "couplet 0.1.0", {finished}});
  const RunReport better = finished_report(folder / "pictures", "better", {4.4, 1.9, 1.65, 1.6});
  write_page(folder / "several.html", {"fashion, better", "couplet 0.1.0", {finished, better}});
  write_page(folder / "classes.html",
             {"imagenet64", "couplet 0.1.0", {run_of_many_classes(folder / "pictures-of-many-classes")}});
  RunReport unfinished;
  unfinished.name = "fashion";
  unfinished.curves = {falling_loss("teacher")};
  unfinished.stages = {{{"stage", "teacher"}, {"state", "started"}, {"seconds", 3.5}}};
  unfinished.command = finished.command;
  unfinished.config = finished.config;
  write_page(folder / "unfinished.html", {"fashion", "couplet 0.1.0", {unfinished}});
}

}  // namespace
}  // namespace couplet

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::filesystem::create_directories(argv[1]);
  couplet::write_pages(argv[1]);
  return 0;
}

#include "launch/status/status_table.h"

#include "storage/text.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

namespace couplet {

namespace {

constexpr std::size_t indent = 4, gap = 2, narrowest_nodes = 12;

struct TableColumn {
  std::string title;
  bool to_the_right = false;
  std::vector<std::string> cells = {};

  bool empty() const {
    return std::ranges::all_of(cells, [](const auto& cell) { return cell.empty(); });
  }
  std::size_t width() const {
    std::size_t width = title.size();
    for (const auto& cell : cells) width = std::max(width, cell.size());
    return width;
  }
};

std::string cut(const std::string& text, std::size_t width) {
  if (text.size() <= width) return text;
  std::size_t end = std::max<std::size_t>(width, 3) - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;  // within a character of UTF-8
  return text.substr(0, end) + "...";
}

/// Lines of at most `width` characters, broken at spaces where there are some.
std::vector<std::string> wrapped(std::string text, std::size_t width) {
  std::vector<std::string> lines;
  while (text.size() > width) {
    const auto space = text.rfind(' ', width);
    const std::size_t end = space == std::string::npos || space == 0 ? width : space;
    lines.push_back(text.substr(0, end));
    text.erase(0, end);
    text.erase(0, text.find_first_not_of(' '));
  }
  if (!text.empty()) lines.push_back(text);
  return lines;
}

std::string done_text(const StageWork& work) {
  return work.total > 0 ? fmt::format("{}/{} {}", work.done, work.total, work.unit) : "";
}

/// "34/s", "2.1/min", "3.0/h"
std::string rate_text(double rate) {
  if (rate <= 0) return "";
  if (rate >= 0.1) return fmt::format("{:.{}f}/s", rate, rate < 10 ? 1 : 0);
  return rate * 60 >= 0.1 ? fmt::format("{:.1f}/min", rate * 60) : fmt::format("{:.1f}/h", rate * 3600);
}

/// Attempts so far, and which of the new ones were for a time limit or preemption (q) and after a failure (r).
std::string tries_text(const StageOverview& stage) {
  if (stage.attempts == 0) return "";
  const auto requeues = stage.job ? stage.job->requeues : 0, retries = stage.job ? stage.job->retries : 0;
  std::string text = fmt::format("{}", stage.attempts);
  if (requeues > 0) text += fmt::format(" {}q", requeues);
  if (retries > 0) text += fmt::format(" {}r", retries);
  return text;
}

std::vector<TableColumn> columns_of(const RunStatus& run) {
  std::vector<TableColumn> columns{{"stage"},       {"state"},      {"done", true},  {"rate", true}, {"left", true},
                                   {"saved", true}, {"time", true}, {"tries", true}, {"job"},        {"nodes"}};
  for (const StageOverview& stage : run.stages) {
    const StageStatus status = stage.explained.status;
    const bool complete = status == StageStatus::complete;
    const bool works = status == StageStatus::running || status == StageStatus::stuck;
    const double left = stage.work.remaining();
    const std::array<std::string, 10> cells{
        stage.name,
        status_text(status),
        done_text(stage.work),
        works ? rate_text(stage.work.rate) : "",
        works && left >= 0 ? duration_text(left) : "",
        !complete && stage.work.saved_ago >= 0 ? duration_text(stage.work.saved_ago) + " ago" : "",
        stage.attempts > 0 ? duration_text(stage.seconds) : "",
        tries_text(stage),
        stage.job && !complete ? stage.job->name() : "",
        stage.job && !complete ? stage.job->nodes() : ""};
    for (std::size_t i = 0; i < cells.size(); ++i) columns[i].cells.push_back(cells[i]);
  }
  std::erase_if(columns, [](const TableColumn& column) { return column.empty(); });
  return columns;
}

/// The last column gives way.
void fit(std::vector<TableColumn>& columns, std::size_t width) {
  std::size_t before = 0;
  for (const auto& column : columns) before += column.width() + gap;
  before -= columns.back().width() + gap;
  if (columns.back().title != "nodes") return;
  const std::size_t left = std::max(narrowest_nodes, width > before ? width - before : 0);
  for (auto& cell : columns.back().cells) cell = cut(cell, left);
}

std::string line_of(const std::vector<TableColumn>& columns, const auto& cell_of) {
  std::string line;
  for (const auto& column : columns) {
    const std::string cell = cell_of(column);
    const std::string space(column.width() - cell.size(), ' ');
    line += (column.to_the_right ? space + cell : cell + space) + std::string(gap, ' ');
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

std::string message_lines(const ExplainedStatus& explained, std::size_t width) {
  const StageStatus status = explained.status;
  if (explained.message.empty() || status == StageStatus::complete || status == StageStatus::not_started) return "";
  const std::size_t room = std::max<std::size_t>(width, 40) - indent;
  std::vector<std::string> lines{cut(explained.message, room)};
  if (!is_under_way(status) || status == StageStatus::stuck || status == StageStatus::requeued) {
    lines = wrapped(explained.message, room);
    const std::string log = explained.log.string();
    if (!log.empty() && explained.message.find(log) == std::string::npos) lines.push_back("log: " + log);
  }
  std::string text;
  for (const auto& line : lines) text += std::string(indent, ' ') + line + "\n";
  return text;
}

}  // namespace

std::string status_summary(const RunStatus& run) {
  std::string text;
  for (int i = 0; i <= static_cast<int>(StageStatus::not_started); ++i) {
    const auto status = static_cast<StageStatus>(i);
    const auto count =
        std::ranges::count_if(run.stages, [&](const StageOverview& stage) { return stage.explained.status == status; });
    if (status == StageStatus::complete)
      text += fmt::format("{} of {} stages complete", count, run.stages.size());
    else if (count > 0)
      text += fmt::format(", {} {}", count, status_text(status));
  }
  return text;
}

std::string status_table(const RunStatus& run, std::size_t width) {
  std::vector<TableColumn> columns = columns_of(run);
  fit(columns, width);
  std::string text = line_of(columns, [](const TableColumn& column) { return column.title; });
  for (std::size_t i = 0; i < run.stages.size(); ++i) {
    text += line_of(columns, [&](const TableColumn& column) { return column.cells[i]; });
    text += message_lines(run.stages[i].explained, width);
  }
  const bool counted = std::ranges::any_of(
      run.stages, [](const StageOverview& stage) { return stage.job && stage.job->requeues + stage.job->retries > 0; });
  if (counted) text += "tries: q: queued again at a time limit or preemption; r: tried again after a failure\n";
  return text;
}

std::size_t terminal_width(std::size_t otherwise) {
  winsize size{};
  if (::isatty(STDOUT_FILENO) == 0 || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return otherwise;
  return size.ws_col;
}

}  // namespace couplet

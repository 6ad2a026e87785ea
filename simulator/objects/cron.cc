#include "simulator/objects/cron.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <sys/stat.h>
#include <utility>
#include <vector>

#include "base/core/clock.h"

namespace thinsnap::objects {
namespace {

struct Field {
  std::string_view name;
  int least, most;
  std::vector<std::string_view> names;  // of `least`, `least` + 1, ...
};

const std::array<Field, 5>& Fields() {
  static const std::array<Field, 5> fields = {{
      {"minute", 0, 59, {}},
      {"hour", 0, 23, {}},
      {"day of month", 1, 31, {}},
      {"month",
       1,
       12,
       {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
      {"day of week", 0, 6, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
  }};
  return fields;
}

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : text) {
    if (c != ' ' && c != '\t') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, ""));
    }
  }
  if (!word.empty()) words.push_back(word);
  return words;
}

bool ParseValue(const Field& field, std::string text, int& value) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  const auto name = std::find(field.names.begin(), field.names.end(), text);
  if (name != field.names.end()) {
    value = field.least + static_cast<int>(name - field.names.begin());
    return true;
  }
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  return status == std::errc() && end == text.data() + text.size();
}

std::string CheckRange(const Field& field, const std::string& text) {
  const auto slash = text.find('/');
  std::string range = text.substr(0, slash);
  if (slash != std::string::npos) {
    int step = 0;
    const std::string step_text = text.substr(slash + 1);
    const auto [end, status] =
        std::from_chars(step_text.data(), step_text.data() + step_text.size(), step);
    if (status != std::errc() || end != step_text.data() + step_text.size() || step <= 0) {
      return "step of range should be a positive number: " + text;
    }
  }
  if (range == "*" || range == "?") return "";
  const auto dash = range.find('-');
  int first = 0, last = 0;
  if (!ParseValue(field, range.substr(0, dash), first))
    return "failed to parse int from " + range + ": " + text;
  last = first;
  if (dash != std::string::npos && !ParseValue(field, range.substr(dash + 1), last)) {
    return "failed to parse int from " + range.substr(dash + 1) + ": " + text;
  }
  if (first < field.least) {
    return "beginning of range (" + std::to_string(first) + ") below minimum (" +
           std::to_string(field.least) + "): " + text;
  }
  if (last > field.most) {
    return "end of range (" + std::to_string(last) + ") above maximum (" +
           std::to_string(field.most) + "): " + text;
  }
  if (first > last) {
    return "beginning of range (" + std::to_string(first) + ") beyond end of range (" +
           std::to_string(last) + "): " + text;
  }
  return "";
}

}  // namespace

std::string CheckCronSchedule(std::string_view schedule) {
  if (schedule.empty()) return "empty spec string";
  if (schedule.find("TZ=") != std::string_view::npos) {
    return "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
  }
  if (schedule.starts_with('@')) {
    for (const std::string_view known :
         {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}) {
      if (schedule == known) return "";
    }
    constexpr std::string_view kEvery = "@every ";
    if (schedule.starts_with(kEvery)) {
      const auto duration = ParseDuration(schedule.substr(kEvery.size()));
      return duration.ok() ? ""
                           : "failed to parse duration " + std::string(schedule) + ": " +
                                 duration.error().message();
    }
    return "unrecognized descriptor: " + std::string(schedule);
  }
  const auto words = Words(schedule);
  if (words.size() != Fields().size()) {
    std::string list;
    for (const std::string& word : words) list += (list.empty() ? "" : " ") + word;
    return "expected exactly 5 fields, found " + std::to_string(words.size()) + ": [" + list + "]";
  }
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string_view rest = words[i];
    while (!rest.empty()) {
      const auto end = std::min(rest.find(','), rest.size());
      const std::string problem = CheckRange(Fields()[i], std::string(rest.substr(0, end)));
      if (!problem.empty()) return problem;
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  return "";
}

std::string CheckTimeZone(std::string_view zone) {
  const std::string name(zone);
  std::string unknown = "unknown time zone " + name;
  if (name == "UTC") return "";
  if (name.empty() || name == "Local" || name[0] == '/' || name[0] == '\\' ||
      name.find("..") != std::string::npos) {
    return unknown;
  }
  struct stat info{};
  const std::string path = "/usr/share/zoneinfo/" + name;
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return unknown;
  return "";
}

}  // namespace thinsnap::objects

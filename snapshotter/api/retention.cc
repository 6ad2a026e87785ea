#include "snapshotter/api/retention.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "base/data/json.h"

namespace thinsnap::backup {

namespace {

constexpr std::int64_t kMaxPeriodSeconds = std::int64_t{200} * 365 * 86400;

std::optional<std::int64_t> UnitSeconds(std::string_view unit) {
  if (unit == "y") return 365 * 86400;
  if (unit == "mo") return 30 * 86400;
  if (unit == "w") return 7 * 86400;
  if (unit == "d") return 86400;
  if (unit == "h") return 3600;
  if (unit == "m") return 60;
  return std::nullopt;
}

// What makes two times fall into the same hour, day, week, month or year.
using Period = std::int64_t (*)(WallTime);

std::int64_t DayOf(WallTime time) {
  return std::chrono::floor<std::chrono::days>(time).time_since_epoch().count();
}
std::int64_t HourOf(WallTime time) {
  return std::chrono::floor<std::chrono::hours>(time).time_since_epoch().count();
}
// Day 0 was a Thursday; ISO weeks begin on Monday.
std::int64_t WeekOf(WallTime time) {
  const auto shifted = DayOf(time) + 3;
  return shifted >= 0 ? shifted / 7 : (shifted - 6) / 7;
}
std::int64_t YearOf(WallTime time) {
  const std::chrono::year_month_day date(std::chrono::floor<std::chrono::days>(time));
  return static_cast<int>(date.year());
}
std::int64_t MonthOf(WallTime time) {
  const std::chrono::year_month_day date(std::chrono::floor<std::chrono::days>(time));
  return YearOf(time) * 12 + static_cast<unsigned>(date.month());
}

}  // namespace

Result<Duration> ParseRetentionPeriod(std::string_view text) {
  const auto refuse = [&] {
    return Error(Code::kInvalidArgument, "\"" + std::string(text) +
                                             "\" is no period; accepted are numbers with the units "
                                             "y, mo, w, d, h and m, like 30d12h");
  };
  if (text.empty()) return refuse();
  std::int64_t seconds = 0;
  std::size_t i = 0;
  while (i < text.size()) {
    std::int64_t number = 0;
    const auto first_digit = i;
    for (; i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])) != 0; ++i) {
      number = number * 10 + (text[i] - '0');
      if (number > kMaxPeriodSeconds) return refuse();
    }
    const auto first_letter = i;
    while (i < text.size() && std::isalpha(static_cast<unsigned char>(text[i])) != 0) ++i;
    const auto unit = UnitSeconds(text.substr(first_letter, i - first_letter));
    if (first_letter == first_digit || !unit) return refuse();
    if (number > kMaxPeriodSeconds / *unit) return refuse();
    seconds += number * *unit;
    if (seconds > kMaxPeriodSeconds) return refuse();
  }
  if (seconds == 0) return refuse();
  return Duration(std::chrono::seconds(seconds));
}

Result<RetentionRules> ParseRetentionRules(const Json& spec) {
  RetentionRules rules;
  const auto period = StringAt(spec, "maxRetentionPeriod");
  if (!period.empty()) {
    auto parsed = ParseRetentionPeriod(period);
    if (!parsed.ok()) return std::move(parsed).error().In("spec.maxRetentionPeriod");
    rules.max_age = *parsed;
  }
  const std::array<std::pair<const char*, int*>, 6> fields{{{"last", &rules.successful.last},
                                                            {"hourly", &rules.successful.hourly},
                                                            {"daily", &rules.successful.daily},
                                                            {"weekly", &rules.successful.weekly},
                                                            {"monthly", &rules.successful.monthly},
                                                            {"yearly", &rules.successful.yearly}}};
  for (const auto& [name, target] : fields) {
    const auto count = IntAt(spec, std::string("successfulSnapshots.") + name);
    if (count < 0 || count > std::numeric_limits<int>::max()) {
      return Error(Code::kInvalidArgument, std::string("spec.successfulSnapshots.") + name +
                                               ": found " + std::to_string(count) +
                                               ", accepted are numbers from 0 on");
    }
    *target = static_cast<int>(count);
  }
  const auto failed = IntAt(spec, "failedSnapshots.last", 1);
  if (failed < 0 || failed > std::numeric_limits<int>::max()) {
    return Error(Code::kInvalidArgument, "spec.failedSnapshots.last: found " +
                                             std::to_string(failed) +
                                             ", accepted are numbers from 0 on");
  }
  rules.failed_last = static_cast<int>(failed);
  if (period.empty() && !rules.successful.any()) {
    return Error(Code::kInvalidArgument,
                 "spec has neither maxRetentionPeriod nor a number above 0 in successfulSnapshots; "
                 "one is required");
  }
  return rules;
}

std::vector<std::string> PlanRetention(const RetentionRules& rules,
                                       std::vector<RetainedSnapshot> snapshots, WallTime now) {
  std::sort(snapshots.begin(), snapshots.end(), [](const auto& a, const auto& b) {
    return std::tie(b.time, b.name) < std::tie(a.time, a.name);
  });
  std::vector<const RetainedSnapshot*> good;
  std::set<std::string> keep;
  int failed_kept = 0;
  for (const auto& snapshot : snapshots) {
    if (snapshot.succeeded) good.push_back(&snapshot);
    if (!snapshot.succeeded && !snapshot.failed) keep.insert(snapshot.name);
    const bool young = rules.max_age == Duration{0} || now - snapshot.time <= rules.max_age;
    if (snapshot.failed && young && failed_kept < rules.failed_last) {
      keep.insert(snapshot.name);
      ++failed_kept;
    }
  }

  std::set<std::string> named;
  const auto keep_newest_of_each = [&](int count, Period period) {
    std::optional<std::int64_t> previous;
    for (const auto* snapshot : good) {
      if (count == 0) return;
      const auto current = period(snapshot->time);
      if (previous == current) continue;
      previous = current;
      named.insert(snapshot->name);
      --count;
    }
  };
  for (std::size_t i = 0; i < good.size() && i < static_cast<std::size_t>(rules.successful.last);
       ++i) {
    named.insert(good[i]->name);
  }
  keep_newest_of_each(rules.successful.hourly, HourOf);
  keep_newest_of_each(rules.successful.daily, DayOf);
  keep_newest_of_each(rules.successful.weekly, WeekOf);
  keep_newest_of_each(rules.successful.monthly, MonthOf);
  keep_newest_of_each(rules.successful.yearly, YearOf);

  for (const auto* snapshot : good) {
    const bool young = rules.max_age == Duration{0} || now - snapshot->time <= rules.max_age;
    const bool wanted = !rules.successful.any() || named.contains(snapshot->name);
    if (young && wanted) keep.insert(snapshot->name);
  }
  if (!good.empty()) keep.insert(good.front()->name);

  std::vector<std::string> stale;
  for (auto it = snapshots.rbegin(); it != snapshots.rend(); ++it) {
    if (!keep.contains(it->name)) stale.push_back(it->name);
  }
  return stale;
}

}  // namespace thinsnap::backup

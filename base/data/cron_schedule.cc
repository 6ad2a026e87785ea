#include "base/data/cron_schedule.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <date/tz.h>
#include <vector>

namespace thinsnap {

namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

const date::time_zone* Zone(const void* zone) { return static_cast<const date::time_zone*>(zone); }

Error Bad(std::string message) { return {Code::kInvalidArgument, std::move(message)}; }

struct Field {
  const char* name;
  int low, high;
  std::vector<std::string_view> words;  // words[i] stands for low + i
};

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

std::vector<std::string> Split(std::string_view text, char separator, bool keep_empty) {
  std::vector<std::string> parts;
  std::string part;
  for (const char c : text) {
    const bool cut =
        separator == ' ' ? std::isspace(static_cast<unsigned char>(c)) != 0 : c == separator;
    if (!cut) {
      part += c;
      continue;
    }
    if (keep_empty || !part.empty()) parts.push_back(part);
    part.clear();
  }
  if (keep_empty || !part.empty()) parts.push_back(part);
  return parts;
}

Result<int> ParseValue(const std::string& text, const Field& field) {
  const auto word = std::find(field.words.begin(), field.words.end(), Lower(text));
  if (word != field.words.end()) return field.low + static_cast<int>(word - field.words.begin());
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    return Bad(std::string("failed to parse ") + field.name + " \"" + text +
               "\": expected a number from " + std::to_string(field.low) + " to " +
               std::to_string(field.high));
  }
  return value;
}

// One element of a list: "*", "a", "a-b", each with "/step"; "a/step" runs to the end.
Result<std::uint64_t> ParseRange(const std::string& text, const Field& field, bool* any) {
  const auto by_step = Split(text, '/', true);
  const auto ends = Split(by_step[0], '-', true);
  if (by_step.size() > 2 || ends.size() > 2) {
    return Bad(std::string("too many ") + (by_step.size() > 2 ? "slashes" : "hyphens") + ": " +
               text);
  }
  int low = 0, high = 0, step = 1;
  bool open = false;
  if (ends[0] == "*" || ends[0] == "?") {
    if (ends.size() > 1) return Bad("a range cannot start with " + ends[0] + ": " + text);
    low = field.low;
    high = field.high;
    open = true;
  } else {
    low = TRY(ParseValue(ends[0], field));
    high = ends.size() == 2 ? TRY(ParseValue(ends[1], field)) : low;
  }
  if (by_step.size() == 2) {
    Field plain{field.name, 1, field.high, {}};
    step = TRY(ParseValue(by_step[1], plain));
    if (ends.size() == 1 && !open) high = field.high;
    if (step == 0) return Bad("step of range should be a positive number: " + text);
    if (step > 1) open = false;
  }
  if (low < field.low || high > field.high) {
    const bool below = low < field.low;
    return Bad(std::string(below ? "beginning" : "end") + " of range (" +
               std::to_string(below ? low : high) + ") " +
               (below ? "below minimum (" : "above maximum (") +
               std::to_string(below ? field.low : field.high) + "): " + text);
  }
  if (low > high)
    return Bad("beginning of range (" + std::to_string(low) + ") beyond end of range (" +
               std::to_string(high) + "): " + text);
  if (open) *any = true;
  std::uint64_t bits = 0;
  for (int value = low; value <= high; value += step) bits |= std::uint64_t{1} << value;
  return bits;
}

Result<std::uint64_t> ParseField(const std::string& text, const Field& field, bool* any) {
  std::uint64_t bits = 0;
  for (const auto& part : Split(text, ',', false)) bits |= TRY(ParseRange(part, field, any));
  if (bits == 0) return Bad(std::string("empty ") + field.name + " field: " + text);
  return bits;
}

bool HasBit(std::uint64_t bits, int value) { return (bits >> value & 1) != 0; }

std::string Expand(const std::string& descriptor) {
  static constexpr std::array<std::pair<const char*, const char*>, 7> kNames{
      {{"@yearly", "0 0 1 1 *"},
       {"@annually", "0 0 1 1 *"},
       {"@monthly", "0 0 1 * *"},
       {"@weekly", "0 0 * * 0"},
       {"@daily", "0 0 * * *"},
       {"@midnight", "0 0 * * *"},
       {"@hourly", "0 * * * *"}}};
  for (const auto& [name, schedule] : kNames) {
    if (descriptor == name) return schedule;
  }
  return "";
}

}  // namespace

Result<TimeZone> TimeZone::Find(const std::string& name) {
  TimeZone zone;
  try {
    zone.zone_ = date::locate_zone(name.empty() ? "Etc/UTC" : name);
  } catch (const std::exception&) {
    return Bad("unknown time zone " + name);
  }
  return zone;
}

TimeZone::Local TimeZone::ToLocal(WallTime time) const {
  const auto local = Zone(zone_)->to_local(std::chrono::floor<seconds>(time));
  const auto day = date::floor<date::days>(local);
  const date::year_month_day date(day);
  const date::hh_mm_ss<seconds> clock(local - day);
  return {static_cast<int>(date.year()),
          static_cast<int>(static_cast<unsigned>(date.month())),
          static_cast<int>(static_cast<unsigned>(date.day())),
          static_cast<int>(date::weekday(day).c_encoding()),
          static_cast<int>(clock.hours().count()),
          static_cast<int>(clock.minutes().count()),
          static_cast<int>(clock.seconds().count())};
}

WallTime TimeZone::FromLocal(int year, int month, int day, int hour) const {
  // Months and days beyond their end run on, as callers step by one.
  const auto months = date::year(year) / date::month(1) + date::months(month - 1);
  const date::local_seconds local =
      date::local_days(months / date::day(1)) + date::days(day - 1) + hours(hour);
  const date::local_info info = Zone(zone_)->get_info(local);
  return date::sys_seconds(local.time_since_epoch() - info.first.offset);
}

std::string TimeZone::Format(WallTime time) const {
  const auto whole = std::chrono::floor<seconds>(time);
  const auto offset = Zone(zone_)->get_info(whole).offset;
  if (offset == seconds::zero()) return FormatRfc3339(whole);
  std::string text = FormatRfc3339(whole + offset);
  text.pop_back();
  const auto ahead = std::chrono::abs(offset);
  const auto two = [](std::int64_t value) {
    return (value < 10 ? "0" : "") + std::to_string(value);
  };
  return text + (offset < seconds::zero() ? "-" : "+") + two(ahead / hours(1)) + ":" +
         two(ahead % hours(1) / minutes(1));
}

Result<CronSchedule> CronSchedule::Parse(std::string_view text, const TimeZone& zone) {
  CronSchedule schedule;
  schedule.zone_ = zone;
  std::string body(text);
  if (body.starts_with("TZ=") || body.starts_with("CRON_TZ=")) {
    const auto space = body.find(' ');
    if (space == std::string::npos) return Bad("expected a schedule after the time zone: " + body);
    const auto equals = body.find('=');
    schedule.zone_ = TRY(TimeZone::Find(body.substr(equals + 1, space - equals - 1)));
    body.erase(0, body.find_first_not_of(' ', space));
  }
  if (body.starts_with("@every ")) {
    const auto every = TRY(ParseDuration(body.substr(7)).In("failed to parse duration " + body));
    schedule.every_ = std::max<Duration>(seconds(1), std::chrono::floor<seconds>(every));
    return schedule;
  }
  if (body.starts_with("@")) {
    const auto expanded = Expand(body);
    if (expanded.empty()) return Bad("unrecognized descriptor: " + body);
    body = expanded;
  }
  const auto fields = Split(body, ' ', false);
  if (fields.size() != 5) {
    return Bad("expected exactly 5 fields, found " + std::to_string(fields.size()) + ": [" + body +
               "]");
  }
  bool any = false;
  schedule.minutes_ = TRY(ParseField(fields[0], {"minute", 0, 59, {}}, &any));
  schedule.hours_ = TRY(ParseField(fields[1], {"hour", 0, 23, {}}, &any));
  schedule.days_ = TRY(ParseField(fields[2], {"day of month", 1, 31, {}}, &schedule.any_day_));
  schedule.months_ = TRY(ParseField(
      fields[3],
      {"month",
       1,
       12,
       {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
      &any));
  schedule.weekdays_ = TRY(ParseField(
      fields[4], {"day of week", 0, 6, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
      &schedule.any_weekday_));
  return schedule;
}

bool CronSchedule::DayMatches(const TimeZone::Local& local) const {
  const bool day = HasBit(days_, local.day);
  const bool weekday = HasBit(weekdays_, local.weekday);
  // Both restricted: either will do.
  return any_day_ || any_weekday_ ? day && weekday : day || weekday;
}

std::optional<WallTime> CronSchedule::Next(WallTime after) const {
  const WallTime whole = std::chrono::floor<seconds>(after);
  if (every_ > Duration::zero()) return whole + every_;

  // The next full minute. Minutes are whole in every zone of our time.
  WallTime time = std::chrono::floor<minutes>(whole) + minutes(1);
  const int last_year = zone_.ToLocal(time).year + 5;
  for (;;) {
    const auto local = zone_.ToLocal(time);
    if (local.year > last_year) return std::nullopt;
    if (!HasBit(months_, local.month)) {
      time = zone_.FromLocal(local.year, local.month + 1, 1, 0);
    } else if (!DayMatches(local)) {
      const WallTime next = zone_.FromLocal(local.year, local.month, local.day + 1, 0);
      // Where the clocks change at midnight, the first minute of the next day may be before this
      // one.
      time = next > time ? next : time + hours(1);
    } else if (!HasBit(hours_, local.hour)) {
      // By absolute hours, so that a repeated hour is met twice and a skipped one never.
      time += minutes(60 - local.minute);
    } else if (!HasBit(minutes_, local.minute)) {
      time += minutes(1);
    } else {
      return time;
    }
  }
}

}  // namespace thinsnap

#include "base/core/clock.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <time.h>

namespace thinsnap {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

struct Broken {
  std::chrono::year_month_day date;
  std::chrono::hh_mm_ss<nanoseconds> time;
};

Broken Break(WallTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  return {std::chrono::year_month_day(day), std::chrono::hh_mm_ss<nanoseconds>(time - day)};
}

// Reads exactly `digits` decimal digits and moves on.
bool TakeNumber(std::string_view& text, std::size_t digits, int& value) {
  if (text.size() < digits) return false;
  value = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return true;
}

bool TakeChar(std::string_view& text, std::string_view accepted) {
  if (text.empty() || accepted.find(text[0]) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

Result<WallTime> Compose(int year, int month, int day, int hour, int minute, int second) {
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) {
    return Error(Code::kInvalidArgument, "no such date or time of day");
  }
  // 64 bits of nanoseconds end in 1677 and 2262; "0001-01-01" and "9999-12-31" stand for never.
  if (year < 1678) return WallTime(std::chrono::sys_days(std::chrono::year(1678) / 1 / 1));
  if (year > 2261) return WallTime(std::chrono::sys_days(std::chrono::year(2261) / 12 / 31));
  return WallTime(std::chrono::sys_days(date)) + std::chrono::hours(hour) +
         std::chrono::minutes(minute) + seconds(second);
}

}  // namespace

WallTime SystemClock::Now() {
  return std::chrono::time_point_cast<nanoseconds>(std::chrono::system_clock::now());
}

MonoTime SystemClock::MonoNow() {
  return MonoTime(std::chrono::steady_clock::now().time_since_epoch());
}

std::string FormatRfc3339(WallTime time) {
  const Broken at = Break(time);
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02dZ",
                static_cast<int>(at.date.year()), static_cast<unsigned>(at.date.month()),
                static_cast<unsigned>(at.date.day()), static_cast<int>(at.time.hours().count()),
                static_cast<int>(at.time.minutes().count()),
                static_cast<int>(at.time.seconds().count()));
  return text.data();
}

std::string FormatRfc3339Micro(WallTime time) {
  std::string text = FormatRfc3339(time);
  const auto micros = Break(time).time.subseconds().count() / 1000;
  std::array<char, 16> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%06dZ", static_cast<int>(micros));
  text.pop_back();
  return text + fraction.data();
}

Result<WallTime> ParseRfc3339(std::string_view text) {
  const auto bad = [whole = std::string(text)] {
    return Error(Code::kInvalidArgument,
                 "\"" + whole + "\" is no RFC 3339 time such as 2026-11-21T02:57:00Z");
  };
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  if (!TakeNumber(text, 4, year) || !TakeChar(text, "-") || !TakeNumber(text, 2, month) ||
      !TakeChar(text, "-") || !TakeNumber(text, 2, day) || !TakeChar(text, "Tt ") ||
      !TakeNumber(text, 2, hour) || !TakeChar(text, ":") || !TakeNumber(text, 2, minute) ||
      !TakeChar(text, ":") || !TakeNumber(text, 2, second)) {
    return bad();
  }
  nanoseconds fraction{0};
  if (TakeChar(text, ".")) {
    std::int64_t unit = 100'000'000;
    int digit = 0;
    bool any = false;
    while (TakeNumber(text, 1, digit)) {
      fraction += nanoseconds(digit * unit);
      unit /= 10;
      any = true;
    }
    if (!any) return bad();
  }
  seconds zone{0};
  if (!TakeChar(text, "Zz")) {
    const bool west = text.starts_with('-');
    int zone_hours = 0, zone_minutes = 0;
    if (!TakeChar(text, "+-") || !TakeNumber(text, 2, zone_hours) || !TakeChar(text, ":") ||
        !TakeNumber(text, 2, zone_minutes) || zone_hours > 23 || zone_minutes > 59) {
      return bad();
    }
    zone = std::chrono::hours(zone_hours) + std::chrono::minutes(zone_minutes);
    if (west) zone = -zone;
  }
  const auto time = Compose(year, month, day, hour, minute, second);
  if (!time.ok() || !text.empty()) return bad();
  return *time + fraction - zone;
}

std::string FormatHttpDate(WallTime time) {
  const Broken at = Break(time);
  const std::chrono::weekday weekday{std::chrono::sys_days(at.date)};
  std::array<char, 40> text{};
  std::snprintf(
      text.data(), text.size(), "%s, %02u %s %04d %02d:%02d:%02d GMT", kDays[weekday.c_encoding()],
      static_cast<unsigned>(at.date.day()), kMonths[static_cast<unsigned>(at.date.month()) - 1],
      static_cast<int>(at.date.year()), static_cast<int>(at.time.hours().count()),
      static_cast<int>(at.time.minutes().count()), static_cast<int>(at.time.seconds().count()));
  return text.data();
}

Result<WallTime> ParseHttpDate(std::string_view text) {
  const auto bad = [whole = std::string(text)] {
    return Error(Code::kInvalidArgument, "\"" + whole + "\" is no HTTP date");
  };
  const auto comma = text.find(", ");
  if (comma == std::string_view::npos) return bad();
  text.remove_prefix(comma + 2);
  int day = 0, year = 0, hour = 0, minute = 0, second = 0;
  if (!TakeNumber(text, 2, day) || !TakeChar(text, " ") || text.size() < 4) return bad();
  int month = 0;
  for (std::size_t i = 0; i < kMonths.size(); ++i) {
    if (text.starts_with(kMonths[i])) month = static_cast<int>(i) + 1;
  }
  if (month == 0) return bad();
  text.remove_prefix(3);
  if (!TakeChar(text, " ") || !TakeNumber(text, 4, year) || !TakeChar(text, " ") ||
      !TakeNumber(text, 2, hour) || !TakeChar(text, ":") || !TakeNumber(text, 2, minute) ||
      !TakeChar(text, ":") || !TakeNumber(text, 2, second) || text != " GMT") {
    return bad();
  }
  const auto time = Compose(year, month, day, hour, minute, second);
  if (!time.ok()) return bad();
  return *time;
}

Result<Duration> ParseDuration(std::string_view text) {
  const auto bad = [whole = std::string(text)] {
    return Error(Code::kInvalidArgument,
                 "\"" + whole + "\" is no duration such as 90s, 30m or 1h30m");
  };
  if (text == "0") return Duration(0);
  if (text.empty()) return bad();
  double total = 0;
  while (!text.empty()) {
    // from_chars knows signs, "nan" and "inf" as well.
    if (std::string_view("0123456789.").find(text.front()) == std::string_view::npos) return bad();
    double amount = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), amount, std::chars_format::fixed);
    if (error != std::errc() || end == text.data()) return bad();
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    struct Unit {
      std::string_view name;
      double nanoseconds;
    };
    static constexpr std::array<Unit, 7> kUnits = {{{"ms", 1e6},
                                                    {"us", 1e3},
                                                    {"\xc2\xb5s", 1e3},
                                                    {"ns", 1},
                                                    {"h", 3600e9},
                                                    {"m", 60e9},
                                                    {"s", 1e9}}};
    bool found = false;
    for (const Unit& unit : kUnits) {
      if (!text.starts_with(unit.name)) continue;
      total += amount * unit.nanoseconds;
      text.remove_prefix(unit.name.size());
      found = true;
      break;
    }
    if (!found || total > 9e18) return bad();
  }
  return Duration(static_cast<std::int64_t>(total));
}

std::string FormatDuration(Duration duration) {
  std::array<char, 48> text{};
  const double total = std::chrono::duration<double>(duration).count();
  const auto whole = static_cast<std::int64_t>(total);
  if (duration < seconds(1)) {
    std::snprintf(text.data(), text.size(), "%gms", total * 1000);
  } else if (whole < 60) {
    std::snprintf(text.data(), text.size(), "%gs", total);
  } else if (whole < 3600) {
    std::snprintf(text.data(), text.size(), "%dm%ds", static_cast<int>(whole / 60),
                  static_cast<int>(whole % 60));
  } else {
    std::snprintf(text.data(), text.size(), "%lldh%dm%ds", static_cast<long long>(whole / 3600),
                  static_cast<int>(whole % 3600 / 60), static_cast<int>(whole % 60));
  }
  return text.data();
}

}  // namespace thinsnap

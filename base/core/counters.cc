#include "base/core/counters.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/core/result.h"

namespace thinsnap {
namespace {

constexpr std::array<double, 12> kBounds = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5,
                                            1,     5,     10,   60,   300, 600};

std::string Number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

// Line feeds, backslashes and (in values) quotes are escaped.
std::string Escaped(const std::string& text, bool quotes) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\\' || (quotes && c == '"')) {
      out += '\\';
      out += c;
    } else {
      out += c;
    }
  }
  return out;
}

std::string Shown(const Labels& labels) {
  std::string out;
  for (const auto& [name, value] : labels) {
    if (!out.empty()) out += ',';
    out += name + "=\"" + Escaped(value, true) + '"';
  }
  return out;
}

Labels Other(Labels labels) {
  for (auto& [name, value] : labels) value = "other";
  return labels;
}

std::string Line(const std::string& name, const std::string& labels, const std::string& value) {
  return name + (labels.empty() ? "" : "{" + labels + "}") + " " + value + "\n";
}

const char* KindName(Counters::Kind kind) {
  switch (kind) {
    case Counters::Kind::kCounter:
      return "counter";
    case Counters::Kind::kGauge:
      return "gauge";
    case Counters::Kind::kHistogram:
      return "histogram";
  }
  return "untyped";
}

}  // namespace

void Counters::Describe(const std::string& name, Kind kind, const std::string& help) {
  const std::lock_guard lock(mutex_);
  Family& family = families_[name];
  family.kind = kind;
  family.help = help;
}

Counters::Series& Counters::Find(const std::string& name, Kind kind, const Labels& labels) {
  const auto family = families_.find(name);
  ASSERT(family != families_.end() && family->second.kind == kind);
  auto& series = family->second.series;
  const std::string shown = Shown(labels);
  const auto found = series.find(shown);
  if (found != series.end()) return found->second;
  return series[series.size() < kMostSeries ? shown : Shown(Other(labels))];
}

void Counters::Add(const std::string& counter, const Labels& labels, double by) {
  ASSERT(by >= 0);
  const std::lock_guard lock(mutex_);
  Find(counter, Kind::kCounter, labels).value += by;
}

void Counters::Set(const std::string& gauge, const Labels& labels, double value) {
  const std::lock_guard lock(mutex_);
  Find(gauge, Kind::kGauge, labels).value = value;
}

void Counters::Clear(const std::string& gauge) {
  const std::lock_guard lock(mutex_);
  const auto family = families_.find(gauge);
  ASSERT(family != families_.end() && family->second.kind == Kind::kGauge);
  family->second.series.clear();
}

void Counters::Observe(const std::string& histogram, const Labels& labels, Duration took) {
  const double seconds = std::chrono::duration<double>(took).count();
  const auto bucket = static_cast<std::size_t>(
      std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin());
  const std::lock_guard lock(mutex_);
  Series& series = Find(histogram, Kind::kHistogram, labels);
  series.buckets.resize(kBounds.size() + 1);
  ++series.buckets[bucket];
  series.value += seconds;
}

void Counters::BeforeRender(std::function<void(Counters&)> collect) {
  const std::lock_guard lock(mutex_);
  collectors_.push_back(std::move(collect));
}

std::string Counters::Render() {
  std::vector<std::function<void(Counters&)>> collectors;
  {
    const std::lock_guard lock(mutex_);
    collectors = collectors_;
  }
  for (const auto& collect : collectors) collect(*this);
  const std::lock_guard lock(mutex_);
  std::string out;
  for (const auto& [name, family] : families_) {
    out += "# HELP " + name + " " + Escaped(family.help, false) + "\n";
    out += "# TYPE " + name + " " + KindName(family.kind) + "\n";
    for (const auto& [labels, series] : family.series) {
      if (family.kind != Kind::kHistogram) {
        out += Line(name, labels, Number(series.value));
        continue;
      }
      const std::string prefix = labels.empty() ? "" : labels + ",";
      std::uint64_t count = 0;
      for (std::size_t i = 0; i < series.buckets.size(); ++i) {
        count += series.buckets[i];
        const std::string bound = i < kBounds.size() ? Number(kBounds[i]) : "+Inf";
        out += Line(name + "_bucket", prefix + "le=\"" + bound + "\"", std::to_string(count));
      }
      out += Line(name + "_sum", labels, Number(series.value));
      out += Line(name + "_count", labels, std::to_string(count));
    }
  }
  return out;
}

}  // namespace thinsnap

// What a cluster or bucket holds, as lines of text that are the same for each run: times, versions,
// sizes and names that are drawn at random are masked.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/data/json.h"

namespace thinsnap::faults {

class Words {
 public:
  // A line for each value below, and one for the object itself.
  void Put(const std::string& path, const Json& value);
  void Line(std::string text);
  // Wherever it stands from now on.
  void Mask(std::string random, std::string mask) {
    masks_.emplace_back(std::move(random), std::move(mask));
  }
  // Its uid, and its name where a controller drew that.
  void MaskObject(const Json& object);
  const std::string& text() const { return text_; }

 private:
  std::vector<std::pair<std::string, std::string>> masks_;
  std::string text_;
};

}  // namespace thinsnap::faults

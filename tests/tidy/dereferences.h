// Finds answers of Find and its like that are dereferenced before anybody looked at them: what is
// not there is null (or end), and one object without the field that all others have ends a process.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace thinsnap::tidy {

struct Dereference {
  std::size_t line;    // from 1
  std::string finder;  // "FindObject"
};

// In source text: `Find(...)->`, `*Find(...)`, and `x = Find(...);` whose x is dereferenced where
// it is named next. Finders are functions whose names start with Find, find or if_.
std::vector<Dereference> UncheckedDereferences(std::string_view source);

}  // namespace thinsnap::tidy

// The Python of tests: whatever python3 is first on PATH, Debian's packages are for this one.
#pragma once

namespace thinsnap {

inline constexpr char kPython[] = "/usr/bin/python3";

}  // namespace thinsnap

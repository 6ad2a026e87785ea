// Text for people, in UTF-8.
#pragma once

#include <cstddef>
#include <string_view>

namespace thinsnap {

// The beginning of a UTF-8 text, at most so many bytes and no part of a character.
std::string_view CutText(std::string_view text, std::size_t most_bytes);

}  // namespace thinsnap
